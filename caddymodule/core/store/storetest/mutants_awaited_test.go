package storetest_test

import (
	"context"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// asleep is an Await that nothing wakes.
func asleep(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

var awaitedMutants = map[string]func(m *mutant){
	"await never wakes": func(m *mutant) { m.await = asleep },
	"await never waits": func(m *mutant) {
		m.await = func(ctx context.Context, _ string) error { return ctx.Err() }
	},
	"await sees no past": func(m *mutant) {
		m.await = func(ctx context.Context, _ string) error {
			_, last, err := m.Store.Revocations(ctx, time.Now(), "")
			if err != nil {
				return err
			}
			return m.Store.Await(ctx, last)
		}
	},
	"await trusts any cursor": func(m *mutant) {
		m.await = func(ctx context.Context, after string) error {
			if after != "" && !strings.Contains(after, ".") {
				return asleep(ctx, after)
			}
			return m.Store.Await(ctx, after)
		}
	},
	"await misses announcements": func(m *mutant) {
		m.await = func(ctx context.Context, after string) error {
			for {
				if err := m.Store.Await(ctx, after); err != nil {
					return err
				}
				entries, next, err := m.Store.Revocations(ctx, time.Now(), after)
				if err != nil || len(entries) == 0 {
					return err
				}
				for _, e := range entries {
					if e.GrantID != "" {
						return nil
					}
				}
				after = next
			}
		}
	},
	"await of this node": func(m *mutant) {
		woken := make(chan struct{}, 1)
		wake := func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		}
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			defer wake()
			return m.Store.Announce(ctx, now, r)
		}
		m.await = func(ctx context.Context, after string) error {
			if m.pair == 0 {
				return m.Store.Await(ctx, after)
			}
			select {
			case <-woken:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	},
	"await wakes one": func(m *mutant) {
		turn := make(chan struct{}, 1)
		m.await = func(ctx context.Context, after string) error {
			select {
			case turn <- struct{}{}:
				return m.Store.Await(ctx, after) // and keeps its turn
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	},
	"await ends without an error": func(m *mutant) {
		m.await = func(ctx context.Context, after string) error {
			_ = m.Store.Await(ctx, after)
			return nil
		}
	},
	"await ignores contexts": func(m *mutant) {
		m.await = func(ctx context.Context, after string) error {
			return m.Store.Await(context.WithoutCancel(ctx), after)
		}
	},
	"await ends with a verdict": func(m *mutant) {
		m.await = func(ctx context.Context, after string) error {
			if err := m.Store.Await(ctx, after); err != nil {
				return store.ErrNotFound
			}
			return nil
		}
	},
	"the clock stands": func(m *mutant) {
		at := time.Now()
		m.now = func(ctx context.Context) (time.Time, error) { return at, ctx.Err() }
	},
	"the clock counts from 1970": func(m *mutant) {
		m.now = func(ctx context.Context) (time.Time, error) { return time.Unix(1, 0), ctx.Err() }
	},
	"the clock is of another zone": func(m *mutant) {
		m.now = func(ctx context.Context) (time.Time, error) { return time.Now().Add(time.Hour), ctx.Err() }
	},
	"the clock jumps": func(m *mutant) {
		n := 0
		m.now = func(ctx context.Context) (time.Time, error) {
			n++
			return time.Now().Add(time.Duration(n%2) * -5 * time.Second), ctx.Err()
		}
	},
	"the clock is this node's": func(m *mutant) {
		m.now = func(ctx context.Context) (time.Time, error) {
			return time.Now().Add(time.Duration(m.pair) * 10 * time.Second), ctx.Err()
		}
	},
	"the clock ignores contexts": func(m *mutant) {
		m.now = func(ctx context.Context) (time.Time, error) { return m.Store.Now(context.WithoutCancel(ctx)) }
	},
}
