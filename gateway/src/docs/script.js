// Starts Swagger UI with /openapi.json, and adds the contract's order, the samples and the theme.
"use strict";

/** Sets the theme: the stored choice, or else the system's preference. */
function theme() {
  const button = document.getElementById("theme");
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const dark = (localStorage.getItem("theme") ?? (preferred.matches ? "dark" : "light")) === "dark";
    document.documentElement.classList.toggle("dark-mode", dark);
    button.setAttribute("aria-pressed", String(dark));
  };
  button.addEventListener("click", () => {
    localStorage.setItem("theme", document.documentElement.classList.contains("dark-mode") ? "light" : "dark");
    show();
  });
  preferred.addEventListener("change", show);
  show();
}

/** Sorts the properties of schemas by `x-order`, the order of the contract. */
function inOrder(api) {
  for (const schema of Object.values(api.components.schemas)) {
    if (!schema["x-order"]) continue;
    schema.properties = Object.fromEntries(schema["x-order"].map((name) => [name, schema.properties[name]]));
    delete schema["x-order"];
  }
  return api;
}

/** Sorts the operations of a tag in the order of the contract. */
function sorter(api) {
  const order = new Map(api.tags.flatMap((tag) => tag["x-operations"]).map((id, index) => [id, index]));
  const place = (entry) => order.get(entry.getIn(["operation", "operationId"]));
  return (a, b) => place(a) - place(b);
}

/** Swagger UI's layout without landmarks: the page has its own. */
const layout = ({ React }) => ({
  components: {
    BatonLayout: ({ getComponent, specSelectors }) => {
      const part = (name) => React.createElement(getComponent(name, true));
      if (specSelectors.loadingStatus() === "loading") return null;
      return React.createElement("div", { className: "swagger-ui" },
        React.createElement(getComponent("SvgAssets")),
        part("errors"), part("InfoContainer"),
        React.createElement("div", { className: "tools" }, part("FilterContainer"), part("AuthorizeBtnContainer")),
        React.createElement("div", { id: "operations", tabIndex: -1 }, part("operations")),
        part("Models"));
    },
  },
});

/** Adds the sample above the responses of each operation. */
const samples = ({ React }) => ({
  wrapComponents: {
    responses: (Original) => (properties) => {
      const { path, method, specSelectors, getComponent } = properties;
      const samples = specSelectors.specJson().getIn(["paths", path, method, "x-codeSamples"]);
      const here = specSelectors.specJson().getIn(["servers", 0, "url"]) === "/";
      const sample = samples?.getIn([0, "source"]);
      const source = here ? sample?.replace(/"https?:\/\/[^/"]+/, `"${location.origin}`) : sample;
      const Copy = getComponent("CopyToClipboardBtn", true);
      return React.createElement(React.Fragment, null,
        source && React.createElement("div", { className: "sample" },
          React.createElement("div", { className: "opblock-section-header" }, React.createElement("h4", null, "Sample")),
          React.createElement("pre", { tabIndex: 0, className: "microlight" }, source),
          React.createElement(Copy, { textToCopy: source })),
        React.createElement(Original, properties));
    },
  },
});

/** Replaces links inside buttons, which the keyboard cannot use. The button opens the operation and sets its URL. */
const accessible = ({ React }) => ({
  components: {
    DeepLink: ({ text }) => React.createElement("span", null, text),
  },
});

/**
 * Returns the part at a path of the document, with all references resolved. Swagger UI's own resolver processes the whole
 * document for each opened operation, which takes seconds for one of this size.
 */
function resolved(api, path) {
  const at = (keys) => keys.reduce((value, key) => value?.[key], api);
  const put = (value, above) => {
    if (Array.isArray(value)) return value.map((item) => put(item, above));
    if (value === null || typeof value !== "object") return value;
    const { $ref, ...rest } = value;
    if ($ref === undefined) return Object.fromEntries(Object.entries(rest).map(([key, inner]) => [key, put(inner, above)]));
    // A schema that contains itself is not resolved again.
    if (above.includes($ref)) return rest;
    const name = $ref.split("/").pop();
    const target = put(at($ref.slice(2).split("/")), [...above, $ref]);
    return $ref.startsWith("#/components/schemas/") ? { title: name, ...target, ...rest } : { ...target, ...rest };
  };
  return put(at(path), []);
}

const resolver = (api) => ({ fn: { resolveSubtree: async (_, path) => ({ spec: resolved(api, path), errors: [] }) } });

/** Adds missing accessible names, and makes scrollable text focusable. */
function nameParts(root) {
  const parts = {
    "table.responses-table[role]": (table) => table.removeAttribute("role"),
    "pre.microlight:not([tabindex])": (text) => text.setAttribute("tabindex", "0"),
    "tr[data-param-name] select:not([aria-label]), tr[data-param-name] input:not([aria-label])": (input) =>
      input.setAttribute("aria-label", input.closest("tr").dataset.paramName),
  };
  const fix = () => {
    for (const [selector, change] of Object.entries(parts)) root.querySelectorAll(selector).forEach(change);
  };
  new MutationObserver(fix).observe(root, { childList: true, subtree: true });
}

async function main() {
  theme();
  nameParts(document.getElementById("reference"));
  // Swagger UI would treat an anchor of the table of reasons as a tag.
  const anchor = location.hash.startsWith("#reason") ? location.hash : "";
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`/openapi.json returned ${response.status}`);
  const api = inOrder(await response.json());
  globalThis.ui = SwaggerUIBundle({
    spec: api, domNode: document.getElementById("reference"),
    plugins: [resolver(api), layout, samples, accessible], layout: "BatonLayout",
    operationsSorter: sorter(api), deepLinking: anchor === "", filter: true, docExpansion: "list",
    defaultModelsExpandDepth: 0, validatorUrl: null, syntaxHighlight: false,
    onComplete: () => { if (anchor) document.getElementById(anchor.slice(1))?.scrollIntoView(); },
  });
}

main().catch((error) => {
  document.getElementById("reference").textContent = `The reference cannot be shown: ${error.message}.`;
});
