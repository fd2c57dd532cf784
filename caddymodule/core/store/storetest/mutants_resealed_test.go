package storetest_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// reread makes a store take what is kept for what the caller saw, if ignores
// says so: it overlooks a change.
func reread(ignores func(now, old store.GrantRecord) bool) func(m *mutant) {
	return func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if store.CheckReseal(old, next) == nil && old.Grant != nil {
				if g := m.find(ctx, old.Grant.ID); g != nil && ignores(*g, *old.Grant) {
					old = store.Record{Grant: g}
				}
			}
			return m.Store.Reseal(ctx, old, next)
		}
	}
}

// find returns the record of a grant; nil if there is none.
func (m *mutant) find(ctx context.Context, id string) *store.GrantRecord {
	records, _, _ := m.Store.Records(ctx, "", 1<<20)
	for _, r := range records {
		if r.Grant != nil && r.Grant.ID == id {
			return r.Grant
		}
	}
	return nil
}

// miskeptForm makes a store keep another form than it was given.
func miskeptForm(change func(old, next *store.GrantRecord)) func(m *mutant) {
	return func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if store.CheckReseal(old, next) == nil && next.Grant != nil {
				old, next = old.Clone(), next.Clone()
				change(old.Grant, next.Grant)
			}
			return m.Store.Reseal(ctx, old, next)
		}
	}
}

// afterReseal makes a store do something else as well.
func afterReseal(more func(ctx context.Context, m *mutant, next store.Record)) func(m *mutant) {
	return func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			err := m.Store.Reseal(ctx, old, next)
			if err == nil {
				more(ctx, m, next)
			}
			return err
		}
	}
}

// resealAs makes a store give another answer.
func resealAs(answer func(err error) error) func(m *mutant) {
	return func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			return answer(m.Store.Reseal(ctx, old, next))
		}
	}
}

