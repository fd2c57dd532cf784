package atrest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/atrest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// announce puts an entry of each kind into the feed.
func announce(t *testing.T, s store.Store) {
	t.Helper()
	until := start.Add(time.Hour)
	for _, r := range []store.Revocation{
		{Token: "t", Reason: "client", Until: until},
		{Client: "c", Before: start, Reason: "client", Until: until},
		{Session: "s", Reason: "sign_out", Until: until},
		{Subject: "zoe", Before: start, Reason: "sign_out_everywhere", Until: until},
	} {
		must(t, s.Announce(t.Context(), start, r))
	}
}

// feed reads the feed from a cursor, and writes down what ends.
func feed(s store.Store, t *testing.T, after string) (what, cursor string, err error) {
	entries, cursor, err := s.Revocations(t.Context(), start, after)
	var names []string
	for _, r := range entries {
		names = append(names, r.Token+r.Client+r.Session+r.Subject)
	}
	return strings.Join(names, " "), cursor, err
}

// TestDamagedEntry: an entry that does not open hides no other one, does not come
// again, and is told once to the operator, without a name.
func TestDamagedEntry(t *testing.T) {
	s := store.NewMemory()
	n := newNode(t, s, secret)
	var told []error
	n.Store = atrest.New(s, n.keys, atrest.OnDamage(func(err error) { told = append(told, err) }))
	announce(t, n)
	entries, _, err := s.Revocations(t.Context(), start, "")
	must(t, err)
	damaged := flip(entries[3].Subject, len(entries[3].Subject)-9)
	must(t, s.Announce(t.Context(), start, store.Revocation{Subject: damaged, Before: start, Reason: "sign_out_everywhere", Until: start.Add(time.Hour)}))
	announce(t, n)

	what, cursor, err := feed(n, t, "")
	if want := "t c s zoe " + damaged + " t c s zoe"; err != nil || what != want {
		t.Errorf("the feed has %q, %v, want %q", what, err, want)
	}
	if what, _, err := feed(n, t, cursor); err != nil || what != "" {
		t.Errorf("it goes on with %q, %v", what, err)
	}
	if len(told) != 1 || !strings.Contains(fmt.Sprint(told), "sign_out_everywhere") || strings.Contains(fmt.Sprint(told), damaged) {
		t.Errorf("the operator is told %v", told)
	}
	if what, _, err := feed(atrest.New(s, n.keys), t, ""); err != nil || !strings.HasSuffix(what, "t c s zoe") {
		t.Errorf("without somebody to tell: %q, %v", what, err)
	}
}

// TestSubjectLikeSealed: somebody whose subject begins like sealed text, and who
// signed out when nothing was sealed, is signed out with a secret too.
func TestSubjectLikeSealed(t *testing.T) {
	s := store.NewMemory()
	for _, subject := range []string{"sealed:", "sealed:zoe", "sealed:" + strings.Repeat("AQ", 60)} {
		must(t, s.Announce(t.Context(), start, store.Revocation{Subject: subject, Before: start, Until: start.Add(time.Hour)}))
	}
	what, _, err := feed(newNode(t, s, secret), t, "")
	if want := "sealed: sealed:zoe sealed:" + strings.Repeat("AQ", 60); err != nil || what != want {
		t.Errorf("the feed has %q, %v, want %q", what, err, want)
	}
}

// TestEntryOfAKeyThatIsNotHere: while the ring can't be read, nobody knows who was
// signed out with a new key. That is an outage and is read again, and all the
// others are signed out meanwhile.
func TestEntryOfAKeyThatIsNotHere(t *testing.T) {
	f := &faulty{Store: store.NewMemory()}
	n, other := newNode(t, f, secret), newNode(t, f.Store, secret)
	announce(t, n)
	must(t, other.keys.Rotate(t.Context(), start, true))
	announce(t, other)
	f.down.Store(true)
	what, cursor, err := feed(n, t, "")
	if !errors.Is(err, errDown) || what != "t c s zoe t c s" || cursor != "" {
		t.Errorf("the feed has %q up to %q, %v", what, cursor, err)
	}
	f.down.Store(false)
	if what, cursor, err = feed(n, t, cursor); err != nil || what != "t c s zoe t c s zoe" || cursor == "" {
		t.Errorf("then it has %q up to %q, %v", what, cursor, err)
	}
}

// TestDeletedClientWhoseKeyIsGone stays deleted, also in the clear.
func TestDeletedClientWhoseKeyIsGone(t *testing.T) {
	lost, s := store.NewMemory(), store.NewMemory()
	old := newNode(t, lost, secret)
	must(t, old.PutClient(t.Context(), start, store.ClientRecord{Key: "k", Version: 1, Changed: start, Metadata: "{}"}))
	kept, err := lost.Client(t.Context(), "k")
	must(t, err)
	must(t, s.PutClient(t.Context(), start, kept))
	for name, n := range map[string]*node{"sealing": newNode(t, s, secret), "in the clear": newNodeOf(s, mustOpen(t))} {
		c, err := n.Client(t.Context(), "k")
		if want := (store.ClientRecord{Key: "k", Version: 1, Changed: start, Deleted: true}); err != nil || c != want {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// mustOpen returns keys that lie elsewhere, without a secret.
func mustOpen(t *testing.T) *keys.Manager {
	t.Helper()
	ring, err := keys.Open(t.Context(), start, store.NewMemory(), keys.Options{})
	must(t, err)
	return ring
}
