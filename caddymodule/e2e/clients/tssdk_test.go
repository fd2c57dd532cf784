package clients_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// tsKinds are the TypeScript clients: SDK 1.x and 2.x, each over streamable
// HTTP and over HTTP+SSE, and 2.x in the revision without sessions.
var tsKinds = []struct{ name, generation, transport, path, protocol string }{
	{"v1", "v1", "http", "/mcp", "2025-11-25"},
	{"v1 SSE", "v1", "sse", "/sse", "2025-11-25"},
	{"v2", "v2", "http", "/mcp", "2025-11-25"},
	{"v2 SSE", "v2", "sse", "/sse", "2025-11-25"},
	{"v2 2026-07-28", "v2-modern", "http", "/mcp", "2026-07-28"},
}

// TestTypeScriptSDK: from a URL to tool calls, then a refused access token that
// a refresh replaces, and at last a grant that was revoked.
func TestTypeScriptSDK(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configured(t, "refresh_grace off")})
	for _, kind := range tsKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			c := startTS(t, kind.generation, kind.transport, g.URL+kind.path)
			connected := c.must(t, command{Do: "connect"})
			checkFirstContact(t, g.URL, g.URL+kind.path, connected.Exchanges)
			if got := connected.Result["protocol"]; got != kind.protocol {
				t.Errorf("negotiated %v, want %s", got, kind.protocol)
			}
			tokens, _ := connected.Result["tokens"].(map[string]any)
			if !sameScopes(tokens["scope"]) || tokens["expires_in"] != 3600.0 {
				t.Errorf("the SDK was told of the tokens: %v", tokens)
			}
			checkTools(t, c)
			checkRefused(t, c, kind.path)
			checkRevoked(t, c, kind.transport == "sse")
		})
	}
}

// checkTools: what the server says reaches the client, and what the gateway
// knows of the user reaches the server.
func checkTools(t *testing.T, c *script) {
	t.Helper()
	tools, _ := c.must(t, command{Do: "list"}).Result["tools"].([]any)
	if len(tools) != 5 {
		t.Errorf("%d tools, want 5", len(tools))
	}
	c.hello(t, "TypeScript").expect(t, steps{})
	profile := c.must(t, command{Do: "call", Tool: "get_user_profile"}).text()
	if !strings.Contains(profile, "alice@example.com") {
		t.Errorf("the server was told of the user: %q", profile)
	}
}

// checkRefused: an access token that is no good is answered in the middle of a
// session with 401 and invalid_token, and the SDK refreshes.
func checkRefused(t *testing.T, c *script, path string) {
	t.Helper()
	c.must(t, command{Do: "spoil"})
	all := c.hello(t, "TypeScript")
	all.expect(t, steps{refreshes: 1})
	refused := all.to(path).answered(http.StatusUnauthorized)
	if len(refused) != 1 || !strings.Contains(refused[0].Challenge, `error="invalid_token"`) {
		t.Errorf("refused: %+v", refused)
	}
	if r := all.grants("refresh_token"); len(r) == 1 && (!sameScopes(r[0].Reply["scope"]) || r[0].Form["resource"] == "") {
		t.Errorf("refresh: %+v", r[0])
	}
	c.hello(t, "again").expect(t, steps{})
}

// checkRevoked: after a reuse of its first refresh token the client's grant is
// gone. The SDK signs in again with the registration that it has; a session of
// HTTP+SSE ends with its stream, so the program connects anew.
func checkRevoked(t *testing.T, c *script, streams bool) {
	t.Helper()
	r := c.must(t, command{Do: "reuse", Index: 0}).Result
	if r["status"] != 400.0 || r["error"] != "invalid_grant" {
		t.Fatalf("reuse: %v", r)
	}
	var all exchanges
	if streams {
		all = c.must(t, command{Do: "connect"}).Exchanges
		c.hello(t, "TypeScript").expect(t, steps{})
	} else {
		all = c.hello(t, "TypeScript")
	}
	all.expect(t, steps{authorizations: 1, codes: 1})
	if bad := all.grants("refresh_token"); len(bad) != 1 || bad[0].Reply["error"] != "invalid_grant" {
		t.Errorf("refresh after the revocation: %+v", bad)
	}
}

// TestTypeScriptSDKForgotten: the gateway no longer knows tokens and clients.
// The refresh is refused as invalid_client, so the SDK drops its registration,
// registers and signs in again.
func TestTypeScriptSDKForgotten(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	for _, generation := range []string{"v1", "v2", "v2-modern"} {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			g := gatewaytest.Start(t, gatewaytest.Options{})
			c := startTS(t, generation, "http", g.URL+"/mcp")
			c.must(t, command{Do: "connect"})
			c.hello(t, "TypeScript").expect(t, steps{})
			retireKeys(t, g)
			all := c.hello(t, "TypeScript")
			all.expect(t, steps{registrations: 1, authorizations: 1, codes: 1})
			bad := all.grants("refresh_token")
			if len(bad) != 1 || bad[0].Status != http.StatusUnauthorized || bad[0].Reply["error"] != "invalid_client" {
				t.Errorf("refresh of an unknown client: %+v", bad)
			}
			c.must(t, command{Do: "close"})
		})
	}
}

// TestTypeScriptSDKExpired waits until an access token is really too old, which
// takes its lifetime and the minute that clocks may differ. The SDKs, which
// look at no expiry, find out by 401 and refresh.
func TestTypeScriptSDKExpired(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configured(t, "access_token_lifetime 1s")})
	clients := map[string]*script{}
	for _, generation := range []string{"v1", "v2"} {
		clients[generation] = startTS(t, generation, "http", g.URL+"/mcp")
		clients[generation].must(t, command{Do: "connect"})
	}
	for generation, c := range clients {
		expired := c.must(t, command{Do: "expire", Seconds: 90})
		if challenge, _ := expired.Result["challenge"].(string); !strings.Contains(challenge, `error="invalid_token"`) {
			t.Errorf("%s: an expired token is challenged with %q", generation, challenge)
		}
		c.hello(t, generation).expect(t, steps{refreshes: 1})
	}
}
