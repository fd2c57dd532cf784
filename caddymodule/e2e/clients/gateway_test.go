package clients_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// scopes are what a gateway offers that names none.
const scopes = "mcp:tools:read mcp:tools:execute"

// configured is the harness's Caddyfile with further options of the mcp_auth
// app, one a line.
func configured(t *testing.T, options ...string) string {
	t.Helper()
	const mark = "\t\tdevelopment\n"
	if strings.Count(gatewaytest.DefaultCaddyfile, mark) != 1 {
		t.Fatal("the harness's Caddyfile has changed: adapt configured")
	}
	return strings.Replace(gatewaytest.DefaultCaddyfile, mark, mark+"\t\t"+strings.Join(options, "\n\t\t")+"\n", 1)
}

// retireKeys does what an operator does after a leak: every token, grant and
// registered client ends at once.
func retireKeys(t *testing.T, g *gatewaytest.Gateway) {
	t.Helper()
	for _, step := range []string{"rotate?immediately", "retire"} {
		if r := gatewaytest.PostJSON(t, "http://"+g.Admin+"/mcp_auth/keys/"+step, ""); r.Status != http.StatusOK {
			t.Fatalf("%s keys: %d %s", step, r.Status, r.Body)
		}
	}
}
