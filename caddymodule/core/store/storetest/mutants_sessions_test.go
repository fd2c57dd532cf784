package storetest_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// distorted makes a store store something else than it was told.
func distorted(change func(m *mutant, r *store.Revocation)) func(m *mutant) {
	return func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if err := r.CheckAnnounced(); err != nil {
				return err
			}
			change(m, &r)
			return m.Store.Announce(ctx, now, r)
		}
	}
}

// reordered makes a store sort what a poll returns, each kind for itself.
func reordered(rank func(r store.Revocation) int) func(m *mutant) {
	return func(m *mutant) {
		m.revocations = func(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
			out, next, err := m.Store.Revocations(ctx, now, after)
			slices.SortStableFunc(out, func(a, b store.Revocation) int { return rank(a) - rank(b) })
			return out, next, err
		}
	}
}

// only shows those entries of sessions that were made under a mark, and takes
// the mark away.
func only(mark func(m *mutant) string) func(m *mutant) {
	return func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			r.Reason = mark(m) + "|" + r.Reason
			return m.Store.Announce(ctx, now, r)
		}
		m.revocations = func(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
			out, next, err := m.Store.Revocations(ctx, now, after)
			var kept []store.Revocation
			for _, r := range out {
				if r.GrantID == "" {
					made, reason, _ := strings.Cut(r.Reason, "|")
					if made != mark(m) {
						continue
					}
					r.Reason = reason
				}
				kept = append(kept, r)
			}
			return kept, next, err
		}
	}
}

var sessionMutants = map[string]func(m *mutant){
	"ends of sessions get lost": func(m *mutant) {
		m.end = func(ctx context.Context, _ time.Time, r store.Revocation) error {
			if err := r.CheckAnnounced(); err != nil {
				return err
			}
			return ctx.Err()
		}
	},
	"ends of sessions come last": reordered(func(r store.Revocation) int { return min(len(r.Session)+len(r.Subject), 1) }),
	"ends of sessions come first": reordered(func(r store.Revocation) int {
		return -min(len(r.Session)+len(r.Subject), 1)
	}),
	"persons come before sessions": reordered(func(r store.Revocation) int { return -min(len(r.Subject), 1) }),
	"sessions end for persons": distorted(func(_ *mutant, r *store.Revocation) {
		if r.Session != "" {
			r.Session, r.Subject = "", r.Session
		}
	}),
	"persons end as sessions": distorted(func(_ *mutant, r *store.Revocation) {
		if r.Subject != "" {
			r.Session, r.Subject = r.Subject, ""
		}
	}),
	"before is lost":    distorted(func(_ *mutant, r *store.Revocation) { r.Before = time.Time{} }),
	"before is rounded": distorted(func(_ *mutant, r *store.Revocation) { r.Before = r.Before.Truncate(time.Second) }),
	"before is set for all": distorted(func(_ *mutant, r *store.Revocation) {
		if r.Before.IsZero() {
			r.Before = r.Until
		}
	}),
	"before loses an odd zone's rest": distorted(func(_ *mutant, r *store.Revocation) { r.Before = viaText(r.Before) }),
	"the reason is the usual one":     distorted(func(_ *mutant, r *store.Revocation) { r.Reason = "sign_out" }),
	"sessions end too early":          distorted(func(_ *mutant, r *store.Revocation) { r.Until = r.Until.Add(-time.Second) }),
	"sessions never end":              distorted(func(_ *mutant, r *store.Revocation) { r.Until = farAway }),
	"sessions of this node":           only(func(m *mutant) string { return m.node }),
	"sessions of this life":           only(func(m *mutant) string { return m.life }),
	"ending twice is once": func(m *mutant) {
		var seen sync.Map
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if _, twice := seen.LoadOrStore(r.Session+"/"+r.Subject, true); twice {
				return ctx.Err()
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
	"ending takes the person's grants": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			grants, _ := m.Store.Grants(ctx, now, r.Subject, plenty)
			for _, g := range grants {
				_, _ = m.Store.RevokeGrant(ctx, now, store.Revocation{GrantID: g.ID, Until: r.Until})
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
	"ending takes the grant of that name": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			_, _ = m.Store.RevokeGrant(ctx, now, store.Revocation{GrantID: r.Session, Until: r.Until})
			return m.Store.Announce(ctx, now, r)
		}
	},
	"ending of nothing is taken": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if r.CheckAnnounced() != nil {
				return nil
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
	"ending of a grant and a session is taken": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if r.Session != "" {
				r.GrantID = ""
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
	"ending of a session and a person is taken": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if r.Session != "" {
				r.Subject = ""
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
	"ending of nothing is a verdict": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if r.CheckAnnounced() != nil {
				return store.ErrNotFound
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
	"ending ignores contexts": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			return m.Store.Announce(context.WithoutCancel(ctx), now, r)
		}
	},
	"ending is written late": func(m *mutant) {
		var mu sync.Mutex
		var late []store.Revocation
		m.end = func(ctx context.Context, _ time.Time, r store.Revocation) error {
			if err := r.CheckAnnounced(); err != nil || ctx.Err() != nil {
				return context.Canceled
			}
			mu.Lock()
			defer mu.Unlock()
			late = append(late, r)
			return nil
		}
		m.revoke = func(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
			did, err := m.Store.RevokeGrant(ctx, now, r)
			mu.Lock()
			defer mu.Unlock()
			for _, r := range late {
				_ = m.Store.Announce(ctx, now, r)
			}
			late = nil
			return did, err
		}
	},
}
