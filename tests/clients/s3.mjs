// A real S3-compatible server (the npm package @20minutes/s3rver, which checks signatures), on a free port of this
// machine. Argument: {bucket, folder}, the bucket and its storage folder. Prints {endpoint, access_key,
// secret_key}. Exits at the end of standard input.
import { createInterface } from "node:readline";

// Standard output is reserved for the test.
console.info = console.warn = console.log = console.error;
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");
// The server omits characters that SigV4 encodes in addition to encodeURIComponent.
const encode = globalThis.encodeURIComponent;
globalThis.encodeURIComponent = (text) =>
  encode(text).replace(/[!'()*]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
const { default: S3rver } = await import("@20minutes/s3rver");

const { bucket, folder } = JSON.parse(process.argv[2]);
const server = new S3rver({
  address: "127.0.0.1",
  port: 0,
  directory: folder,
  silent: true,
  vhostBuckets: false,
  configureBuckets: [{ name: bucket }],
});
const { address, port } = await server.run();
// The server's only account.
print({ endpoint: `http://${address}:${port}`, access_key: "S3RVER", secret_key: "S3RVER" });

createInterface({ input: process.stdin }).on("close", () => process.exit());
