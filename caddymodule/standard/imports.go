package standard

import (
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule"                 // the app and its handlers
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/auto"     // mcp_auth.logins.auto
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/github"   // mcp_auth.logins.github
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/header"   // mcp_auth.logins.header
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/oidc"     // mcp_auth.logins.oidc
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/password" // mcp_auth.logins.password
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/embedded" // mcp_auth.stores.embedded
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/memory"   // mcp_auth.stores.memory
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/postgres" // mcp_auth.stores.postgres
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/redis"    // mcp_auth.stores.redis
)
