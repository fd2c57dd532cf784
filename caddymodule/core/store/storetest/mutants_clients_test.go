package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// ownTable makes a store keep clients itself, one table for all nodes and lives,
// by rules of its own: takes says whether a record may come in the place of
// another.
func ownTable(takes func(old, rec store.ClientRecord) bool) func(m *mutant) {
	type name struct {
		state store.Store
		key   string
	}
	var mu sync.Mutex
	clients := map[name]store.ClientRecord{}
	return func(m *mutant) {
		m.put = func(ctx context.Context, _ time.Time, rec store.ClientRecord) error {
			mu.Lock()
			defer mu.Unlock()
			at := name{m.Store, rec.Key}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if !takes(clients[at], rec) {
				return store.ErrConflict
			}
			clients[at] = rec
			return nil
		}
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			mu.Lock()
			defer mu.Unlock()
			rec, ok := clients[name{m.Store, key}]
			if ctx.Err() != nil || !ok {
				return store.ClientRecord{}, cmp.Or(ctx.Err(), store.ErrNotFound)
			}
			return rec, nil
		}
	}
}

// answered makes a store give another error in the place of one.
func answered(instead func(err error) error) func(m *mutant) {
	return func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			return instead(m.Store.PutClient(ctx, now, rec))
		}
	}
}

// onConflict is answered for the refusal.
func onConflict(other error) func(m *mutant) {
	return answered(func(err error) error {
		if errors.Is(err, store.ErrConflict) {
			return other
		}
		return err
	})
}

var clientMutants = all(byRules(), clientRuleMutants, clientValueMutants, clientRaceMutants)

// clientRules are what stores could go by instead of the rule.
var clientRules = map[string]func(old, rec store.ClientRecord) bool{
	"put takes later versions": func(old, rec store.ClientRecord) bool {
		return !old.Deleted && rec.Version > old.Version
	},
	"put takes the version again": func(old, rec store.ClientRecord) bool {
		return follows(old, rec) || !old.Deleted && rec.Version == old.Version && old.Key != ""
	},
	"put takes any first version": func(old, rec store.ClientRecord) bool {
		return follows(old, rec) || old.Key == ""
	},
	"put counts from 0": func(old, rec store.ClientRecord) bool {
		return follows(old, rec) || old.Key == "" && rec.Version == 0
	},
	"put counts in 32 bits": func(old, rec store.ClientRecord) bool {
		return !old.Deleted && uint32(rec.Version) == uint32(old.Version)+1
	},
	"put takes older versions": func(old, rec store.ClientRecord) bool {
		return follows(old, rec) || !old.Deleted && rec.Version > 0 && rec.Version < old.Version
	},
	"put brings deleted clients back": func(old, rec store.ClientRecord) bool {
		return rec.Version == old.Version+1
	},
	"put deletes twice": func(old, rec store.ClientRecord) bool {
		return rec.Version == old.Version+1 && (!old.Deleted || rec.Deleted)
	},
	"put starts anew after the end": func(old, rec store.ClientRecord) bool {
		return follows(old, rec) || old.Deleted && rec.Version == 1
	},
	"deleting needs a record": func(old, rec store.ClientRecord) bool {
		return follows(old, rec) && (!rec.Deleted || old.Key != "")
	},
	"deleting needs no version": func(old, rec store.ClientRecord) bool {
		return follows(old, rec) || !old.Deleted && rec.Deleted
	},
}

// follows is the rule.
func follows(old, rec store.ClientRecord) bool {
	return !old.Deleted && rec.Version == old.Version+1
}

// byRules turns rules into mutants.
func byRules() map[string]func(m *mutant) {
	out := map[string]func(m *mutant){}
	for name, rule := range clientRules {
		out[name] = ownTable(rule)
	}
	return out
}

// clientRuleMutants get wrong who is refused, and how.
var clientRuleMutants = map[string]func(m *mutant){
	"put never refuses":        onConflict(nil),
	"put refuses as existing":  onConflict(store.ErrExists),
	"put refuses as unknown":   onConflict(store.ErrNotFound),
	"put refuses as an outage": onConflict(errors.New("conflict")),
	"put refuses in two ways":  onConflict(errors.Join(store.ErrConflict, store.ErrRevoked)),
	"a refused put is kept": func(m *mutant) {
		var refused sync.Map
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			err := m.Store.PutClient(ctx, now, rec)
			if errors.Is(err, store.ErrConflict) {
				refused.Store(rec.Key, rec)
			} else {
				refused.Delete(rec.Key)
			}
			return err
		}
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			if rec, ok := refused.Load(key); ok {
				return rec.(store.ClientRecord), ctx.Err()
			}
			return m.Store.Client(ctx, key)
		}
	},
	"a refused put counts": func(m *mutant) {
		var more sync.Map
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			err := m.Store.PutClient(ctx, now, rec)
			if errors.Is(err, store.ErrConflict) {
				more.Store(rec.Key, true)
			}
			return err
		}
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			rec, err := m.Store.Client(ctx, key)
			if _, ok := more.Load(key); ok && err == nil {
				rec.Version++
			}
			return rec, err
		}
	},
	"deleted clients are unknown": func(m *mutant) {
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			rec, err := m.Store.Client(ctx, key)
			if rec.Deleted {
				return store.ClientRecord{}, store.ErrNotFound
			}
			return rec, err
		}
	},
	"unknown clients are empty": func(m *mutant) {
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			rec, err := m.Store.Client(ctx, key)
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return rec, err
		}
	},
	"sweep takes deleted clients": sweptClients(func(rec store.ClientRecord) bool { return rec.Deleted }),
	"sweep takes changed clients": sweptClients(func(rec store.ClientRecord) bool { return !rec.Deleted }),
	"sweep counts clients": func(m *mutant) {
		var puts sync.Map
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			puts.Store(rec.Key, true)
			return m.Store.PutClient(ctx, now, rec)
		}
		m.sweep = func(ctx context.Context, now time.Time) (int, error) {
			n, err := m.Store.Sweep(ctx, now)
			puts.Range(func(key, _ any) bool { n++; puts.Delete(key); return true })
			return n, err
		}
	},
}

