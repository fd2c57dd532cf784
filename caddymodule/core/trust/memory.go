package trust

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// This file keeps strangers from sending the provider a question with every
// token that they make up, and from taking the place of those whose tokens are
// good.

const (
	// rememberBad is how long a provider is not asked again about a bad token.
	rememberBad = 5 * time.Second
	// Of one network: so many unknown tokens that turn out bad, in a window.
	maxUnknown    = 60
	unknownWindow = time.Minute
	// Of all fetches under way at once, so many are for unknown tokens. They wait
	// for as long as fetches do.
	unknownAtOnce = concurrency * 3 / 4
	unknownWait   = time.Second
)

// question is what the provider is asked.
type question struct {
	raw string
	sum [sha256.Size]byte
	// unknown says that the token was not good before, and network who sent it.
	unknown bool
	network string
}

// memory is what is known of tokens, by their hashes, in bounded room. The bad
// ones have a room of their own, so that they don't crowd the good ones out.
type memory struct {
	now       func() time.Time
	good, bad *otter.Cache[[sha256.Size]byte, *answer]
	misses    *otter.Cache[string, misses] // by network
	slots     chan struct{}
}

// answer is what the provider said about a token, and for how long it counts.
type answer struct {
	access     *resource.Token
	err        error
	from, till time.Time
}

// misses is how many unknown tokens were bad, since when.
type misses struct {
	n     int
	since time.Time
}

func newMemory(now func() time.Time) *memory {
	answers := &otter.Options[[sha256.Size]byte, *answer]{MaximumSize: remembered}
	return &memory{
		now: now, good: otter.Must(answers), bad: otter.Must(answers),
		misses: otter.Must(&otter.Options[string, misses]{MaximumSize: remembered}),
		slots:  make(chan struct{}, unknownAtOnce),
	}
}

// about returns the question about a token.
func (m *memory) about(ctx context.Context, raw string) question {
	q := question{raw: raw, sum: resource.Sum(raw)}
	if _, ok := m.good.GetIfPresent(q.sum); !ok {
		q.unknown, q.network = true, oauth.Network(oauth.MetaFrom(ctx).RemoteIP)
	}
	return q
}

// recall returns an answer that still counts, or nil.
func (m *memory) recall(q question) *answer {
	now := m.now()
	for _, room := range []*otter.Cache[[sha256.Size]byte, *answer]{m.good, m.bad} {
		if a, ok := room.GetIfPresent(q.sum); ok && !now.Before(a.from) && now.Before(a.till) {
			return a
		}
	}
	return nil
}

// learn remembers an answer. An outage is none.
func (m *memory) learn(q question, access *resource.Token, err error, remember time.Duration) {
	now := m.now()
	switch {
	case err == nil:
		m.good.Set(q.sum, &answer{access: access, from: now, till: now.Add(remember)})
		m.bad.Invalidate(q.sum)
	case !errors.Is(err, resource.ErrUnavailable):
		m.good.Invalidate(q.sum)
		m.bad.Set(q.sum, &answer{err: err, from: now, till: now.Add(rememberBad)})
		if q.unknown {
			m.miss(q.network, now)
		}
	}
}

func (m *memory) miss(network string, now time.Time) {
	m.misses.Compute(network, func(old misses, found bool) (misses, otter.ComputeOp) {
		if !found || !old.counts(now) {
			old = misses{since: now}
		}
		old.n++
		return old, otter.WriteOp
	})
}

func (s misses) counts(now time.Time) bool {
	return !now.Before(s.since) && now.Before(s.since.Add(unknownWindow))
}

// throttled returns ErrThrottled if the token is unknown and came from a network
// that sent too many bad ones.
func (m *memory) throttled(q question) error {
	if s, ok := m.misses.GetIfPresent(q.network); q.unknown && ok && s.n >= maxUnknown && s.counts(m.now()) {
		return fmt.Errorf("%w: they were all unknown to the provider", resource.ErrThrottled)
	}
	return nil
}

// enter waits for a place among the unknown tokens. A token that was good before
// needs none: what is left of the places to fetch is for those.
func (m *memory) enter(ctx context.Context, q question) (leave func(), err error) {
	if !q.unknown {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, unknownWait)
	defer cancel()
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: too many unknown tokens at once", resource.ErrUnavailable)
	}
	leave = func() { <-m.slots }
	if err := m.throttled(q); err != nil { // by those that went before
		leave()
		return nil, err
	}
	return leave, nil
}
