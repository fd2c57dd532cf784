// Package standard plugs in everything that this project has: the host module,
// every store and every login. It is what xcaddy builds in:
//
//	xcaddy build --with github.com/caddy-mcp/caddy-mcp-auth/caddymodule/standard
//
// It owns nothing. Import caddymodule and single guests instead to build a
// smaller server.
package standard

import (
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule"                 // the app and its handlers
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/auto"     // mcp_auth.logins.auto
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/embedded" // mcp_auth.stores.embedded
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/memory"   // mcp_auth.stores.memory
)
