package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestTouchIsOneWrite wants a report of many uses to share a commit, and one
// that says nothing new to need none.
func TestTouchIsOneWrite(t *testing.T) {
	const total = 300
	s := openTest(t, newPath(t))
	parallel(t, total, func(i int) error { return s.CreateGrant(t.Context(), testNow, testGrant(fmt.Sprint(i))) })
	uses := make([]store.GrantUse, total)
	for i := range uses {
		uses[i] = store.GrantUse{GrantID: fmt.Sprint(i), At: testNow.Add(time.Second), From: "192.0.2.9"}
	}
	for _, want := range []int64{1, 0} {
		before := s.w.commits.Load()
		must(t, s.TouchGrants(t.Context(), testNow, uses))
		if got := s.w.commits.Load() - before; got != want {
			t.Fatalf("%d uses took %d commits, want %d", total, got, want)
		}
	}
	before := s.w.commits.Load()
	must(t, s.TouchGrants(t.Context(), testNow, []store.GrantUse{{GrantID: "unknown", At: testNow.Add(time.Hour)}}))
	must(t, s.TouchGrants(t.Context(), testNow, nil))
	if got := s.w.commits.Load() - before; got != 0 {
		t.Fatalf("uses of nothing took %d commits", got)
	}
}

// TestRefusedUseWritesNothing wants those who come too late, and they may be
// many and hostile, to cost no disk.
func TestRefusedUseWritesNothing(t *testing.T) {
	s := openTest(t, newPath(t))
	_, err := s.Use(t.Context(), testNow, "k", testNow.Add(time.Hour))
	must(t, err)
	before := s.w.commits.Load()
	for range 10 {
		if _, err := s.Use(t.Context(), testNow, "k", testNow.Add(9*time.Hour)); !errors.Is(err, store.ErrExists) {
			t.Fatal(err)
		}
	}
	if got := s.w.commits.Load() - before; got != 0 {
		t.Fatalf("refusals took %d commits", got)
	}
}

// TestUsedKeysAreNotInTheFile wants what was used not to be read off the file.
func TestUsedKeysAreNotInTheFile(t *testing.T) {
	path := newPath(t)
	s := openTest(t, path)
	_, err := s.Use(t.Context(), testNow, "a-key-that-says-much", testNow.Add(time.Hour))
	must(t, err)
	must(t, s.Close())
	data, err := os.ReadFile(path)
	must(t, err)
	if bytes.Contains(data, []byte("a-key-that-says-much")) {
		t.Error("the key is in the file")
	}
}

// TestListTrustsNoIndex puts a grant into another person's list, with every
// checksum right: that is an outage, and shows nobody what is not theirs.
func TestListTrustsNoIndex(t *testing.T) {
	for name, entry := range map[string]record{
		"another person's": {Grant: testGrant("a")},
		"revoked":          {Grant: testGrant("revoked")},
		"gone":             {Grant: testGrant("gone")},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			s, err := Open(path)
			must(t, err)
			must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
			must(t, s.CreateGrant(t.Context(), testNow, testGrant("revoked")))
			_, err = s.RevokeGrant(t.Context(), testNow, store.Revocation{GrantID: "revoked", Until: testNow.Add(time.Hour)})
			must(t, err)
			entry.Grant.User.Subject = "mallory"
			must(t, s.w.do(t.Context(), func(tx *bbolt.Tx) error { return put(tx, bucketPersons, entry.personKey(), nil) }))
			if grants, err := s.Grants(t.Context(), testNow, "mallory", 9); err == nil || isVerdict(err) || len(grants) > 0 {
				t.Errorf("Grants: %v, %v", grants, err)
			}
			grants, err := s.Grants(t.Context(), testNow, "user-1", 9)
			if err != nil || len(grants) != 1 {
				t.Errorf("Grants of the other: %v, %v", grants, err)
			}
			must(t, s.Close())
			refuses(t, path, "records and index disagree")
		})
	}
}

// TestLongNames wants ids and subjects of any length that the database can
// keep, and others to be refused without a trace.
func TestLongNames(t *testing.T) {
	path := newPath(t)
	s := openTest(t, path)
	g := testGrant(strings.Repeat("i", maxID))
	g.User.Subject = strings.Repeat("s", 100_000)
	must(t, s.CreateGrant(t.Context(), testNow, g))
	grants, err := s.Grants(t.Context(), testNow, g.User.Subject, 9)
	if err != nil || len(grants) != 1 || grants[0].ID != g.ID {
		t.Errorf("%d grants, %v", len(grants), err)
	}
	g.ID += "i"
	if err := s.CreateGrant(t.Context(), testNow, g); err == nil || isVerdict(err) {
		t.Errorf("CreateGrant: %v", err)
	}
	_, err = s.Use(t.Context(), testNow, strings.Repeat("k", 100_000), testNow.Add(time.Hour))
	must(t, err)
	must(t, s.Close())
	openTest(t, path) // proves the file
}