// sweptClients makes Sweep take the clients that is says.
func sweptClients(is func(rec store.ClientRecord) bool) func(m *mutant) {
	return func(m *mutant) {
		var gone sync.Map
		m.sweep = func(ctx context.Context, now time.Time) (int, error) {
			gone.Store("", true)
			return m.Store.Sweep(ctx, now)
		}
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			rec, err := m.Store.Client(ctx, key)
			if _, swept := gone.Load(""); swept && err == nil && is(rec) {
				return store.ClientRecord{}, store.ErrNotFound
			}
			return rec, err
		}
	}
}

// clientRaceMutants are right while nobody hurries, or nobody asks again.
var clientRaceMutants = map[string]func(m *mutant){
	"put checks, then acts": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			old, err := m.Store.Client(ctx, rec.Key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if old.Deleted || rec.Version != old.Version+1 {
				return store.ErrConflict
			}
			time.Sleep(time.Millisecond) // the gap that a database round trip opens
			_ = m.Store.PutClient(ctx, now, rec)
			return nil
		}
	},
	"put answers before it is written": func(m *mutant) {
		var mu sync.Mutex
		late := map[string]store.ClientRecord{}
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			mu.Lock()
			defer mu.Unlock()
			if last, ok := late[rec.Key]; ok {
				_ = m.Store.PutClient(ctx, now, last)
			}
			old, err := m.Store.Client(ctx, rec.Key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if old.Deleted || rec.Version != old.Version+1 {
				return store.ErrConflict
			}
			late[rec.Key] = rec
			return nil
		}
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			mu.Lock()
			defer mu.Unlock()
			if rec, ok := late[key]; ok {
				return rec, ctx.Err()
			}
			return m.Store.Client(ctx, key)
		}
	},
	"clients are cached": func(m *mutant) {
		var cache sync.Map
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			if rec, ok := cache.Load(key); ok {
				return rec.(store.ClientRecord), ctx.Err()
			}
			rec, err := m.Store.Client(ctx, key)
			if err == nil {
				cache.Store(key, rec)
			}
			return rec, err
		}
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			err := m.Store.PutClient(ctx, now, rec)
			if err == nil {
				cache.Store(rec.Key, rec)
			}
			return err
		}
	},
	"unknown clients are cached": func(m *mutant) {
		var unknown sync.Map
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			if _, ok := unknown.Load(key); ok {
				return store.ClientRecord{}, errors.Join(ctx.Err(), store.ErrNotFound)
			}
			rec, err := m.Store.Client(ctx, key)
			if errors.Is(err, store.ErrNotFound) {
				unknown.Store(key, true)
			}
			return rec, err
		}
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			unknown.Delete(rec.Key)
			return m.Store.PutClient(ctx, now, rec)
		}
	},
	"put ignores contexts": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			return m.Store.PutClient(context.WithoutCancel(ctx), now, rec)
		}
	},
	"clients ignore contexts": func(m *mutant) {
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			return m.Store.Client(context.WithoutCancel(ctx), key)
		}
	},
	"put gives a verdict before the context's": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			if old, _ := m.Store.Client(context.WithoutCancel(ctx), rec.Key); rec.Version != old.Version+1 {
				return store.ErrConflict
			}
			return m.Store.PutClient(ctx, now, rec)
		}
	},
	"unknown before the context's end": func(m *mutant) {
		m.client = func(ctx context.Context, key string) (store.ClientRecord, error) {
			if _, err := m.Store.Client(context.WithoutCancel(ctx), key); err != nil {
				return store.ClientRecord{}, err
			}
			return m.Store.Client(ctx, key)
		}
	},
	"put writes although its context is over": func(m *mutant) {
		m.put = func(ctx context.Context, now time.Time, rec store.ClientRecord) error {
			err := m.Store.PutClient(context.WithoutCancel(ctx), now, rec)
			if ctx.Err() != nil {
				err = fmt.Errorf("outcome unknown: %w", ctx.Err())
			}
			return err
		}
	},
}
