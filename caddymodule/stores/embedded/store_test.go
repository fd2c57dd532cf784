package embedded

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store/storetest"
)

func TestStore(t *testing.T) {
	open := func(t *testing.T) store.Store { return openTest(t, newPath(t)) }
	storetest.Run(t, open)
	storetest.RunSwept(t, open)
}

func TestStoreDurable(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T) (store.Store, func(*testing.T) store.Store) {
		path := newPath(t)
		s := openTest(t, path)
		return s, func(t *testing.T) store.Store {
			must(t, s.Close())
			s = openTest(t, path)
			return s
		}
	})
}

// TestClosed wants a clear error, and no panic, from a store that is closed.
func TestClosed(t *testing.T) {
	s := openTest(t, newPath(t))
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	must(t, s.Close())
	must(t, s.Close()) // once more does no harm
	ctx, rec := t.Context(), testClient("c", 1)
	client := store.Record{Client: &rec}
	calls := map[string]func() error{
		"CreateGrant": func() error { return s.CreateGrant(ctx, testNow, testGrant("b")) },
		"Grant":       func() error { _, err := s.Grant(ctx, testNow, "a"); return err },
		"RotateGrant": func() error { _, err := s.RotateGrant(ctx, testNow, store.Rotation{ID: "a"}); return err },
		"RevokeGrant": func() error { _, err := s.RevokeGrant(ctx, testNow, store.Revocation{GrantID: "a"}); return err },
		"Grants":      func() error { _, err := s.Grants(ctx, testNow, "user-1", 9); return err },
		"TouchGrants": func() error { return s.TouchGrants(ctx, testNow, nil) },
		"Use":         func() error { _, err := s.Use(ctx, testNow, "k", testNow.Add(1)); return err },
		"Announce":    func() error { return s.Announce(ctx, testNow, store.Revocation{Session: "s"}) },
		"Client":      func() error { _, err := s.Client(ctx, "c"); return err },
		"PutClient":   func() error { return s.PutClient(ctx, testNow, testClient("c", 1)) },
		"Revocations": func() error { _, _, err := s.Revocations(ctx, testNow, ""); return err },
		"KeyRing":     func() error { _, _, err := s.KeyRing(ctx); return err },
		"SwapKeyRing": func() error { _, err := s.SwapKeyRing(ctx, 0, nil); return err },
		"Await":       func() error { return s.Await(ctx, "") },
		"Records":     func() error { _, _, err := s.Records(ctx, "", 9); return err },
		"Restore":     func() error { return s.Restore(ctx, nil) },
		"Reseal":      func() error { return s.Reseal(ctx, client, client) },
		"Sweep":       func() error { _, err := s.Sweep(ctx, testNow); return err },
		"Ping":        func() error { return s.Ping(ctx) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// TestRefusesWhatItCannotKeep wants an error, and no silent change, for values
// outside of the contract.
func TestRefusesWhatItCannotKeep(t *testing.T) {
	s := openTest(t, newPath(t))
	for _, g := range []store.Grant{
		testGrant(""),
		testGrant(strings.Repeat("x", 1<<16)),
		{ID: "a", ClientID: "\xff"},
		{ID: "a", User: store.User{Name: "\xc3"}},
		{ID: "a", User: store.User{Groups: []string{"staff", "\xff"}}},
		{ID: "a", User: store.User{Login: "\xff"}},
		{ID: "a", UsedFrom: "\xff"},
		{ID: "a", ClientHash: "\xff"},
		{ID: "a", ClientMetadata: "\xff"},
		{ID: "a", User: store.User{Version: "\xff"}},
		{ID: "a", User: store.User{GroupsOf: "\xff"}},
		{ID: "a", Expires: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if err := s.CreateGrant(t.Context(), testNow, g); err == nil || isVerdict(err) {
			t.Errorf("CreateGrant(%.20q): %v", g.ID, err)
		}
		if _, err := s.Grant(t.Context(), testNow, g.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Grant(%.20q): %v", g.ID, err)
		}
	}
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("b")))

	far, later := time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), testNow.Add(time.Minute)
	good := store.GrantUse{GrantID: "a", At: later}
	for name, call := range map[string]func() error{
		"touch from": func() error {
			return s.TouchGrants(t.Context(), testNow, []store.GrantUse{good, {GrantID: "b", At: later, From: "\xff"}})
		},
		"touch at": func() error {
			return s.TouchGrants(t.Context(), testNow, []store.GrantUse{good, {GrantID: "b", At: far}})
		},
		"use until": func() error { _, err := s.Use(t.Context(), testNow, "k", far); return err },
		"session": func() error {
			return s.Announce(t.Context(), testNow, store.Revocation{Session: "\xff", Until: later})
		},
		"person": func() error {
			return s.Announce(t.Context(), testNow, store.Revocation{Subject: "\xff", Until: later})
		},
		"token": func() error {
			return s.Announce(t.Context(), testNow, store.Revocation{Token: "\xff", Until: later})
		},
		"client": func() error {
			return s.Announce(t.Context(), testNow, store.Revocation{Client: "\xff", Until: later})
		},
		"before": func() error {
			return s.Announce(t.Context(), testNow, store.Revocation{Session: "s", Before: far, Until: later})
		},
		"no session": func() error { return s.Announce(t.Context(), testNow, store.Revocation{GrantID: "a", Until: later}) },
	} {
		if err := call(); err == nil || isVerdict(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if g, err := s.Grant(t.Context(), testNow, "a"); err != nil || !g.UsedAt.IsZero() {
		t.Errorf("half of a batch was written: %v, %v", g.UsedAt, err)
	}
	if _, err := s.Use(t.Context(), testNow, "k", later); err != nil {
		t.Errorf("Use: %v", err)
	}
	if entries, _, err := s.Revocations(t.Context(), testNow, ""); err != nil || len(entries) > 0 {
		t.Errorf("feed: %v, %v", entries, err)
	}
}

// TestSweepIsBounded wants one call to leave the rest for the next, and a call
// with nothing to do to leave the disk alone.
func TestSweepIsBounded(t *testing.T) {
	s := openTest(t, newPath(t))
	parallel(t, 2*sweepLimit+1, func(i int) error {
		return s.CreateGrant(t.Context(), testNow, testGrant(fmt.Sprint(i)))
	})
	before := s.w.commits.Load()
	if n, err := s.Sweep(t.Context(), testNow); n != 0 || err != nil || s.w.commits.Load() != before {
		t.Fatalf("Sweep of live grants: %d, %v, %d commits", n, err, s.w.commits.Load()-before)
	}
	for _, want := range []int{sweepLimit, sweepLimit, 1, 0} {
		if n, err := s.Sweep(t.Context(), testNow.Add(time.Hour)); n != want || err != nil {
			t.Fatalf("Sweep = %d, %v; want %d", n, err, want)
		}
	}
}

// TestPingWritesOnlyWhenNeeded drives Ping with a clock of its own.
func TestPingWritesOnlyWhenNeeded(t *testing.T) {
	s := openTest(t, newPath(t))
	now := testNow
	s.file.clock = func() time.Time { return now } // the writer is idle
	pings := func(want int64) {
		t.Helper()
		before := s.w.commits.Load()
		must(t, s.Ping(t.Context()))
		if got := s.w.commits.Load() - before; got != want {
			t.Fatalf("Ping made %d commits, want %d", got, want)
		}
	}
	pings(1) // nothing proven yet
	pings(0)
	now = now.Add(proofAge)
	pings(1)
	now = now.Add(proofAge)
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	pings(0) // real work is proof enough
	s.w.remember(errors.New("a commit failed"))
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("b")))
	pings(2) // a big one, although a small one has succeeded since
	pings(0)
}

// TestFileGone wants writes and Ping to fail when the file is no longer what
// the next start would open, and to work again when it is back.
func TestFileGone(t *testing.T) {
	path := newPath(t)
	s := openTest(t, path)
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	fails := func(what string) {
		t.Helper()
		if err := s.CreateGrant(t.Context(), testNow, testGrant("b")); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: CreateGrant: %v", what, err)
		}
		_, failures, _ := s.w.health(proofAge)
		s.w.heal(failures) // so that Ping relies on its proof
		if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Ping: %v", what, err)
		}
		if _, err := s.Grant(t.Context(), testNow, "a"); err != nil {
			t.Errorf("%s: Grant: %v", what, err)
		}
	}
	must(t, os.Rename(path, path+".away"))
	fails("missing")
	must(t, os.WriteFile(path, []byte("something else"), 0o600))
	fails("replaced")
	must(t, os.Rename(path+".away", path))
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("b")))
	must(t, s.Ping(t.Context()))
}

