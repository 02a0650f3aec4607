// Drives a published client of the WebSocket, unchanged, in Node or in Chromium, over a network that can be lost.
// Argument: {client: "rails" | "anycable", browser, url, query, clock, subscribe: [identifier, ...]}. `clock` is how far the
// client's clock is ahead, in milliseconds. Reads {"network": false}, {"network": true} and {"subscribe": identifier} from
// standard input, a line each, and prints what the client's callbacks are called with: {event, identifier, data}.
import { existsSync, readFileSync } from "node:fs";
import net from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const { client, browser, url, query, clock = 0, subscribe } = JSON.parse(process.argv[2]);
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

// The network: a proxy whose connections can be broken, and which then accepts none.
const target = new URL(url);
const connections = new Set();
let isUp = true;
const proxy = net.createServer((near) => {
  if (!isUp) return near.destroy();
  const far = net.connect(Number(target.port), target.hostname);
  for (const [one, other] of [[near, far], [far, near]]) {
    connections.add(one);
    one.on("error", () => {}).on("close", () => connections.delete(one) && other.destroy());
    one.pipe(other);
  }
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const host = `127.0.0.1:${proxy.address().port}`;
const setNetwork = (up) => {
  isUp = up;
  if (!up) connections.forEach((connection) => connection.destroy());
};

// What runs beside the client: in this process or in a page. `library` is the client's module.
const start = (library, client, socketUrl, clock, print) => {
  const now = Date.now.bind(Date);
  Date.now = () => now() + clock;
  if (client === "rails") {
    const consumer = library.createConsumer(socketUrl);
    return (identifier) => {
      const callback = (event) => (data) => print({ event, identifier, data: data ?? null });
      const events = ["connected", "disconnected", "rejected", "received"];
      consumer.subscriptions.create(identifier, Object.fromEntries(events.map((event) => [event, callback(event)])));
    };
  }
  const cable = library.createCable(socketUrl, { protocol: "actioncable-v1-ext-json", logLevel: "error" });
  return ({ channel: name, ...parameters }) => {
    const identifier = { channel: name, ...parameters };
    class Followed extends library.Channel {
      static identifier = name;
    }
    const channel = new Followed(parameters);
    channel.on("connect", (data) => print({ event: "connected", identifier, data }));
    channel.on("disconnect", () => print({ event: "disconnected", identifier, data: null }));
    channel.on("close", (error) => print({ event: "rejected", identifier, data: String(error?.reason ?? error) }));
    channel.on("info", (data) => print({ event: "info", identifier, data }));
    channel.on("message", (data, meta) => print({ event: "received", identifier, data, meta }));
    cable.subscribe(channel);
  };
};

const socketUrl = `ws://${host}/cable?${query}`;
let add;
if (browser) {
  const { default: puppeteer } = await import("puppeteer-core");
  const places = ["/usr/bin/chromium", "/Applications/Chromium.app/Contents/MacOS/Chromium"];
  const chromium = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? places.find((place) => existsSync(place)),
    // Chromium's sandbox does not work as root, and not in containers without user namespaces.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  process.on("exit", () => chromium.process().kill("SIGKILL"));
  const page = await chromium.newPage();
  page.on("pageerror", (error) => print({ problem: error.message }));
  // A page of the gateway's own host, with the modules that a bundler would put there.
  const packages = fileURLToPath(new URL("node_modules/", import.meta.url));
  await page.setBypassCSP(true);
  await page.setRequestInterception(true);
  page.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (!pathname.startsWith("/modules/")) return request.continue();
    request.respond({ contentType: "text/javascript", body: readFileSync(packages + pathname.slice("/modules/".length)) });
  });
  await page.goto(`http://${host}/healthz`);
  await page.evaluate(() => {
    const map = document.createElement("script");
    map.type = "importmap";
    map.textContent = JSON.stringify({ imports: { nanoevents: "/modules/nanoevents/index.js" } });
    document.head.append(map);
  });
  await page.exposeFunction("printLine", print);
  const module = client === "rails" ? "@rails/actioncable/app/assets/javascripts/actioncable.esm.js" : "@anycable/core/index.js";
  await page.evaluate(
    async (start, module, client, socketUrl, clock) => {
      const library = await import(module);
      globalThis.add = eval(`(${start})`)(library, client, socketUrl, clock, globalThis.printLine);
    },
    String(start), `/modules/${module}`, client, socketUrl, clock,
  );
  add = (identifier) => page.evaluate((identifier) => globalThis.add(identifier), identifier);
} else {
  const { WebSocket } = await import("ws");
  globalThis.WebSocket = WebSocket;
  const library = await import(client === "rails" ? "@rails/actioncable" : "@anycable/core");
  if (client === "rails") {
    // The client expects a browser; these are the browser objects that it uses.
    library.adapters.WebSocket = WebSocket;
    globalThis.document ??= { visibilityState: "visible" };
    globalThis.addEventListener ??= () => {};
    globalThis.removeEventListener ??= () => {};
  }
  add = start(library, client, socketUrl, clock, print);
}
for (const identifier of subscribe) await add(identifier);
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    if (command.subscribe) add(command.subscribe);
    if (command.network !== undefined) setNetwork(command.network);
  })
  .on("close", () => process.exit());
