package redis

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store/storetest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// spaces counts the prefixes of tests that share servers.
var spaces atomic.Int64

// space returns a prefix that no test has used.
func space() string { return fmt.Sprint("mcp_auth:", spaces.Add(1)) }

// aclUser are the arguments for a server whose only way in is the ACL user of
// the documentation.
func aclUser(prefix string) []string {
	args := []string{"--user", "default", "off", "--user", "gateway", "on", ">correct horse", "~" + prefix + ":*", "&" + prefix + ":*"}
	return append(args, strings.Fields(rights)...)
}

// TestStore goes in as a user that may do no more than the documentation says.
func TestStore(t *testing.T) { //nolint:tparallel // its parts race within themselves
	t.Parallel()
	server := backends.StartRedis(t, aclUser(defaultPrefix)...)
	o := Options{Addresses: []string{server.Addr}, Username: "gateway", Password: "correct horse"}
	first, second := open(t, o), open(t, o)
	another := func(t *testing.T, prefix string) store.Store { return beside(t, first, prefix) }
	storetest.Run(t, func(t *testing.T) store.Store { return another(t, space()) })
	t.Run("Swept", func(t *testing.T) {
		storetest.RunSwept(t, func(t *testing.T) store.Store { return another(t, space()) })
	})
	t.Run("Shared", func(t *testing.T) {
		storetest.RunShared(t, func(t *testing.T) (a, b store.Store) {
			prefix := space()
			return beside(t, first, prefix), beside(t, second, prefix)
		})
	})
}

// beside returns a store with a state of its own over the connections of another
// one: opening hundreds would take most of the time.
func beside(t *testing.T, of *Store, prefix string) *Store {
	s := &Store{client: of.client, prefix: prefix, timeout: patience, known: of.known, logger: of.logger}
	s.follow(t.Context())
	t.Cleanup(func() { _ = s.sub.Close() })
	return s
}

func TestCluster(t *testing.T) { //nolint:tparallel // its parts race within themselves
	t.Parallel()
	nodes := backends.StartRedisCluster(t, 3, aclUser(defaultPrefix)...)
	s := open(t, Options{Addresses: []string{nodes[0].Addr}, Cluster: true, Username: "gateway", Password: "correct horse"})
	storetest.Run(t, func(t *testing.T) store.Store { return beside(t, s, space()) })
	t.Run("Spread", func(t *testing.T) {
		for _, n := range nodes {
			if keys := n.Do("dbsize").(int64); keys < 100 {
				t.Errorf("the node %s has %d keys", n.Addr, keys)
			}
		}
	})
	t.Run("AsOneServer", func(t *testing.T) {
		_, _, err := tryOpen(t, patience, Options{Addresses: []string{nodes[0].Addr}, Username: "gateway", Password: "correct horse"})
		refused(t, err, "add the option cluster")
	})
}

func TestDurable(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	storetest.RunDurable(t, func(t *testing.T) (store.Store, func(t *testing.T) store.Store) {
		prefix := space()
		s := open(t, Options{Addresses: []string{server.Addr}, Prefix: prefix})
		return s, func(t *testing.T) store.Store {
			must(t, s.Close())
			server.Kill()
			server.Start()
			s = open(t, Options{Addresses: []string{server.Addr}, Prefix: prefix})
			return s
		}
	})
}