// TestCutWhileOpen cuts the file under the open store: that is an error, not
// the end of the server.
func TestCutWhileOpen(t *testing.T) {
	path := newPath(t)
	s := openTest(t, path)
	parallel(t, 100, func(i int) error {
		return s.CreateGrant(t.Context(), testNow, testGrant(fmt.Sprint(i)))
	})
	must(t, os.Truncate(path, int64(2*os.Getpagesize())))
	if _, err := s.Grant(t.Context(), testNow, "7"); err == nil || isVerdict(err) {
		t.Errorf("Grant: %v", err)
	}
	if err := s.CreateGrant(t.Context(), testNow, testGrant("new")); err == nil || isVerdict(err) {
		t.Errorf("CreateGrant: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping sees nothing wrong")
	}
}

// TestMappingLost takes the mapping away, as a failed mmap does (no memory
// left): the next write opens the file anew.
func TestMappingLost(t *testing.T) {
	s := openTest(t, newPath(t))
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	data := reflect.ValueOf(s.file.db).Elem().FieldByName("data")
	*(*unsafe.Pointer)(unsafe.Pointer(data.UnsafeAddr())) = nil
	if _, err := s.Grant(t.Context(), testNow, "a"); err == nil || isVerdict(err) {
		t.Fatalf("the mapping is still there: %v", err)
	}
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("b")))
	for _, id := range []string{"a", "b"} {
		_, err := s.Grant(t.Context(), testNow, id)
		must(t, err)
	}
}

// TestReopenFails wants errors while the file can't be opened again, and work
// afterwards.
func TestReopenFails(t *testing.T) {
	path := newPath(t)
	s := openTest(t, path)
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	s.file.distrust()
	must(t, os.Rename(path, path+".away"))
	for range 2 {
		if err := s.CreateGrant(t.Context(), testNow, testGrant("b")); err == nil || isVerdict(err) {
			t.Fatalf("CreateGrant: %v", err)
		}
		if _, err := s.Grant(t.Context(), testNow, "a"); err == nil || isVerdict(err) {
			t.Fatalf("Grant: %v", err)
		}
	}
	must(t, os.Rename(path+".away", path))
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("b")))
	_, err := s.Grant(t.Context(), testNow, "a")
	must(t, err)
}
