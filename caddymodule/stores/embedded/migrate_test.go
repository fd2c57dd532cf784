package embedded

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// The file testdata/layout1.db.gz was written by the last version that knew
// layout 1 only. It has 40 grants, grant-0 to grant-39, made one second after
// the other from testNow on; every second one was rotated, every fourth one
// revoked. The grants are those of user-0, user-1 and user-2 in turn.
const oldGrants = 40

// oldFile returns the file of the version before.
func oldFile(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "layout1.db.gz"))
	must(t, err)
	defer func() { must(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	must(t, err)
	data, err := io.ReadAll(z)
	must(t, err)
	return data
}

// oldPath puts the file of the version before into a folder of its own.
func oldPath(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	writeFile(t, path, oldFile(t))
	return path
}

// hasOld returns what a store lacks of the file of the version before.
func hasOld(t *testing.T, s *Store) error {
	t.Helper()
	want, revoked := map[string][]string{}, 0
	for i := oldGrants - 1; i >= 0; i-- {
		id, subject := fmt.Sprint("grant-", i), fmt.Sprint("user-", i%3)
		g, err := s.Grant(t.Context(), testNow, id)
		switch {
		case i%4 == 0:
			revoked++
			if !errors.Is(err, store.ErrRevoked) {
				return fmt.Errorf("%s was revoked: %w", id, err)
			}
		case err != nil:
			return fmt.Errorf("%s: %w", id, err)
		default:
			want[subject] = append(want[subject], id)
		}
		if g.User.Subject != subject || g.Generation != uint64(1-i%2) || g.User.Name != "Ada" {
			return fmt.Errorf("%s is %+v", id, g)
		}
		if err := s.CreateGrant(t.Context(), testNow, testGrant(id)); !errors.Is(err, store.ErrExists) {
			return fmt.Errorf("the code of %s can be redeemed again: %w", id, err)
		}
	}
	for subject := range want {
		grants, err := s.Grants(t.Context(), testNow, subject, oldGrants)
		if err != nil {
			return err
		}
		var ids []string
		for _, g := range grants {
			ids = append(ids, g.ID)
		}
		if fmt.Sprint(ids) != fmt.Sprint(want[subject]) {
			return fmt.Errorf("%s has %v, want %v", subject, ids, want[subject])
		}
	}
	entries, _, err := s.Revocations(t.Context(), testNow, "")
	if err != nil || len(entries) != revoked || entries[1].GrantID != "grant-4" || entries[1].Session != "" {
		return fmt.Errorf("feed: %v, %w", entries, err)
	}
	ring, version, err := s.KeyRing(t.Context())
	if err != nil || string(ring) != "the key ring" || version != 1 {
		return fmt.Errorf("key ring %q, version %d: %w", ring, version, err)
	}
	return nil
}

// TestOlderLayout opens a file that the version before wrote: everything is
// there, everything new works, and it is brought up to date once.
func TestOlderLayout(t *testing.T) {
	path := oldPath(t)
	s, err := Open(path)
	must(t, err)
	must(t, hasOld(t, s))
	must(t, s.file.view(func(tx *bbolt.Tx) error {
		n, err := layoutOf(tx)
		if err == nil && n != schema {
			err = fmt.Errorf("it has layout %d", n)
		}
		return err
	}))
	must(t, s.Close())

	before := fingerprint(t, path)
	s, err = Open(path)
	must(t, err)
	must(t, hasOld(t, s))
	must(t, s.Close())
	if after := fingerprint(t, path); after != before {
		t.Errorf("the second start changed the file from %s to %s", before, after)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("left beside the file: %v", entries)
	}

	s = openTest(t, path)
	ctx := t.Context()
	_, err = s.Use(ctx, testNow, "key", testNow.Add(time.Hour))
	must(t, err)
	must(t, s.TouchGrants(ctx, testNow, []store.GrantUse{{GrantID: "grant-1", At: testNow, From: "192.0.2.9"}}))
	_, err = s.RotateGrant(ctx, testNow, store.Rotation{ID: "grant-2", From: 1, Expires: testNow.Add(time.Hour)})
	must(t, err)
	_, err = s.RevokeGrant(ctx, testNow, store.Revocation{GrantID: "grant-3", Until: testNow.Add(time.Hour)})
	must(t, err)
	must(t, s.Close())
	s = openTest(t, path) // proves the file
	for total, over := 0, testNow.Add(100*24*time.Hour); ; {
		n, err := s.Sweep(ctx, over)
		must(t, err)
		if total += n; n == 0 {
			if want := oldGrants + oldGrants/4 + 2; total != want {
				t.Errorf("Sweep removed %d records, want %d", total, want)
			}
			break
		}
	}
	must(t, s.Close())
	openTest(t, path)
}

// TestOlderLayoutDamaged wants a file that can't be trusted to be refused
// before anything of it is brought up to date.
func TestOlderLayoutDamaged(t *testing.T) {
	data := oldFile(t)
	for name, spoil := range map[string]func(tx *bbolt.Tx) error{
		"flipped": func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketGrants).Put([]byte("grant-7"), []byte("junk junk"))
		},
		"without index": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketGrantsDue).Cursor().First()
			return tx.Bucket(bucketGrantsDue).Delete(k)
		},
		"with a bucket of now": func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket(bucketUsed)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			must(t, os.WriteFile(path, data, 0o600))
			db, err := bbolt.Open(path, 0o600, nil)
			must(t, err)
			must(t, db.Update(spoil))
			must(t, db.Close())
			refuses(t, path, "restore the file from a backup, or move it away")
		})
	}
}

// TestMigrationOfManyGrants brings up to date what takes more than a page.
func TestMigrationOfManyGrants(t *testing.T) {
	const total = 2000
	path := newPath(t)
	s, err := Open(path)
	must(t, err)
	parallel(t, total, func(i int) error { return s.CreateGrant(t.Context(), testNow, testGrant(fmt.Sprint(i))) })
	must(t, s.Close())
	asLayout1(t, path)
	s = openTest(t, path)
	grants, err := s.Grants(t.Context(), testNow, "user-1", total+1)
	must(t, err)
	if len(grants) != total {
		t.Errorf("%d grants, want %d", len(grants), total)
	}
	must(t, s.Close())
	openTest(t, path) // proves the file
}

// asLayout1 takes from a file what layout 1 did not have.
func asLayout1(t testing.TB, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(
			tx.DeleteBucket(bucketPersons), tx.DeleteBucket(bucketUsed), tx.DeleteBucket(bucketUsedDue),
			put(tx, bucketMeta, keySchema, number(1)),
		)
	}))
	must(t, db.Close())
}

// TestOpenedAnewWithAnotherFile is a path under which, when the file has to be
// opened anew, there is one that can't be used: that is an error for readers
// and writers, and not an empty answer.
func TestOpenedAnewWithAnotherFile(t *testing.T) {
	for name, spoil := range map[string]func(tx *bbolt.Tx) error{
		"foreign": func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) },
		"newer":   func(tx *bbolt.Tx) error { return put(tx, bucketMeta, keySchema, number(schema+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			s := openTest(t, path)
			must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
			other, err := Open(path + ".other")
			must(t, err)
			must(t, other.Close())
			db, err := bbolt.Open(path+".other", 0o600, nil)
			must(t, err)
			must(t, db.Update(spoil))
			must(t, db.Close())

			s.file.distrust()
			must(t, os.Rename(path, path+".away"))
			must(t, os.Rename(path+".other", path))
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
			_, err = s.Grant(t.Context(), testNow, "a")
			must(t, err)
		})
	}
}
