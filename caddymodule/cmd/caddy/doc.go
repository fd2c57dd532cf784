// Command caddy is Caddy with the standard modules, this project's modules and
// the mcp-demo command. It is built without xcaddy:
//
//	go run ./caddymodule/cmd/caddy mcp-demo
//	go build -o caddy ./caddymodule/cmd/caddy
//
// It owns the command mcp-demo and what the environment variables of the demo
// mean. The gateway itself lives in caddymodule, the MCP server in mockmcp.
package main
