package redis

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// The layouts of versions to come: one that only adds, and one that does not.
var (
	adding  = layout{number: current.number + 1, serves: current.serves}
	cutting = layout{number: current.number + 2, serves: current.number + 2}
)

func openLayout(t *testing.T, server *backends.Redis, known layout) (*Store, *observer.ObservedLogs, error) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := openWith(ctx, Options{Addresses: []string{server.Addr}, Prefix: defaultPrefix, Timeout: patience}, zap.New(core), known)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, logs, err
}

// layoutIs wants the server to have this layout.
func layoutIs(t *testing.T, s *Store, want layout) {
	t.Helper()
	got, err := s.client.HMGet(t.Context(), "mcp_auth:{0}:layout", "layout", "serves").Result()
	must(t, err)
	if at, err := parseLayout(got); err != nil || at != want {
		t.Errorf("the server has the layout %v, want %v", got, want)
	}
}

// pingSoon is a Ping that looks at the server as once a minute.
func pingSoon(t *testing.T, s *Store) error {
	t.Helper()
	s.mu.Lock()
	s.inspected = time.Now().Add(-2 * inspectEvery)
	s.mu.Unlock()
	return s.Ping(t.Context())
}

// TestLayout follows a server from its first program over an update, in which the
// old version runs beside the new one, to a version that leaves the old one out.
func TestLayout(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	var wg sync.WaitGroup
	for range 4 { // several nodes start at once
		wg.Go(func() {
			if _, _, err := openLayout(t, server, current); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	old, logs, err := openLayout(t, server, current)
	must(t, err)
	layoutIs(t, old, current)
	if got := messages(logs); strings.Contains(got, "layout") {
		t.Errorf("logged %q", got)
	}

	_, _, err = openLayout(t, server, adding)
	must(t, err)
	layoutIs(t, old, adding)
	must(t, pingSoon(t, old))
	beside, logs, err := openLayout(t, server, current)
	must(t, err)
	layoutIs(t, beside, adding)
	if got := messages(logs); !strings.Contains(got, "info the Redis server has a layout of a newer version, which serves this one too") {
		t.Errorf("logged %q", got)
	}

	_, _, err = openLayout(t, server, cutting)
	must(t, err)
	for _, known := range []layout{current, adding} {
		_, logs, err := openLayout(t, server, known)
		refused(t, err, "the keys of mcp_auth were written by a newer version of this program (layout 3, this one knows ")
		refused(t, err, "run the newer version")
		if strings.Contains(messages(logs), "waiting") {
			t.Error("it waited for what won't change")
		}
	}
	refused(t, pingSoon(t, old), "layout 3")
	layoutIs(t, old, cutting)
}

// TestLayoutFlushed wants a server that was flushed to get its layout again.
func TestLayoutFlushed(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	s := open(t, at(server.Addr))
	server.FlushAll()
	must(t, pingSoon(t, s))
	layoutIs(t, s, current)
	server.FlushAll()
	layoutIs(t, open(t, at(server.Addr)), current)
}

// TestForeignLayout wants a key that is not this store's to be refused, and left
// as it is.
func TestForeignLayout(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t)
	for _, fields := range [][]any{{"layout", "first"}, {"layout", "1"}, {"serves", "1"}, {"layout", "1", "serves", ""}} {
		server.FlushAll()
		server.Do(append([]any{"hset", "mcp_auth:{0}:layout"}, fields...)...)
		_, _, err := tryOpen(t, patience, at(server.Addr))
		refused(t, err, "the key mcp_auth:{0}:layout has no layout")
		if n := server.Do("hlen", "mcp_auth:{0}:layout").(int64); int(n) != len(fields)/2 {
			t.Errorf("%v became %d fields", fields, n)
		}
	}
}
