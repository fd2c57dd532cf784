package storetest_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// plenty is a limit that no test reaches.
const plenty = 1 << 20

// sorted makes a store list grants in another order.
func sorted(compare func(a, b store.Grant) int) func(m *mutant) {
	return func(m *mutant) {
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			grants, err := m.Store.Grants(ctx, now, subject, plenty)
			slices.SortStableFunc(grants, compare)
			return grants[:min(len(grants), max(limit, 0))], err
		}
	}
}

// newest is the order of the contract.
func newest(a, b store.Grant) int {
	return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
}

// mistaken makes a store show a person also the grants of subjects that it
// takes for theirs.
func mistaken(takes func(subject, other string) bool) func(m *mutant) {
	return func(m *mutant) {
		subjects := map[string]bool{}
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			subjects[g.User.Subject] = true
			return m.Store.CreateGrant(ctx, now, g)
		}
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			grants, err := m.Store.Grants(ctx, now, subject, plenty)
			for other := range subjects {
				if other != subject && takes(subject, other) {
					more, _ := m.Store.Grants(ctx, now, other, plenty)
					grants = append(grants, more...)
				}
			}
			slices.SortFunc(grants, newest)
			return grants[:min(len(grants), max(limit, 0))], err
		}
	}
}

// forgetful makes a store lose something of a new grant.
func forgetful(forget func(g *store.Grant)) func(m *mutant) {
	return func(m *mutant) {
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			g.User.Groups = slices.Clone(g.User.Groups)
			forget(&g)
			return m.Store.CreateGrant(ctx, now, g)
		}
	}
}

// serial lets a mutant's table be used by the suite's races.
func serial(m *mutant) {
	if create := m.create; create != nil {
		var mu sync.Mutex
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			mu.Lock()
			defer mu.Unlock()
			return create(ctx, now, g)
		}
	}
}

