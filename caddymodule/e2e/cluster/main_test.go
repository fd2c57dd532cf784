package cluster_test

import (
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// server is where nodes share what they keep.
type server interface {
	Start()
	Stop()
}

// stores are the kinds of servers, and what a configuration says to use a new
// and empty one.
var stores = []struct {
	name  string
	start func(tb testing.TB) (server, string)
}{
	{"postgres", func(tb testing.TB) (server, string) {
		s := backends.StartPostgres(tb)
		return s, "postgres " + s.DSN(tb)
	}},
	{"redis", func(tb testing.TB) (server, string) {
		s := backends.StartRedis(tb, "--appendonly", "yes")
		return s, "redis " + s.Addr
	}},
}

// group are tests that share a cluster.
type group []struct {
	name string
	test func(*testing.T, *cluster)
}

func (g group) run(t *testing.T, c *cluster) {
	t.Helper()
	for _, one := range g {
		t.Run(one.name, func(t *testing.T) { one.test(t, c) })
	}
}

// TestThreeNodes runs the tests that share a cluster of three. What restarts or
// kills nodes comes last.
func TestThreeNodes(t *testing.T) {
	t.Parallel()
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			_, store := s.start(t)
			c := launch(t, 3, store)
			c.ready(t)
			group{
				{"keys", testKeys},
				{"journey", testJourney},
				{"code race", testCodeRace},
				{"refresh race", testRefreshRace},
				{"ends", testEnds},
				{"rolling", testRolling},
				{"loss", testLoss},
			}.run(t, c)
		})
	}
}

// TestTwoNodes runs those that share a cluster of two whose nodes take no
// refresh token twice, and that start before their store does.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			server, store := s.start(t)
			server.Stop()
			c := launch(t, 2, store, "refresh_grace off")
			c.waits(t)
			server.Start()
			c.ready(t)
			group{
				{"journey", testJourney},
				{"race", testStrictRace},
				{"theft", testTheft},
				{"leaving", testLeaving},
			}.run(t, c)
		})
	}
}

// waits waits until every node says that it waits for its store.
func (c *cluster) waits(t *testing.T) {
	t.Helper()
	for i, node := range c.nodes {
		eventually(t, patience, "the node says that it waits", func() bool {
			return strings.Contains(node.Logs(), "waiting for the Redis server") || strings.Contains(node.Logs(), "PostgreSQL can't be used yet")
		})
		if r := gatewaytest.NewBrowser(t); r.Answers(node.URL) {
			t.Errorf("node %d answers without a store", i)
		}
	}
}
