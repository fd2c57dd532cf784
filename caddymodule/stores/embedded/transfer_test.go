package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// allRecords walks a store in pages of three.
func allRecords(ctx context.Context, s *Store) ([]store.Record, error) {
	var out []store.Record
	for cursor := ""; ; {
		records, next, err := s.Records(ctx, cursor, 3)
		if err != nil || next == "" {
			return append(out, records...), err
		}
		out, cursor = append(out, records...), next
	}
}

// TestRecordsDamaged wants a damaged record to be an outage, in whichever
// bucket the walk meets it, and not to be left out.
func TestRecordsDamaged(t *testing.T) {
	data, _ := sampleFile(t)
	for _, w := range walk {
		for name, spoil := range map[string]func(bucket *bbolt.Bucket, key, value []byte) error{
			"flipped bit": func(b *bbolt.Bucket, key, value []byte) error {
				bad := append([]byte(nil), value...)
				bad[len(bad)-2] ^= 1
				return b.Put(key, bad)
			},
			"no JSON": func(b *bbolt.Bucket, key, _ []byte) error {
				return b.Put(key, seal(w.bucket, key, []byte("{")))
			},
			"another's value": func(b *bbolt.Bucket, key, value []byte) error {
				return b.Put(append(key[:len(key)-1:len(key)-1], key[len(key)-1]^0x40), value)
			},
		} {
			t.Run(fmt.Sprintf("%s, %s", w.bucket, name), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "db")
				writeFile(t, path, data)
				s := openTest(t, path)
				if _, err := allRecords(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				must(t, s.w.do(t.Context(), func(tx *bbolt.Tx) error {
					b := tx.Bucket(w.bucket)
					k, v := b.Cursor().Last()
					return spoil(b, append([]byte(nil), k...), append([]byte(nil), v...))
				}))
				if _, err := allRecords(t.Context(), s); !errors.Is(err, errDamaged) || isVerdict(err) {
					t.Fatalf("Records: %v", err)
				}
			})
		}
	}
}

// TestRestoreRefusesWhatItCannotKeep wants a batch with one bad record to leave
// no trace.
func TestRestoreRefusesWhatItCannotKeep(t *testing.T) {
	s := openTest(t, newPath(t))
	good := testClient("good", 1)
	grant := func(change func(g *store.GrantRecord)) store.Record {
		g := store.GrantRecord{Grant: testGrant("a")}
		change(&g)
		return store.Record{Grant: &g}
	}
	far := time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, bad := range map[string]store.Record{
		"no id":         grant(func(g *store.GrantRecord) { g.ID = "" }),
		"long id":       grant(func(g *store.GrantRecord) { g.ID = strings.Repeat("x", maxID+1) }),
		"sealed":        grant(func(g *store.GrantRecord) { g.Sealed = "\xff" }),
		"keep":          grant(func(g *store.GrantRecord) { g.Keep = far }),
		"no key":        {Client: &store.ClientRecord{Version: 1}},
		"long key":      {Client: &store.ClientRecord{Key: strings.Repeat("x", bbolt.MaxKeySize+1), Version: 1}},
		"metadata":      {Client: &store.ClientRecord{Key: "k", Metadata: "\xff", Version: 1}},
		"key, no hash":  {Use: &store.UseRecord{Hash: "k", First: testNow, Until: testNow}},
		"no hash":       {Use: &store.UseRecord{Hash: "//", First: testNow, Until: testNow}},
		"end of a use":  {Use: &store.UseRecord{Hash: store.UseHash("k"), First: testNow, Until: far}},
		"end of entry":  {Revocation: &store.Revocation{Token: "jti", Until: far}},
		"name of entry": {Revocation: &store.Revocation{Token: "\xff", Until: testNow}},
	} {
		err := s.Restore(t.Context(), []store.Record{{Client: &good}, {Revocation: &store.Revocation{Token: "good", Until: testNow}}, bad})
		if err == nil || isVerdict(err) {
			t.Errorf("%s: %v", name, err)
		}
		if records, err := allRecords(t.Context(), s); err != nil || len(records) > 0 {
			t.Fatalf("%s: half of a batch was written: %d records, %v", name, len(records), err)
		}
	}
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	old, next := grant(func(*store.GrantRecord) {}), grant(func(g *store.GrantRecord) { g.Sealed = "\xff" })
	if err := s.Reseal(t.Context(), old, next); err == nil || isVerdict(err) {
		t.Errorf("Reseal: %v", err)
	}
}

// TestRecordsOfOlderFiles wants the files of the versions before, whose grants
// have no sealed form, to be walked, resealed and proven again when they open.
func TestRecordsOfOlderFiles(t *testing.T) {
	for layout := 1; layout < schema; layout++ {
		t.Run(fmt.Sprint(layout), func(t *testing.T) {
			path := oldPath(t, layout)
			s, err := Open(path)
			must(t, err)
			records, err := allRecords(t.Context(), s)
			must(t, err)
			grants := 0
			for _, r := range records {
				if r.Grant == nil {
					continue
				}
				grants++
				next := r.Clone()
				next.Grant.User, next.Grant.Sealed = store.User{Subject: "a hash"}, "sealed form"
				must(t, s.Reseal(t.Context(), r, next))
			}
			if grants != oldGrants {
				t.Fatalf("%d grants, want %d", grants, oldGrants)
			}
			must(t, s.Close())
			s = openTest(t, path) // proves every record and its index entries
			listed, err := s.Grants(t.Context(), testNow, "a hash", 2*oldGrants)
			if err != nil || len(listed) != oldGrants*3/4 {
				t.Fatalf("%d grants in the list, %v", len(listed), err)
			}
		})
	}
}

// TestAwaitClosed wants who waits to learn that the store was closed.
func TestAwaitClosed(t *testing.T) {
	s := openTest(t, newPath(t))
	done := make(chan error, 2)
	for range cap(done) {
		go func() { done <- s.Await(t.Context(), "") }()
	}
	must(t, s.Close())
	for range cap(done) {
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("Await: %v", err)
		}
	}
}
