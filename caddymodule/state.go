package caddymodule

import (
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// states holds what must outlive a configuration reload, by key ring and
// issuer: open streams of the old configuration keep hearing of revocations
// that the new one learns of, and tokens stay verified.
var states = caddy.NewUsagePool()

// state is in memory only and holds no handle of the store, whose guest module
// has a life of its own.
type state struct {
	revoked *authserver.RevocationSet
	tokens  *resource.Cache
	calls   *callCounter
}

// Destruct is called by the pool when the last configuration let go.
func (*state) Destruct() error { return nil }

func newState() (caddy.Destructor, error) {
	return &state{authserver.NewRevocationSet(), resource.NewCache(), &callCounter{open: map[string]int{}}}, nil
}

// callCounter counts the calls in progress of each grant.
type callCounter struct {
	mu   sync.Mutex
	open map[string]int
}

// enter counts a call, unless the grant has limit calls in progress already.
func (c *callCounter) enter(grant string, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[grant] >= limit {
		return false
	}
	c.open[grant]++
	return true
}

func (c *callCounter) leave(grant string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[grant]--; c.open[grant] == 0 {
		delete(c.open, grant)
	}
}
