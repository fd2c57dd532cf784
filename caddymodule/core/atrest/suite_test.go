package atrest_test

import (
	"flag"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/atrest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store/storetest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/embedded"
)

var secret = []byte("a secret of at least thirty-two bytes")

// over seals what is in s with keys that do not lie in it: the suite has a ring
// of its own.
func over(t testing.TB, s store.Store, o keys.Options) *atrest.Store {
	t.Helper()
	ring, err := keys.Open(t.Context(), time.Now(), store.NewMemory(), o)
	must(t, err)
	return atrest.New(s, ring)
}

var derived = keys.Options{Secret: secret, Derive: true}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openFile(t testing.TB, path string) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(path)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

var embeddedToo = flag.Bool("embedded", false, "run the whole suite over a file too, which waits a lot for the disk")

// TestSuite: with and without a secret it is a store like any other. Records,
// Restore and Reseal are the inner store's, and tested there. What a file makes of
// sealed records, TestSuiteDurable tests too.
func TestSuite(t *testing.T) {
	inner := map[string]func(*testing.T) store.Store{
		"Memory": func(t *testing.T) store.Store { return over(t, store.NewMemory(), derived) },
		"Clear":  func(t *testing.T) store.Store { return over(t, store.NewMemory(), keys.Options{}) },
	}
	if *embeddedToo {
		inner["Embedded"] = func(t *testing.T) store.Store {
			return over(t, openFile(t, filepath.Join(t.TempDir(), "db")), derived)
		}
	}
	for name, open := range inner {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, open, storetest.AsKept...)
		})
	}
}

// TestSuiteShared: two nodes with one secret, and one of two that has it already.
func TestSuiteShared(t *testing.T) {
	t.Run("Both", func(t *testing.T) {
		storetest.RunShared(t, func(t *testing.T) (a, b store.Store) {
			s := store.NewMemory()
			return over(t, s, derived), over(t, s, derived)
		}, storetest.AsKept...)
	})
	t.Run("OneHasASecret", func(t *testing.T) {
		storetest.RunShared(t, func(t *testing.T) (a, b store.Store) {
			s, rings := store.NewMemory(), store.NewMemory()
			inClear, err := keys.Open(t.Context(), time.Now(), rings, keys.Options{})
			must(t, err)
			sealing, err := keys.Open(t.Context(), time.Now(), rings, keys.Options{Secret: secret})
			must(t, err)
			return atrest.New(s, inClear), atrest.New(s, sealing)
		}, storetest.AsKept...)
	})
}

func TestSuiteDurable(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T) (store.Store, func(*testing.T) store.Store) {
		path := filepath.Join(t.TempDir(), "db")
		s := openFile(t, path)
		return over(t, s, derived), func(t *testing.T) store.Store {
			must(t, s.Close())
			s = openFile(t, path)
			return over(t, s, derived)
		}
	}, storetest.AsKept...)
}
