// Opens mails in Chromium, as wide as a telephone, and checks accessibility with axe.
// Argument: {mails: [{subject, html}], screenshots}. It prints {violation} for each axe violation, and for each mail
// {heading, text, links, fits}.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const { mails, screenshots } = JSON.parse(process.argv[2]);
const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const places = ["/usr/bin/chromium", "/Applications/Chromium.app/Contents/MacOS/Chromium"];
// Chromium's sandbox does not work as root, and not in containers without user namespaces.
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? places.find((place) => existsSync(place)),
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 360, height: 700 });
  for (const [number, { html }] of mails.entries()) {
    await page.setContent(html);
    if (screenshots) await page.screenshot({ path: `${screenshots}/mail${number}.png`, fullPage: true });
    await page.evaluate(axe);
    const violations = await page.evaluate(async () => {
      // A mail is no document of its own: it has no landmarks, and its title is the subject.
      const rules = { "document-title": { enabled: false }, region: { enabled: false }, "landmark-one-main": { enabled: false } };
      const found = await axe.run(document, { resultTypes: ["violations"], rules });
      return found.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 160)}`);
    });
    for (const violation of violations) print({ violation });
    print(await page.evaluate(() => ({
      heading: document.querySelector("h1").innerText,
      text: document.body.innerText,
      links: [...document.links].map((link) => ({ text: link.innerText, href: link.href, height: link.getBoundingClientRect().height })),
      fits: document.documentElement.scrollWidth <= innerWidth,
    })));
  }
} finally {
  await browser.close();
}
