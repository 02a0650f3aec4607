// A real OpenID provider (the npm package oidc-provider) on a free local port. Argument:
// {client_id, client_secret, accounts: {name: claims}}. Prints {issuer}; then reads {"redirect_uri": ...} from
// standard input, registers it, and prints {"ready": true}. The browser's cookie `account` selects the user;
// no password is required. Exits at the end of standard input.
import { createServer } from "node:http";
import { once } from "node:events";
import { createInterface } from "node:readline";

// Standard output is reserved for the test.
console.info = console.warn = console.log = console.error;
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const { default: Provider } = await import("oidc-provider");

const { client_id, client_secret, accounts } = JSON.parse(process.argv[2]);
let handle = (_, response) => response.writeHead(503).end();
const server = createServer((request, response) => handle(request, response)).listen(0, "127.0.0.1");
await once(server, "listening");
const issuer = `http://127.0.0.1:${server.address().port}`;
print({ issuer });

function open(redirect_uri) {
  const provider = new Provider(issuer, {
    clients: [{ client_id, client_secret, redirect_uris: [redirect_uri] }],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["given_name", "family_name", "name"] },
    features: { devInteractions: { enabled: false } },
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId, ...accounts[accountId] }) }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true },
    cookies: { keys: ["of a test"] },
  });
  provider.on("server_error", (_, error) => console.error(error));
  const callback = provider.callback();
  handle = async (request, response) => {
    if (!request.url.startsWith("/interaction/")) return callback(request, response);
    try {
      await answer(provider, request, response);
    } catch (error) {
      console.error(error);
      response.writeHead(500).end();
    }
  };
}

// Confirms every prompt of the provider.
async function answer(provider, request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  const accountId = /(?:^|; )account=(\w+)/.exec(request.headers.cookie)?.[1];
  let result;
  if (!accountId) {
    result = { error: "access_denied", error_description: "they said no" };
  } else if (prompt.name === "login") {
    result = { login: { accountId } };
  } else {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    open(JSON.parse(line).redirect_uri);
    print({ ready: true });
  })
  .on("close", () => process.exit());
