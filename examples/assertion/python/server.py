"""A server behind the gateway that believes its signed assertion, and nothing else.

It is an example to copy from: verify is what matters. It needs PyJWT and cryptography.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]
# It keeps the keys for five minutes, and fetches them again for one that is new.
KEYS = jwt.PyJWKClient(os.environ.get("JWKS", ISSUER + "/oauth/jwks.json"), lifespan=300)


def verify(assertion):
    """Return the claims of an assertion that the gateway made for this server."""
    # Access tokens are signed by the same issuer, for the same audience.
    if jwt.get_unverified_header(assertion).get("typ") != "mcp-assertion+jwt":
        raise jwt.InvalidTokenError("it is no assertion")
    return jwt.decode(
        assertion,
        KEYS.get_signing_key_from_jwt(assertion).key,
        algorithms=["ES256"],
        issuer=ISSUER,
        audience=AUDIENCE,
        options={"require": ["iss", "aud", "sub", "iat", "exp"]},
    )


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            status, answer = 200, {"user": verify(self.headers.get("X-Mcp-Assertion", ""))["sub"]}
        except (jwt.PyJWTError, OSError) as error:
            self.log_message("refused: %s", error)
            status, answer = 401, {"error": "only the gateway may call"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Handler).serve_forever()
