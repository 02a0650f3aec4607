// Shows /openapi.json. All text goes into the page as text, never as markup.
"use strict";

const VERBS = ["get", "post", "patch", "put", "delete"];
const ID = "0198c0de-7a1b-7c3d-8e4f-5a6b7c8d9e0f";
const SAMPLES = {
  title: "Write the report", description: "Two pages are enough.", email: "ada@example.com", password: "correct horse battery",
  first_name: "Ada", last_name: "Lovelace", name: "Analytical Engines", slug: "analytical-engines", reason: "Waiting for an answer",
  token: "…", refresh_token: "…", access_token: "eyJhbGciOiJFZERTQSIs…", token_type: "Bearer", expires_in: 900, search: "report",
  page: 1, per_page: 20, total_count: 1, total_pages: 1, next_page_token: "", action_url: `/v1/tasks/${ID}`, version: 3, estimated_seconds: 3600, actual_seconds: 1800, size: 3,
  kty: "OKP", crv: "Ed25519", alg: "EdDSA", use: "sig", email_verified: true,
};
let api;

/** An element with properties (or attributes) and children; strings become text. */
function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** The little of Markdown that the contract's comments use: paragraphs, lists, headings, code. */
function prose(text, level = 4) {
  const blocks = (text ?? "").split(/\n\s*\n/).filter((block) => block.trim());
  return h("div", { class: "prose" }, blocks.map((block) => {
    if (block.startsWith("## ")) return h(`h${level}`, {}, block.slice(3));
    const lines = block.split("\n");
    if (lines.every((line) => line.startsWith("- "))) return h("ul", {}, lines.map((line) => h("li", {}, inline(line.slice(2)))));
    return h("p", {}, inline(lines.join(" ")));
  }));
}

/** Code between backticks, and reasons wherever they stand. */
function inline(text) {
  return text.split(/(`[^`]+`|\b[A-Z][A-Z_]{3,}\b)/).filter(Boolean).map((piece) => {
    const word = piece.replaceAll("`", "");
    if (isReason(word)) return reasonLink(word);
    return piece.startsWith("`") ? h("code", {}, word) : piece;
  });
}

const reasons = () => api.components.schemas.Problem.properties.reason["x-reasons"];
const isReason = (word) => reasons().some((entry) => entry.reason === word);
const reasonLink = (name) => h("a", { href: `#reason-${name.toLowerCase()}` }, h("code", {}, name));

/** Follows a reference, and tells whether null is allowed beside it. */
function resolve(schema) {
  if (schema.anyOf) return { ...resolve(schema.anyOf.find((one) => one.$ref)), description: schema.description, nullable: true };
  if (!schema.$ref) return { ...schema, nullable: Array.isArray(schema.type) && schema.type.includes("null") };
  const name = schema.$ref.split("/").pop();
  const target = schema.$ref.slice(2).split("/").reduce((at, key) => at[key], api);
  return { name, ...target, description: schema.description ?? target.description };
}

const baseType = (schema) => (Array.isArray(schema.type) ? schema.type.find((type) => type !== "null") : schema.type);

function typeName(schema) {
  const type = baseType(schema);
  const name = schema.name ?? (type === "array" ? `${typeName(resolve(schema.items))}[]` : schema.enum ? "enum" : schema.format ?? type);
  return schema.nullable ? `${name} or null` : name;
}

function limits(schema) {
  const said = [];
  if (schema.minLength !== undefined || schema.maxLength !== undefined) said.push(`${range(schema.minLength, schema.maxLength)} characters`);
  if (schema.minimum !== undefined || schema.maximum !== undefined) said.push(range(schema.minimum, schema.maximum));
  if (schema.minItems !== undefined || schema.maxItems !== undefined) said.push(`${range(schema.minItems, schema.maxItems)} items`);
  if (schema.pattern) said.push(`matches ${schema.pattern}`);
  return said.join(", ");
}

function range(least, most) {
  if (most === undefined) return `at least ${least}`;
  return least === undefined ? `at most ${most}` : `${least} to ${most}`;
}

