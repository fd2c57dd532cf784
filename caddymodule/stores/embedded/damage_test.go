package embedded

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func TestRefusesJunk(t *testing.T) {
	random := make([]byte, 64<<10)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(random)
	for name, data := range map[string][]byte{
		"one byte":     {0},
		"text":         []byte("dear diary\n"),
		"zeros":        make([]byte, 32<<10),
		"random":       random,
		"random small": random[:5000],
		"sqlite":       append([]byte("SQLite format 3\x00"), random...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			writeFile(t, path, data)
			refuses(t, path, "restore the file from a backup, or move it away")
		})
	}
}

func TestRefusesTruncated(t *testing.T) {
	data, intact := sampleFile(t)
	page := os.Getpagesize()
	p, err := openPages(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	counted := len(p.used) * page
	for size := 1; size <= len(data); size += page/2 + 1 {
		path := filepath.Join(t.TempDir(), "db")
		writeFile(t, path, data[:size])
		if size >= counted { // what is missing was never written
			s, err := Open(path)
			must(t, err)
			must(t, intact(s))
			must(t, s.Close())
			continue
		}
		refuses(t, path, "restore the file from a backup, or move it away")
	}
}

// TestRefusesFlippedBytes flips bytes all over the file: each time it is
// refused and left alone, or it opens and everything is there, because the
// byte was of no use.
func TestRefusesFlippedBytes(t *testing.T) {
	data, intact := sampleFile(t)
	page := os.Getpagesize()
	p, err := openPages(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	data = data[:len(p.used)*page] // the rest was never written
	var offsets []int
	for start := 0; start < len(data); start += page { // headers and first elements
		for off := start; off < start+40; off += 3 {
			offsets = append(offsets, off)
		}
	}
	for off := 0; off < 2*page; off += page { // all that bbolt's header says
		for i := range pageHeader + metaSize {
			offsets = append(offsets, off+i)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		offsets = append(offsets, r.IntN(len(data)))
	}
	path := filepath.Join(t.TempDir(), "db")
	refused := 0
	for _, off := range offsets {
		bad := append([]byte(nil), data...)
		bad[off] ^= byte(1 << r.IntN(8))
		writeFile(t, path, bad)
		s, err := Open(path)
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), path) {
				t.Fatalf("flip at %d: the error does not name the path: %v", off, err)
			}
			if got, _ := os.ReadFile(path); sha256.Sum256(got) != sha256.Sum256(bad) {
				t.Fatalf("flip at %d: a refused file was written to", off)
			}
			continue
		}
		if err := intact(s); err != nil {
			t.Fatalf("flip at %d: it opened, but %v", off, err)
		}
		must(t, s.Close())
	}
	t.Logf("%d of %d flips refused", refused, len(offsets))
	if refused < 200 {
		t.Errorf("only %d of %d flips were refused", refused, len(offsets))
	}
}

// TestRefusesLostHeader wants a file whose newest header is damaged to be
// refused: the other header is one commit older, and going back would revive
// what was used up since.
func TestRefusesLostHeader(t *testing.T) {
	data, _ := sampleFile(t)
	for i := range 2 {
		path := filepath.Join(t.TempDir(), "db")
		bad := append([]byte(nil), data...)
		clear(bad[i*os.Getpagesize() : i*os.Getpagesize()+100])
		writeFile(t, path, bad)
		refuses(t, path, "header", "restore the file from a backup, or move it away")
	}
}

// TestRefusesUsedTwice wants pages with two owners to be refused: the next write
// into one would damage the other, and a tree may lead into itself.
func TestRefusesUsedTwice(t *testing.T) {
	data, _ := sampleFile(t)
	page := os.Getpagesize()
	h, err := readHeader(bytes.NewReader(data), 0)
	must(t, err)
	other, err := readHeader(bytes.NewReader(data), int64(page))
	must(t, err)
	if other.txn > h.txn {
		h = other
	}
	// The biggest tree has a branch page; it is told by its kind.
	branch := -1
	for id := uint64(2); id < h.end; id++ {
		if order.Uint16(data[int(id)*page+8:]) == flagBranch {
			branch = int(id)
		}
	}
	if branch < 0 {
		t.Fatal("the sample has no branch page")
	}
	for name, spoil := range map[string]func(b []byte){
		"free and in use": func(b []byte) { order.PutUint64(b[int(h.freelist)*page+pageHeader:], h.root) },
		"free twice":      func(b []byte) { copy(b[int(h.freelist)*page+pageHeader:][:8], b[int(h.freelist)*page+pageHeader+8:]) },
		"leads to itself": func(b []byte) { order.PutUint64(b[branch*page+pageHeader+8:], uint64(branch)) },
		"child used twice": func(b []byte) {
			first := b[branch*page+pageHeader:]
			copy(first[8:16], first[elementSize+8:][:8])
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Clone(data)
			spoil(bad)
			path := filepath.Join(t.TempDir(), "db")
			writeFile(t, path, bad)
			refuses(t, path, "page ")
		})
	}
}

