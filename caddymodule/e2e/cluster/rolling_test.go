package cluster_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// load is people and programs that go on until they are stopped. Every answer
// but the right one fails the test.
type load struct {
	rounds atomic.Int64
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// loadPace is how long each of them takes between two rounds, so that the nodes
// get to restart too.
const loadPace = 20 * time.Millisecond

// newLoad starts one that registers, one that lets programs in, and one that
// calls and refreshes.
func newLoad(t *testing.T, c *cluster) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	t.Cleanup(l.stop)
	client, b := gatewaytest.Register(t, c.URL), c.signIn(t)
	access, refresh := tokens(t, b, client)
	for _, round := range []func(){
		func() { gatewaytest.Register(t, c.URL) },
		func() {
			access, _ := tokens(t, b, client)
			wantStatus(t, gatewaytest.Call(t, c.URL, access), http.StatusOK)
		},
		func() {
			wantStatus(t, gatewaytest.Call(t, c.URL, access), http.StatusOK)
			r := client.Refresh(t, refresh)
			wantStatus(t, r, http.StatusOK)
			access, refresh = r.Text(t, "access_token"), r.Text(t, "refresh_token")
		},
	} {
		l.done.Go(func() { l.repeat(ctx, round) })
	}
	return l
}

func (l *load) repeat(ctx context.Context, round func()) {
	tick := time.NewTicker(loadPace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			round()
			l.rounds.Add(1)
		}
	}
}

// stop ends it, and waits.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// testRolling: one node after the other restarts, and the keys rotate meanwhile,
// and nobody notices.
func testRolling(t *testing.T, c *cluster) {
	client := gatewaytest.Register(t, c.URL)
	access, refresh := tokens(t, c.signIn(t), client)
	load := newLoad(t, c)
	for i, node := range c.nodes {
		before := load.rounds.Load()
		node.Stop()
		c.again(t, i)
		rotate(t, c.nodes[i])
		if load.rounds.Load() == before {
			t.Errorf("nothing happened while node %d restarted, so this tests nothing", i)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	c.agree(t)
	load.stop()
	t.Logf("%d rounds without an error", load.rounds.Load())
	for i, node := range c.nodes {
		wantStatus(t, gatewaytest.Call(t, node.URL, access), http.StatusOK)
		wantStatus(t, c.at(i, client).Refresh(t, refresh), http.StatusOK)
	}
}

// testLeaving: a node that is told to end says so, serves on, and hears of
// revocations until the delay is over.
func testLeaving(t *testing.T, c *cluster) {
	for range tries {
		if leaves(t, c) {
			return
		}
	}
	t.Errorf("a node that leaves does not hear of a revocation, %d times in a row", tries)
}

// leaves has the last node leave, and reports whether it heard of a revocation
// meanwhile.
func leaves(t *testing.T, c *cluster) (heard bool) {
	client := gatewaytest.Register(t, c.URL)
	b := c.signIn(t)
	access, _ := tokens(t, b, client)
	revoked, refresh := tokens(t, b, client)
	last := len(c.nodes) - 1
	node := c.nodes[last]
	kept, ends := openStream(t, node.URL, access), openStream(t, node.URL, revoked)
	gone := make(chan struct{})
	told := time.Now()
	go func() {
		defer close(gone)
		node.Stop()
	}()
	eventually(t, patience, "it says that it leaves, and the balancer sends it nothing more", func() bool { return c.isOut(last) })
	wantStatus(t, gatewaytest.PostForm(t, c.URL+"/oauth/revoke", url.Values{"token": {refresh}, "client_id": {client.ID}}), http.StatusOK)
	at := ends.end(t)
	heard = kept.open()
	<-gone
	t.Logf("told to end, a node ended the revoked stream after %s and the other one after %s", at.Sub(told), kept.end(t).Sub(told))
	if logs := node.Logs(); !strings.Contains(logs, "shutdown scheduled") {
		t.Error("the node did not leave in order")
	}
	c.again(t, last)
	wantStatus(t, gatewaytest.Call(t, c.nodes[last].URL, access), http.StatusOK)
	wantStatus(t, gatewaytest.Call(t, c.nodes[last].URL, revoked), http.StatusUnauthorized)
	return heard
}
