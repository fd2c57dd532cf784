// A server behind the gateway that believes its signed assertion, and nothing else.
// It is an example to copy from: verify is what matters. It needs jose from npm, and
// a Node that runs TypeScript, which is 22.18 or newer.
import { createServer } from 'node:http'
import process from 'node:process'
import { createRemoteJWKSet, jwtVerify } from 'jose'

// Assertion is some of what the gateway says of a call; docs/identity.md has all.
interface Assertion {
  sub: string
  client_id?: string
  scope?: string
  groups?: string[]
  method?: string
  tool?: string
}

function setting(name: string, otherwise?: string): string {
  const value = process.env[name] ?? otherwise
  if (value === undefined) {
    throw new Error(`the variable ${name} is not set`)
  }
  return value
}

const issuer = setting('ISSUER')
const audience = setting('AUDIENCE')

// It keeps the keys for ten minutes, and fetches them again for one that is new.
const keys = createRemoteJWKSet(new URL(setting('JWKS', `${issuer}/oauth/jwks.json`)))

// verify returns the claims of an assertion that the gateway made for this server.
async function verify(assertion: string): Promise<Assertion> {
  const { payload } = await jwtVerify<Assertion>(assertion, keys, {
    typ: 'mcp-assertion+jwt', // access tokens are signed by the same issuer, for the same audience
    algorithms: ['ES256'],
    issuer,
    audience,
    requiredClaims: ['sub', 'iat', 'exp'],
  })
  return payload
}

createServer(async (request, response) => {
  const header = request.headers['x-mcp-assertion']
  response.setHeader('Content-Type', 'application/json')
  try {
    const { sub } = await verify(typeof header === 'string' ? header : '')
    response.end(JSON.stringify({ user: sub }))
  } catch (error) {
    console.error('refused:', error instanceof Error ? error.message : error)
    response.statusCode = 401
    response.end(JSON.stringify({ error: 'only the gateway may call' }))
  }
}).listen(Number(setting('PORT', '9000')), '127.0.0.1')
