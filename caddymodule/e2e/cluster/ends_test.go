package cluster_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

const (
	// promised is how soon every node knows of what ended on another one.
	promised = time.Second
	// patience is how long a test waits for it: a machine of tests stands still at
	// times.
	patience = 10 * time.Second
	// tries is how often what takes too long is tried again. It is a machine that
	// stood still if it does not happen again, and otherwise a broken promise.
	tries = 3
)

// onTime runs what returns how long the slowest node took to know of an end.
func onTime(t *testing.T, end func() time.Duration) {
	t.Helper()
	for range tries {
		took := end()
		if t.Logf("known everywhere after %s", took.Round(time.Millisecond)); took <= promised {
			return
		}
	}
	t.Errorf("it takes more than %s for all nodes to know, %d times in a row", promised, tries)
}

// endsWithin waits until no node takes a token.
func endsWithin(t *testing.T, c *cluster, access string) {
	t.Helper()
	for _, node := range c.nodes {
		eventually(t, patience, "the token is refused", func() bool {
			return gatewaytest.Call(t, node.URL, access).Status == http.StatusUnauthorized
		})
	}
}

// testEnds: what ends on one node ends on all of them within a second of the
// answer, open streams included.
func testEnds(t *testing.T, c *cluster) {
	t.Run("a grant that its program gives back", func(t *testing.T) {
		client := gatewaytest.Register(t, c.URL)
		b := c.signIn(t)
		onTime(t, func() time.Duration {
			access, refresh := tokens(t, b, client)
			return c.streamsEnd(t, access, func() {
				wantStatus(t, gatewaytest.PostForm(t, c.nodes[0].URL+"/oauth/revoke", url.Values{"token": {refresh}, "client_id": {client.ID}}), http.StatusOK)
			})
		})
	})
	t.Run("a grant that its person takes back", func(t *testing.T) {
		client := gatewaytest.Register(t, c.URL)
		b := c.signIn(t)
		onTime(t, func() time.Duration {
			access, _ := tokens(t, b, client)
			return c.streamsEnd(t, access, func() { c.remove(t, b, "Test") })
		})
	})
	t.Run("one access token", func(t *testing.T) {
		client := gatewaytest.Register(t, c.URL)
		b := c.signIn(t)
		onTime(t, func() time.Duration {
			access, refresh := tokens(t, b, client)
			took := c.streamsEnd(t, access, func() {
				wantStatus(t, gatewaytest.PostForm(t, c.nodes[0].URL+"/oauth/revoke", url.Values{"token": {access}, "client_id": {client.ID}}), http.StatusOK)
			})
			wantStatus(t, client.Refresh(t, refresh), http.StatusOK)
			return took
		})
	})
	t.Run("a session", func(t *testing.T) { testSignOut(t, c, "sign_out") })
	t.Run("all sessions", func(t *testing.T) { testSignOut(t, c, "sign_out_everywhere") })
}

// streamsEnd opens a stream on every node, ends their token on one of them, and
// returns how long after the answer the last one ended. The token is refused
// everywhere then.
func (c *cluster) streamsEnd(t *testing.T, access string, end func()) time.Duration {
	t.Helper()
	var streams []*stream
	for _, node := range c.nodes {
		streams = append(streams, openStream(t, node.URL, access))
	}
	for _, s := range streams {
		if !s.open() {
			t.Fatal("a stream ended before its token")
		}
	}
	end()
	answered, last := time.Now(), time.Duration(0)
	for _, s := range streams {
		last = max(last, s.end(t).Sub(answered))
	}
	for i, node := range c.nodes {
		if r := gatewaytest.Call(t, node.URL, access); r.Status != http.StatusUnauthorized {
			t.Errorf("node %d takes the token: %d", i, r.Status)
		}
	}
	return last
}

// testSignOut: a copy of a browser's cookies is no use after the browser signed
// out, on whichever node.
func testSignOut(t *testing.T, c *cluster, how string) {
	onTime(t, func() time.Duration {
		b := c.signIn(t)
		thief := b.Copy(c.URL)
		if !thief.Open(c.URL+"/oauth/account").Has("do", "sign_out") {
			t.Fatal("the copy is not signed in, so this tests nothing")
		}
		b.Open(c.URL+"/oauth/account").Click("do", how)
		answered := time.Now()
		eventually(t, patience, "every node knows", func() bool {
			for range c.nodes {
				if thief.Open(c.URL+"/oauth/account").Has("do", "sign_out") {
					return false
				}
			}
			return true
		})
		return time.Since(answered)
	})
}
