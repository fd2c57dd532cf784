package oidc

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// times say how long a document of the provider is good for.
type times struct {
	// fresh is how long it is used before it is fetched again.
	fresh time.Duration
	// keep is how long it is used if that fails.
	keep time.Duration
	// gap is the least time between two attempts to fetch it.
	gap time.Duration
}

var (
	documentTimes = times{fresh: time.Hour, keep: 24 * time.Hour, gap: 2 * time.Second}
	// A key that the provider has withdrawn is good for an hour at most. Tokens
	// with invented key ids can't make this server ask more often than the gap.
	keyTimes = times{fresh: time.Hour, keep: time.Hour, gap: 10 * time.Second}
)

// cache holds one document of the provider. However many callers want it at
// once, one request is under way at most.
type cache[T any] struct {
	now   func() time.Time
	load  func(context.Context) (T, error)
	times times

	flight singleflight.Group

	mu     sync.Mutex
	held   held[T]
	loaded time.Time
	tried  time.Time
	err    error // of the last attempt
}

// held is a document and its number; 0 stands for none.
type held[T any] struct {
	doc    T
	serial uint64
}

func newCache[T any](now func() time.Time, load func(context.Context) (T, error), t times) *cache[T] {
	return &cache[T]{now: now, load: load, times: t}
}

// get returns the document, from the provider if need be.
func (c *cache[T]) get(ctx context.Context) (held[T], error) { return c.newer(ctx, 0) }

// newer is get for a caller whom the document of this number did not serve. It
// returns the same one again if it is too early to ask for another.
func (c *cache[T]) newer(ctx context.Context, than uint64) (held[T], error) {
	c.mu.Lock()
	now := c.now()
	kept, failed, early := c.held, c.err, c.early(now)
	age := now.Sub(c.loaded)
	c.mu.Unlock()

	usable := kept.serial > 0 && age >= 0 && age < c.times.keep
	serves := usable && kept.serial != than
	switch {
	case serves && (age < c.times.fresh || early):
		return kept, nil
	case early && failed != nil:
		return held[T]{}, failed
	case early && usable:
		return kept, nil
	}
	h, err := c.fetch(ctx)
	if err != nil && serves && ctx.Err() == nil {
		return kept, nil
	}
	return h, err
}

// early reports whether the provider was asked a moment ago.
func (c *cache[T]) early(now time.Time) bool {
	since := now.Sub(c.tried)
	return !c.tried.IsZero() && since >= 0 && since < c.times.gap
}

// fetch asks the provider, unless somebody else has just done so. The request
// goes on for the others when this caller hangs up; the client's time limit ends
// it.
func (c *cache[T]) fetch(ctx context.Context) (held[T], error) {
	shared := context.WithoutCancel(ctx)
	done := c.flight.DoChan("", func() (any, error) {
		c.mu.Lock()
		kept, failed, early := c.held, c.err, c.early(c.now())
		c.mu.Unlock()
		if early {
			return kept, failed
		}
		doc, err := c.load(shared)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.tried, c.err = c.now(), err; err == nil {
			c.held, c.loaded = held[T]{doc, c.held.serial + 1}, c.tried
		}
		return c.held, err
	})
	select {
	case <-ctx.Done():
		return held[T]{}, ctx.Err()
	case result := <-done:
		h, _ := result.Val.(held[T])
		return h, result.Err
	}
}
