package storetest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// misled makes a store take wrong uses for those that it was given.
func misled(change func(uses []store.GrantUse) []store.GrantUse) func(m *mutant) {
	return func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			return m.Store.TouchGrants(ctx, now, change(slices.Clone(uses)))
		}
	}
}

// willing makes a store note also those uses that takes says, whatever the
// rules are; a rotation ends it.
func willing(takes func(g store.Grant, u store.GrantUse) bool) func(m *mutant) {
	return func(m *mutant) {
		var noted sync.Map
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			for _, u := range uses {
				if g, _ := m.Grant(ctx, now, u.GrantID); g.ID != "" && takes(g, u) {
					noted.Store(u.GrantID, u)
				}
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
		m.look = func(g store.Grant) store.Grant {
			if u, ok := noted.Load(g.ID); ok && !g.UsedAt.After(u.(store.GrantUse).At) {
				g.UsedAt, g.UsedFrom = u.(store.GrantUse).At, u.(store.GrantUse).From
			}
			return g
		}
	}
}

var touchMutants = map[string]func(m *mutant){
	"touch does nothing":        misled(func([]store.GrantUse) []store.GrantUse { return nil }),
	"touch takes only one":      misled(func(uses []store.GrantUse) []store.GrantUse { return uses[:min(len(uses), 1)] }),
	"touch forgets the address": misled(changed(func(u *store.GrantUse) { u.From = "" })),
	"touch loses fractions":     misled(changed(func(u *store.GrantUse) { u.At = u.At.Truncate(time.Second) })),
	"touch takes the last in the list": misled(func(uses []store.GrantUse) []store.GrantUse {
		last := map[string]store.GrantUse{}
		for _, u := range uses {
			last[u.GrantID] = u
		}
		return slices.DeleteFunc(uses, func(u store.GrantUse) bool { return last[u.GrantID] != u })
	}),
	"touch takes the first in the list": misled(func(uses []store.GrantUse) []store.GrantUse {
		seen := map[string]bool{}
		return slices.DeleteFunc(uses, func(u store.GrantUse) bool {
			twice := seen[u.GrantID]
			seen[u.GrantID] = true
			return twice
		})
	}),
	"touch keeps an address for none": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			uses = slices.Clone(uses)
			for i := range uses {
				if g, err := m.Store.Grant(ctx, now, uses[i].GrantID); err == nil && uses[i].From == "" {
					uses[i].From = g.UsedFrom
				}
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
	},
	"touch moves back": func(m *mutant) {
		var noted sync.Map
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			for _, u := range uses {
				if _, err := m.Store.Grant(ctx, now, u.GrantID); err == nil {
					noted.Store(u.GrantID, u)
				}
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
		m.rotate = func(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
			g, err := m.Store.RotateGrant(ctx, now, r)
			if err == nil {
				noted.Delete(r.ID)
			}
			return g, err
		}
		m.look = func(g store.Grant) store.Grant {
			if u, ok := noted.Load(g.ID); ok {
				g.UsedAt, g.UsedFrom = u.(store.GrantUse).At, u.(store.GrantUse).From
			}
			return g
		}
	},
	"touch takes the same moment again": willing(func(g store.Grant, u store.GrantUse) bool {
		return g.Revoked.IsZero() && u.At.Equal(g.UsedAt)
	}),
	"touch takes the revoked": willing(func(g store.Grant, u store.GrantUse) bool {
		return !g.Revoked.IsZero() && u.At.After(g.UsedAt)
	}),
	"touch takes the expired": func(m *mutant) {
		m.touch = func(ctx context.Context, _ time.Time, uses []store.GrantUse) error {
			return m.Store.TouchGrants(ctx, time.Time{}, uses)
		}
	},
	"touch stops at the unknown": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			for i, u := range uses {
				if _, err := m.Store.Grant(ctx, now, u.GrantID); err != nil {
					uses = uses[:i]
					break
				}
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
	},
	"touch fails for the unknown": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			err := m.Store.TouchGrants(ctx, now, uses)
			for _, u := range uses {
				if g, gone := m.Store.Grant(ctx, now, u.GrantID); g.ID == "" {
					return gone
				}
			}
			return err
		}
	},
	"touch fails for the revoked": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			err := m.Store.TouchGrants(ctx, now, uses)
			for _, u := range uses {
				if g, bad := m.Store.Grant(ctx, now, u.GrantID); !g.Revoked.IsZero() {
					return bad
				}
			}
			return err
		}
	},
	"touch makes the unknown": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			for _, u := range uses {
				_ = m.Store.CreateGrant(ctx, now, store.Grant{ID: u.GrantID, UsedAt: u.At, Expires: now.Add(time.Hour)})
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
	},
	"touch is a refresh": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			for _, u := range uses {
				g, _ := m.Store.Grant(ctx, now, u.GrantID)
				r := store.Rotation{ID: g.ID, From: g.Generation, Expires: g.Expires, UsedFrom: g.UsedFrom}
				_, _ = m.Store.RotateGrant(ctx, g.UsedAt, r)
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
	},
	"touch moves the end": func(m *mutant) {
		var longer sync.Map
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			for _, u := range uses {
				longer.Store(u.GrantID, true)
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
		m.grant = func(ctx context.Context, now time.Time, id string) (store.Grant, error) {
			g, err := m.Store.Grant(ctx, now, id)
			if _, ok := longer.Load(id); ok && g.ID == "" {
				return m.Store.Grant(ctx, now.Add(-time.Minute), id)
			}
			return g, err
		}
	},
	"touch leaves an entry": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			_ = m.Store.Announce(ctx, now, store.Revocation{Session: "touched", Until: now.Add(time.Hour)})
			return m.Store.TouchGrants(ctx, now, uses)
		}
	},
	"touch writes back what it read": func(m *mutant) {
		var written sync.Map
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			for _, u := range uses {
				if g, err := m.Store.Grant(ctx, now, u.GrantID); err == nil && u.At.After(g.UsedAt) {
					time.Sleep(time.Millisecond) // the gap that a database round trip opens
					g.UsedAt, g.UsedFrom = u.At, u.From
					written.Store(g.ID, g)
				}
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
		m.rotate = func(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
			g, err := m.Store.RotateGrant(ctx, now, r)
			if err == nil {
				written.Delete(r.ID)
			}
			return g, err
		}
		m.revoke = func(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
			did, err := m.Store.RevokeGrant(ctx, now, r)
			written.Delete(r.GrantID)
			return did, err
		}
		m.look = func(g store.Grant) store.Grant {
			if w, ok := written.Load(g.ID); ok && w.(store.Grant).Created.Equal(g.Created) {
				return w.(store.Grant)
			}
			return g
		}
	},
	"touch compares, then sets": func(m *mutant) {
		var noted sync.Map
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			for _, u := range uses {
				if g, err := m.Grant(ctx, now, u.GrantID); err == nil && u.At.After(g.UsedAt) {
					time.Sleep(time.Millisecond) // the gap that a database round trip opens
					noted.Store(u.GrantID, u)
				}
			}
			return ctx.Err()
		}
		m.look = func(g store.Grant) store.Grant {
			if u, ok := noted.Load(g.ID); ok && u.(store.GrantUse).At.After(g.RotatedAt) {
				g.UsedAt, g.UsedFrom = u.(store.GrantUse).At, u.(store.GrantUse).From
			}
			return g
		}
	},
	"touch is of this life": func(m *mutant) {
		var noted sync.Map
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			if m.life == "" {
				return m.Store.TouchGrants(ctx, now, uses)
			}
			for _, u := range uses {
				noted.Store(u.GrantID, u)
			}
			return ctx.Err()
		}
		m.look = func(g store.Grant) store.Grant {
			if u, ok := noted.Load(g.ID); ok {
				g.UsedAt, g.UsedFrom = u.(store.GrantUse).At, u.(store.GrantUse).From
			}
			return g
		}
	},
	"touch ignores contexts": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			return m.Store.TouchGrants(context.WithoutCancel(ctx), now, uses)
		}
	},
	"touch of nothing ignores contexts": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			if len(uses) == 0 {
				return nil
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
	},
	"touch refuses nothing": func(m *mutant) {
		m.touch = func(ctx context.Context, now time.Time, uses []store.GrantUse) error {
			if len(uses) == 0 {
				return fmt.Errorf("no uses")
			}
			return m.Store.TouchGrants(ctx, now, uses)
		}
	},
}

// changed returns what changes every use of a list.
func changed(change func(u *store.GrantUse)) func(uses []store.GrantUse) []store.GrantUse {
	return func(uses []store.GrantUse) []store.GrantUse {
		for i := range uses {
			change(&uses[i])
		}
		return uses
	}
}
