// A server behind the gateway that believes its signed assertion, and nothing else.
// It is an example to copy from: verify is what matters. It needs jose from npm.
import { createServer } from 'node:http'
import process from 'node:process'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { ISSUER, AUDIENCE, JWKS = `${ISSUER}/oauth/jwks.json`, PORT = '9000' } = process.env

// It keeps the keys for ten minutes, and fetches them again for one that is new.
const keys = createRemoteJWKSet(new URL(JWKS))

// verify returns the claims of an assertion that the gateway made for this server.
async function verify(assertion) {
  const { payload } = await jwtVerify(assertion, keys, {
    typ: 'mcp-assertion+jwt', // access tokens are signed by the same issuer, for the same audience
    algorithms: ['ES256'],
    issuer: ISSUER,
    audience: AUDIENCE,
    requiredClaims: ['sub', 'iat', 'exp'],
  })
  return payload
}

createServer(async (request, response) => {
  response.setHeader('Content-Type', 'application/json')
  try {
    const { sub } = await verify(request.headers['x-mcp-assertion'] ?? '')
    response.end(JSON.stringify({ user: sub }))
  } catch (error) {
    console.error('refused:', error.message)
    response.statusCode = 401
    response.end(JSON.stringify({ error: 'only the gateway may call' }))
  }
}).listen(Number(PORT), '127.0.0.1')
