// Follows a server-streaming RPC over plain HTTP: with Chromium's EventSource and WebSocket, and with the package `ws`.
// Argument: {url, path, token, account_id}. Prints what each hears: {client, event, data}, and with {client, event: "end"}
// why it has ended.
import { existsSync } from "node:fs";
import puppeteer from "puppeteer-core";
import { WebSocket } from "ws";

const { url, path, token, account_id } = JSON.parse(process.argv[2]);
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const places = ["/usr/bin/chromium", "/Applications/Chromium.app/Contents/MacOS/Chromium"];
const chromium = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? places.find((place) => existsSync(place)),
  // Chromium's sandbox does not work as root, and not in containers without user namespaces.
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
process.on("exit", () => chromium.process().kill("SIGKILL"));
const page = await chromium.newPage();
page.on("pageerror", (error) => print({ problem: error.message }));
await page.setBypassCSP(true);
await page.goto(`${url}/healthz`);
await page.exposeFunction("printLine", print);
await page.evaluate(
  ({ path, token, account_id }) => {
    const print = globalThis.printLine;
    const source = new EventSource(`${path}?${new URLSearchParams({ token, account_id })}`);
    source.onmessage = (event) => print({ client: "EventSource", event: "message", data: JSON.parse(event.data) });
    source.addEventListener("end", (event) => {
      source.close();
      print({ client: "EventSource", event: "end", data: JSON.parse(event.data).reason ?? null });
    });
    // The token is a subprotocol, which is not logged as the query is.
    const socket = new WebSocket(`${path}?account_id=${account_id}`, ["baton-v1-json", `baton.token.${token}`]);
    socket.onopen = () => print({ client: "WebSocket", event: "open", data: socket.protocol });
    socket.onmessage = (event) => print({ client: "WebSocket", event: "message", data: JSON.parse(event.data) });
    socket.onclose = (event) => print({ client: "WebSocket", event: "end", data: `${event.code} ${event.reason}` });
  },
  { path, token, account_id },
);
const headers = { authorization: `Bearer ${token}`, "x-account-id": account_id };
const socket = new WebSocket(url.replace("http", "ws") + path, { headers });
socket.on("message", (data) => print({ client: "ws", event: "message", data: JSON.parse(data) }));
socket.on("close", (code, reason) => print({ client: "ws", event: "end", data: `${code} ${reason}` }));
socket.on("error", (error) => print({ problem: error.message }));
