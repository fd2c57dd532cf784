// A strict OAuth client, oauth4webapi, driven by a test.
//
//   node oauth4webapi.mjs <MCP endpoint> <redirect URI> <user> <password>
//
// It reads and writes lines as client.mjs does. Every answer of the server goes through the library's
// own checks; what they refuse is the error of the command.

import * as oauth from 'oauth4webapi';

import { serve } from './lines.mjs';
import { Person } from './person.mjs';
import { recordingFetch } from './record.mjs';

const [endpoint, redirectUri, user, password] = process.argv.slice(2);
const wire = recordingFetch();
const options = { [oauth.customFetch]: wire.fetch, [oauth.allowInsecureRequests]: true };
let server;
let client;
let proof;
let tokens;

const proofs = {
  none: () => oauth.None(),
  client_secret_post: ({ client_secret }) => oauth.ClientSecretPost(client_secret),
  client_secret_basic: ({ client_secret }) => oauth.ClientSecretBasic(client_secret),
  private_key_jwt: (_, key) => oauth.PrivateKeyJwt(...key),
};

/** From the URL of the MCP server to the metadata of its authorization server, in both dialects. */
async function discover() {
  const resource = await oauth.processResourceDiscoveryResponse(
    new URL(endpoint),
    await oauth.resourceDiscoveryRequest(new URL(endpoint), options),
  );
  const issuer = new URL(resource.authorization_servers[0]);
  for (const algorithm of ['oidc', 'oauth2']) {
    const response = await oauth.discoveryRequest(issuer, { ...options, algorithm });
    server = await oauth.processDiscoveryResponse(issuer, response);
  }
  return { ...server };
}

/** Registers and becomes that client. */
async function register({ method }) {
  const metadata = {
    client_name: 'oauth4webapi test',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: method,
  };
  const response = await oauth.dynamicClientRegistrationRequest(server, metadata, options);
  client = await oauth.processDynamicClientRegistrationResponse(response);
  if (client.token_endpoint_auth_method !== method) throw new Error(`registered for ${client.token_endpoint_auth_method}`);
  proof = proofs[method](client);
  return { client_id: client.client_id };
}

/** Becomes a client that the gateway's operator knows, with a secret or with a private key. */
async function become({ id, secret, method, key }) {
  client = { client_id: id, client_secret: secret, token_endpoint_auth_method: method };
  proof = proofs[method](client, key && (await imported(key)));
}

/** What the library has to know of a private key. Ed25519 keys sign under the name of the algorithm that they have. */
async function imported(jwk) {
  const { alg, kid } = jwk;
  const hash = `SHA-${alg.slice(2)}`;
  const algorithms = {
    E: { name: 'ECDSA', namedCurve: jwk.crv },
    R: { name: 'RSASSA-PKCS1-v1_5', hash },
    P: { name: 'RSA-PSS', hash },
  };
  const algorithm = jwk.crv === 'Ed25519' ? { name: 'Ed25519' } : algorithms[alg[0]];
  const key = await crypto.subtle.importKey('jwk', { ...jwk, alg: undefined }, algorithm, false, ['sign']);
  const named = (header) => Object.assign(header, { alg });
  return [{ key, kid }, { [oauth.modifyAssertion]: named }];
}

/** The authorization code grant with PKCE, RFC 8707 and RFC 9207. */
async function signIn() {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id: client.client_id,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: 'mcp:tools:read mcp:tools:execute',
    state,
    resource: endpoint,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  const callback = new URL(await new Person(user, password).visit(url));
  const parameters = oauth.validateAuthResponse(server, client, callback, state);
  const response = await oauth.authorizationCodeGrantRequest(server, client, proof, parameters, redirectUri, verifier, {
    ...options,
    additionalParameters: { resource: endpoint },
  });
  tokens = await oauth.processAuthorizationCodeResponse(server, client, response);
  return claims();
}

async function refresh() {
  const response = await oauth.refreshTokenGrantRequest(server, client, proof, tokens.refresh_token, options);
  tokens = await oauth.processRefreshTokenResponse(server, client, response);
  return claims();
}

async function credentials() {
  const parameters = { resource: endpoint, scope: 'mcp:tools:read' };
  const response = await oauth.clientCredentialsGrantRequest(server, client, proof, parameters, options);
  tokens = await oauth.processClientCredentialsResponse(server, client, response);
  return claims();
}

/** The access token's claims, checked as RFC 9068 asks of a resource server. */
async function claims() {
  const request = new Request(endpoint, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  return { ...(await oauth.validateJwtAccessToken(server, request, endpoint, options)) };
}

/** Calls the MCP server with the access token; the result is the status. */
async function use() {
  const headers = new Headers({ 'content-type': 'application/json', accept: 'application/json, text/event-stream' });
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  try {
    const url = new URL(endpoint);
    const response = await oauth.protectedResourceRequest(tokens.access_token, 'POST', url, headers, body, options);
    await response.body?.cancel();
    return { status: response.status };
  } catch (error) {
    if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error;
    return { status: error.status, challenge: error.cause[0].parameters };
  }
}

/** Revokes a token: one of its own by name, or one that never was. */
async function revoke({ token }) {
  const value = tokens?.[token] ?? 'a token that never was';
  await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, proof, value, options));
}

/** Asks about the last token that any client of this process got. */
async function introspect({ token }) {
  const response = await oauth.introspectionRequest(server, client, proof, tokens[token], options);
  return oauth.processIntrospectionResponse(server, client, response);
}

await serve({ discover, register, become, signIn, refresh, credentials, use, revoke, introspect }, wire);
