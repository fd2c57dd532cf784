package atrest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestFileHasNothingPersonal greps the file of a store that had a secret from
// the start, all of it: records, indexes and free pages.
func TestFileHasNothingPersonal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openFile(t, path)
	n := newNode(t, s, secret)
	fill(t, n)
	check(t, n)
	must(t, s.Close())
	raw, err := os.ReadFile(path)
	must(t, err)
	if words := found(string(raw)); len(words) > 0 {
		t.Errorf("the file has %q", words)
	}
	if !strings.Contains(string(raw), "https://client.example/doc") {
		t.Error("the test looks at the wrong file")
	}
	check(t, newNode(t, openFile(t, path), secret))
}

// TestTurnedOn gives a secret to a store that had none. What is in use is sealed
// then, indexes included; free pages of the file may keep what was in them, as
// docs/encryption.md says, so this looks at a copy without them.
func TestTurnedOn(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	s := openFile(t, path)
	fill(t, newNode(t, s))
	if words := found(kept(t, s)); len(words) != len(personal) {
		t.Fatalf("only %q are stored in the clear: the test proves nothing", words)
	}
	n := newNode(t, s, secret)
	check(t, n) // before, while and after
	n.settle(t, start)
	check(t, n)
	must(t, s.Close())

	check(t, newNode(t, openFile(t, compacted(t, path)), secret))
	raw, err := os.ReadFile(compacted(t, path))
	must(t, err)
	// The entry of the feed stays as it is until it is swept: it says that she
	// signed out.
	if words := found(string(raw)); strings.Join(words, " ") != "subject-zoe" || strings.Count(string(raw), "subject-zoe") != 1 {
		t.Errorf("the file has %q", words)
	}
}

// compacted copies what is in use of a database.
func compacted(t *testing.T, path string) string {
	t.Helper()
	src, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	must(t, err)
	to := filepath.Join(t.TempDir(), "compacted")
	dst, err := bbolt.Open(to, 0o600, nil)
	must(t, err)
	must(t, errors.Join(bbolt.Compact(dst, src, 1<<20), src.Close(), dst.Close()))
	return to
}

