package caddymodule_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// fillDerived stores what fillStore does but for the key ring, which servers
// with secret … derive never store.
func fillDerived(t *testing.T, path string) (want []store.Record) {
	t.Helper()
	filled := store.NewMemory()
	want = fillStore(t, filled)
	inStore(t, path, func(s store.Store) { must(t, s.Restore(t.Context(), records(t, filled))) })
	return want
}

// isCopiedDerived is isCopied for a store without a key ring. Entries of the
// feed may be there twice.
func isCopiedDerived(t *testing.T, path string, want []store.Record) {
	t.Helper()
	inStore(t, path, func(s store.Store) {
		if got := withoutEntries(records(t, s)); !reflect.DeepEqual(got, withoutEntries(want)) {
			t.Errorf("%d records, want %d, or others", len(got), len(want))
		}
		entries, _, err := s.Revocations(t.Context(), time.Now(), "")
		if err != nil || len(entries) < 2 || len(entries) > 4 {
			t.Errorf("feed: %v, %v", entries, err)
		}
	})
	hasNoRing(t, path)
}

// TestStoreCopyDerived copies the store of servers that derive their keys: no
// ring does not mean that nobody has used it. A copy that was interrupted, or
// is there already, is repeated.
func TestStoreCopyDerived(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.db")
	want := fillDerived(t, old)
	for _, done := range []int{0, 1, 100, len(want)} {
		path := filepath.Join(dir, fmt.Sprint(done))
		inStore(t, path, func(s store.Store) { must(t, s.Restore(t.Context(), want[:done])) })
		out, complaints, err := storeCopy(t, "--from", "embedded "+old, "--to", "embedded "+path)
		if err != nil || !strings.Contains(out, strings.Replace(moved, "ring      1", "ring      0", 1)) {
			t.Fatalf("%d: %v %q", done, err, out)
		}
		if !strings.Contains(complaints, "has records, but no key ring: right for servers with 'secret … derive'") ||
			strings.Contains(complaints, "taken for a copy that was interrupted") != (done > 0) {
			t.Errorf("%d: %q", done, complaints)
		}
		isCopiedDerived(t, path, want)
	}
}

// TestStoreCopyDerivedIntoUsed wants a target that has anything but the source's
// records to stay as it is: without rings nothing else tells that it is in use,
// and an older state of a grant would let refresh tokens be used again.
func TestStoreCopyDerivedIntoUsed(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.db")
	want := fillDerived(t, old)
	ctx, now := t.Context(), time.Now()
	for name, use := range map[string]func(s store.Store) error{
		"a grant was refreshed": func(s store.Store) error {
			_, err := s.RotateGrant(ctx, now, store.Rotation{ID: "grant-9", Expires: now.Add(time.Hour)})
			return err
		},
		"a grant was revoked": func(s store.Store) error {
			_, err := s.RevokeGrant(ctx, now, store.Revocation{GrantID: "grant-9", Until: now.Add(time.Hour)})
			return err
		},
		"somebody signed in": func(s store.Store) error {
			return s.CreateGrant(ctx, now, store.Grant{ID: "later", Created: now, Expires: now.Add(time.Hour)})
		},
		"somebody signed out": func(s store.Store) error {
			return s.Announce(ctx, now, store.Revocation{Session: "later", Until: now.Add(time.Hour)})
		},
		"a key was used": func(s store.Store) error {
			_, err := s.Use(ctx, now, "later", now.Add(time.Hour))
			return err
		},
		"a client was changed": func(s store.Store) error {
			return s.PutClient(ctx, now, store.ClientRecord{Key: "changed", Version: 4})
		},
		"it has a key ring": func(s store.Store) error {
			_, err := s.SwapKeyRing(ctx, 0, []byte("its own"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			var before []store.Record
			inStore(t, path, func(s store.Store) {
				must(t, errors.Join(s.Restore(ctx, want), use(s)))
				before = records(t, s)
			})
			_, _, err := storeCopy(t, "--from", "embedded "+old, "--to", "embedded {\n path \""+path+"\"\n}")
			wantError(t, err, "the embedded store (--to) has ", "nothing was changed; copy into an empty store")
			inStore(t, path, func(s store.Store) {
				if after := records(t, s); !reflect.DeepEqual(after, before) {
					t.Errorf("it was changed: %d records, before %d, or others", len(after), len(before))
				}
			})
		})
	}
}
