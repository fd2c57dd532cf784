// Command caddy is Caddy with the standard modules, this project's modules and
// the mcp-demo command. It is built without xcaddy:
//
//	go run ./caddymodule/cmd/caddy mcp-demo
//	go build -o caddy ./caddymodule/cmd/caddy
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
