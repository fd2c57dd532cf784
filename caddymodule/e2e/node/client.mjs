// An MCP client on the TypeScript SDK, driven by a test.
//
//   node client.mjs v1|v2|v2-modern http|sse <MCP endpoint> <redirect URI>
//
// It reads commands such as {"do":"call","tool":"hello","args":{"name":"x"}} and answers as lines.mjs says.

import { setTimeout as pause } from 'node:timers/promises';

import { serve } from './lines.mjs';
import { Person } from './person.mjs';
import { MemoryProvider } from './provider.mjs';
import { recordingFetch } from './record.mjs';
import { loadSDK } from './sdks.mjs';

const [generation, kind, endpoint, redirectUrl] = process.argv.slice(2);
const sdk = await loadSDK(generation);
const wire = recordingFetch();
let provider = new MemoryProvider(redirectUrl, wire.fetch);
let client;
let transport;

/**
 * Connects anew, with a sign-in if the server asks for one: a transport that saw a 401 is spent. With a session, it goes
 * on with that instead of opening one.
 */
async function connect({ session } = {}) {
  await client?.close();
  const resumed = session && { sessionId: session, protocolVersion: '2025-11-25' };
  for (let attempt = 0; ; attempt++) {
    transport = new sdk.transports[kind](new URL(endpoint), { authProvider: provider, fetch: wire.fetch, ...resumed });
    client = new sdk.Client({ name: 'caddy-mcp-auth-e2e', version: '1.0.0' }, sdk.options);
    client.onerror = () => {}; // what matters comes back as a rejection
    try {
      await client.connect(transport);
      break;
    } catch (error) {
      if (attempt > 0 || !(error instanceof sdk.UnauthorizedError)) throw error;
      await signIn();
    }
  }
  return {
    protocol: transport.protocolVersion ?? transport._protocolVersion,
    session: transport.sessionId,
    tokens: shown(provider.tokens()),
  };
}

/** Hands the SDK what the browser came back with. */
async function signIn() {
  const callback = provider.callback;
  provider.callback = undefined;
  await sdk.finish(transport, callback);
}

/** Calls a tool, again after a sign-in if the server wants one. */
async function call({ tool, args = {} }) {
  const request = { name: tool, arguments: args };
  try {
    return await client.callTool(request);
  } catch (error) {
    if (!(error instanceof sdk.UnauthorizedError)) throw error;
    await signIn();
    return await client.callTool(request);
  }
}

/** Uses a refresh token of the past, as a thief would. */
async function reuse({ index = 0 }) {
  const metadata = await (await fetch(new URL('/.well-known/oauth-authorization-server', endpoint))).json();
  const response = await fetch(metadata.token_endpoint, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: provider.issued[index].refresh_token,
      client_id: provider.clientInformation().client_id,
    }),
  });
  return { status: response.status, ...(await response.json()) };
}

/** Waits until the server no longer takes the access token. */
async function expire({ seconds }) {
  const authorization = `Bearer ${provider.tokens().access_token}`;
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await pause(500)) {
    const response = await fetch(new URL('/mcp/tools/list', endpoint), { method: 'POST', headers: { authorization } });
    await response.body?.cancel();
    if (response.status === 401) return { challenge: response.headers.get('www-authenticate') };
  }
  throw new Error(`the access token is still good after ${seconds} seconds`);
}

/** A token response without its secrets. */
const shown = (tokens) => ({ ...tokens, access_token: tokens.access_token?.length, refresh_token: tokens.refresh_token?.length });

/** Becomes a client with a metadata document, one that the operator knows, or one that registers for a method. */
function become({ document, id, secret, method }) {
  if (document) provider.clientMetadataUrl = document;
  else if (id) provider.saveClientInformation({ client_id: id, client_secret: secret });
  else provider.method = method;
}

/** Becomes a program without a person, which has a secret or a private key (client credentials). */
function alone({ id, secret, key }) {
  const expectedIssuer = new URL(endpoint).origin;
  provider = key
    ? new sdk.PrivateKeyJwtProvider({ clientId: id, privateKey: key, algorithm: key.alg, expectedIssuer })
    : new sdk.ClientCredentialsProvider({ clientId: id, clientSecret: secret, expectedIssuer });
}

await serve({
  person: ({ user, password }) => {
    provider.person = new Person(user, password);
  },
  become,
  alone,
  connect,
  call,
  reuse,
  expire,
  list: () => client.listTools(),
  spoil: () => provider.spoil(),
  close: () => client.close(),
}, wire);
