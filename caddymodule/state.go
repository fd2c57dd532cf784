package caddymodule

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
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
	return &state{authserver.NewRevocationSet(), resource.NewCache(), newCallCounter()}, nil
}

// callCounter counts the calls in progress of each grant, and notes when a
// grant was last used.
type callCounter struct {
	mu   sync.Mutex
	open map[string]int
	used map[string]lastUse // since they were last taken
}

type lastUse struct {
	at   time.Time
	from string
}

func newCallCounter() *callCounter {
	return &callCounter{open: map[string]int{}, used: map[string]lastUse{}}
}

// enter counts a call, unless the grant has limit calls in progress already.
func (c *callCounter) enter(grant string, limit int, from string) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used[grant] = lastUse{now, from}
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

// takeUses returns when each grant was last used since the last time.
func (c *callCounter) takeUses() []store.GrantUse {
	c.mu.Lock()
	used := c.used
	c.used = make(map[string]lastUse, len(used))
	c.mu.Unlock()
	uses := make([]store.GrantUse, 0, len(used))
	for id, u := range used {
		uses = append(uses, store.GrantUse{GrantID: id, At: u.at, From: u.from})
	}
	return uses
}
