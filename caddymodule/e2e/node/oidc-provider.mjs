// A real OpenID provider on the loopback, for the Go tests in ../oidctest.
//
// The first line of standard input says what it knows: { port, clients, accounts, claims }. It answers
// with a line that has its issuer, and ends when standard input does.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import Provider from 'oidc-provider';

const host = '127.0.0.1';
const lines = createInterface({ input: process.stdin });
const { value } = await lines[Symbol.asyncIterator]().next();
process.stdin.on('end', () => process.exit(0)).resume();
const setup = JSON.parse(value);

// New keys at every start: a restart is a key rotation.
const key = (alg, type, options) => {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${randomBytes(6).toString('hex')}` };
};
const keys = [
  key('RS256', 'rsa', { modulusLength: 2048 }),
  key('PS256', 'rsa', { modulusLength: 2048 }),
  key('ES256', 'ec', { namedCurve: 'P-256' }),
  key('EdDSA', 'ed25519', {}),
];

const accounts = new Map(setup.accounts.map((a) => [a.subject, a.claims]));

const configuration = {
  clients: setup.clients.map((c) => ({
    client_id: c.id,
    client_secret: c.secret || undefined,
    token_endpoint_auth_method: c.secret ? c.auth_method || 'client_secret_basic' : 'none',
    id_token_signed_response_alg: c.signing_alg || 'RS256',
    redirect_uris: c.redirect_uris,
    grant_types: ['authorization_code'],
    response_types: ['code'],
  })),
  claims: setup.claims,
  // Claims of scopes are in the ID token as well, as they are at the big providers.
  conformIdTokenClaims: setup.thin_id_tokens,
  cookies: { keys: [randomBytes(32).toString('hex')] },
  enabledJWA: { idTokenSigningAlgValues: keys.map((k) => k.alg) },
  features: { devInteractions: { enabled: false } },
  findAccount: (_ctx, subject) => accounts.has(subject) && {
    accountId: subject,
    claims: () => ({ ...accounts.get(subject), sub: subject }),
  },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  jwks: { keys },
  // Whoever signs in agrees to everything: consent is not what is tested here.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope([...ctx.oidc.requestParamScopes].join(' '));
    await grant.save();
    return grant;
  },
  pkce: { required: () => true },
  scopes: ['openid', 'offline_access', ...Object.keys(setup.claims)],
  ttl: {
    AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600,
  },
};

const text = (s) => s.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

// page has a button for each account and one to refuse.
const page = (uid) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>Provider</title>
<h1>Sign in at the provider</h1>
<form method="post" action="/interaction/${text(uid)}">
${[...accounts.keys()].map((s) => `<button name="account" value="${text(s)}">${text(s)}</button>`).join('\n')}
<button name="refuse" value="1">No</button>
</form></html>`;

const body = async (req) => {
  let all = '';
  for await (const chunk of req.setEncoding('utf8')) {
    all += chunk;
    if (all.length > 4096) throw new Error('the form is too long');
  }
  return new URLSearchParams(all);
};

// interact answers the pages on which a person signs in or refuses.
const interact = async (provider, req, res) => {
  if (req.method === 'GET') {
    const { uid } = await provider.interactionDetails(req, res);
    res.setHeader('Content-Type', 'text/html; charset=utf-8').end(page(uid));
    return;
  }
  const form = await body(req);
  const result = form.has('refuse')
    ? { error: 'access_denied', error_description: 'The person said <b>no</b>' }
    : { login: { accountId: form.get('account') } };
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
};

const server = createServer();
server.listen(setup.port || 0, host, () => {
  const issuer = `http://${host}:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  const handle = provider.callback();
  server.on('request', (req, res) => {
    if (!req.url.startsWith('/interaction/')) {
      handle(req, res);
      return;
    }
    interact(provider, req, res).catch((err) => {
      console.error(err);
      if (!res.headersSent) res.writeHead(400).end();
    });
  });
  provider.on('server_error', (_ctx, err) => console.error(err));
  console.log(JSON.stringify({ issuer }));
});
