package caddymodule

import (
	"context"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

func TestSameHost(t *testing.T) {
	for _, tc := range []struct {
		origin, host string
		want         bool
	}{
		{"https://mcp.example.com", "mcp.example.com", true},
		{"https://mcp.example.com", "MCP.example.com", true},
		{"https://mcp.example.com", "mcp.example.com:443", true},
		{"https://mcp.example.com:8443", "mcp.example.com:8443", true},
		{"http://localhost:8080", "127.0.0.1:8080", true},
		{"http://localhost:8080", "[::1]:8080", true},
		{"https://mcp.example.com", "other.example.com", false},
		{"https://mcp.example.com", "mcp.example.com:8443", false},
		{"https://mcp.example.com:8443", "mcp.example.com", false},
		{"http://localhost:8080", "localhost:8081", false},
		{"http://localhost:8080", "localhost", false},
		{"https://mcp.example.com", "", false},
		{"https://mcp.example.com", "mcp.example.com@evil", false},
		{"https://mcp.example.com", "mcp.example.com/x", false},
	} {
		if got := sameHost(tc.origin, tc.host); got != tc.want {
			t.Errorf("sameHost(%q, %q) = %v", tc.origin, tc.host, got)
		}
	}
}

// TestPlaceholdersAreTheTokens: whatever user an authentication before this one
// has found, the upstream server and the access log are told the token's, and
// none of the other's attributes.
func TestPlaceholdersAreTheTokens(t *testing.T) {
	repl := caddy.NewEmptyReplacer()
	for _, name := range []string{"id", "email", "name", "client_id", "scope", "groups", "grant_id", "role"} {
		repl.Set("http.auth.user."+name, "another user's")
	}
	repl.Set("http.auth.other", "stays")
	setPlaceholders(context.WithValue(t.Context(), caddy.ReplacerCtxKey, repl), &resource.Token{AccessTokenClaims: oauth.AccessTokenClaims{
		Subject: "alice", Email: "alice@example.com", Name: "Alice", ClientID: "client", Scope: "read", GrantID: "grant",
		Groups: []string{"staff", "a,b", "50%"},
	}})
	const all = "{http.auth.user.id} {http.auth.user.email} {http.auth.user.name} {http.auth.user.client_id} " +
		"{http.auth.user.scope} {http.auth.user.grant_id} {http.auth.user.groups} <{http.auth.user.role}> {http.auth.other}"
	if got, want := repl.ReplaceAll(all, ""), "alice alice@example.com Alice client read grant staff,a%2Cb,50%25 <> stays"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
