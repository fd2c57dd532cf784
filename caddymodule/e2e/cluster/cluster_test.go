package cluster_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// config is the configuration of every node. Addresses of clients come from the
// balancer.
const config = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	shutdown_delay 1s
	servers {
		trusted_proxies static 127.0.0.1/32
		trusted_proxies_strict
	}
	debug
	mcp_auth {
		issuer ISSUER
		store STORE
		secret {env.MCP_AUTH_SECRET}
		OPTIONS
		login password {
			user alice {env.ALICE} {
				email alice@example.com
			}
		}
		client server {
			secret ` + serverSecret + `
			introspect
		}
	}
}
{URL} {
	log
	mcp_auth {
		resource ISSUER/mcp
		personal_access_tokens
	}
	reverse_proxy {UPSTREAM}
}
`

const (
	password     = "alice knows the way"
	serverSecret = "a-secret-of-a-resource-server-elsewhere"
)

var passwordHash = sync.OnceValue(func() string {
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(h)
})

// cluster is a balancer with its nodes.
type cluster struct {
	*balancer
	nodes   []*gatewaytest.Gateway
	options []gatewaytest.Options

	tb testing.TB // for which the nodes run, also those that one of its parts starts again
}

// launch starts a cluster, all of its nodes at once. They share a store, and have
// further options of mcp_auth.
func launch(tb testing.TB, nodes int, store string, options ...string) *cluster {
	tb.Helper()
	c := &cluster{balancer: newBalancer(tb), tb: tb}
	upstream := gatewaytest.NewUpstream(tb, gatewaytest.FeedOnGet).Addr()
	text := strings.NewReplacer("ISSUER", c.URL, "STORE", store, "OPTIONS", strings.Join(options, "\n\t\t")).Replace(config)
	for i := range nodes {
		c.options = append(c.options, gatewaytest.Options{
			Caddyfile: text, Upstream: upstream, Dir: tb.TempDir(), Port: gatewaytest.FreePort(tb),
			Env: []string{"ALICE=" + passwordHash(), "MCP_AUTH_SECRET=a secret that all nodes share, 42 bytes long"},
		})
		c.nodes = append(c.nodes, gatewaytest.Launch(tb, c.options[i]))
	}
	return c
}

// relaunch starts a node that has ended.
func (c *cluster) relaunch(i int) { c.nodes[i] = gatewaytest.Launch(c.tb, c.options[i]) }

// ready waits until all nodes answer, and has the balancer send them requests.
func (c *cluster) ready(tb testing.TB) {
	tb.Helper()
	for i, node := range c.nodes {
		if err := node.Ready(); err != nil {
			tb.Fatalf("node %d: %v", i, err)
		}
		c.add(tb, node.URL)
	}
}

// again starts a node that has ended, and waits until it gets requests.
func (c *cluster) again(tb testing.TB, i int) {
	tb.Helper()
	c.relaunch(i)
	if err := c.nodes[i].Ready(); err != nil {
		tb.Fatal(err)
	}
	eventually(tb, patience, "the node is back", func() bool { return !c.isOut(i) })
}

// at returns the client as one that asks a node directly.
func (c *cluster) at(i int, client *gatewaytest.Client) *gatewaytest.Client {
	direct := *client
	direct.Base = c.nodes[i].URL
	return &direct
}

// signIn returns a browser in which alice has signed in.
func (c *cluster) signIn(tb testing.TB) *gatewaytest.Browser {
	tb.Helper()
	b := gatewaytest.NewBrowser(tb)
	if p := b.Open(c.URL+"/oauth/account").SignIn("alice", password); !p.Has("do", "sign_out") {
		tb.Fatalf("not signed in: %d %s", p.Status, p.Text())
	}
	return b
}

// code returns a code that alice approved.
func code(tb testing.TB, b *gatewaytest.Browser, client *gatewaytest.Client) string {
	tb.Helper()
	return b.Open(client.AuthorizeURL()).Allow().Result().Get("code")
}

// tokens returns the pair of a grant that alice approved.
func tokens(tb testing.TB, b *gatewaytest.Browser, client *gatewaytest.Client) (access, refresh string) {
	tb.Helper()
	r := client.Redeem(tb, code(tb, b, client))
	wantStatus(tb, r, http.StatusOK)
	return r.Text(tb, "access_token"), r.Text(tb, "refresh_token")
}

func wantStatus(tb testing.TB, r gatewaytest.Reply, status int) {
	tb.Helper()
	if r.Status != status {
		tb.Fatalf("status %d, want %d: %.300s", r.Status, status, r.Body)
	}
}

func wantError(tb testing.TB, r gatewaytest.Reply, status int, code string) {
	tb.Helper()
	if wantStatus(tb, r, status); r.Text(tb, "error") != code {
		tb.Errorf("error %s, want %s", r.Body, code)
	}
}

// eventually waits until a condition holds.
func eventually(tb testing.TB, within time.Duration, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; !ok(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s", within, what)
		}
	}
}
