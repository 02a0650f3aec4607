// Opens the documentation page and every operation in Chromium, and checks accessibility with axe.
// Argument: {url, theme, screenshot, whole}. It prints {problem} for each console warning or error, {foreign_request} for each
// request to another host, {violation} for each axe violation, and at the end {operations, shown, samples}.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const { url, theme, screenshot, whole } = JSON.parse(process.argv[2]);
// Operations of each group that axe checks, unless `whole` is set.
const LOOKED_AT = 2;
// The themes differ only in colours, so all operations are opened in one of them.
const opensAll = whole || theme !== "dark";
const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const places = ["/usr/bin/chromium", "/Applications/Chromium.app/Contents/MacOS/Chromium"];
// Chromium's sandbox does not work as root, and not in containers without user namespaces.
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? places.find((place) => existsSync(place)),
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
  protocolTimeout: 240_000,
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 1600 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && print({ problem: message.text() }));
  page.on("pageerror", (error) => print({ problem: error.message }));
  page.on("requestfailed", (request) => print({ problem: `${request.url()}: ${request.failure().errorText}` }));
  page.on("request", (request) => {
    if (!request.url().startsWith("data:") && new URL(request.url()).origin !== new URL(url).origin) print({ foreign_request: request.url() });
  });
  await page.evaluateOnNewDocument(() => {
    globalThis.refused = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.refused.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(url);
  const api = await page.evaluate(async () => (await fetch("/openapi.json")).json());
  const operations = Object.values(api.paths).flatMap((path) => Object.values(path)).map((operation) => operation.operationId);
  await page.waitForFunction((count) => document.querySelectorAll(".opblock").length >= count, { timeout: 110_000 }, operations.length);
  if (screenshot) await page.screenshot({ path: screenshot });
  await page.evaluate(axe);

  // The page without the groups, then each group with some operations open.
  const look = async (part) => {
    const violations = await page.evaluate(async (index, dark) => {
      const section = document.querySelectorAll(".opblock-tag-section")[index];
      // The themes differ only in colours.
      const runOnly = dark ? { runOnly: ["color-contrast"] } : {};
      const found = await axe.run(section ?? { exclude: [[".opblock-tag-section"]] }, { resultTypes: ["violations"], ...runOnly });
      return found.violations.flatMap(({ id, nodes }) => nodes.slice(0, 5).map((node) => `${id}: ${node.html.slice(0, 160)} ${node.failureSummary}`));
    }, part, theme === "dark");
    for (const violation of violations) print({ violation });
    print({ looked: part });
  };
  await look(-1);
  const shown = new Set();
  let samples = 0;
  const sections = await page.$$eval(".opblock-tag-section", (all) => all.length);
  for (let part = 0; part < sections; part += 1) {
    const open = (most) => page.evaluate((index, most) => {
      const arrows = document.querySelectorAll(".opblock-tag-section")[index].querySelectorAll(".opblock-control-arrow");
      const opened = [...arrows].slice(0, most ?? arrows.length);
      for (const arrow of opened) arrow.click();
      return opened.length;
    }, part, most);
    const count = await open(opensAll ? null : LOOKED_AT);
    await page.waitForFunction((index, wanted) => {
      const section = document.querySelectorAll(".opblock-tag-section")[index];
      return section.querySelectorAll(".opblock.is-open .responses-table").length === wanted;
    }, { timeout: 110_000, polling: 100 }, part, count);
    const found = await page.evaluate((index) => {
      const section = document.querySelectorAll(".opblock-tag-section")[index];
      const ids = [...section.querySelectorAll(".opblock.is-open")].map((block) => block.id.split("-").pop());
      return { ids, samples: [...section.querySelectorAll(".sample pre")].filter((text) => text.textContent.startsWith("curl")).length };
    }, part);
    for (const id of found.ids) shown.add(id);
    samples += found.samples;
    // axe takes one to two seconds per open operation. All operations use the same templates, so some of each group
    // suffice.
    const looked = whole ? count : Math.min(count, LOOKED_AT);
    const click = (from, to) => page.evaluate((index, from, to) => {
      const arrows = document.querySelectorAll(".opblock-tag-section")[index].querySelectorAll(".opblock-control-arrow");
      for (const arrow of [...arrows].slice(from, to)) arrow.click();
    }, part, from, to);
    await click(looked, count);
    await page.waitForFunction((index, wanted) => {
      const section = document.querySelectorAll(".opblock-tag-section")[index];
      return section.querySelectorAll(".opblock.is-open").length === wanted;
    }, { timeout: 110_000, polling: 100 }, part, looked);
    await look(part);
    if (part === 0 && screenshot) {
      await page.evaluate(() => document.querySelector(".opblock.is-open").scrollIntoView());
      await page.screenshot({ path: screenshot.replace(".png", "-open.png") });
    }
    await click(0, looked);
  }
  for (const refused of await page.evaluate(() => globalThis.refused)) print({ problem: refused });
  const tables = await page.$$eval(".markdown table, .renderedMarkdown table", (all) => all.length);
  const missing = opensAll ? operations.filter((id) => !shown.has(id)) : [];
  print({ operations: operations.length, missing, shown: shown.size, samples, tables });
} finally {
  await browser.close();
}
