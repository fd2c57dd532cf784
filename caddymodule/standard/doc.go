// Package standard plugs in everything that this project has: the host module,
// every store and every login. It is what xcaddy builds in:
//
//	xcaddy build --with github.com/caddy-mcp/caddy-mcp-auth/caddymodule/standard
//
// It owns nothing. Import caddymodule and single guests instead to build a
// smaller server.
package standard
