package enforce_test

import (
	"encoding/json"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
	"net/http"
	"testing"
)

// adminKeys lists the signing keys through the admin endpoint.
func adminKeys(tb testing.TB, g *gatewaytest.Gateway) []object {
	tb.Helper()
	r := gatewaytest.Send(tb, http.MethodGet, "http://"+g.Admin+"/mcp_auth/keys", "")
	var keys []object
	if err := json.Unmarshal([]byte(r.Body), &keys); err != nil {
		tb.Fatalf("%d %s: %v", r.Status, r.Body, err)
	}
	return keys
}
