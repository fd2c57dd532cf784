package caddymodule

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
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

// watched returns what a revocation of the token could be about. A token without
// the key of its client gets it here, so that no kind of tokens outlives a client
// because somebody forgot it.
func watched(t *resource.Token) authserver.Watched {
	key := t.ClientKey
	if key == "" && t.ClientID != "" {
		key = oauth.ClientKey(t.ClientID)
	}
	return authserver.Watched{GrantID: t.GrantID, Token: t.JWTID, ClientKey: key, Issued: time.Unix(t.IssuedAt, 0)}
}

// caller is whose calls are counted together: a grant's, or a user's where the
// token is no grant's.
type caller struct{ grant, user string }

func callerOf(t *resource.Token) caller {
	if t.GrantID != "" {
		return caller{grant: t.GrantID}
	}
	return caller{user: t.Subject}
}

// callCounter counts the calls in progress of each caller, and notes when a
// grant was last used.
type callCounter struct {
	mu   sync.Mutex
	open map[caller]int
	used map[string]lastUse // since they were last taken
}

type lastUse struct {
	at   time.Time
	from string
}

func newCallCounter() *callCounter {
	return &callCounter{open: map[caller]int{}, used: map[string]lastUse{}}
}

// enter counts a call, unless the caller has limit calls in progress already.
func (c *callCounter) enter(who caller, limit int, from string) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if who.grant != "" {
		c.used[who.grant] = lastUse{now, from}
	}
	if c.open[who] >= limit {
		return false
	}
	c.open[who]++
	return true
}

func (c *callCounter) leave(who caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[who]--; c.open[who] == 0 {
		delete(c.open, who)
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
