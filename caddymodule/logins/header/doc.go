// Package header takes people as an identity-aware proxy in front has signed
// them in: Authelia, authentik, oauth2-proxy, Cloudflare Access, Tailscale, or
// Caddy's own forward_auth. The proxy says in request headers who they are.
//
// It owns the guest module mcp_auth.logins.header: what proves that headers are
// the proxy's (proof.go, jwt.go, keys.go), and how they are read (fields.go). The
// interface it implements is in core/login; rules, consent and pages are the
// flow's, in core/authserver.
//
// # What is believed
//
// Anyone can send a header. So a configuration without a proof does not load,
// and a request that does not have every configured proof shows nobody:
//
//	trusted_proxies  the other end of the connection is one of these addresses;
//	                 X-Forwarded-For and the like are never looked at
//	secret_header    the request has a secret that only the proxy knows
//	jwt              the proxy has signed a token: then everything about the
//	                 person comes out of its claims, and no plain header counts,
//	                 because somebody who has a token of their own could send
//	                 another name beside it
//
// The proxy must replace what clients send under these names, not add to it. A
// header that occurs twice, a second spelling of it such as Remote_User
// (THREATS P1), control characters and overlong values are refused whatever the
// proofs say. Addresses count as verified.
//
// Behind the listener wrapper proxy_protocol, the other end of the connection is
// whoever the PROXY header names: then use secret_header or jwt. With
// trusted_proxies alone, every program at a listed address is believed: on
// 127.0.0.1 every one of that machine, in private_ranges every one of the
// network.
//
// Caddy's access log has the headers of requests as they came in. It leaves out
// Proxy-Authorization and never passes that on to upstream servers, so it is a
// good name for a secret_header of a proxy on another machine. Other names, and
// the header of jwt, need a log filter:
//
//	log {
//		format filter {
//			request>headers>Cf-Access-Jwt-Assertion delete
//		}
//	}
//
// # Which headers
//
// Presets set the names of headers, by what the products send:
//
//	authelia      Remote-User, Remote-Email, Remote-Name, Remote-Groups (,)
//	authentik     X-authentik-uid, X-authentik-email, X-authentik-name,
//	              X-authentik-groups (|); jwt X-authentik-jwt
//	oauth2-proxy  X-Forwarded-User, X-Forwarded-Email,
//	              X-Forwarded-Preferred-Username, X-Forwarded-Groups (,)
//	cloudflare    Cf-Access-Authenticated-User-Email for user and email;
//	              jwt Cf-Access-Jwt-Assertion
//	tailscale     Tailscale-User-Login for user and email, Tailscale-User-Name;
//	              encoded words (RFC 2047) are decoded, and logins such as
//	              alice@github are no addresses
//
// For authentik the user is the uid, because people may change their username.
// oauth2-proxy answers auth requests (forward_auth, nginx) with X-Auth-Request-
// in place of X-Forwarded-, if it has set-xauthrequest: then name the headers.
// Cloudflare Access is best taken by its signature:
//
//	login header {
//		preset cloudflare
//		jwt {
//			issuer   https://team.cloudflareaccess.com
//			audience 32eafc7626e737...
//			jwks_url https://team.cloudflareaccess.com/cdn-cgi/access/certs
//		}
//	}
//
// # Which paths
//
// Only browsers have a session with the proxy. Programs call the MCP server, the
// token endpoint and the metadata without one, so the proxy must let these pass,
// and ask for a sign-in at four paths only (below a path of the issuer, if it
// has one):
//
//	/oauth/authorize /oauth/consent /oauth/account
//	/authorize       (for clients of MCP revision 2025-03-26)
//
// A path that is forgotten there, or spelled in a way that the proxy does not
// recognize, costs nothing: without the proxy's proof, nobody is signed in.
//
// # forward_auth in the same Caddy
//
// By default mcp_auth runs before forward_auth, so a route block sets the order.
// There the other end of the connection is the browser, so trusted_proxies can't
// tell anything; a secret that Caddy sets itself can, if it is set only where
// forward_auth has let the request pass:
//
//	{
//		mcp_auth {
//			issuer https://mcp.example.com
//			login header {
//				preset authelia
//				secret_header X-Proxy-Secret {env.PROXY_SECRET}
//			}
//		}
//	}
//
//	mcp.example.com {
//		route {
//			@people path /authorize /oauth/authorize /oauth/consent /oauth/account
//			route @people {
//				request_header -Remote*
//				request_header -X-Proxy-Secret
//				forward_auth authelia:9091 {
//					uri /api/authz/forward-auth
//					copy_headers Remote-User Remote-Email Remote-Name Remote-Groups
//				}
//				request_header X-Proxy-Secret {env.PROXY_SECRET}
//			}
//			mcp_auth
//			reverse_proxy localhost:9000
//		}
//	}
//
// Each line has its reason. What the client sent under these names goes first,
// before Authelia or anyone sees it. If Authelia does not let the request pass,
// its answer goes to the browser and the route ends there. copy_headers sets
// what Authelia says. Only then comes the secret, in place of whatever the
// client sent, so that a request that took another way has none or a wrong one.
// And mcp_auth stands outside of the inner route, because it guards every path.
// The secret must be one that nobody else has: openssl rand -hex 32.
//
// # When people leave
//
// The proxy is asked again whenever a page is opened, and at no other time: a
// refresh of tokens does not come through it. Who may not sign in any more keeps
// their grants until these end or are revoked, unless a rule denies them.
// The time of sign-in is the token's auth_time or iat; headers don't tell it, so
// there it is the time of the request. A client that asks for a new sign-in
// (prompt=login) gets none: that is the proxy's business.
package header
