package keys

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// losing is a store whose records can get lost, as in a flush or a failover.
type losing struct {
	mu sync.Mutex
	store.Store
}

func newLosing() *losing { return &losing{Store: store.NewMemory()} }

func (l *losing) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Store = store.NewMemory()
}

func (l *losing) now() store.Store {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Store
}

func (l *losing) KeyRing(ctx context.Context) ([]byte, uint64, error) { return l.now().KeyRing(ctx) }

func (l *losing) SwapKeyRing(ctx context.Context, version uint64, ring []byte) (uint64, error) {
	return l.now().SwapKeyRing(ctx, version, ring)
}

// TestAnotherRingOfTheSameVersion: after a store lost its ring, a node that starts
// makes a new one, which has the number of the old one. The others take it over all
// the same, or the nodes would refuse each other's tokens for good.
func TestAnotherRingOfTheSameVersion(t *testing.T) {
	s := newLosing()
	a := open(t, s, Options{})
	s.lose()
	b := open(t, s, Options{})
	if a.installed.Load().kept.version != b.installed.Load().kept.version {
		t.Fatal("the rings have two versions: the test proves nothing")
	}
	if err := a.Refresh(t.Context(), start); err != nil || keysOf(t, a) != keysOf(t, b) {
		t.Errorf("two nodes on one store have two rings: %v", err)
	}
	if a.Restored() || b.Restored() {
		t.Error("a node says that it put its ring back")
	}
}

// TestLostRingIsPutBack: of many nodes one puts the ring back, all keep it, and one
// that starts then gets it: nobody is signed out. The operator is told once.
func TestLostRingIsPutBack(t *testing.T) {
	s := newLosing()
	nodes := make([]*Manager, 8)
	for i := range nodes {
		nodes[i] = open(t, s, Options{Secret: secret})
	}
	token := sign(t, nodes[0], start)
	for range 3 {
		s.lose()
		var restored atomic.Int64
		var done sync.WaitGroup
		for _, m := range nodes {
			done.Go(func() {
				if err := m.Refresh(t.Context(), start); err != nil {
					t.Error(err)
				}
				if m.Restored() {
					restored.Add(1)
				}
				if m.Restored() {
					t.Error("it is told twice")
				}
			})
		}
		done.Wait()
		if n := restored.Load(); n != 1 {
			t.Errorf("%d nodes put the ring back, want one", n)
		}
		for _, m := range slices.Concat(nodes, []*Manager{open(t, s, Options{Secret: secret})}) {
			if !verifies(m.Ring(), token) {
				t.Error("the token is not valid any more")
			}
		}
	}
}

// TestLostRingIsPutBackAsItWas: a configuration that is only tried has another
// secret, with which the running one could not read the ring.
func TestLostRingIsPutBackAsItWas(t *testing.T) {
	s := newLosing()
	running := open(t, s, Options{Secret: secret})
	tried, err := Open(t.Context(), start, s, Options{Secret: []byte("another secret of thirty-two bytes"), Previous: [][]byte{secret}})
	if err != nil {
		t.Fatal(err)
	}
	s.lose()
	if err := errors.Join(tried.Refresh(t.Context(), start), running.Refresh(t.Context(), start)); err != nil {
		t.Error(err)
	}
}

// TestChangeOfALostRing: whatever changes the ring finds it lost first, changes
// what this node has of it, and does not panic.
func TestChangeOfALostRing(t *testing.T) {
	later := start.Add(48 * time.Hour)
	for name, tt := range map[string]struct {
		change func(context.Context, *Manager) error
		retire bool
	}{
		"apply":         {change: func(ctx context.Context, m *Manager) error { return m.Apply(ctx, start) }},
		"rotate":        {change: func(ctx context.Context, m *Manager) error { return m.Rotate(ctx, start, true) }},
		"maintain":      {change: func(ctx context.Context, m *Manager) error { _, err := m.Maintain(ctx, later); return err }},
		"mark resealed": {change: func(ctx context.Context, m *Manager) error { return m.MarkResealed(ctx, start, m.Ring().Data.KeyID()) }},
		"retire": {retire: true, change: func(ctx context.Context, m *Manager) error {
			n, err := m.Retire(ctx, start)
			if n != 1 {
				t.Errorf("%d sealing keys were dropped", n)
			}
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLosing()
			m := open(t, s, Options{RotateEvery: 48 * time.Hour})
			id, token := m.Ring().ID, sign(t, m, start)
			s.lose()
			if err := tt.change(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if !m.Restored() || m.Ring().ID != id || verifies(m.Ring(), token) == tt.retire {
				t.Error("it is another ring, or not said to be put back")
			}
			if again := open(t, s, Options{}); keysOf(t, again) != keysOf(t, m) {
				t.Error("another ring is stored")
			}
		})
	}
}

// TestDamagedRingIsRefused: a stored ring that lacks its keys changes nothing here,
// and does not panic.
func TestDamagedRingIsRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"empty": "", "nothing in it": `{"ring":{}}`, "no keys": `{"ring":{"id":"x","seal":[],"signing":[]}}`,
		"no sealing key": `{"ring":{"id":"x","signing":[{"key":{"kty":"oct"}}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := store.NewMemory()
			m := open(t, s, Options{RotateEvery: time.Hour})
			before := keysOf(t, m)
			if _, err := s.SwapKeyRing(t.Context(), m.installed.Load().kept.version, []byte(raw)); err != nil {
				t.Fatal(err)
			}
			_, retired := m.Retire(t.Context(), start)
			_, maintained := m.Maintain(t.Context(), start.Add(24*time.Hour))
			for what, err := range map[string]error{
				"refresh": m.Refresh(t.Context(), start), "apply": m.Apply(t.Context(), start),
				"rotate": m.Rotate(t.Context(), start, true), "retire": retired, "maintain": maintained,
			} {
				if err == nil {
					t.Errorf("%s takes it", what)
				}
			}
			if keysOf(t, m) != before {
				t.Error("the keys changed")
			}
		})
	}
}

// TestLostRingWhileTheStoreFails: an error of the store is no loss.
func TestLostRingWhileTheStoreFails(t *testing.T) {
	s := newLosing()
	m := open(t, s, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.lose()
	if err := m.Refresh(ctx, start); !errors.Is(err, context.Canceled) || m.Restored() {
		t.Errorf("refresh: %v", err)
	}
	if err := m.Refresh(t.Context(), start); err != nil || !m.Restored() {
		t.Errorf("it is not put back later: %v", err)
	}
}