/** The properties of an object, those of its parts folded in. */
function properties(schema, isAnswer, seen = []) {
  const required = isAnswer ? [] : schema.required ?? [];
  return h("ul", { class: "fields" }, entries(schema).map(([name, raw]) => field(name, raw, required.includes(name), isAnswer, seen)));
}

/** The properties in the order of the contract. */
const entries = (schema) => (schema["x-order"] ?? Object.keys(schema.properties ?? {})).map((name) => [name, schema.properties[name]]);

function field(name, raw, required, isAnswer = false, seen = [], description = raw.description) {
  const schema = resolve(raw);
  const item = baseType(schema) === "array" ? resolve(schema.items) : schema;
  const nested = item.properties && !seen.includes(item.name);
  return h("li", {},
    h("span", { class: "name mono" }, name), h("span", { class: "type" }, typeName(schema)),
    required && h("span", { class: "must" }, "required"),
    h("div", { class: "limits" }, limits(schema)),
    prose(description ?? schema.description),
    item !== schema && item.enum && prose(item.description),
    nested && h("details", {}, h("summary", {}, `Fields of ${item.name ?? "each"}`), properties(item, isAnswer, [...seen, item.name])),
  );
}

/** A plausible value. */
function sample(raw, name = "", seen = []) {
  const schema = resolve(raw);
  const type = baseType(schema);
  if (type === "array") return [sample(schema.items, name.replace(/s$/, ""), seen)];
  if (schema.properties) {
    if (seen.includes(schema.name)) return null;
    return Object.fromEntries(entries(schema).map(([key, value]) => [key, sample(value, key, [...seen, schema.name])]));
  }
  if (type === "object") return { size: 3 };
  if (schema.enum) return schema.enum[0];
  if (schema.format === "date-time") return "2026-01-31T08:00:00Z";
  if (name in SAMPLES) return SAMPLES[name];
  if (schema.format === "uuid" || /(^|_)id$|_(by|to)$/.test(name)) return ID;
  return { boolean: false, integer: 1, number: 1.5 }[type] ?? "text";
}

/** A request that people would send: what is required, and a little more. */
function sampleBody(raw) {
  const schema = resolve(raw);
  const names = entries(schema).map(([name]) => name);
  const chosen = schema.required ?? names.slice(0, 2);
  return Object.fromEntries(names.filter((name) => chosen.includes(name)).map((name) => [name, sample(schema.properties[name], name)]));
}

function curl(verb, path, operation) {
  const parameters = (operation.parameters ?? []).map(resolve);
  const base = api.servers[0].url === "/" ? location.origin : api.servers[0].url;
  let url = path;
  for (const parameter of operation.parameters ?? []) {
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, sample(parameter.schema, parameter.name));
  }
  const lines = [`curl${verb === "get" ? "" : ` -X ${verb.toUpperCase()}`} '${base}${url}'`];
  if (!operation.security) lines.push(`-H "Authorization: Bearer $TOKEN"`);
  if (parameters.some((parameter) => parameter.name === "If-Match")) lines.push(`-H 'If-Match: "3"'`);
  const content = Object.entries(operation.requestBody?.content ?? {})[0];
  if (content) {
    const body = JSON.stringify(sampleBody(content[1].schema), null, 2).replaceAll("'", "'\\''");
    lines.push(`-H 'Content-Type: ${content[0]}'`, `-d '${body}'`);
  }
  return lines.join(" \\\n  ");
}

/** JSON with its keys, strings and literals told apart. */
function colored(json) {
  const pieces = json.split(/("(?:[^"\\]|\\.)*"(?:\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?)/);
  return pieces.map((piece, i) => {
    if (i % 2 === 0) return piece;
    return h("span", { class: piece.endsWith(":") ? "k" : piece.startsWith('"') ? "s" : "l" }, piece);
  });
}

function example(caption, text, children = [text]) {
  const button = h("button", { type: "button", onclick: () => copy(text, button) }, "Copy");
  return h("figure", { class: "example" }, h("figcaption", {}, caption, button), h("pre", { tabindex: "0", class: caption === "curl" && "wraps" }, children));
}

