package trust_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestExample runs examples/existing-provider: who has the role comes in.
func TestExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(gatewaytest.Root(), "examples", "existing-provider", "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	p := startProvider(t)
	port := gatewaytest.FreePort(t)
	g := gatewaytest.Start(t, gatewaytest.Options{
		Caddyfile: "{\n\tadmin {ADMIN}\n\tpersist_config off\n\tdefault_bind 127.0.0.1\n}\n" + string(text), Port: port,
		Env: []string{
			fmt.Sprintf("SITE=http://localhost:%d", port), "ISSUER=" + p.Issuer, "AUDIENCE=team-tools", "UPSTREAM=" + echo(t),
		},
	})
	roles := func(names ...string) map[string]any { return map[string]any{"roles": names} }
	r := gatewaytest.Call(t, g.URL, p.token(t, "team-tools", "realm_access", roles("mcp-users", "offline_access")))
	want(t, "with the role", r, http.StatusOK, "")
	if got := identity(t, r, "X-Mcp-User"); got != p.Issuer+"|alice" {
		t.Errorf("the user is %s", got)
	}
	want(t, "without the role", gatewaytest.Call(t, g.URL, p.token(t, "team-tools", "realm_access", roles("offline_access"))), http.StatusForbidden, "access_denied")
	want(t, "for others", gatewaytest.Call(t, g.URL, p.token(t, "account", "realm_access", roles("mcp-users"))), http.StatusUnauthorized, "invalid_token")
	if got := servers(t, g); got != p.Issuer {
		t.Errorf("authorization_servers %s", got)
	}
}
