package readme_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestCluster runs examples/cluster-postgres and examples/cluster-redis: two
// gateways and the balancer, all as they are in the containers. One of the
// gateways ends, as docker stop ends it, and nobody notices.
func TestCluster(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]func(t *testing.T) []string{
		"postgres": func(t *testing.T) []string {
			return []string{"DATABASE_URL=" + backends.StartPostgres(t).DSN(t)}
		},
		"redis": func(t *testing.T) []string {
			const password = "a-password-of-the-example"
			s := backends.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--requirepass", password)
			return []string{"REDIS=" + s.Addr, "REDIS_PASSWORD=" + password}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testCluster(t, readFile(t, "examples/cluster-"+name+"/Caddyfile"), env(t))
		})
	}
}

func testCluster(t *testing.T, node string, env []string) {
	_, upstream := gatewaytest.Mock(t)
	port := gatewaytest.FreePort(t)
	issuer := fmt.Sprintf("ISSUER=http://localhost:%d", port)
	node = strings.Replace(node, "shutdown_delay 10s", "shutdown_delay 3s", 1)
	env = append(env, issuer, "UPSTREAM="+upstream, "DEV_PASSWORD_HASH="+hashOf(t, "dev"), secretVariable)
	var nodes []*gatewaytest.Gateway
	var addresses []string
	for range 2 {
		own := gatewaytest.FreePort(t)
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", own))
		nodes = append(nodes, gatewaytest.Launch(t, gatewaytest.Options{
			Caddyfile: node, Port: own, Upstream: upstream,
			Env: append([]string{fmt.Sprintf("PORT=%d", own)}, env...),
		}))
	}
	for _, n := range nodes {
		if err := n.Ready(); err != nil {
			t.Fatal(err)
		}
	}
	g := gatewaytest.Start(t, gatewaytest.Options{
		Caddyfile: readFile(t, "examples/cluster-postgres/balancer/Caddyfile"), Port: port, Upstream: upstream,
		Env: []string{issuer, "GATEWAYS=" + strings.Join(addresses, " ")},
	})
	c := gatewaytest.Register(t, g.URL)
	r := c.Redeem(t, gatewaytest.NewBrowser(t).Open(c.AuthorizeURL()).SignIn("dev", passwordOf("dev")).Allow().Result().Get("code"))
	wantStatus(t, r, http.StatusOK)
	nodes[0].Stop() // what comes next comes to the other node, after a look at this one at most
	for range 4 {
		wantStatus(t, gatewaytest.Call(t, g.URL, r.Text(t, "access_token")), http.StatusOK)
		r = c.Refresh(t, r.Text(t, "refresh_token"))
		wantStatus(t, r, http.StatusOK)
	}
	wantStatus(t, gatewaytest.Send(t, http.MethodGet, g.URL+"/oauth/health", ""), http.StatusOK)
}

func wantStatus(t *testing.T, r gatewaytest.Reply, status int) {
	t.Helper()
	if r.Status != status {
		t.Fatalf("status %d, want %d: %s", r.Status, status, r.Body)
	}
}
