package caddymodule

import (
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestLostKeysAreReported: a store that lost its keys gets them back, and the log
// has a warning and an event, once.
func TestLostKeysAreReported(t *testing.T) {
	a, _, logs := maintained(t)
	a.observer = &observer{logger: a.logger, metrics: newMetrics(nil)}
	losing := &countingStore{Store: store.NewMemory()}
	ring, err := keys.Open(t.Context(), time.Now(), losing, keys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a.keys, losing.Store = ring, store.NewMemory()
	for range 2 {
		if err := a.refreshKeys(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := losing.KeyRing(t.Context()); err != nil {
		t.Errorf("the keys are not back: %v", err)
	}
	if lines := logs.All(); len(lines) != 2 || lines[0].Level.String() != "warn" || lines[1].Message != "keys" || lines[1].ContextMap()["reason"] != "restored" {
		t.Errorf("logged: %v", lines)
	}
}
