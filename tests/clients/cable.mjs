// Drives the published npm client of Action Cable, unchanged. Argument: {url, subscribe: [identifier, ...]}.
// Reads {"subscribe": identifier} and {"unsubscribe": identifier} from standard input, a line each, and prints
// the arguments of the client's callbacks. Exits at the end of standard input.
import { createInterface } from "node:readline";
import { adapters, createConsumer } from "@rails/actioncable";
import { WebSocket } from "ws";

// The client expects a browser; these are the three browser objects that it uses.
adapters.WebSocket = WebSocket;
globalThis.document ??= { visibilityState: "visible" };
globalThis.addEventListener ??= () => {};
globalThis.removeEventListener ??= () => {};

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const { url, subscribe } = JSON.parse(process.argv[2]);
const consumer = createConsumer(url);
const subscriptions = new Map();

const add = (identifier) => {
  const callback = (event) => (data) =>
    print({ event: data?.event === "resync" ? "resync" : event, identifier, data: data ?? null });
  const callbacks = Object.fromEntries(
    ["connected", "disconnected", "rejected", "received"].map((event) => [event, callback(event)]),
  );
  subscriptions.set(JSON.stringify(identifier), consumer.subscriptions.create(identifier, callbacks));
};

subscribe.forEach(add);
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    if (command.subscribe) add(command.subscribe);
    if (command.unsubscribe) subscriptions.get(JSON.stringify(command.unsubscribe)).unsubscribe();
  })
  .on("close", () => process.exit());
