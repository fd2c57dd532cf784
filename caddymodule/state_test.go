package caddymodule

import (
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// TestWatched: a token ends with all that it names, also one of a kind that
// forgot the key of its client.
func TestWatched(t *testing.T) {
	claims := oauth.AccessTokenClaims{ClientID: "c", JWTID: "t", GrantID: "g", IssuedAt: 1_800_000_000}
	want := authserver.Watched{GrantID: "g", Token: "t", ClientKey: oauth.ClientKey("c"), Issued: time.Unix(1_800_000_000, 0)}
	for _, key := range []string{"", oauth.ClientKey("c")} {
		if got := watched(&resource.Token{AccessTokenClaims: claims, ClientKey: key}); got != want {
			t.Errorf("key %q: %+v", key, got)
		}
	}
	if got := watched(&resource.Token{}); got.ClientKey != "" {
		t.Errorf("no client: %+v", got)
	}
	token := &resource.Token{AccessTokenClaims: claims, ClientKey: oauth.ClientKey("c")}
	if n := testing.AllocsPerRun(100, func() { watched(token) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
