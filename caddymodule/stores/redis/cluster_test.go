package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// announceEverywhere puts one entry into each shard: the end of a session that
// is called after it.
func announceEverywhere(t *testing.T, s *Store, name string) {
	t.Helper()
	for i := range shards {
		text, err := entryText(store.Revocation{Session: fmt.Sprint(name, i), Reason: "sign_out", Until: testNow.Add(time.Hour)})
		must(t, err)
		must(t, s.announce(t.Context(), i, []any{score(testNow.Add(time.Hour)), text}))
	}
}

// shardsOf returns the shards that a node of the Cluster has, and those of others.
func shardsOf(s *Store, node *backends.Redis, index, nodes int) (own, others []int) {
	const slots = 16384
	for i := range shards {
		slot := int(node.Do("cluster", "keyslot", s.key(i, kindFeed)).(int64))
		if slot >= index*slots/nodes && slot < (index+1)*slots/nodes {
			own = append(own, i)
		} else {
			others = append(others, i)
		}
	}
	return own, others
}

// TestLostMaster takes one master of a Cluster away, and wants the revocations of
// all other shards to come, those of its own when it is back, and the operator to
// hear of it: once.
func TestLostMaster(t *testing.T) { //nolint:tparallel // its parts take the same master away
	t.Parallel()
	nodes := backends.StartRedisCluster(t, 3, "--cluster-require-full-coverage", "no", "--appendonly", "yes", "--appendfsync", "always")
	lost := nodes[2]
	for _, tt := range []struct {
		name       string
		take, give func()
	}{{"dead", lost.Kill, lost.Start}, {"hanging", lost.Pause, lost.Resume}} {
		t.Run(tt.name, func(t *testing.T) {
			s, logs, err := tryOpen(t, patience, Options{Addresses: []string{nodes[0].Addr}, Cluster: true, Prefix: space(), Timeout: 1500 * time.Millisecond})
			must(t, err)
			before := logs.Len()
			own, others := shardsOf(s, nodes[0], 2, len(nodes))
			if len(own) == 0 || len(others) == 0 {
				t.Fatalf("the master has the shards %v, the others %v", own, others)
			}
			announceEverywhere(t, s, "a")
			_, cursor := follows(t, s, "")
			announceEverywhere(t, s, "b")

			tt.take()
			if _, _, err := s.Revocations(t.Context(), testNow, ""); err == nil {
				t.Error("the first read took a part for the whole")
			}
			must(t, s.Await(t.Context(), cursor))
			cursor = arrives(t, s, cursor, "b", others)
			if got, _ := follows(t, s, cursor); got != "" {
				t.Errorf("then %q", got)
			}
			if got := logs.All()[before:]; len(got) != 1 || !strings.Contains(fmt.Sprint(got[0].Message, got[0].ContextMap()), fmt.Sprint("shards:", own)) {
				t.Errorf("logged %v", got)
			}
			outage(t, s.Ping(t.Context()))

			tt.give()
			eventually(t, func() error { return s.Ping(t.Context()) })
			cursor = arrives(t, s, cursor, "b", own)
			if got, _ := follows(t, s, cursor); got != "" {
				t.Errorf("in the end %q", got)
			}
			if got := messages(logs); strings.Count(got, "don't tell") != 1 || strings.Count(got, "again") != 1 {
				t.Errorf("logged %q", got)
			}
		})
	}
}

// arrives reads the feed until it has told the entries of these shards, wants no
// others, and returns the cursor.
func arrives(t *testing.T, s *Store, cursor, name string, want []int) string {
	t.Helper()
	var missing, got []string
	for _, i := range want {
		missing = append(missing, fmt.Sprint(name, i))
	}
	slices.Sort(missing)
	eventually(t, func() error {
		var told string
		told, cursor = follows(t, s, cursor)
		got = append(got, strings.Fields(told)...)
		if slices.Sort(got); !slices.Equal(got, missing) {
			return errors.New(fmt.Sprint("the feed tells ", got, ", want ", missing))
		}
		return nil
	})
	return cursor
}

// TestNoMaster wants an error, and no empty feed, if no shard answers.
func TestNoMaster(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	s := open(t, at(server.Addr))
	announce(t, s, "a")
	_, cursor := follows(t, s, "")
	server.Stop()
	_, _, err := s.Revocations(t.Context(), testNow, cursor)
	outage(t, err)
}