var resealedMutants = map[string]func(m *mutant){
	"reseal does nothing": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if store.CheckReseal(old, next) == nil {
				return m.Store.Reseal(ctx, old, old)
			}
			return m.Store.Reseal(ctx, old, next)
		}
	},
	"reseal overlooks a refresh": reread(func(now, old store.GrantRecord) bool { return now.Generation != old.Generation }),
	"reseal overlooks a refresh of one moment": reread(func(now, old store.GrantRecord) bool {
		return now.Generation != old.Generation && now.UsedAt.Equal(old.UsedAt)
	}),
	"reseal overlooks a use": reread(func(now, old store.GrantRecord) bool {
		return now.Generation == old.Generation && !now.UsedAt.Equal(old.UsedAt)
	}),
	"reseal overlooks a use in one second": reread(func(now, old store.GrantRecord) bool {
		return now.Generation == old.Generation && now.UsedAt.Truncate(time.Second).Equal(old.UsedAt.Truncate(time.Second)) &&
			now.Revoked.Equal(old.Revoked) && now.Sealed == old.Sealed
	}),
	"reseal overlooks the revoking": reread(func(now, old store.GrantRecord) bool { return !now.Revoked.Equal(old.Revoked) }),
	"reseal overlooks a new form":   reread(func(now, old store.GrantRecord) bool { return now.Sealed != old.Sealed }),
	"reseal overlooks a new grant":  reread(func(now, old store.GrantRecord) bool { return !now.Created.Equal(old.Created) }),
	"reseal keeps the subject":      miskeptForm(func(old, next *store.GrantRecord) { next.User.Subject = old.User.Subject }),
	"reseal keeps the form":         miskeptForm(func(old, next *store.GrantRecord) { next.Sealed = old.Sealed }),
	"reseal keeps the name":         miskeptForm(func(old, next *store.GrantRecord) { next.User.Name = old.User.Name }),
	"reseal loses keep":             miskeptForm(func(_, next *store.GrantRecord) { next.Keep = time.Time{} }),
	"reseal revives":                miskeptForm(func(_, next *store.GrantRecord) { next.Revoked = time.Time{} }),
	"reseal is a refresh":           miskeptForm(func(_, next *store.GrantRecord) { next.Generation++ }),
	"reseal is a use":               miskeptForm(func(_, next *store.GrantRecord) { next.UsedAt = next.UsedAt.Add(time.Second) }),
	"reseal begins anew":            miskeptForm(func(_, next *store.GrantRecord) { next.Generation = 0 }),
	"reseal moves the end":          miskeptForm(func(_, next *store.GrantRecord) { next.Expires = next.Expires.Add(time.Second) }),
	"reseal checks, then acts": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if store.CheckReseal(old, next) != nil || old.Grant == nil {
				return m.Store.Reseal(ctx, old, next)
			}
			g := m.find(ctx, old.Grant.ID)
			if g == nil || !g.Same(*old.Grant) {
				return m.Store.Reseal(ctx, old, next)
			}
			time.Sleep(time.Millisecond) // the gap that a database round trip opens
			return m.Store.Restore(ctx, []store.Record{next})
		}
	},
	"reseal of a client checks, then acts": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if store.CheckReseal(old, next) != nil || old.Client == nil {
				return m.Store.Reseal(ctx, old, next)
			}
			c, err := m.Store.Client(ctx, old.Client.Key)
			if err != nil || !c.Same(*old.Client) {
				return m.Store.Reseal(ctx, old, next)
			}
			time.Sleep(time.Millisecond) // the gap that a database round trip opens
			return m.Store.Restore(ctx, []store.Record{next})
		}
	},
	"reseal of a client overlooks changes": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if store.CheckReseal(old, next) == nil && old.Client != nil {
				if c, err := m.Store.Client(ctx, old.Client.Key); err == nil && c.Version == old.Client.Version {
					old = store.Record{Client: &c}
				}
			}
			return m.Store.Reseal(ctx, old, next)
		}
	},
	"reseal of a client undoes a change": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if store.CheckReseal(old, next) == nil && old.Client != nil {
				if _, err := m.Store.Client(ctx, old.Client.Key); err == nil {
					return m.Store.Restore(ctx, []store.Record{next})
				}
			}
			return m.Store.Reseal(ctx, old, next)
		}
	},
	"reseal of a client is a version": afterReseal(func(ctx context.Context, m *mutant, next store.Record) {
		if next.Client != nil {
			c := *next.Client
			c.Version++
			_ = m.Store.Restore(ctx, []store.Record{{Client: &c}})
		}
	}),
	"reseal leaves an entry": afterReseal(func(ctx context.Context, m *mutant, _ store.Record) {
		_ = m.Store.Announce(ctx, time.Now(), store.Revocation{Session: "resealed", Until: farAway})
	}),
	"reseal makes the unknown": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			err := m.Store.Reseal(ctx, old, next)
			if errors.Is(err, store.ErrNotFound) {
				return m.Store.Restore(ctx, []store.Record{next})
			}
			return err
		}
	},
	"reseal of the unknown is a conflict": resealAs(func(err error) error {
		if errors.Is(err, store.ErrNotFound) {
			return store.ErrConflict
		}
		return err
	}),
	"reseal of the changed is no error": resealAs(func(err error) error {
		if errors.Is(err, store.ErrConflict) {
			return nil
		}
		return err
	}),
	"reseal takes anything": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if store.CheckReseal(old, next) != nil {
				return ctx.Err()
			}
			return m.Store.Reseal(ctx, old, next)
		}
	},
	"reseal of a fault is a conflict": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if store.CheckReseal(old, next) != nil {
				return store.ErrConflict
			}
			return m.Store.Reseal(ctx, old, next)
		}
	},
	"reseal stays in the old list": func(m *mutant) {
		var left sync.Map // by the subject before
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			err := m.Store.Reseal(ctx, old, next)
			if err == nil && old.Grant != nil && old.Grant.User.Subject != next.Grant.User.Subject {
				left.Store(old.Grant.User.Subject, old.Grant.Grant)
			}
			return err
		}
		m.grants = func(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
			grants, err := m.Store.Grants(ctx, now, subject, limit)
			if g, is := left.Load(subject); is && err == nil {
				grants = append(grants, g.(store.Grant))
			}
			return grants, err
		}
	},
	"reseal keeps a reference": func(m *mutant) {
		var late store.Record
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if err := m.Store.Reseal(ctx, old, next); err != nil || next.Grant == nil || len(next.Grant.User.Groups) != 2 {
				return err
			}
			late = store.Record{Grant: &store.GrantRecord{Grant: next.Grant.Grant}}
			return nil
		}
		m.grant = func(ctx context.Context, now time.Time, id string) (store.Grant, error) {
			if late.Grant != nil && late.Grant.ID == id {
				return late.Grant.Grant, nil
			}
			return m.Store.Grant(ctx, now, id)
		}
	},
	"reseal ignores contexts": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			return m.Store.Reseal(context.WithoutCancel(ctx), old, next)
		}
	},
	"reseal gives a verdict before the context's": func(m *mutant) {
		m.reseal = func(ctx context.Context, old, next store.Record) error {
			if old.Grant != nil && m.find(context.WithoutCancel(ctx), old.Grant.ID) == nil {
				return store.ErrNotFound
			}
			return m.Store.Reseal(ctx, old, next)
		}
	},
}
