package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// useCall is one call of Use.
type useCall struct {
	now, until time.Time
	key        string
}

// misheard makes a store hear something else than it was told.
func misheard(change func(m *mutant, c *useCall)) func(m *mutant) {
	return func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			c := useCall{now: now, until: until, key: key}
			change(m, &c)
			return m.Store.Use(ctx, c.now, c.key, c.until)
		}
	}
}

// farAway is when nothing has ended yet.
var farAway = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)

var usedMutants = map[string]func(m *mutant){
	"use never refuses": func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			_, err := m.Store.Use(ctx, now, key, until)
			if errors.Is(err, store.ErrExists) {
				err = nil
			}
			return now, err
		}
	},
	"use checks, then acts": func(m *mutant) {
		var mu sync.Mutex
		marks := map[string]time.Time{}
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			mu.Lock()
			taken := marks[key].After(now)
			mu.Unlock()
			if taken {
				return m.Store.Use(ctx, now, key, until)
			}
			time.Sleep(time.Millisecond) // the gap that a database round trip opens
			first, err := m.Store.Use(ctx, now, key, until)
			if !errors.Is(err, store.ErrExists) && err != nil {
				return first, err
			}
			mu.Lock()
			defer mu.Unlock()
			marks[key] = until
			return now, nil
		}
	},
	"use tells the time of the refusal": func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			_, err := m.Store.Use(ctx, now, key, until)
			return now, err
		}
	},
	"use tells no time": func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			first, err := m.Store.Use(ctx, now, key, until)
			if err != nil {
				first = time.Time{}
			}
			return first, err
		}
	},
	"use tells the winner no time": func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			first, err := m.Store.Use(ctx, now, key, until)
			if err == nil {
				first = time.Time{}
			}
			return first, err
		}
	},
	"use tells the first time of all": func(m *mutant) {
		var firsts sync.Map
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			first, err := m.Store.Use(ctx, now, key, until)
			if err == nil {
				firsts.LoadOrStore(key, first)
			} else if at, ok := firsts.Load(key); ok {
				first = at.(time.Time)
			}
			return first, err
		}
	},
	"use refuses as a conflict": func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			first, err := m.Store.Use(ctx, now, key, until)
			if errors.Is(err, store.ErrExists) {
				err = store.ErrConflict
			}
			return first, err
		}
	},
	"use is for ever":         misheard(func(_ *mutant, c *useCall) { c.until = farAway }),
	"use ends a second late":  misheard(func(_ *mutant, c *useCall) { c.until = c.until.Add(time.Second) }),
	"use ends a second early": misheard(func(_ *mutant, c *useCall) { c.until = c.until.Add(-time.Second) }),
	"use loses fractions":     misheard(func(_ *mutant, c *useCall) { c.now = c.now.Truncate(time.Second) }),
	"use ends in 2262": misheard(func(_ *mutant, c *useCall) {
		if c.until.Year() > 2261 {
			c.until = time.Time{}
		}
	}),
	"use holds what is over": misheard(func(_ *mutant, c *useCall) {
		if !c.until.After(c.now) {
			c.until = c.now.Add(time.Minute)
		}
	}),
	"use folds case":      misheard(func(_ *mutant, c *useCall) { c.key = strings.ToLower(c.key) }),
	"use trims keys":      misheard(func(_ *mutant, c *useCall) { c.key = strings.TrimSpace(c.key) }),
	"use cuts keys":       misheard(func(_ *mutant, c *useCall) { c.key = c.key[:min(len(c.key), 255)] }),
	"use is of this node": misheard(func(m *mutant, c *useCall) { c.key = m.node + c.key }),
	"use is of this life": misheard(func(m *mutant, c *useCall) { c.key = m.life + c.key }),
	"use moves the end": func(m *mutant) {
		var mu sync.Mutex
		type mark struct{ first, until time.Time }
		marks := map[string]mark{}
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			mu.Lock()
			defer mu.Unlock()
			k, marked := marks[key]
			if marked && k.until.After(now) {
				if until.After(k.until) {
					marks[key] = mark{k.first, until}
				}
				return k.first, errors.Join(ctx.Err(), store.ErrExists)
			}
			first, err := m.Store.Use(ctx, now, key, until)
			if err == nil {
				marks[key] = mark{first, until}
			}
			return first, err
		}
	},
	"use refused shortens": func(m *mutant) {
		var ends sync.Map
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			if end, ok := ends.Load(key); ok && !end.(time.Time).After(now) {
				return now, ctx.Err()
			}
			first, err := m.Store.Use(ctx, now, key, until)
			if err != nil {
				ends.Store(key, until)
			}
			return first, err
		}
	},
	"use and grants share names": func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			if g, err := m.Store.Grant(ctx, now, key); err == nil {
				return g.Created, store.ErrExists
			}
			return m.Store.Use(ctx, now, key, until)
		}
	},
	"use makes a grant": func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			first, err := m.Store.Use(ctx, now, key, until)
			if err == nil {
				_ = m.Store.CreateGrant(ctx, now, store.Grant{ID: key, Created: now, Expires: until})
			}
			return first, err
		}
	},
	"use ignores contexts": func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			return m.Store.Use(context.WithoutCancel(ctx), now, key, until)
		}
	},
	"use gives a verdict before the context's": func(m *mutant) {
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			if ctx.Err() == nil {
				return m.Store.Use(ctx, now, key, until)
			}
			first, err := m.Store.Use(context.WithoutCancel(ctx), now, key, now)
			if err == nil {
				err = ctx.Err()
			}
			return first, err
		}
	},
	"sweep takes every used key": func(m *mutant) {
		var mu sync.Mutex
		sweeps := 0
		m.sweep = func(ctx context.Context, now time.Time) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			sweeps++
			return m.Store.Sweep(ctx, now)
		}
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			mu.Lock()
			defer mu.Unlock()
			return m.Store.Use(ctx, now, fmt.Sprint(sweeps, key), until)
		}
	},
	"sweep goes by a key's first end": func(m *mutant) {
		var mu sync.Mutex
		ends, lives := map[string]time.Time{}, map[string]int{}
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			mu.Lock()
			defer mu.Unlock()
			if _, ok := ends[key]; !ok {
				ends[key] = until
			}
			return m.Store.Use(ctx, now, fmt.Sprint(lives[key], key), until)
		}
		m.sweep = func(ctx context.Context, now time.Time) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			for key, end := range ends {
				if !end.After(now) {
					delete(ends, key)
					lives[key]++
				}
			}
			return m.Store.Sweep(ctx, now)
		}
	},
	"sweep leaves used keys": func(m *mutant) {
		var mu sync.Mutex
		ends, lives := map[string]time.Time{}, map[string]int{}
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			mu.Lock()
			defer mu.Unlock()
			if end, ok := ends[key]; ok && !end.After(now) {
				lives[key]++
			}
			first, err := m.Store.Use(ctx, now, fmt.Sprint(lives[key], key), farAway)
			if err == nil {
				ends[key] = until
			}
			return first, err
		}
	},
}
