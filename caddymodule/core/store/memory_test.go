package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store/storetest"
)

func TestMemory(t *testing.T) {
	open := func(*testing.T) store.Store { return store.NewMemory() }
	storetest.Run(t, open)
	storetest.RunSwept(t, open)
}

// TestMemoryShared holds the part for nodes against one store: for Memory they
// are goroutines of one process.
func TestMemoryShared(t *testing.T) {
	storetest.RunShared(t, func(*testing.T) (a, b store.Store) {
		m := store.NewMemory()
		return m, m
	})
}

// TestMemorySweepIsBounded wants one call to stop at its limit, so that a
// flood's leftovers never hold the lock for long.
func TestMemorySweepIsBounded(t *testing.T) {
	const limit, total = 1000, 2500
	m, now := store.NewMemory(), time.Unix(1_800_000_000, 0)
	for i := range total {
		g := store.Grant{ID: fmt.Sprint(i), Expires: now.Add(time.Minute)}
		if err := m.CreateGrant(t.Context(), now, g); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{limit, limit, total - 2*limit, 0} {
		got, err := m.Sweep(t.Context(), now.Add(time.Hour))
		if err != nil || got != want {
			t.Fatalf("Sweep = %d, %v; want %d", got, err, want)
		}
	}
}

func BenchmarkMemoryCreateGrant(b *testing.B) {
	m, now := store.NewMemory(), time.Unix(1_800_000_000, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g := store.Grant{ID: fmt.Sprint(i), Expires: now.Add(time.Minute)}
		if err := m.CreateGrant(b.Context(), now, g); err != nil {
			b.Fatal(err)
		}
	}
}
