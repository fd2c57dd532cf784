package atrest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/atrest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var start = time.Unix(1_800_000_000, 0).UTC()

// node is a gateway on a store: its keys lie in it.
type node struct {
	*atrest.Store
	keys     *keys.Manager
	resealer *atrest.Resealer
}

func newNode(t testing.TB, inner store.Store, secrets ...[]byte) *node {
	t.Helper()
	var o keys.Options
	if len(secrets) > 0 {
		o = keys.Options{Secret: secrets[0], Previous: secrets[1:]}
	}
	ring, err := keys.Open(t.Context(), start, inner, o)
	must(t, err)
	must(t, ring.Apply(t.Context(), start))
	return newNodeOf(inner, ring)
}

func newNodeOf(inner store.Store, ring *keys.Manager) *node {
	s := atrest.New(inner, ring)
	return &node{s, ring, atrest.NewResealer(s)}
}

// settle lets the node go through all that is stored until it is done.
func (n *node) settle(t testing.TB, now time.Time) {
	t.Helper()
	for range 100 {
		idle, err := n.resealer.Step(t.Context(), now)
		must(t, err)
		if n.resealer.Done() {
			return
		}
		if idle {
			now = now.Add(5 * time.Minute)
		}
	}
	t.Fatal("it never ends")
}

// personal are the words that nobody may find in the store.
var personal = []string{
	"subject-zoe", "Zoë Marker", "zoe@marker.example", "group-marker", "login-marker", "version-marker",
	"Client Marker", "https://redirect.marker/cb", "hash-marker", "metadata-marker", "192.0.2.77",
}

// zoe is a grant with all of them.
func zoe(id string) store.Grant {
	return store.Grant{
		ID: id, ClientID: "https://client.example/doc", ClientName: "Client Marker", RedirectURI: "https://redirect.marker/cb",
		User: store.User{
			Subject: "subject-zoe", Name: "Zoë Marker", Email: "zoe@marker.example", EmailVerified: true,
			Groups: []string{"group-marker"}, GroupsUnknown: true, GroupsOf: "group-marker", Login: "login-marker", Version: "version-marker",
		},
		Resource: "https://mcp.example/mcp", Scope: "files:read", Created: start, Expires: start.Add(24 * time.Hour),
		NotAfter: start.Add(48 * time.Hour), UsedAt: start, UsedFrom: "192.0.2.77", ClientHash: "hash-marker",
		ClientMetadata: `{"metadata-marker":true}`,
	}
}

// fill keeps a record of every kind that has something personal.
func fill(t testing.TB, s store.Store) {
	t.Helper()
	ctx := t.Context()
	must(t, s.CreateGrant(ctx, start, zoe("a")))
	must(t, s.CreateGrant(ctx, start, zoe("b")))
	must(t, s.CreateGrant(ctx, start, zoe("c")))
	_, err := s.RotateGrant(ctx, start, store.Rotation{ID: "b", Expires: start.Add(24 * time.Hour), UsedFrom: "192.0.2.77"})
	must(t, err)
	must(t, s.TouchGrants(ctx, start, []store.GrantUse{{GrantID: "a", At: start.Add(time.Second), From: "192.0.2.77"}}))
	_, err = s.RevokeGrant(ctx, start, store.Revocation{GrantID: "c", Reason: "user", Until: start.Add(24 * time.Hour)})
	must(t, err)
	must(t, s.Announce(ctx, start, store.Revocation{Subject: "subject-zoe", Before: start, Reason: "sign_out_everywhere", Until: start.Add(time.Hour)}))
	must(t, s.PutClient(ctx, start, store.ClientRecord{Key: "k", Version: 1, Metadata: `{"metadata-marker":true}`}))
}

// check wants all that fill kept to come back.
func check(t testing.TB, s store.Store) {
	t.Helper()
	for _, id := range []string{"a", "b", "c"} {
		g, err := s.Grant(t.Context(), start, id)
		if (id == "c") != errors.Is(err, store.ErrRevoked) || id != "c" && err != nil {
			t.Fatalf("grant %s: %v", id, err)
		}
		want := zoe(id)
		got, _ := json.Marshal([]any{g.User, g.ClientName, g.RedirectURI, g.ClientHash, g.ClientMetadata, g.UsedFrom, g.Sealed})
		wish, _ := json.Marshal([]any{want.User, want.ClientName, want.RedirectURI, want.ClientHash, want.ClientMetadata, want.UsedFrom, ""})
		if string(got) != string(wish) {
			t.Fatalf("grant %s became\n%s, want\n%s", id, got, wish)
		}
	}
	list, err := s.Grants(t.Context(), start, "subject-zoe", 10)
	must(t, err)
	if ids(list) != "a b" {
		t.Fatalf("her grants: %s", ids(list))
	}
	c, err := s.Client(t.Context(), "k")
	if err != nil || c.Metadata != `{"metadata-marker":true}` || c.Version != 1 {
		t.Fatalf("client %+v, %v", c, err)
	}
}

func ids(grants []store.Grant) string {
	var out []string
	for _, g := range grants {
		out = append(out, g.ID)
	}
	return strings.Join(out, " ")
}

// kept returns all records as they are kept, as text.
func kept(t testing.TB, s store.Store) string {
	t.Helper()
	records, next, err := s.Records(t.Context(), "", 10_000)
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	text, err := json.Marshal(records)
	must(t, err)
	return string(text)
}

// found lists which of the words are in a text.
func found(text string) []string {
	var out []string
	for _, word := range personal {
		if strings.Contains(text, word) {
			out = append(out, word)
		}
	}
	return out
}

// faulty is a store that fails, and counts.
type faulty struct {
	store.Store
	pages, reseals, rings atomic.Int64
	down                  atomic.Bool
}

var errDown = errors.New("the store is down")

func (f *faulty) Records(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
	f.pages.Add(1)
	if f.down.Load() {
		return nil, "", errDown
	}
	return f.Store.Records(ctx, after, limit)
}

func (f *faulty) Reseal(ctx context.Context, old, next store.Record) error {
	if f.reseals.Add(1); f.down.Load() {
		return fmt.Errorf("resealing: %w", errDown)
	}
	return f.Store.Reseal(ctx, old, next)
}

func (f *faulty) KeyRing(ctx context.Context) ([]byte, uint64, error) {
	if f.rings.Add(1); f.down.Load() {
		return nil, 0, errDown
	}
	return f.Store.KeyRing(ctx)
}
