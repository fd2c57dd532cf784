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

// The files testdata/layout1.db.gz, layout2.db.gz and layout3.db.gz were written
// by the last versions that knew no later layout. Each has 40 grants, grant-0 to
// grant-39, made one second after the other from testNow on; every second one
// was rotated, every fourth one revoked. The grants are those of user-0, user-1
// and user-2 in turn. From layout 2 on there are used keys, key-0 to key-9, and
// from layout 3 on clients, client-0 to client-9, in versions 1 to 5 in turn.
const (
	oldGrants  = 40
	oldKeys    = 10
	oldClients = 10
)

// oldFile returns the file of an older version.
func oldFile(t *testing.T, layout int) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", fmt.Sprintf("layout%d.db.gz", layout)))
	must(t, err)
	defer func() { must(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	must(t, err)
	data, err := io.ReadAll(z)
	must(t, err)
	return data
}

// oldPath puts the file of an older version into a folder of its own.
func oldPath(t *testing.T, layout int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	writeFile(t, path, oldFile(t, layout))
	return path
}

// hasOld returns what a store lacks of the files of the versions before, but
// for used keys.
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

// TestOlderLayout opens files that the versions before wrote: everything is
// there, everything new works, and they are brought up to date once.
func TestOlderLayout(t *testing.T) {
	for layout, has := range map[int]struct{ keys, clients int }{1: {}, 2: {oldKeys, 0}, 3: {oldKeys, oldClients}} {
		t.Run(fmt.Sprint("layout ", layout), func(t *testing.T) {
			path := oldPath(t, layout)
			s, err := Open(path)
			must(t, err)
			must(t, hasOld(t, s))
			for i := range has.clients {
				want := testClient(fmt.Sprint("client-", i), uint64(i%5)+1)
				if rec, err := s.Client(t.Context(), want.Key); err != nil || rec != want {
					t.Errorf("%s is %+v, %v", want.Key, rec, err)
				}
			}
			if n := layoutIn(t, s); n != schema {
				t.Errorf("it has layout %d", n)
			}
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
			worksAsNew(t, path, has.keys)
		})
	}
}

// layoutIn returns the number that a store's file has.
func layoutIn(t *testing.T, s *Store) (n uint64) {
	t.Helper()
	must(t, s.file.view(func(tx *bbolt.Tx) (err error) {
		n, err = layoutOf(tx)
		return err
	}))
	return n
}

// TestSealedRecordsKeepOlderProgramsOut: programs that know layouts up to 3
// would read a hash as the subject of a sealed grant, and drop the sealed form
// when they write it back. They refuse a file with a greater number, so a file
// has one before anything sealed can get into it.
func TestSealedRecordsKeepOlderProgramsOut(t *testing.T) {
	const lastInTheClear = 3
	for name, path := range map[string]string{"new": newPath(t), "of before": oldPath(t, lastInTheClear)} {
		s := openTest(t, path)
		if n := layoutIn(t, s); n <= lastInTheClear {
			t.Errorf("a file that is %s has layout %d, which a program without sealed records opens", name, n)
		}
		g := testGrant("sealed")
		g.User, g.Sealed = store.User{Subject: "a hash"}, "sealed form"
		must(t, s.CreateGrant(t.Context(), testNow, g))
		must(t, s.Close())
		got, err := openTest(t, path).Grant(t.Context(), testNow, "sealed")
		if err != nil || got.Sealed != g.Sealed || got.User.Subject != "a hash" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// worksAsNew puts a file that was brought up to date through every kind of
// write. It has so many used keys from before.
func worksAsNew(t *testing.T, path string, keys int) {
	t.Helper()
	s := openTest(t, path)
	ctx := t.Context()
	for i := range keys {
		if _, err := s.Use(ctx, testNow, fmt.Sprint("key-", i), testNow.Add(time.Hour)); !errors.Is(err, store.ErrExists) {
			t.Errorf("key-%d can be used again: %v", i, err)
		}
	}
	_, err := s.Use(ctx, testNow, "key", testNow.Add(time.Hour))
	must(t, err)
	must(t, s.TouchGrants(ctx, testNow, []store.GrantUse{{GrantID: "grant-1", At: testNow, From: "192.0.2.9"}}))
	_, err = s.RotateGrant(ctx, testNow, store.Rotation{ID: "grant-2", From: 1, Expires: testNow.Add(time.Hour)})
	must(t, err)
	_, err = s.RevokeGrant(ctx, testNow, store.Revocation{GrantID: "grant-3", Until: testNow.Add(time.Hour)})
	must(t, err)
	must(t, s.PutClient(ctx, testNow, testClient("client", 1)))
	must(t, s.Close())
	s = openTest(t, path) // proves the file
	for total, over := 0, testNow.Add(100*24*time.Hour); ; {
		n, err := s.Sweep(ctx, over)
		must(t, err)
		if total += n; n == 0 {
			if want := oldGrants + oldGrants/4 + keys + 2; total != want {
				t.Errorf("Sweep removed %d records, want %d", total, want)
			}
			break
		}
	}
	must(t, s.Close())
	s = openTest(t, path)
	rec, err := s.Client(ctx, "client")
	if err != nil || rec != testClient("client", 1) {
		t.Errorf("the client is %+v, %v", rec, err)
	}
}

// TestOlderLayoutDamaged wants a file that can't be trusted to be refused
// before anything of it is brought up to date.
func TestOlderLayoutDamaged(t *testing.T) {
	for name, c := range map[string]struct {
		layout int
		spoil  func(tx *bbolt.Tx) error
	}{
		"flipped": {1, func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketGrants).Put([]byte("grant-7"), []byte("junk junk"))
		}},
		"without index": {1, func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketGrantsDue).Cursor().First()
			return tx.Bucket(bucketGrantsDue).Delete(k)
		}},
		"with a bucket of layout 2": {1, func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket(bucketUsed)
			return err
		}},
		"layout 2 without a used key": {2, func(tx *bbolt.Tx) error { return tx.Bucket(bucketUsed).Delete(useKey("key-7")) }},
		"layout 2 with a bucket of layout 3": {2, func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket(bucketClients)
			return err
		}},
		"layout 2 with the number of 3":   {2, func(tx *bbolt.Tx) error { return put(tx, bucketMeta, keySchema, number(3)) }},
		"layout 2 with the number of now": {2, func(tx *bbolt.Tx) error { return put(tx, bucketMeta, keySchema, number(schema)) }},
		"layout 3 without a client":       {3, func(tx *bbolt.Tx) error { return tx.Bucket(bucketClients).Delete([]byte("client-7")) }},
	} {
		t.Run(name, func(t *testing.T) {
			path := oldPath(t, c.layout)
			db, err := bbolt.Open(path, 0o600, nil)
			must(t, err)
			must(t, db.Update(c.spoil))
			must(t, db.Close())
			refuses(t, path, "restore the file from a backup, or move it away")
		})
	}
}

