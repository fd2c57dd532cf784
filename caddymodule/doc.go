// Package caddymodule is the Caddy side of the gateway: the app mcp_auth, the
// handlers mcp_auth and mcp_auth_server, their Caddyfile, and what turns events
// into logs and metrics.
//
// # The house
//
//	core/oauth       vocabulary: errors, metadata documents, scopes, URIs, PKCE, events
//	core/seal        sealed values and tags
//	core/keys        the key ring
//	core/atrest      encrypts what goes to the store
//	core/store       what is stored, and the contract of a store; storetest
//	core/login       what a way to sign in looks like
//	core/authserver  the authorization server: one file per endpoint and grant
//	core/resource    the enforcement point: token check, challenge, headers
//	core/mcp         reads MCP messages strictly, and takes entries out of lists
//	core/policy      rules: who may make which call, and why not
//	core/clients     what is known of real MCP clients, as data
//	core/trust       access tokens of other issuers
//	core/fetch       the HTTP client for addresses that strangers name; a cache
//	core/jose        signed tokens and public keys, read strictly
//	core/pages       HTML
//	stores, logins   guest modules, one folder each
//	standard         imports everything, for xcaddy
//	cmd/caddy        Caddy with everything, and the demo
//	../bench         what it all costs beside plain Caddy
//
// Nothing below core knows of Caddy, zap or a database driver; this package
// knows no store and no login, which come through Caddy's registry. A test
// holds these walls.
//
// # One request
//
// [Handler] receives it ahead of every other directive that acts. Metadata and
// the endpoints of the authorization server are answered there and then. Any
// other path is put before a resource.Guard, which returns a decision: refused,
// with a challenge; open; or a verified token's user's. That one is counted, its
// session looked at, and, if something depends on what it says, it is read and
// judged message by message (enforce.go): refused for good, refused until the
// client has more scopes, or let through. What passes
// loses its credentials and everything that could be mistaken for the
// gateway's word, gains the identity headers, and goes to the next handler,
// usually reverse_proxy. The answer comes back through responseGuard, which
// keeps an upstream's own challenge away from the client, takes out of lists what
// the caller may not call (lists.go), and ends streams when their token does. At
// its end a line goes to the audit log (report.go).
package caddymodule