async function copy(text, button) {
  await navigator.clipboard.writeText(text);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function answers(operation) {
  return Object.entries(operation.responses).filter(([status]) => status !== "default").map(([status, raw]) => {
    const response = resolve(raw);
    const schema = response.content?.["application/json"]?.schema;
    const told = response["x-reasons"];
    return h("details", { class: "answer", open: status === "200" },
      h("summary", {}, h("span", { class: `status ${status < 400 ? "good" : "bad"}` }, status), h("span", { class: "what" }, told ? told.join(", ") : response.description)),
      told ? prose(response.description) : schema && properties(resolve(schema), true),
    );
  });
}

/** `TaskService_PauseTask` is "Pause task". */
function titleOf(operation) {
  const words = operation.operationId.split("_")[1].split(/(?=[A-Z])/);
  return [words[0], ...words.slice(1).map((word) => word.toLowerCase())].join(" ");
}

function operationSection(verb, path, operation) {
  const parameters = (operation.parameters ?? []).map(resolve);
  const place = (name) => parameters.filter((parameter) => parameter.in === name);
  const list = (title, found) => found.length > 0 && [h("h4", {}, title), h("ul", { class: "fields" }, found.map((p) => field(p.name, p.schema, p.required, false, [], p.description)))];
  const body = Object.entries(operation.requestBody?.content ?? {})[0];
  const permission = /permission `(\w+)`/.exec(operation.description)?.[1];
  const access = operation.security ? "public" : permission ?? "signed in";
  const answer = operation.responses["200"].content?.["application/json"]?.schema;
  const shown = answer && JSON.stringify(sample(answer), null, 2);
  const segments = path.split(/(\{[^}]+\})/).map((part) => (part.startsWith("{") ? h("span", { class: "parameter" }, part) : part));
  return h("section", { class: "operation", id: operation.operationId, "data-search": searchable(verb, path, operation) },
    h("h3", {}, h("a", { class: "anchor", href: `#${operation.operationId}` }, titleOf(operation))),
    h("div", { class: "line" }, h("span", { class: `verb ${verb.toUpperCase()}` }, verb.toUpperCase()), h("span", { class: "mono" }, segments), h("span", { class: "access", title: "Who may call" }, access)),
    h("div", { class: "columns" },
      h("div", {},
        h("p", { class: "summary" }, inline(`${operation.summary}.`)), prose(operation.description),
        list("Path", place("path")), list("Query", place("query")),
        body && [h("h4", {}, `Body · ${body[0]}`), properties(resolve(body[1].schema), false)],
        list("Headers", place("header")),
        h("h4", {}, "Answers"), answers(operation),
      ),
      h("div", { class: "side" },
        example("curl", curl(verb, path, operation)),
        shown && example("Answer", shown, colored(shown)),
        h("p", { class: "limits" }, "gRPC: ", h("code", {}, operation["x-grpc-method"])),
      ),
    ),
  );
}

function searchable(verb, path, operation) {
  const names = new Set();
  const collect = (raw, seen = []) => {
    const schema = resolve(raw);
    const item = schema.items ? resolve(schema.items) : schema;
    for (const [name, value] of Object.entries(item.properties ?? {})) {
      names.add(name);
      if (!seen.includes(item.name)) collect(value, [...seen, item.name]);
    }
  };
  for (const content of Object.values(operation.requestBody?.content ?? {})) collect(content.schema);
  for (const parameter of (operation.parameters ?? []).map(resolve)) names.add(parameter.name);
  for (const response of Object.values(operation.responses)) for (const name of response["x-reasons"] ?? []) names.add(name);
  return [verb, path, operation.operationId, operation.summary, operation.description, ...names].join(" ").toLowerCase();
}

function reasonTable() {
  const rows = reasons().map((entry) => h("tr", { id: `reason-${entry.reason.toLowerCase()}`, "data-search": `${entry.reason} ${entry.meaning} ${entry.status}`.toLowerCase() },
    h("td", {}, reasonLink(entry.reason)), h("td", { class: "status bad" }, String(entry.status)), h("td", {}, h("code", {}, entry.code)), h("td", {}, entry.meaning)));
  return h("section", { id: "reasons" }, h("h2", {}, "Reasons"),
    h("p", { class: "lead" }, "Every failure has one, the same over REST and gRPC (", h("code", {}, "google.rpc.ErrorInfo"), ", domain ", h("code", {}, "baton"), ")."),
    h("table", {}, h("thead", {}, h("tr", {}, ["Reason", "HTTP", "gRPC", "Meaning"].map((title) => h("th", {}, title)))), h("tbody", {}, rows)));
}

