package main

import (
	_ "time/tzdata" // as in Caddy's own command

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // Caddy's modules

	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/standard" // ours
)

func main() {
	caddycmd.RegisterCommand(demoCommand())
	caddycmd.Main()
}
