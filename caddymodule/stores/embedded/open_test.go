package embedded

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// sampleGrants is how many grants the sample file has; some are rotated, some
// revoked. Of its clients some were changed, some deleted.
const (
	sampleGrants  = 80
	sampleClients = 20
)

// sampleFile returns the bytes of a healthy database and a check that a store
// has all that is in it.
func sampleFile(t *testing.T) ([]byte, func(*Store) error) {
	t.Helper()
	path := newPath(t)
	s, err := Open(path)
	must(t, err)
	ctx := t.Context()
	for i := range sampleGrants {
		id := fmt.Sprint("grant-", i)
		must(t, s.CreateGrant(ctx, testNow, testGrant(id)))
		if i%2 == 0 {
			_, err := s.RotateGrant(ctx, testNow, store.Rotation{ID: id, Expires: testNow.Add(2 * time.Hour)})
			must(t, err)
		}
		if i%4 == 0 {
			_, err := s.RevokeGrant(ctx, testNow, store.Revocation{GrantID: id, Reason: "user", Until: testNow.Add(3 * time.Hour)})
			must(t, err)
		}
	}
	for i := range sampleGrants {
		_, err := s.Use(ctx, testNow, fmt.Sprint("key-", i), testNow.Add(time.Hour+time.Duration(i)))
		must(t, err)
	}
	must(t, s.TouchGrants(ctx, testNow, []store.GrantUse{{GrantID: "grant-7", At: testNow.Add(time.Minute), From: "192.0.2.9"}}))
	for i := range sampleClients {
		for v := range uint64(i%5 + 1) {
			must(t, s.PutClient(ctx, testNow, testClient(fmt.Sprint("client-", i), v+1)))
		}
	}
	until := testNow.Add(time.Hour)
	must(t, s.Announce(ctx, testNow, store.Revocation{Session: "s", Reason: "sign_out", Until: until}))
	must(t, s.Announce(ctx, testNow, store.Revocation{Subject: "user-1", Before: testNow, Reason: "sign_out_everywhere", Until: until}))
	must(t, s.Announce(ctx, testNow, store.Revocation{Token: "jti", Reason: "client", Until: until}))
	must(t, s.Announce(ctx, testNow, store.Revocation{Client: "client-4", Before: testNow, Reason: "client", Until: until}))
	_, err = s.SwapKeyRing(ctx, 0, []byte("the key ring"))
	must(t, err)
	want, err := contentOf(s)
	must(t, err)
	must(t, s.Close())
	data, err := os.ReadFile(path)
	must(t, err)
	return data, func(s *Store) error {
		got, err := contentOf(s)
		if err == nil && got != want {
			err = fmt.Errorf("the content changed from\n%s\nto\n%s", want, got)
		}
		return err
	}
}

// contentOf prints all that a sample store answers.
func contentOf(s *Store) (string, error) {
	var b strings.Builder
	ctx := context.Background()
	for i := range sampleGrants {
		g, err := s.Grant(ctx, testNow, fmt.Sprint("grant-", i))
		if err != nil && !isVerdict(err) {
			return "", err
		}
		fmt.Fprintln(&b, g, err)
	}
	grants, err := s.Grants(ctx, testNow, "user-1", 2*sampleGrants)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(&b, grants)
	for i := range sampleGrants {
		first, err := s.Use(ctx, testNow, fmt.Sprint("key-", i), testNow) // leaves no mark
		if err != nil && !isVerdict(err) {
			return "", err
		}
		fmt.Fprintln(&b, first.UTC(), err)
	}
	for i := range sampleClients {
		rec, err := s.Client(ctx, fmt.Sprint("client-", i))
		if err != nil && !isVerdict(err) {
			return "", err
		}
		fmt.Fprintln(&b, rec, err)
	}
	entries, _, err := s.Revocations(ctx, testNow, "")
	if err != nil {
		return "", err
	}
	ring, version, err := s.KeyRing(ctx)
	fmt.Fprintln(&b, entries, string(ring), version)
	return b.String(), err
}

// fingerprint is what must not change in a file that is refused.
func fingerprint(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	return fmt.Sprintf("%x %v %v", sha256.Sum256(data), info.ModTime().UnixNano(), info.Mode())
}

// refuses wants Open to fail with an error that names the path and says all of
// this, and to leave the file and its folder alone.
func refuses(t *testing.T, path string, says ...string) {
	t.Helper()
	before := fingerprint(t, path)
	s, err := Open(path)
	if err == nil {
		_ = s.Close()
		t.Fatal("it opened")
	}
	for _, text := range append(says, path) {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
	if after := fingerprint(t, path); after != before {
		t.Errorf("the file changed from %s to %s", before, after)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("something was left beside it: %v", entries)
	}
}

// writeFile makes a file with an old time, so that a touch shows.
func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o600))
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	must(t, os.Chtimes(path, old, old))
}

func TestNewFile(t *testing.T) {
	path := newPath(t)
	s := openTest(t, path)
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	for p, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700 | fs.ModeDir} {
		info, err := os.Stat(p)
		must(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", p, info.Mode(), want)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("left beside the new file: %v", entries)
	}
}

func TestEmptyFileIsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made by hand.db")
	must(t, os.WriteFile(path, nil, 0o644))
	before, err := os.Stat(path)
	must(t, err)
	s := openTest(t, path)
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	after, err := os.Stat(path)
	must(t, err)
	if after.Mode() != 0o600 || !os.SameFile(before, after) {
		t.Errorf("mode %v, same file %v", after.Mode(), os.SameFile(before, after))
	}
}

// TestLaidOutLater opens what a crash leaves between making a database and
// making its buckets.
func TestLaidOutLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Close())
	s := openTest(t, path)
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
}

func TestLooseModeIsTightened(t *testing.T) {
	data, intact := sampleFile(t)
	path := filepath.Join(t.TempDir(), "db")
	must(t, os.WriteFile(path, data, 0o600))
	must(t, os.Chmod(path, 0o664))
	must(t, intact(openTest(t, path)))
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// TestOpenWritesNothing wants a healthy file to be the same after a start that
// stored nothing.
func TestOpenWritesNothing(t *testing.T) {
	data, intact := sampleFile(t)
	path := filepath.Join(t.TempDir(), "db")
	writeFile(t, path, data)
	before := fingerprint(t, path)
	s, err := Open(path)
	must(t, err)
	must(t, intact(s))
	must(t, s.Close())
	if after := fingerprint(t, path); after != before {
		t.Errorf("the file changed from %s to %s", before, after)
	}
}