func TestRefusesForeign(t *testing.T) {
	foreign := func(t *testing.T, fn func(tx *bbolt.Tx) error) string {
		path := filepath.Join(t.TempDir(), "db")
		db, err := bbolt.Open(path, 0o600, nil)
		must(t, err)
		must(t, db.Update(fn))
		must(t, db.Close())
		return path
	}
	t.Run("another program's", func(t *testing.T) {
		refuses(t, foreign(t, func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("users"))
			must(t, err)
			_, err = b.CreateBucket([]byte("nested"))
			return err
		}), "another program")
	})
	t.Run("another program's meta", func(t *testing.T) {
		refuses(t, foreign(t, func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket(bucketMeta)
			must(t, err)
			return b.Put([]byte("version"), []byte("7"))
		}), "another program")
	})
	t.Run("newer", func(t *testing.T) {
		data, _ := sampleFile(t)
		path := filepath.Join(t.TempDir(), "db")
		must(t, os.WriteFile(path, data, 0o600))
		db, err := bbolt.Open(path, 0o600, nil)
		must(t, err)
		must(t, db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("of the future"))
			must(t, err)
			return put(tx, bucketMeta, keySchema, number(schema+1))
		}))
		must(t, db.Close())
		refuses(t, path, "newer version", "run the newer version")
	})
}

// TestRefusesInconsistent wants records and index to be proven against each
// other, where every checksum is right.
func TestRefusesInconsistent(t *testing.T) {
	data, _ := sampleFile(t)
	for name, spoil := range map[string]func(tx *bbolt.Tx) error{
		"grant without index": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketGrantsDue).Cursor().First()
			return tx.Bucket(bucketGrantsDue).Delete(k)
		},
		"index without grant": func(tx *bbolt.Tx) error { return tx.Bucket(bucketGrants).Delete([]byte("grant-7")) },
		"lost entry":          func(tx *bbolt.Tx) error { return tx.Bucket(bucketRevoked).Delete(number(3)) },
		"no key ring":         func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyRing) },
		"feed number too low": func(tx *bbolt.Tx) error { return put(tx, bucketMeta, keyFeedSeq, number(5)) },
		"missing bucket":      func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketRevokedDue) },
		"grant without its person": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketPersons).Cursor().First()
			return tx.Bucket(bucketPersons).Delete(k)
		},
		"revoked grant in the list": func(tx *bbolt.Tx) error {
			r, _, err := getRecord(tx, "grant-0")
			must(t, err)
			r.Grant.Revoked = time.Time{}
			return put(tx, bucketPersons, r.personKey(), nil)
		},
		"grant in another's list": func(tx *bbolt.Tx) error {
			r, _, err := getRecord(tx, "grant-7")
			must(t, err)
			must(t, tx.Bucket(bucketPersons).Delete(r.personKey()))
			r.Grant.User.Subject = "mallory"
			return put(tx, bucketPersons, r.personKey(), nil)
		},
		"used key without index": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketUsedDue).Cursor().First()
			return tx.Bucket(bucketUsedDue).Delete(k)
		},
		"used key that is free again": func(tx *bbolt.Tx) error { return tx.Bucket(bucketUsed).Delete(useKey("key-7")) },
		"used keys swapped": func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketUsed)
			return b.Put(useKey("key-1"), b.Get(useKey("key-3")))
		},
		"used key of odd length": func(tx *bbolt.Tx) error {
			return putUse(tx, []byte("short"), nil, use{First: testNow, Until: testNow})
		},
		"no used keys": func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketUsed) },
		"client that is not deleted any more": func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketClients).Delete([]byte("client-4"))
		},
		"client's older version": func(tx *bbolt.Tx) error {
			v, err := encode(testClient("client-3", 3))
			must(t, err)
			return put(tx, bucketClients, []byte("client-3"), v)
		},
		"clients swapped": func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketClients)
			one, other := []byte("client-1"), []byte("client-6") // of one version
			v, err := get(tx, bucketClients, other)
			must(t, err)
			return b.Put(one, seal(bucketClients, one, v))
		},
		"clients not counted":  func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyClientPuts) },
		"count of clients cut": func(tx *bbolt.Tx) error { return put(tx, bucketMeta, keyClientPuts, []byte("7")) },
		"no clients":           func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketClients) },
		"bucket in the clients": func(tx *bbolt.Tx) error {
			_, err := tx.Bucket(bucketClients).CreateBucket([]byte("nested"))
			return err
		},
		"layout 0": func(tx *bbolt.Tx) error { return put(tx, bucketMeta, keySchema, number(0)) },
		"layout of before with the buckets of now": func(tx *bbolt.Tx) error {
			return put(tx, bucketMeta, keySchema, number(1))
		},
		"layout of now with the buckets of before": func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket(bucketPersons), tx.DeleteBucket(bucketUsed), tx.DeleteBucket(bucketUsedDue))
		},
		"swapped grants": func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketGrants)
			return b.Put([]byte("grant-1"), b.Get([]byte("grant-3")))
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
