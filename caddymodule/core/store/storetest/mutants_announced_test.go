package storetest_test

import (
	"context"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// gullible makes a store take what it must refuse: change takes names away until
// the rest is in order.
func gullible(change func(r *store.Revocation)) func(m *mutant) {
	return func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			change(&r)
			return m.Store.Announce(ctx, now, r)
		}
	}
}

// forTokens and forClients distort the entries of one kind only.
func forTokens(change func(r *store.Revocation)) func(m *mutant) {
	return distorted(func(_ *mutant, r *store.Revocation) {
		if r.Token != "" {
			change(r)
		}
	})
}

func forClients(change func(r *store.Revocation)) func(m *mutant) {
	return distorted(func(_ *mutant, r *store.Revocation) {
		if r.Client != "" {
			change(r)
		}
	})
}

// unheard makes a store lose the entries of one kind.
func unheard(is func(r store.Revocation) bool) func(m *mutant) {
	return func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if r.CheckAnnounced() == nil && is(r) {
				return ctx.Err()
			}
			return m.Store.Announce(ctx, now, r)
		}
	}
}

var announcedMutants = map[string]func(m *mutant){
	"revoked tokens get lost":      unheard(func(r store.Revocation) bool { return r.Token != "" }),
	"revoked clients get lost":     unheard(func(r store.Revocation) bool { return r.Client != "" }),
	"revoked tokens come last":     reordered(func(r store.Revocation) int { return min(len(r.Token), 1) }),
	"revoked tokens come first":    reordered(func(r store.Revocation) int { return -min(len(r.Token), 1) }),
	"revoked clients come last":    reordered(func(r store.Revocation) int { return min(len(r.Client), 1) }),
	"revoked clients come first":   reordered(func(r store.Revocation) int { return -min(len(r.Client), 1) }),
	"tokens are sessions":          forTokens(func(r *store.Revocation) { r.Session, r.Token = r.Token, "" }),
	"tokens are clients":           forTokens(func(r *store.Revocation) { r.Client, r.Token = r.Token, "" }),
	"clients are persons":          forClients(func(r *store.Revocation) { r.Subject, r.Client = r.Client, "" }),
	"clients are tokens":           forClients(func(r *store.Revocation) { r.Token, r.Client = r.Client, "" }),
	"tokens are cut":               forTokens(func(r *store.Revocation) { r.Token = r.Token[:min(len(r.Token), 255)] }),
	"clients are cut":              forClients(func(r *store.Revocation) { r.Client = r.Client[:min(len(r.Client), 255)] }),
	"tokens come back early":       forTokens(func(r *store.Revocation) { r.Until = r.Until.Add(-time.Second) }),
	"clients come back early":      forClients(func(r *store.Revocation) { r.Until = r.Until.Add(-time.Second) }),
	"tokens are revoked for ever":  forTokens(func(r *store.Revocation) { r.Until = farAway }),
	"clients are revoked for ever": forClients(func(r *store.Revocation) { r.Until = farAway }),
	"a client's before is lost":    forClients(func(r *store.Revocation) { r.Before = time.Time{} }),
	"a client's before is its end": forClients(func(r *store.Revocation) { r.Before = r.Until }),
	"a client's before is rounded": forClients(func(r *store.Revocation) { r.Before = r.Before.Truncate(time.Second) }),
	"a client's before drops the rest of its zone": forClients(func(r *store.Revocation) {
		r.Before = viaText(r.Before)
	}),
	"a token's before is dropped": forTokens(func(r *store.Revocation) { r.Before = time.Time{} }),
	"revoking a client deletes it": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if rec, err := m.Store.Client(ctx, r.Client); err == nil {
				rec.Version, rec.Deleted = rec.Version+1, true
				_ = m.Store.PutClient(ctx, now, rec)
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
	"revoking a client makes a record": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if r.Client != "" {
				_ = m.Store.PutClient(ctx, now, store.ClientRecord{Key: r.Client, Version: 1, Changed: now})
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
	"revoking a client takes its grants": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			grants, _ := m.Store.Grants(ctx, now, "user-1", plenty)
			for _, g := range grants {
				if g.ClientID == r.Client {
					_, _ = m.Store.RevokeGrant(ctx, now, store.Revocation{GrantID: g.ID, Until: r.Until})
				}
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
	"revoking a token takes the grant of that name": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			_, _ = m.Store.RevokeGrant(ctx, now, store.Revocation{GrantID: r.Token, Until: r.Until})
			return m.Store.Announce(ctx, now, r)
		}
	},
	"a token and a client are taken": gullible(func(r *store.Revocation) {
		if r.Token != "" && r.Session+r.Subject == "" {
			r.Client = ""
		}
	}),
	"a token and a session are taken": gullible(func(r *store.Revocation) {
		if r.Session != "" && r.Subject+r.Client == "" {
			r.Token = ""
		}
	}),
	"a token and a person are taken": gullible(func(r *store.Revocation) {
		if r.Subject != "" && r.Session+r.Client == "" {
			r.Token = ""
		}
	}),
	"a client and a session are taken": gullible(func(r *store.Revocation) {
		if r.Session != "" && r.Subject+r.Token == "" {
			r.Client = ""
		}
	}),
	"a client and a person are taken": gullible(func(r *store.Revocation) {
		if r.Subject != "" && r.Session+r.Token == "" {
			r.Client = ""
		}
	}),
	"a client and a grant are taken": gullible(func(r *store.Revocation) {
		if r.Client != "" {
			r.GrantID = ""
		}
	}),
	"a token and a grant are taken": gullible(func(r *store.Revocation) {
		if r.Token != "" {
			r.GrantID = ""
		}
	}),
	"revoking a client ignores contexts": func(m *mutant) {
		m.end = func(ctx context.Context, now time.Time, r store.Revocation) error {
			if r.Client != "" {
				ctx = context.WithoutCancel(ctx)
			}
			return m.Store.Announce(ctx, now, r)
		}
	},
}
