package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var contextParts = []part{
	{"Cancelled", func(t *testing.T, s store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		endedContext(ctx, t, s)
	}},
	{"DeadlinePassed", func(t *testing.T, s store.Store) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		endedContext(ctx, t, s)
	}},
}

// endedContext calls every method with a context that is over: each must fail,
// without a verdict, and nothing may change.
func endedContext(ctx context.Context, t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	expired := sample("old", now)
	expired.Expires = now.Add(time.Minute)
	ok(t, s.CreateGrant(t.Context(), now, expired))
	version, err := s.SwapKeyRing(t.Context(), 0, []byte("ring"))
	ok(t, err)
	uses(t, s, now, "used", now.Add(time.Hour))
	puts(t, s, now, record("c", 1, now))
	cursor := polls(t, s, now, "")
	plain, unknown := store.GrantRecord{Grant: g}, store.GrantRecord{Grant: sample("unknown", now)}
	sealed, entry := sealedForm(plain, "key"), endSession("s", now)

	calls := map[string]func() error{
		"CreateGrant": func() error { return s.CreateGrant(ctx, now, sample("b", now)) },
		"Grant":       func() error { _, err := s.Grant(ctx, now, "a"); return err },
		"RotateGrant": func() error {
			_, err := s.RotateGrant(ctx, now, store.Rotation{ID: "a", Expires: now.Add(2 * time.Hour)})
			return err
		},
		"RevokeGrant": func() error {
			did, err := s.RevokeGrant(ctx, now, revocation("a", now))
			if did {
				t.Error("RevokeGrant says that it did it")
			}
			return err
		},
		"Grants": func() error { _, err := s.Grants(ctx, now, "user-1", plenty); return err },
		"TouchGrants": func() error {
			return s.TouchGrants(ctx, now, []store.GrantUse{{GrantID: "a", At: now.Add(time.Second)}})
		},
		"TouchGrants, none": func() error { return s.TouchGrants(ctx, now, nil) },
		"Use":               func() error { _, err := s.Use(ctx, now, "k", now.Add(time.Hour)); return err },
		"Use, used":         func() error { _, err := s.Use(ctx, now, "used", now.Add(time.Hour)); return err },
		"Announce":          func() error { return s.Announce(ctx, now, endSession("s", now)) },
		"Announce, client":  func() error { return s.Announce(ctx, now, endClient("c", now)) },
		"Client":            func() error { _, err := s.Client(ctx, "c"); return err },
		"Client, unknown":   func() error { _, err := s.Client(ctx, "unknown"); return err },
		"PutClient":         func() error { return s.PutClient(ctx, now, record("c", 2, now)) },
		"PutClient, new":    func() error { return s.PutClient(ctx, now, record("unknown", 1, now)) },
		"PutClient, stale":  func() error { return s.PutClient(ctx, now, record("c", 1, now)) },
		"Revocations":       func() error { _, _, err := s.Revocations(ctx, now, ""); return err },
		"KeyRing":           func() error { _, _, err := s.KeyRing(ctx); return err },
		"SwapKeyRing":       func() error { _, err := s.SwapKeyRing(ctx, version, []byte("other")); return err },
		"Await":             func() error { return s.Await(ctx, cursor) },
		"Await, behind":     func() error { return s.Await(ctx, "") },
		"Records":           func() error { _, _, err := s.Records(ctx, "", plenty); return err },
		"Restore":           func() error { return s.Restore(ctx, []store.Record{{Grant: &sealed}, {Revocation: &entry}}) },
		"Restore, none":     func() error { return s.Restore(ctx, nil) },
		"Reseal":            func() error { return s.Reseal(ctx, store.Record{Grant: &plain}, store.Record{Grant: &sealed}) },
		"Reseal, unknown":   func() error { return s.Reseal(ctx, store.Record{Grant: &unknown}, store.Record{Grant: &unknown}) },
		"Now":               func() error { _, err := s.Now(ctx); return err },
		"Sweep":             func() error { _, err := s.Sweep(ctx, now.Add(time.Minute)); return err },
		"Ping":              func() error { return s.Ping(ctx) },
	}
	for name, call := range calls {
		err := call()
		if err == nil {
			t.Errorf("%s succeeded although its context is over", name)
		}
		for _, verdict := range verdicts {
			if errors.Is(err, verdict) {
				t.Errorf("%s answers an ended context with the verdict %v", name, err)
			}
		}
	}

	has(t, s, now, g)
	has(t, s, now, expired)
	lists(t, s, now, "user-1", g, expired)
	uses(t, s, now, "k", now.Add(time.Hour))
	_, err = s.Grant(t.Context(), now, "b")
	fails(t, err, store.ErrNotFound)
	polls(t, s, now, cursor)
	hasClient(t, s, record("c", 1, now))
	noClient(t, s, "unknown")
	hasRing(t, s, []byte("ring"), version)
}
