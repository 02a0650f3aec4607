// Runs the task story with grpc-js, which reads the contract by server reflection. Argument: {url}.
import grpc from "@grpc/grpc-js";
import { GrpcReflection } from "grpc-js-reflection-client";
import { story } from "./story.mjs";

const { url } = JSON.parse(process.argv[2]);
const address = new URL(url).host;
const credentials = grpc.credentials.createInsecure();
const reflection = new GrpcReflection(address, credentials, {}, "v1");

const clients = new Map();
async function clientOf(service) {
  if (!clients.has(service)) {
    const descriptor = await reflection.getDescriptorBySymbol(service);
    const contract = descriptor.getPackageObject({ enums: Number, longs: Number, defaults: true });
    const Service = service.split(".").reduce((within, name) => within[name], contract);
    clients.set(service, new Service(address, credentials));
  }
  return clients.get(service);
}

// Reflection returns field names as in the contract: first_name.
const renamed = (rename) => function deep(value) {
  if (Array.isArray(value)) return value.map(deep);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [rename(name), deep(inner)]));
};
const toSnake = renamed((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
const toCamel = renamed((name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()));

async function call(rpc, message, { token, account } = {}) {
  const [service, method] = rpc.split("/");
  const client = await clientOf(service);
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  if (account) metadata.set("x-account-id", account);
  return new Promise((resolve, reject) => {
    client[method](toSnake(message), metadata, { deadline: Date.now() + 20_000 }, (error, answer) => {
      if (!error) return resolve(toCamel(answer));
      const [details] = error.metadata.get("grpc-status-details-bin");
      error.refusal = { code: error.code, message: error.details, status: details?.toString("base64") };
      reject(error);
    });
  });
}

await story(call, url);
process.exit();