function show() {
  const navigation = document.getElementById("navigation");
  const content = document.getElementById("content");
  document.getElementById("version").textContent = api.info.version;
  content.replaceChildren(h("section", { class: "introduction", id: "introduction" }, h("h1", {}, `${api.info.title} API`), prose(api.info.description, 2)));
  const link = (href, ...children) => h("a", { href }, children);
  const operations = new Map(Object.entries(api.paths).flatMap(([path, item]) =>
    VERBS.filter((verb) => item[verb]).map((verb) => [item[verb].operationId, { verb, path, operation: item[verb] }])));
  navigation.append(link("#introduction", "Introduction"), link("#reasons", "Reasons"));
  for (const tag of api.tags) {
    const title = tag.name.replace(/Service$/, "");
    const section = h("section", { class: "tag" }, h("h2", { id: tag.name }, title), h("div", { class: "lead" }, prose(tag.description)));
    const group = h("div", { class: "group" }, h("h2", {}, title));
    for (const { verb, path, operation } of tag["x-operations"].map((id) => operations.get(id))) {
      section.append(operationSection(verb, path, operation));
      group.append(link(`#${operation.operationId}`, h("span", { class: `verb ${verb.toUpperCase()}` }, verb.toUpperCase()), h("span", {}, titleOf(operation))));
    }
    content.append(section);
    navigation.append(group);
  }
  content.append(reasonTable(), h("p", { class: "empty", id: "nothing", hidden: true }, "Nothing matches."));
  follow(navigation);
  document.getElementById(location.hash.slice(1))?.scrollIntoView({ behavior: "instant" });
}

/** Marks in the navigation what stands at the top of the window. */
function follow(navigation) {
  const links = new Map([...navigation.querySelectorAll("a")].map((a) => [a.getAttribute("href").slice(1), a]));
  const observer = new IntersectionObserver((entries) => {
    for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
      navigation.querySelector("[aria-current]")?.removeAttribute("aria-current");
      const link = links.get(target.id);
      link?.setAttribute("aria-current", "true");
      link?.scrollIntoView({ block: "nearest" });
    }
  }, { rootMargin: "-80px 0px -75% 0px" });
  for (const id of links.keys()) observer.observe(document.getElementById(id));
}

function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (element) => words.every((word) => element.dataset.search.includes(word));
  let found = 0;
  for (const element of document.querySelectorAll("[data-search]")) {
    element.hidden = !matches(element);
    found += element.hidden ? 0 : 1;
    const link = document.querySelector(`nav a[href="#${element.id}"]`);
    if (link) link.hidden = element.hidden;
  }
  const allHidden = (parent, selector) => [...parent.querySelectorAll(selector)].every((element) => element.hidden);
  for (const section of document.querySelectorAll(".tag")) section.hidden = allHidden(section, ".operation");
  for (const group of document.querySelectorAll(".group")) group.hidden = allHidden(group, "a");
  document.getElementById("reasons").hidden = allHidden(document.getElementById("reasons"), "tr[id]");
  document.getElementById("introduction").hidden = words.length > 0;
  document.getElementById("nothing").hidden = found > 0;
}

function theme() {
  const root = document.documentElement;
  const preferred = () => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = localStorage.getItem("theme") ?? preferred();
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
}

async function main() {
  theme();
  const input = document.getElementById("search");
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input) {
      event.preventDefault();
      input.focus();
    }
  });
  try {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    api = await response.json();
    show();
    input.addEventListener("input", () => search(input.value));
  } catch (error) {
    document.getElementById("content").replaceChildren(h("p", { class: "empty" }, `The documentation cannot be shown: ${error.message}.`));
  }
}

main();
