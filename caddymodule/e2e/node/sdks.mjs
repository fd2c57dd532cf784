// The generations of the TypeScript SDK behind one face: what a program that uses them has to
// import, and which protocol revisions they ask for.

const loaders = {
  // @modelcontextprotocol/sdk, the 1.x line.
  async v1() {
    const [{ Client }, http, sse, { UnauthorizedError }, machines] = await Promise.all([
      import('@modelcontextprotocol/sdk/client/index.js'),
      import('@modelcontextprotocol/sdk/client/streamableHttp.js'),
      import('@modelcontextprotocol/sdk/client/sse.js'),
      import('@modelcontextprotocol/sdk/client/auth.js'),
      import('@modelcontextprotocol/sdk/client/auth-extensions.js'),
    ]);
    return {
      ...machines,
      Client,
      UnauthorizedError,
      transports: { http: http.StreamableHTTPClientTransport, sse: sse.SSEClientTransport },
      // 1.x wants the code alone.
      finish: (transport, callback) => transport.finishAuth(callback.get('code')),
    };
  },
  // @modelcontextprotocol/client, the 2.x line, as it comes: revisions up to 2025-11-25.
  async v2() {
    const sdk = await import('@modelcontextprotocol/client');
    return {
      ...sdk,
      transports: { http: sdk.StreamableHTTPClientTransport, sse: sdk.SSEClientTransport },
      // 2.x takes the whole callback, and checks iss in it.
      finish: (transport, callback) => transport.finishAuth(callback),
    };
  },
  // The 2.x line when it may speak 2026-07-28, which has no sessions.
  async 'v2-modern'() {
    return { ...(await loaders.v2()), options: { versionNegotiation: { mode: 'auto' } } };
  },
};

/** Loads one generation of the SDK. */
export function loadSDK(name) {
  const load = loaders[name];
  if (!load) throw new Error(`unknown SDK ${name}: use ${Object.keys(loaders).join(', ')}`);
  return load();
}