// TestSwapped: what is sealed in one record is nothing in another, and nobody
// gets it.
func TestSwapped(t *testing.T) {
	s := store.NewMemory()
	n := newNode(t, s, secret)
	fill(t, n)
	other := zoe("other")
	other.User.Subject, other.User.Name = "subject-eve", "Eve"
	must(t, n.CreateGrant(t.Context(), start, other))
	mine, theirs := raw(t, s, "other"), raw(t, s, "a")

	forge := func(name string, change func(g *store.Grant)) {
		t.Helper()
		g := mine
		change(&g)
		must(t, s.Restore(t.Context(), []store.Record{{Grant: &store.GrantRecord{Grant: g}}}))
		got, err := n.Grant(t.Context(), start, "other")
		outage(t, name, err)
		_, err = n.RotateGrant(t.Context(), start, store.Rotation{ID: "other", From: 9})
		outage(t, name+", rotating", err)
		if _, err := n.Grants(t.Context(), start, "subject-eve", 10); name != "another person" {
			outage(t, name+", listing", err)
		}
		if got.User.Subject != "" || got.ClientName != "" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	forge("another's grant", func(g *store.Grant) { g.Sealed = theirs.Sealed })
	forge("another's address", func(g *store.Grant) { g.UsedFrom = theirs.UsedFrom })
	forge("the address for the rest", func(g *store.Grant) { g.Sealed = strings.TrimPrefix(g.UsedFrom, "sealed:") })
	forge("a flipped bit", func(g *store.Grant) { g.Sealed = flip(g.Sealed, len(g.Sealed)-9) })
	forge("half of it", func(g *store.Grant) { g.Sealed = g.Sealed[:len(g.Sealed)/2] })
	forge("not sealed at all", func(g *store.Grant) { g.Sealed = "x" })

	// A grant that is put under another person is not theirs.
	moved := theirs
	moved.User.Subject = mine.User.Subject
	must(t, s.Restore(t.Context(), []store.Record{{Grant: &store.GrantRecord{Grant: moved}}, {Grant: &store.GrantRecord{Grant: mine}}}))
	_, err := n.Grants(t.Context(), start, "subject-eve", 10)
	outage(t, "another's grant in the list", err)

	rec, err := s.Client(t.Context(), "k")
	must(t, err)
	rec.Key = "k2"
	must(t, s.PutClient(t.Context(), start, rec))
	_, err = n.Client(t.Context(), "k2")
	outage(t, "another client's metadata", err)
}

// raw returns a grant as it is kept.
func raw(t testing.TB, s store.Store, id string) store.Grant {
	t.Helper()
	g, err := s.Grant(t.Context(), start, id)
	must(t, err)
	return g
}

func flip(text string, i int) string {
	c := "A"
	if text[i] == 'A' {
		c = "B"
	}
	return text[:i] + c + text[i+1:]
}

// outage fails the test unless err is one, and no verdict.
func outage(t *testing.T, name string, err error) {
	t.Helper()
	for _, verdict := range []error{nil, store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrRevoked} {
		if errors.Is(err, verdict) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeyGone: what was sealed with a key that nobody has counts as not found
// and blocks nobody.
func TestKeyGone(t *testing.T) {
	lost, s := store.NewMemory(), store.NewMemory()
	n := newNode(t, s, secret)
	old := newNode(t, lost, secret)
	fill(t, old)
	records, _, err := lost.Records(t.Context(), "", 100)
	must(t, err)
	must(t, s.Restore(t.Context(), records))

	if _, err := n.Grant(t.Context(), start, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("grant: %v", err)
	}
	if _, err := n.RotateGrant(t.Context(), start, store.Rotation{ID: "a", Expires: start.Add(time.Hour)}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("rotation: %v", err)
	}
	// Not "not found": the redirect URIs that it gave up would be good again.
	if c, err := n.Client(t.Context(), "k"); err != nil || !c.Deleted || c.Metadata != "" || c.Version != 1 {
		t.Errorf("client: %+v, %v", c, err)
	}
	entries, _, err := n.Revocations(t.Context(), start, "")
	if err != nil || len(entries) != 2 || entries[0].GrantID != "c" || !strings.HasPrefix(entries[1].Subject, "sealed:") {
		t.Errorf("feed: %v, %v", entries, err)
	}
	n.settle(t, start)

	// While the ring can't be read, nobody knows whether it is gone.
	f := &faulty{Store: s}
	n = newNode(t, f, secret)
	f.down.Store(true)
	_, err = n.Grant(t.Context(), start, "b")
	outage(t, "grant", err)
}

// TestKeyOfAnotherNode: a key that another node made just now is found.
func TestKeyOfAnotherNode(t *testing.T) {
	s := store.NewMemory()
	a, b := newNode(t, s, secret), newNode(t, s, secret)
	must(t, a.keys.Rotate(t.Context(), start, true))
	fill(t, a)
	check(t, b)
}

// TestSideBySide: a node that has no secret yet and one that has read each
// other's records, and lists are in order.
func TestSideBySide(t *testing.T) {
	f := &faulty{Store: store.NewMemory()}
	inClear := newNode(t, f)
	sealing := newNode(t, f, secret)
	for i := range 6 {
		g := zoe(fmt.Sprint(i))
		g.Created = start.Add(-time.Duration(i) * time.Second)
		must(t, []*node{inClear, sealing}[i%2].CreateGrant(t.Context(), start, g))
	}
	if raw(t, f, "0").Sealed != "" || raw(t, f, "1").Sealed == "" {
		t.Fatal("both nodes keep records in one form")
	}
	for _, n := range []*node{inClear, sealing} {
		for limit, want := range map[int]string{-1: "", 0: "", 1: "0", 3: "0 1 2", 6: "0 1 2 3 4 5", 9: "0 1 2 3 4 5"} {
			got, err := n.Grants(t.Context(), start, "subject-zoe", limit)
			if err != nil || ids(got) != want {
				t.Errorf("up to %d: %q, %v; want %q", limit, ids(got), err, want)
			}
		}
		// Who is called like her name in the store is nobody.
		if got, err := n.Grants(t.Context(), start, raw(t, f, "1").User.Subject, 9); err != nil || len(got) > 0 {
			t.Errorf("by her name in the store: %v, %v", ids(got), err)
		}
	}
	if f.rings.Load() > 4 {
		t.Errorf("the ring was read %d times", f.rings.Load())
	}
}

// TestTextLikeSealed: text that looks sealed comes back as it was, with and
// without a secret.
func TestTextLikeSealed(t *testing.T) {
	for _, secrets := range [][][]byte{nil, {secret}} {
		n := newNode(t, store.NewMemory(), secrets...)
		for i, text := range []string{"sealed:", "sealed:x", "sealed:" + strings.Repeat("A", 90), "sealed: é"} {
			g := zoe(fmt.Sprint(i))
			g.UsedFrom, g.User.Subject, g.Sealed = text, text, "the caller's"
			must(t, n.CreateGrant(t.Context(), start, g))
			got, err := n.Grant(t.Context(), start, g.ID)
			if err != nil || got.UsedFrom != text || got.User.Subject != text || got.Sealed != "the caller's" {
				t.Errorf("%q: %+v, %v", text, got, err)
			}
			must(t, n.PutClient(t.Context(), start, store.ClientRecord{Key: text, Version: 1, Metadata: text}))
			if c, err := n.Client(t.Context(), text); err != nil || c.Metadata != text {
				t.Errorf("%q: %+v, %v", text, c, err)
			}
		}
	}
}

// TestUnfit refuses what it would have to change.
func TestUnfit(t *testing.T) {
	n := newNode(t, store.NewMemory(), secret)
	for name, change := range map[string]func(*store.Grant){
		"subject":  func(g *store.Grant) { g.User.Subject = "\xff" },
		"group":    func(g *store.Grant) { g.User.Groups = []string{"a", "\xff"} },
		"redirect": func(g *store.Grant) { g.RedirectURI = "\xc3" },
		"size":     func(g *store.Grant) { g.ClientMetadata = strings.Repeat("x", 1<<20) },
	} {
		g := zoe(name)
		change(&g)
		outage(t, name, n.CreateGrant(t.Context(), start, g))
		if _, err := n.Grant(t.Context(), start, name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: something was kept: %v", name, err)
		}
	}
}
