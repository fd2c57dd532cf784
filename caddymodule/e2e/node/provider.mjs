// An OAuthClientProvider that keeps everything in memory, and whose browser is one request, or a
// person where the server asks for one.

import { randomBytes } from 'node:crypto';

export class MemoryProvider {
  #client;
  #tokens;
  #verifier;
  #state;
  #discovery;
  #fetch;
  #redirectUrl;

  /** What the browser came back with and nobody has read yet. */
  callback;
  /** How it registers to authenticate. */
  method = 'none';
  /** The URL of the client's metadata document, if it has one. */
  clientMetadataUrl;
  /** Who sits at the browser, if anybody does. */
  person;
  /** Every token response so far. */
  issued = [];

  constructor(redirectUrl, fetchFn) {
    this.#redirectUrl = redirectUrl;
    this.#fetch = fetchFn;
  }

  get redirectUrl() {
    return this.#redirectUrl;
  }

  get clientMetadata() {
    return {
      client_name: 'TypeScript SDK test',
      redirect_uris: [this.#redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: this.method,
    };
  }

  state() {
    this.#state = randomBytes(16).toString('base64url');
    return this.#state;
  }

  clientInformation() {
    return this.#client;
  }

  saveClientInformation(client) {
    this.#client = client;
  }

  tokens() {
    return this.#tokens;
  }

  saveTokens(tokens) {
    this.#tokens = tokens;
    this.issued.push(tokens);
  }

  saveCodeVerifier(verifier) {
    this.#verifier = verifier;
  }

  codeVerifier() {
    return this.#verifier;
  }

  discoveryState() {
    return this.#discovery;
  }

  saveDiscoveryState(discovery) {
    this.#discovery = discovery;
  }

  invalidateCredentials(scope) {
    if (scope === 'all' || scope === 'client') this.#client = undefined;
    if (scope === 'all' || scope === 'tokens') this.#tokens = undefined;
    if (scope === 'all' || scope === 'verifier') this.#verifier = undefined;
    if (scope === 'all' || scope === 'discovery') this.#discovery = undefined;
  }

  /** Opens the URL as a browser would, and reads what it is sent back with. */
  async redirectToAuthorization(url) {
    const location = this.person ? await this.person.visit(url) : await this.#visit(url);
    if (!location.startsWith(`${this.#redirectUrl}?`)) throw new Error(`the browser was sent to "${location}"`);
    this.callback = new URL(location).searchParams;
    if (this.callback.get('state') !== this.#state) throw new Error('the callback has another state');
  }

  async #visit(url) {
    const response = await this.#fetch(url, { redirect: 'manual' });
    await response.body?.cancel();
    return response.headers.get('location') ?? `nowhere: ${response.status}`;
  }

  /** Replaces the access token by one that no server can accept. */
  spoil() {
    const [head, body] = this.#tokens.access_token.split('.');
    this.#tokens = { ...this.#tokens, access_token: `${head}.${body}.${randomBytes(64).toString('base64url')}` };
  }
}
