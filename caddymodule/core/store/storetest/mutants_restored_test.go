package storetest_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// misrestored makes a store take something else than it was given.
func misrestored(change func(records []store.Record) []store.Record) func(m *mutant) {
	return func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			for _, r := range records {
				if r.Check() != nil {
					return m.Store.Restore(ctx, records)
				}
			}
			copies := make([]store.Record, len(records))
			for i, r := range records {
				copies[i] = r.Clone()
			}
			return m.Store.Restore(ctx, change(copies))
		}
	}
}

// unrestored makes a store forget records of some kind.
func unrestored(is func(r store.Record) bool) func(m *mutant) {
	return misrestored(func(records []store.Record) []store.Record { return slices.DeleteFunc(records, is) })
}

// restoredGrants makes a store distort the grants that it takes in.
func restoredGrants(change func(g *store.GrantRecord)) func(m *mutant) {
	return misrestored(func(records []store.Record) []store.Record {
		for _, r := range records {
			if r.Grant != nil {
				change(r.Grant)
			}
		}
		return records
	})
}

// isGrant picks grants.
func isGrant(r store.Record) bool { return r.Grant != nil }

var restoredMutants = map[string]func(m *mutant){
	"restore does nothing":            unrestored(func(store.Record) bool { return true }),
	"restore forgets grants":          unrestored(isGrant),
	"restore forgets uses":            unrestored(func(r store.Record) bool { return r.Use != nil }),
	"restore forgets clients":         unrestored(func(r store.Record) bool { return r.Client != nil }),
	"restore forgets the feed":        unrestored(func(r store.Record) bool { return r.Revocation != nil }),
	"restore forgets deleted clients": unrestored(func(r store.Record) bool { return r.Client != nil && r.Client.Deleted }),
	"restore takes only the first":    misrestored(func(records []store.Record) []store.Record { return records[:min(len(records), 1)] }),
	"restore turns the feed around": misrestored(func(records []store.Record) []store.Record {
		slices.Reverse(records)
		return records
	}),
	"restore appends twice": misrestored(func(records []store.Record) []store.Record {
		for _, r := range slices.Clone(records) {
			if r.Revocation != nil {
				records = append(records, r)
			}
		}
		return records
	}),
	"restore revives":               restoredGrants(func(g *store.GrantRecord) { g.Revoked, g.Keep = time.Time{}, time.Time{} }),
	"restore loses keep":            restoredGrants(func(g *store.GrantRecord) { g.Keep = time.Time{} }),
	"restore keeps for ever":        restoredGrants(func(g *store.GrantRecord) { g.Keep = farAway }),
	"restore begins at 0":           restoredGrants(func(g *store.GrantRecord) { g.Generation = 0 }),
	"restore loses sealed":          restoredGrants(func(g *store.GrantRecord) { g.Sealed = "" }),
	"restore loses the use":         restoredGrants(func(g *store.GrantRecord) { g.UsedAt, g.UsedFrom = g.Created, "" }),
	"restore loses fractions":       restoredGrants(func(g *store.GrantRecord) { g.UsedAt = g.UsedAt.Truncate(time.Second) }),
	"restore loses zones":           restoredGrants(func(g *store.GrantRecord) { g.UsedAt = viaText(g.UsedAt) }),
	"restore gives all to one":      restoredGrants(func(g *store.GrantRecord) { g.User.Subject = "user-1" }),
	"restored clients are new":      misrestored(firstVersions),
	"restored keys were used later": misrestored(usedLater),
	"restored keys are hashed again": misrestored(func(records []store.Record) []store.Record {
		for _, r := range records {
			if r.Use != nil {
				r.Use.Hash = store.UseHash(r.Use.Hash)
			}
		}
		return records
	}),
	"restore leaves what is there": func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			return m.Store.Restore(ctx, slices.DeleteFunc(slices.Clone(records), func(r store.Record) bool {
				if r.Check() != nil || r.Grant == nil {
					return false
				}
				g, _ := m.Store.Grant(ctx, time.Time{}, r.Grant.ID)
				return g.ID != ""
			}))
		}
	},
	"restore leaves newer clients": func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			return m.Store.Restore(ctx, slices.DeleteFunc(slices.Clone(records), func(r store.Record) bool {
				if r.Check() != nil || r.Client == nil {
					return false
				}
				c, _ := m.Store.Client(ctx, r.Client.Key)
				return c.Version > r.Client.Version
			}))
		}
	},
	"restore leaves keys that are used": func(m *mutant) {
		var marked sync.Map
		m.use = func(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
			marked.Store(store.UseHash(key), true)
			return m.Store.Use(ctx, now, key, until)
		}
		m.restore = func(ctx context.Context, records []store.Record) error {
			return m.Store.Restore(ctx, slices.DeleteFunc(slices.Clone(records), func(r store.Record) bool {
				if r.Check() != nil || r.Use == nil {
					return false
				}
				_, there := marked.Load(r.Use.Hash)
				return there
			}))
		}
	},
	"restore goes by the version": func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			for _, r := range records {
				if r.Client != nil {
					if err := m.Store.PutClient(ctx, time.Now(), *r.Client); err != nil {
						return err
					}
				}
			}
			return m.Store.Restore(ctx, records)
		}
	},
	"the restored are in nobody's list": func(m *mutant) {
		var restored sync.Map
		m.restore = func(ctx context.Context, records []store.Record) error {
			for _, r := range records {
				if r.Grant != nil {
					restored.Store(r.Grant.ID, true)
				}
			}
			return m.Store.Restore(ctx, records)
		}
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			grants, err := m.Store.Grants(ctx, now, subject, limit)
			return slices.DeleteFunc(grants, func(g store.Grant) bool { _, is := restored.Load(g.ID); return is }), err
		}
	},
	"the restored stay in the old list": func(m *mutant) {
		var left sync.Map // by the subject before
		m.restore = func(ctx context.Context, records []store.Record) error {
			for _, r := range records {
				if r.Grant != nil {
					if g, err := m.Store.Grant(ctx, time.Time{}, r.Grant.ID); err == nil && g.User.Subject != r.Grant.User.Subject {
						left.Store(g.User.Subject, g)
					}
				}
			}
			return m.Store.Restore(ctx, records)
		}
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			grants, err := m.Store.Grants(ctx, now, subject, limit)
			if g, is := left.Load(subject); is && err == nil {
				grants = append(grants, g.(store.Grant))
			}
			return grants, err
		}
	},
	"the restored are not swept": func(m *mutant) {
		restored := false
		m.restore = func(ctx context.Context, records []store.Record) error {
			restored = true
			return m.Store.Restore(ctx, records)
		}
		m.sweep = func(ctx context.Context, now time.Time) (int, error) {
			if restored {
				return 0, ctx.Err()
			}
			return m.Store.Sweep(ctx, now)
		}
	},
	"restore takes a part": func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			for i := range records {
				if err := m.Store.Restore(ctx, records[i:i+1]); err != nil {
					return err
				}
			}
			return ctx.Err()
		}
	},
	"restore passes over the empty": func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			return m.Store.Restore(ctx, slices.DeleteFunc(slices.Clone(records), func(r store.Record) bool { return r.Check() != nil }))
		}
	},
	"restore of a fault is a conflict": func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			for _, r := range records {
				if r.Check() != nil {
					return store.ErrConflict
				}
			}
			return m.Store.Restore(ctx, records)
		}
	},
	"restore refuses nothing": func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			if len(records) == 0 {
				return store.ErrNotFound
			}
			return m.Store.Restore(ctx, records)
		}
	},
	"restore keeps a reference": func(m *mutant) {
		var late []store.Record
		m.restore = func(ctx context.Context, records []store.Record) error {
			for _, r := range records {
				if r.Check() != nil || len(records) < 9 {
					return m.Store.Restore(ctx, records)
				}
			}
			late = records
			return ctx.Err()
		}
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			if late != nil {
				if err := m.Store.Restore(ctx, late); err != nil {
					return nil, "", err
				}
				late = nil
			}
			return m.Store.Records(ctx, after, limit)
		}
	},
	"the restored are of this life": func(m *mutant) {
		var here sync.Map
		m.restore = func(ctx context.Context, records []store.Record) error {
			for _, r := range records {
				if r.Grant != nil && m.life != "" {
					here.Store(r.Grant.ID, true)
				}
			}
			return m.Store.Restore(ctx, records)
		}
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			records, next, err := m.Store.Records(ctx, after, limit)
			return slices.DeleteFunc(records, func(r store.Record) bool {
				if r.Grant == nil || m.life == "" {
					return false
				}
				_, is := here.Load(r.Grant.ID)
				return !is
			}), next, err
		}
	},
	"restore ignores contexts": func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			return m.Store.Restore(context.WithoutCancel(ctx), records)
		}
	},
	"restore swaps the ring": func(m *mutant) {
		m.restore = func(ctx context.Context, records []store.Record) error {
			_, _ = m.Store.SwapKeyRing(ctx, 0, []byte("restored"))
			return m.Store.Restore(ctx, records)
		}
	},
}

// firstVersions makes all clients new ones.
func firstVersions(records []store.Record) []store.Record {
	for _, r := range records {
		if r.Client != nil {
			r.Client.Version = 1
		}
	}
	return records
}

// usedLater moves the moment at which keys were used.
func usedLater(records []store.Record) []store.Record {
	for _, r := range records {
		if r.Use != nil {
			r.Use.First = r.Use.First.Add(time.Second)
		}
	}
	return records
}
