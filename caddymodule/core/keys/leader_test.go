package keys

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestOneLeaderRotates: of many nodes on one store that find the ring due at the
// same moment, exactly one rotates it, and all agree on the keys afterwards: at once,
// or with their next look.
func TestOneLeaderRotates(t *testing.T) {
	const nodes = 8
	s, opts := store.NewMemory(), Options{RotateEvery: 24 * time.Hour, TokenLifetime: time.Hour}
	all := make([]*Manager, nodes)
	for i := range all {
		all[i] = open(t, s, opts)
	}
	now := start
	for round := 1; round <= 3; round++ {
		now = now.Add(24 * time.Hour)
		var rotated atomic.Int64
		var done sync.WaitGroup
		for _, m := range all {
			done.Go(func() {
				changed, err := m.Maintain(t.Context(), now)
				if err != nil {
					t.Error(err)
				}
				if changed {
					rotated.Add(1)
				}
			})
		}
		done.Wait()
		if n := rotated.Load(); n != 1 {
			t.Errorf("round %d: %d nodes rotated", round, n)
		}
		for _, m := range all {
			if err := m.Refresh(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			if keysOf(t, m) != keysOf(t, all[0]) {
				t.Errorf("round %d: the nodes have other keys", round)
			}
		}
	}
	if n := len(all[0].Ring().data.Seal); n != 4 {
		t.Errorf("%d sealing keys after three rotations", n)
	}
}

func keysOf(t *testing.T, m *Manager) string {
	t.Helper()
	text, err := json.Marshal(m.Ring().Describe())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
