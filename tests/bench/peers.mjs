// Servers that the live benchmark is compared with. Argument: the name. It prints its address, and sends what is posted to
// /publish to all sockets.
import { createRequire } from "node:module";
import { createServer } from "node:http";

const require = createRequire(new URL("../clients/", import.meta.url));
const http = createServer();
let publish;
try {
  if (process.argv[2] === "ws") {
    const { WebSocketServer } = require("ws");
    const server = new WebSocketServer({ server: http, perMessageDeflate: false });
    publish = (text) => server.clients.forEach((client) => client.send(text));
  } else if (process.argv[2] === "socket.io") {
    const { Server } = require("socket.io");
    const server = new Server(http, { transports: ["websocket"], perMessageDeflate: false });
    publish = (text) => server.emit("message", JSON.parse(text));
  }
} catch (error) {
  console.log(error.code);
  process.exit();
}
http.on("request", (request, response) => {
  if (request.url !== "/publish") return;
  let text = "";
  request.on("data", (part) => (text += part)).on("end", () => {
    publish(text);
    response.end();
  });
});
http.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${http.address().port}`));
