package caddymodule

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

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
// grant was last used. Callers are spread over parts, and those of one caller
// only read the part that it is in, so that calls don't wait for each other.
type callCounter struct {
	seed  maphash.Seed
	parts [64]callPart
}

type callPart struct {
	mu      sync.RWMutex
	callers map[caller]*openCalls
	_       [64]byte // a cache line of its own
}

// openCalls are those of one caller. They are counted up under mu, so that who
// holds it alone can tell that there are none.
type openCalls struct {
	part *callPart
	who  caller
	open atomic.Int64
	used atomic.Int64           // the last use in Unix nanoseconds; 0 if that was taken, or nobody's business
	from atomic.Pointer[string] // where the last use came from
}

func newCallCounter() *callCounter {
	c := &callCounter{seed: maphash.MakeSeed()}
	for i := range c.parts {
		c.parts[i].callers = map[caller]*openCalls{}
	}
	return c
}

// enter counts a call, unless the caller has limit calls in progress already: it
// returns nil then. Whoever was let in leaves.
func (c *callCounter) enter(who caller, limit int, from string) *openCalls {
	p := &c.parts[maphash.String(c.seed, who.grant+who.user)%uint64(len(c.parts))]
	p.mu.RLock()
	if o := p.callers[who]; o != nil {
		defer p.mu.RUnlock()
		return o.enter(limit, from)
	}
	p.mu.RUnlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.callers[who]
	if o == nil {
		o = &openCalls{part: p, who: who}
		p.callers[who] = o
	}
	return o.enter(limit, from)
}

// enter is the counter's, for those who hold mu.
func (o *openCalls) enter(limit int, from string) *openCalls {
	if o.who.grant != "" {
		o.used.Store(time.Now().UnixNano())
		if last := o.from.Load(); last == nil || *last != from {
			moved := from
			o.from.Store(&moved)
		}
	}
	for {
		n := o.open.Load()
		if n >= int64(limit) {
			return nil
		}
		if o.open.CompareAndSwap(n, n+1) {
			return o
		}
	}
}

// leave counts a call down.
func (o *openCalls) leave() {
	if o.open.Add(-1) > 0 || o.used.Load() != 0 {
		return
	}
	o.part.mu.Lock()
	defer o.part.mu.Unlock()
	o.forget()
}

// forget drops a caller who has nothing in progress and nothing to tell, for
// those who hold mu alone.
func (o *openCalls) forget() {
	if o.open.Load() == 0 && o.used.Load() == 0 && o.part.callers[o.who] == o {
		delete(o.part.callers, o.who)
	}
}

// takeUses returns when each grant was last used since the last time.
func (c *callCounter) takeUses() []store.GrantUse {
	var uses []store.GrantUse
	for i := range c.parts {
		uses = c.parts[i].takeUses(uses)
	}
	return uses
}

func (p *callPart) takeUses(uses []store.GrantUse) []store.GrantUse {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.callers {
		if at := o.used.Swap(0); at != 0 {
			uses = append(uses, store.GrantUse{GrantID: o.who.grant, At: time.Unix(0, at), From: *o.from.Load()})
		}
		o.forget()
	}
	return uses
}
