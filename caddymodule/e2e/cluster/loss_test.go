package cluster_test

import (
	"net/http"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// lose kills the node that answered last, as a power cut does, and waits until
// the balancer knows. It is starting again then, and one at least of the others
// is well.
func (c *cluster) lose(t *testing.T, visited func() []int) (lost int) {
	t.Helper()
	nodes := visited()
	lost = nodes[len(nodes)-1]
	eventually(t, 3*patience, "another node is well", func() bool {
		for i := range c.nodes {
			if i != lost && !c.isOut(i) {
				return true
			}
		}
		return false
	})
	c.nodes[lost].Kill()
	eventually(t, patience, "the balancer knows", func() bool { return c.isOut(lost) })
	c.relaunch(lost)
	return lost
}

// testLoss: whichever node dies in the middle of a flow, what it answered holds,
// and the flow goes on at the others.
func testLoss(t *testing.T, c *cluster) {
	visited := c.hops(0)
	client := gatewaytest.Register(t, c.URL)
	b := gatewaytest.NewBrowser(t)
	var consent *gatewaytest.Page
	var r gatewaytest.Reply
	var once, access, refresh string
	for _, step := range []struct {
		name string
		run  func()
	}{
		{"registered", func() {}},
		{"signed in", func() { consent = b.Open(client.AuthorizeURL()).SignIn("alice", password) }},
		{"approved", func() { once = consent.Allow().Result().Get("code") }},
		{"redeemed", func() { r = client.Redeem(t, once) }},
		{"refreshed", func() {
			wantStatus(t, r, http.StatusOK)
			access, refresh = r.Text(t, "access_token"), r.Text(t, "refresh_token")
			wantStatus(t, gatewaytest.Call(t, c.URL, access), http.StatusOK)
			r = client.Refresh(t, refresh)
		}},
		{"taken back", func() {
			wantStatus(t, r, http.StatusOK)
			access, refresh = r.Text(t, "access_token"), r.Text(t, "refresh_token")
			wantStatus(t, gatewaytest.Call(t, c.URL, access), http.StatusOK)
			c.remove(t, b, "Test")
		}},
	} {
		step.run()
		t.Logf("lost node %d when the client was %s", c.lose(t, visited), step.name)
	}
	for i, node := range c.nodes {
		if err := node.Ready(); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "every node is back", func() bool { return !c.isOut(i) })
	}
	endsWithin(t, c, access)
	wantError(t, client.Refresh(t, refresh), http.StatusBadRequest, "invalid_grant")
	wantError(t, client.Redeem(t, once), http.StatusBadRequest, "invalid_grant")
}
