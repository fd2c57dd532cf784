package embedded

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestPutClientIsOneWrite wants a change to cost one commit, and a refused one,
// of which a client may cause many, none.
func TestPutClientIsOneWrite(t *testing.T) {
	s := openTest(t, newPath(t))
	for _, c := range []struct {
		version uint64
		commits int64
		err     error
	}{{2, 0, store.ErrConflict}, {1, 1, nil}, {1, 0, store.ErrConflict}, {2, 1, nil}} {
		before := s.w.commits.Load()
		if err := s.PutClient(t.Context(), testNow, testClient("c", c.version)); !errors.Is(err, c.err) {
			t.Errorf("version %d: %v", c.version, err)
		}
		if got := s.w.commits.Load() - before; got != c.commits {
			t.Errorf("version %d took %d commits, want %d", c.version, got, c.commits)
		}
	}
}

// TestRefusesClientsItCannotKeep wants an error, and no silent change, for
// values outside of the contract.
func TestRefusesClientsItCannotKeep(t *testing.T) {
	path := newPath(t)
	s := openTest(t, path)
	for name, rec := range map[string]store.ClientRecord{
		"no key":            {Version: 1},
		"long key":          {Key: strings.Repeat("k", bbolt.MaxKeySize+1), Version: 1},
		"key":               {Key: "\xff", Version: 1},
		"metadata":          {Key: "c", Version: 1, Metadata: "\xff"},
		"time far in years": {Key: "c", Version: 1, Changed: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if err := s.PutClient(t.Context(), testNow, rec); err == nil || isVerdict(err) {
			t.Errorf("%s: PutClient: %v", name, err)
		}
		if got, err := s.Client(t.Context(), rec.Key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: Client: %+v, %v", name, got, err)
		}
	}
	must(t, s.PutClient(t.Context(), testNow, testClient(strings.Repeat("k", bbolt.MaxKeySize), 1)))
	must(t, s.Close())
	openTest(t, path) // proves the file
}

// TestDamagedClientIsAnOutage flips a client's record while the store is open:
// nobody learns that there is none, which would bring a deleted client back.
func TestDamagedClientIsAnOutage(t *testing.T) {
	for name, spoil := range map[string]func(tx *bbolt.Tx) error{
		"record": func(tx *bbolt.Tx) error { return tx.Bucket(bucketClients).Put([]byte("c"), []byte("junk junk")) },
		"count":  func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyClientPuts, []byte("junk junk")) },
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			s, err := Open(path)
			must(t, err)
			must(t, s.PutClient(t.Context(), testNow, testClient("c", 1)))
			must(t, s.w.do(t.Context(), spoil))
			if rec, err := s.Client(t.Context(), "c"); name == "record" && (err == nil || isVerdict(err) || rec.Key != "") {
				t.Errorf("Client: %+v, %v", rec, err)
			}
			if err := s.PutClient(t.Context(), testNow, testClient("c", 2)); err == nil || isVerdict(err) {
				t.Errorf("PutClient: %v", err)
			}
			must(t, s.Close())
			refuses(t, path, "damaged record")
		})
	}
}
