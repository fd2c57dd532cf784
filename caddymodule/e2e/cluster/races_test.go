package cluster_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// crowd is how many race.
const crowd = 64

// race runs what is done on each node in turn, crowd times at once, and returns
// the answers.
func (c *cluster) race(one func(node int) gatewaytest.Reply) []gatewaytest.Reply {
	replies := make([]gatewaytest.Reply, crowd)
	var done sync.WaitGroup
	begin := make(chan struct{})
	for i := range replies {
		done.Go(func() {
			<-begin
			replies[i] = one(i % len(c.nodes))
		})
	}
	close(begin)
	done.Wait()
	return replies
}

// testCodeRace: of those who redeem one code at once, on all nodes, one gets
// tokens. That the others tried is seen at once: those tokens are no good.
func testCodeRace(t *testing.T, c *cluster) {
	client := gatewaytest.Register(t, c.URL)
	once := code(t, c.signIn(t), client)
	var won []gatewaytest.Reply
	for _, r := range c.race(func(node int) gatewaytest.Reply { return c.at(node, client).Redeem(t, once) }) {
		if r.Status == http.StatusOK {
			won = append(won, r)
			continue
		}
		wantError(t, r, http.StatusBadRequest, "invalid_grant")
	}
	if len(won) != 1 {
		t.Fatalf("%d of %d redeemed the code, want one", len(won), crowd)
	}
	for i := range c.nodes {
		wantError(t, c.at(i, client).Refresh(t, won[0].Text(t, "refresh_token")), http.StatusBadRequest, "invalid_grant")
		wantError(t, c.at(i, client).Redeem(t, once), http.StatusBadRequest, "invalid_grant")
	}
	endsWithin(t, c, won[0].Text(t, "access_token"))
}

// testRefreshRace: those who refresh at once, on all nodes, all get a pair that
// works, and the grant moves by one generation.
func testRefreshRace(t *testing.T, c *cluster) {
	client := gatewaytest.Register(t, c.URL)
	_, refresh := tokens(t, c.signIn(t), client)
	next := map[string]bool{}
	for _, r := range c.race(func(node int) gatewaytest.Reply { return c.at(node, client).Refresh(t, refresh) }) {
		wantStatus(t, r, http.StatusOK)
		next[r.Text(t, "refresh_token")] = true
		wantStatus(t, gatewaytest.Call(t, c.URL, r.Text(t, "access_token")), http.StatusOK)
	}
	if len(next) != 1 || next[refresh] {
		t.Fatalf("%d different refresh tokens, want one new one: a generation each", len(next))
	}
	for token := range next {
		r := client.Refresh(t, token)
		wantStatus(t, r, http.StatusOK)
		// The grace window is for the one before on any node, and for no older one.
		wantStatus(t, client.Refresh(t, token), http.StatusOK)
		wantError(t, client.Refresh(t, refresh), http.StatusBadRequest, "invalid_grant")
		for i := range c.nodes {
			wantError(t, c.at(i, client).Refresh(t, r.Text(t, "refresh_token")), http.StatusBadRequest, "invalid_grant")
		}
		endsWithin(t, c, r.Text(t, "access_token"))
	}
}

// testStrictRace is a race without a grace window: one gets tokens, and because
// the others tried, the grant ends.
func testStrictRace(t *testing.T, c *cluster) {
	client := gatewaytest.Register(t, c.URL)
	_, refresh := tokens(t, c.signIn(t), client)
	won := 0
	var last gatewaytest.Reply
	for _, r := range c.race(func(node int) gatewaytest.Reply { return c.at(node, client).Refresh(t, refresh) }) {
		if r.Status == http.StatusOK {
			won, last = won+1, r
			continue
		}
		wantError(t, r, http.StatusBadRequest, "invalid_grant")
	}
	if won != 1 {
		t.Fatalf("%d of %d refreshed, want one", won, crowd)
	}
	wantError(t, client.Refresh(t, last.Text(t, "refresh_token")), http.StatusBadRequest, "invalid_grant")
	endsWithin(t, c, last.Text(t, "access_token"))
}

// testTheft: an old refresh token that turns up on another node after its window
// ends the grant everywhere, and that grant only.
func testTheft(t *testing.T, c *cluster) {
	client := gatewaytest.Register(t, c.URL)
	b := c.signIn(t)
	bystander, _ := tokens(t, b, client)
	access, stolen := tokens(t, b, client)
	r := c.at(0, client).Refresh(t, stolen)
	wantStatus(t, r, http.StatusOK)
	wantError(t, c.at(1, client).Refresh(t, stolen), http.StatusBadRequest, "invalid_grant")
	for i := range c.nodes {
		wantError(t, c.at(i, client).Refresh(t, r.Text(t, "refresh_token")), http.StatusBadRequest, "invalid_grant")
	}
	endsWithin(t, c, access)
	endsWithin(t, c, r.Text(t, "access_token"))
	wantStatus(t, gatewaytest.Call(t, c.URL, bystander), http.StatusOK)
}
