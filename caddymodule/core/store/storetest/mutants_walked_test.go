package storetest_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// mispaged makes a store return something else as a page.
func mispaged(change func(records []store.Record) []store.Record) func(m *mutant) {
	return func(m *mutant) {
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			records, next, err := m.Store.Records(ctx, after, limit)
			if err != nil {
				return nil, "", err
			}
			return change(records), next, nil
		}
	}
}

// without makes a store leave records out.
func without(is func(r store.Record) bool) func(m *mutant) {
	return mispaged(func(records []store.Record) []store.Record { return slices.DeleteFunc(records, is) })
}

// walkedGrants makes a store distort the grants that it hands out.
func walkedGrants(change func(g *store.GrantRecord)) func(m *mutant) {
	return mispaged(func(records []store.Record) []store.Record {
		for _, r := range records {
			if r.Grant != nil {
				change(r.Grant)
			}
		}
		return records
	})
}

var walkedMutants = map[string]func(m *mutant){
	"records lack grants":  without(func(r store.Record) bool { return r.Grant != nil }),
	"records lack uses":    without(func(r store.Record) bool { return r.Use != nil }),
	"records lack clients": without(func(r store.Record) bool { return r.Client != nil }),
	"records lack entries": without(func(r store.Record) bool { return r.Revocation != nil }),
	"records lack deleted clients": without(func(r store.Record) bool {
		return r.Client != nil && r.Client.Deleted
	}),
	"records lack the revoked": without(func(r store.Record) bool {
		return r.Grant != nil && !r.Grant.Revoked.IsZero()
	}),
	"records lack the expired": without(func(r store.Record) bool {
		return r.Grant != nil && !r.Grant.Due().After(time.Now())
	}),
	"records lack used keys that are over": without(func(r store.Record) bool {
		return r.Use != nil && !r.Use.Until.After(time.Now())
	}),
	"records lack entries that are over": without(func(r store.Record) bool {
		return r.Revocation != nil && !r.Revocation.Until.After(time.Now())
	}),
	"records lack the first of a page": func(m *mutant) {
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			records, next, err := m.Store.Records(ctx, after, limit)
			if after != "" && len(records) > 0 {
				records = records[1:]
			}
			return records, next, err
		}
	},
	"records stop at the first page": func(m *mutant) {
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			records, _, err := m.Store.Records(ctx, after, limit)
			return records, "", err
		}
	},
	"records never end": func(m *mutant) {
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			records, next, err := m.Store.Records(ctx, after, limit)
			if next == "" && err == nil {
				next = "zzz"
			}
			return records, next, err
		}
	},
	"records ignore the limit": func(m *mutant) {
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			return m.Store.Records(ctx, after, limit+1)
		}
	},
	"pages are counted": func(m *mutant) {
		// As with OFFSET: what comes and goes before moves the rest.
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			all, _, err := m.Store.Records(ctx, "", 1<<20)
			if err != nil {
				return nil, "", err
			}
			from := min(len(after), len(all))
			to := min(from+limit, len(all))
			next := strings.Repeat("x", to)
			if to == len(all) {
				next = ""
			}
			return all[from:to], next, nil
		}
	},
	"the newest entries come first": mispaged(func(records []store.Record) []store.Record {
		slices.SortStableFunc(records, func(a, b store.Record) int {
			if a.Revocation == nil || b.Revocation == nil {
				return 0
			}
			return b.Revocation.Until.Compare(a.Revocation.Until)
		})
		return records
	}),
	"a record of two kinds": mispaged(func(records []store.Record) []store.Record {
		for i := range records {
			if records[i].Grant != nil {
				records[i].Client = &store.ClientRecord{Key: "new"}
			}
		}
		return records
	}),
	"records lose keep":         walkedGrants(func(g *store.GrantRecord) { g.Keep = time.Time{} }),
	"records cut keep":          walkedGrants(func(g *store.GrantRecord) { g.Keep = g.Keep.Truncate(time.Second) }),
	"records lose sealed":       walkedGrants(func(g *store.GrantRecord) { g.Sealed = "" }),
	"records lose the revoking": walkedGrants(func(g *store.GrantRecord) { g.Revoked = time.Time{} }),
	"records are of generation 0": walkedGrants(func(g *store.GrantRecord) {
		g.Generation = 0
	}),
	"records trim names": walkedGrants(func(g *store.GrantRecord) { g.User.Name = strings.TrimSpace(g.User.Name) }),
	"records have the key, not its hash": mispaged(func(records []store.Record) []store.Record {
		for _, r := range records {
			if r.Use != nil {
				r.Use.Hash = "k"
			}
		}
		return records
	}),
	"records lose the time of use": mispaged(func(records []store.Record) []store.Record {
		for _, r := range records {
			if r.Use != nil {
				r.Use.First = r.Use.Until
			}
		}
		return records
	}),
	"records lose the client's version": mispaged(func(records []store.Record) []store.Record {
		for _, r := range records {
			if r.Client != nil {
				r.Client.Version = 1
			}
		}
		return records
	}),
	"records are shared": func(m *mutant) {
		var mu sync.Mutex
		cache := map[string]store.Record{}
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			records, next, err := m.Store.Records(ctx, after, limit)
			mu.Lock()
			defer mu.Unlock()
			for i, r := range records {
				if r.Grant == nil {
					continue
				}
				if old, ok := cache[r.Grant.ID]; ok && (old.Grant.ID == "" || old.Grant.Same(*r.Grant)) {
					records[i] = old
				}
				cache[r.Grant.ID] = records[i]
			}
			return records, next, err
		}
	},
	"garbage is an unknown record": func(m *mutant) {
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			if strings.Contains(after, "garbage") {
				return nil, "", store.ErrNotFound
			}
			return m.Store.Records(ctx, after, limit)
		}
	},
	"records ignore contexts": func(m *mutant) {
		m.records = func(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
			return m.Store.Records(context.WithoutCancel(ctx), after, limit)
		}
	},
	"sealed ends after 32 KiB": forgetful(func(g *store.Grant) { g.Sealed = g.Sealed[:min(len(g.Sealed), 32<<10)] }),
	"sealed ends early":        forgetful(func(g *store.Grant) { g.Sealed = g.Sealed[:min(len(g.Sealed), 64<<10-1)] }),
	"sealed is trimmed":        forgetful(func(g *store.Grant) { g.Sealed = strings.TrimSpace(g.Sealed) }),
	"rotation loses sealed": func(m *mutant) {
		m.look = func(g store.Grant) store.Grant {
			if g.Generation > 0 {
				g.Sealed = ""
			}
			return g
		}
	},
	"a new grant has the old sealed form": func(m *mutant) {
		var first sync.Map
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			old, _ := first.LoadOrStore(g.ID, g.Sealed)
			g.Sealed = old.(string)
			return m.Store.CreateGrant(ctx, now, g)
		}
	},
}
