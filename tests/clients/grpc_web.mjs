// Runs the task story over gRPC-Web with the Connect client, as in a browser: fetch and HTTP/1.1. Argument:
// {url, descriptors}, the latter the path of an encoded FileDescriptorSet.
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { story } from "./story.mjs";

const { url, descriptors } = JSON.parse(process.argv[2]);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const transport = createGrpcWebTransport({ baseUrl: url, defaultTimeoutMs: 20_000 });

async function call(rpc, message, { token, account } = {}) {
  const [service, method] = rpc.split("/");
  const client = createClient(registry.getService(service), transport);
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (account) headers["x-account-id"] = account;
  try {
    return await client[method[0].toLowerCase() + method.slice(1)](message, { headers });
  } catch (caught) {
    const error = ConnectError.from(caught);
    const details = error.details.map(({ type, value }) => ({ type, value: Buffer.from(value).toString("base64") }));
    error.refusal = { code: error.code, message: error.rawMessage, details };
    throw error;
  }
}

await story(call, url);