// TestMigrationFails breaks each step at its end: the file stays as it was.
func TestMigrationFails(t *testing.T) {
	for i, step := range upgrades {
		path := oldPath(t, 1)
		db, err := bbolt.Open(path, 0o600, nil)
		must(t, err)
		broken := errors.New("broken")
		upgrades[i] = func(tx *bbolt.Tx) error { return errors.Join(step(tx), broken) }
		err = migrate(db)
		upgrades[i] = step
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		must(t, db.View(func(tx *bbolt.Tx) error {
			if n, err := layoutOf(tx); n != 1 || tx.Bucket(bucketPersons) != nil {
				return fmt.Errorf("step %d: half of it was done: layout %d, %w", i, n, err)
			}
			return nil
		}))
		must(t, db.Close())
		must(t, hasOld(t, openTest(t, path)))
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
	asLayout(t, path, 1)
	s = openTest(t, path)
	grants, err := s.Grants(t.Context(), testNow, "user-1", total+1)
	must(t, err)
	if len(grants) != total {
		t.Errorf("%d grants, want %d", len(grants), total)
	}
	must(t, s.Close())
	openTest(t, path) // proves the file
}

// asLayout takes from a file what an older layout did not have.
func asLayout(t testing.TB, path string, layout uint64) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error {
		if layout < 2 {
			must(t, errors.Join(tx.DeleteBucket(bucketPersons), tx.DeleteBucket(bucketUsed), tx.DeleteBucket(bucketUsedDue)))
		}
		if layout < 3 {
			must(t, errors.Join(tx.DeleteBucket(bucketClients), tx.Bucket(bucketMeta).Delete(keyClientPuts)))
		}
		return put(tx, bucketMeta, keySchema, number(layout))
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