var personMutants = map[string]func(m *mutant){
	"list begins with the oldest": sorted(func(a, b store.Grant) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	}),
	"list turns ties around": sorted(func(a, b store.Grant) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID))
	}),
	"list ignores the case of ids": sorted(func(a, b store.Grant) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)))
	}),
	"list sorts by the second": sorted(func(a, b store.Grant) int {
		return cmp.Or(cmp.Compare(b.Created.Unix(), a.Created.Unix()), cmp.Compare(a.ID, b.ID))
	}),
	"list sorts by the clock on the wall": sorted(func(a, b store.Grant) int {
		const wall = "2006-01-02T15:04:05.000000"
		return cmp.Or(cmp.Compare(b.Created.Format(wall), a.Created.Format(wall)), cmp.Compare(a.ID, b.ID))
	}),
	"list sorts by the last use": sorted(func(a, b store.Grant) int {
		return cmp.Or(b.UsedAt.Compare(a.UsedAt), newest(a, b))
	}),
	"list has no limit": func(m *mutant) {
		m.grants = func(ctx context.Context, now time.Time, subject string, _ int) ([]store.Grant, error) {
			return m.Store.Grants(ctx, now, subject, plenty)
		}
	},
	"no limit is no limit": func(m *mutant) {
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			if limit <= 0 {
				limit = plenty
			}
			return m.Store.Grants(ctx, now, subject, limit)
		}
	},
	"a negative limit is no limit": func(m *mutant) {
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			if limit < 0 {
				limit = plenty
			}
			return m.Store.Grants(ctx, now, subject, limit)
		}
	},
	"limit cuts off the newest": func(m *mutant) {
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			grants, err := m.Store.Grants(ctx, now, subject, plenty)
			return grants[max(0, len(grants)-max(limit, 0)):], err
		}
	},
	"limit counts the revoked": func(m *mutant) {
		var mu sync.Mutex
		revoked := 0
		m.revoke = func(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			revoked++
			return m.Store.RevokeGrant(ctx, now, r)
		}
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			mu.Lock()
			defer mu.Unlock()
			return m.Store.Grants(ctx, now, subject, max(limit-revoked, 0))
		}
	},
	"list shows the revoked": func(m *mutant) {
		var ids sync.Map
		m.revoke = func(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
			ids.Store(r.GrantID, true)
			return m.Store.RevokeGrant(ctx, now, r)
		}
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			grants, err := m.Store.Grants(ctx, now, subject, limit)
			for id := range ids.Range {
				if g, _ := m.Store.Grant(ctx, now, id.(string)); g.ID != "" && g.User.Subject == subject {
					grants = append(grants, g)
				}
			}
			slices.SortFunc(grants, newest)
			return grants, err
		}
	},
	"list shows the expired a second longer": func(m *mutant) {
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			return m.Store.Grants(ctx, now.Add(-time.Second), subject, limit)
		}
	},
	"list drops what expires soon": func(m *mutant) {
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			return m.Store.Grants(ctx, now.Add(time.Second), subject, limit)
		}
	},
	"list shows grants as they were made": func(m *mutant) {
		var made sync.Map
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			err := m.Store.CreateGrant(ctx, now, g)
			if err == nil {
				made.Store(g.ID, g)
			}
			return err
		}
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			grants, err := m.Store.Grants(ctx, now, subject, limit)
			for i := range grants {
				if g, ok := made.Load(grants[i].ID); ok {
					grants[i] = g.(store.Grant)
				}
			}
			return grants, err
		}
	},
	"list stays with the first person": func(m *mutant) {
		var first sync.Map
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			first.LoadOrStore(g.ID, g.User.Subject)
			return m.Store.CreateGrant(ctx, now, g)
		}
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			grants, err := m.Store.Grants(ctx, now, subject, limit)
			for id, of := range first.Range {
				g, gone := m.Store.Grant(ctx, now, id.(string))
				if gone == nil && of == subject && g.User.Subject != subject {
					grants = append(grants, g)
				}
			}
			return grants, err
		}
	},
	"list goes by the beginning": func(m *mutant) {
		mistaken(strings.HasPrefix)(m)
		serial(m)
	},
	"list goes by who begins so": func(m *mutant) {
		mistaken(func(subject, other string) bool { return strings.HasPrefix(other, subject) })(m)
		serial(m)
	},
	"list ignores case": func(m *mutant) {
		mistaken(strings.EqualFold)(m)
		serial(m)
	},
	"list ignores spaces": func(m *mutant) {
		mistaken(func(a, b string) bool { return strings.TrimSpace(a) == strings.TrimSpace(b) })(m)
		serial(m)
	},
	"list ignores what is past 255 bytes": func(m *mutant) {
		mistaken(func(a, b string) bool { return len(a) > 255 && len(b) > 255 && a[:255] == b[:255] })(m)
		serial(m)
	},
	"list goes by a pattern": func(m *mutant) {
		mistaken(func(a, b string) bool {
			before, after, found := strings.Cut(a, "%")
			return found && strings.HasPrefix(b, before) && strings.HasSuffix(b, after)
		})(m)
		serial(m)
	},
	"list goes by e-mail": func(m *mutant) {
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			if subject == "ada@example.com" {
				subject = "user-1"
			}
			return m.Store.Grants(ctx, now, subject, limit)
		}
	},
	"list is of this node": func(m *mutant) {
		var mu sync.Mutex
		mine := map[string]bool{}
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			mu.Lock()
			defer mu.Unlock()
			mine[g.ID] = true
			return m.Store.CreateGrant(ctx, now, g)
		}
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			mu.Lock()
			known := maps.Clone(mine)
			mu.Unlock()
			grants, err := m.Store.Grants(ctx, now, subject, limit)
			return slices.DeleteFunc(grants, func(g store.Grant) bool { return !known[g.ID] }), err
		}
	},
	"list ignores contexts": func(m *mutant) {
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			return m.Store.Grants(context.WithoutCancel(ctx), now, subject, limit)
		}
	},
	"groups are shared with readers": func(m *mutant) {
		var groups sync.Map
		m.look = func(g store.Grant) store.Grant {
			shared, _ := groups.LoadOrStore(g.ID, g.User.Groups)
			g.User.Groups = shared.([]string)
			return g
		}
	},
	"groups are shared with the writer": func(m *mutant) {
		var groups sync.Map
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			groups.Store(g.ID, g.User.Groups)
			return m.Store.CreateGrant(ctx, now, g)
		}
		m.look = func(g store.Grant) store.Grant {
			if shared, ok := groups.Load(g.ID); ok {
				g.User.Groups = slices.Clone(shared.([]string))
			}
			return g
		}
	},
	"groups are sorted":             forgetful(func(g *store.Grant) { slices.Sort(g.User.Groups) }),
	"groups lose what comes twice":  forgetful(func(g *store.Grant) { g.User.Groups = slices.Compact(g.User.Groups) }),
	"groups are lost":               forgetful(func(g *store.Grant) { g.User.Groups = nil }),
	"verified addresses are lost":   forgetful(func(g *store.Grant) { g.User.EmailVerified = false }),
	"methods are lost":              forgetful(func(g *store.Grant) { g.User.Login = "" }),
	"client hashes are lost":        forgetful(func(g *store.Grant) { g.ClientHash = "" }),
	"first uses are lost":           forgetful(func(g *store.Grant) { g.UsedAt = time.Time{} }),
	"first addresses are lost":      forgetful(func(g *store.Grant) { g.UsedFrom = "" }),
	"unknown first uses made up":    forgetful(func(g *store.Grant) { g.UsedAt = cmp.Or(g.UsedAt, g.RotatedAt) }),
	"rotation forgets the address":  rotatedWith(func(r *store.Rotation) { r.UsedFrom = "" }),
	"rotation keeps the address":    rotatedWith(func(r *store.Rotation) { r.UsedFrom = "192.0.2.1" }),
	"ids end after 255 bytes":       forgetful(func(g *store.Grant) { g.ID = g.ID[:min(len(g.ID), 255)] }),
	"times lose an odd zone's rest": forgetful(func(g *store.Grant) { g.Expires = viaText(g.Expires) }),
	"rotation is no use": func(m *mutant) {
		var made sync.Map
		m.create = func(ctx context.Context, now time.Time, g store.Grant) error {
			made.LoadOrStore(g.ID, g.UsedAt)
			return m.Store.CreateGrant(ctx, now, g)
		}
		m.look = func(g store.Grant) store.Grant {
			if at, ok := made.Load(g.ID); ok && g.Generation > 0 && g.UsedAt.Equal(g.RotatedAt) {
				g.UsedAt = at.(time.Time)
			}
			return g
		}
	},
}

// rotatedWith makes a store change what a rotation asks for.
func rotatedWith(change func(r *store.Rotation)) func(m *mutant) {
	return func(m *mutant) {
		m.rotate = func(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
			change(&r)
			return m.Store.RotateGrant(ctx, now, r)
		}
	}
}

// viaText is what a text format makes of a moment.
func viaText(at time.Time) time.Time {
	back, err := time.Parse(time.RFC3339Nano, at.Format(time.RFC3339Nano))
	if err != nil {
		return at
	}
	return back
}
