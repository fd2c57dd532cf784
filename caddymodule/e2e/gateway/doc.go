// Package gateway holds the black-box tests of the command mcp-gateway: a person
// starts it with a password, a client is let in with that password, and the
// Caddyfile that it prints does the same.
//
// Each test runs the real Caddy of package gatewaytest. What the flags and the
// password may be, and the Caddyfile for each of them, is tested beside the
// command.
package gateway
