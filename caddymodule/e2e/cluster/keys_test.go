package cluster_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// signingKeys lists the ids of the keys of access tokens that a node publishes,
// newest first.
func signingKeys(tb testing.TB, node *gatewaytest.Gateway) []string {
	tb.Helper()
	type key struct {
		KeyID string `json:"kid"`
	}
	var set struct {
		Keys []key `json:"keys"`
	}
	var own []key
	for address, into := range map[string]any{node.URL + "/oauth/jwks.json": &set, "http://" + node.Admin + "/mcp_auth/keys": &own} {
		r := gatewaytest.Send(tb, http.MethodGet, address, "")
		wantStatus(tb, r, http.StatusOK)
		if err := json.Unmarshal([]byte(r.Body), into); err != nil {
			tb.Fatal(err)
		}
	}
	var ids []string
	for _, k := range set.Keys {
		if slices.Contains(own, k) { // and not one of assertions
			ids = append(ids, k.KeyID)
		}
	}
	return ids
}

// agree waits until all nodes publish the same keys, and returns those.
func (c *cluster) agree(tb testing.TB) []string {
	tb.Helper()
	var first []string
	eventually(tb, patience, "all nodes publish the same keys", func() bool {
		first = signingKeys(tb, c.nodes[0])
		for _, node := range c.nodes[1:] {
			if !slices.Equal(signingKeys(tb, node), first) {
				return false
			}
		}
		return true
	})
	return first
}

// rotate asks a node for new keys.
func rotate(tb testing.TB, node *gatewaytest.Gateway) {
	tb.Helper()
	r := gatewaytest.Send(tb, http.MethodPost, "http://"+node.Admin+"/mcp_auth/keys/rotate", "")
	wantStatus(tb, r, http.StatusOK)
}

// testKeys: nodes that start at once make one key ring, and a rotation on one of
// them, or on all at once, is every node's.
func testKeys(t *testing.T, c *cluster) {
	before := signingKeys(t, c.nodes[0])
	if len(before) != 1 {
		t.Fatalf("the nodes that started at once made %d keys", len(before))
	}
	for _, node := range c.nodes {
		if got := signingKeys(t, node); !slices.Equal(got, before) {
			t.Fatalf("the nodes have different keys: %v and %v", got, before)
		}
	}
	client := gatewaytest.Register(t, c.URL)
	access, refresh := tokens(t, c.signIn(t), client)
	var done sync.WaitGroup
	for _, node := range c.nodes {
		done.Go(func() { rotate(t, node) })
	}
	done.Wait()
	rotated := time.Now()
	after := c.agree(t)
	t.Logf("the nodes agree after %s", time.Since(rotated).Round(time.Millisecond))
	// A key that waits for its turn gives it to the next one: two are left.
	if len(after) != 2 || !slices.Contains(after, before[0]) {
		t.Errorf("keys %v after a rotation of %v", after, before)
	}
	for i, node := range c.nodes {
		wantStatus(t, gatewaytest.Call(t, node.URL, access), http.StatusOK)
		wantStatus(t, c.at(i, client).Refresh(t, refresh), http.StatusOK)
	}
}
