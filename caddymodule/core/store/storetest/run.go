package storetest

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// part is one named piece of the suite; it gets an empty store.
type part struct {
	name string
	run  func(t *testing.T, s store.Store)
}

// AsKept names the parts that compare what a store is given with what it keeps.
// A store that hands records to another one in a form of its own leaves them out.
var AsKept = []string{
	"Records", "Restore", "Reseal", "ResealClient", "ReopenKeepsTheRestored",
}

// Run puts a store through every part of the contract. open returns a new,
// empty store and uses t.Cleanup to close it. without is nothing, or AsKept.
func Run(t *testing.T, open func(t *testing.T) store.Store, without ...string) {
	t.Helper()
	groups := []struct {
		name  string
		parts []part
	}{
		{"CRUD", crudParts},
		{"Values", valueParts},
		{"Expiry", expiryParts},
		{"Rotation", rotationParts},
		{"KeyRing", keyRingParts},
		{"Persons", personParts},
		{"Touch", touchParts},
		{"Used", usedParts},
		{"Feed", feedParts},
		{"Sessions", sessionParts},
		{"Announced", announcedParts},
		{"Clients", clientParts},
		{"Sweep", sweepParts},
		{"Records", recordParts},
		{"Restore", restoreParts},
		{"Reseal", resealParts},
		{"Await", awaitParts},
		{"Context", contextParts},
	}
	for _, g := range groups {
		if slices.Contains(without, g.name) {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			for _, p := range g.parts {
				t.Run(p.name, func(t *testing.T) { p.run(t, open(t)) })
			}
		})
	}
	t.Run("Races", func(t *testing.T) {
		for _, p := range raceParts {
			if slices.Contains(without, p.name) {
				continue
			}
			t.Run(p.name, func(t *testing.T) { p.run(t, []store.Store{open(t)}) })
		}
	})
}

// RunShared lets two nodes race on one state. open returns two stores, opened
// apart, over the same empty state. without is as for [Run].
func RunShared(t *testing.T, open func(t *testing.T) (a, b store.Store), without ...string) {
	t.Helper()
	for _, p := range raceParts {
		if slices.Contains(without, p.name) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			a, b := open(t)
			p.run(t, []store.Store{a, b})
		})
	}
	for _, p := range sharedParts {
		t.Run(p.name, func(t *testing.T) {
			a, b := open(t)
			p.run(t, a, b)
		})
	}
}

// clock returns the suite's now: the real time in whole seconds, which is the
// precision that the contract promises.
func clock() time.Time {
	return time.Now().UTC().Truncate(time.Second)
}

// sample returns a grant that is good from now on for an hour and may be
// refreshed for a day.
func sample(id string, now time.Time) store.Grant {
	return store.Grant{
		ID:          id,
		ClientID:    "https://client.example.com/metadata.json",
		ClientName:  "Example",
		RedirectURI: "http://127.0.0.1:33418/callback",
		User: store.User{
			Subject: "user-1", Name: "Ada", Email: "ada@example.com", EmailVerified: true,
			Groups: []string{"staff", "admins"}, Login: "password",
		},
		Resource:   "https://mcp.example.com/mcp",
		Scope:      "files:read files:write",
		AuthTime:   now.Add(-time.Minute),
		Created:    now,
		RotatedAt:  now,
		Expires:    now.Add(time.Hour),
		NotAfter:   now.Add(24 * time.Hour),
		UsedAt:     now,
		UsedFrom:   "192.0.2.1",
		ClientHash: "hash-1",

		ClientMetadata: `{"client_name":"Example"}`,
	}
}

// rotated returns what a rotation makes of a grant.
func rotated(g store.Grant, now time.Time, r store.Rotation) store.Grant {
	g.Generation, g.RotatedAt, g.Expires = r.From+1, now, r.Expires
	g.UsedAt, g.UsedFrom = now, r.UsedFrom
	return g
}

// revocation returns one that nodes must know for another hour.
func revocation(id string, now time.Time) store.Revocation {
	return store.Revocation{GrantID: id, Reason: "user", Until: now.Add(time.Hour)}
}

// create stores sample(id, now) and returns it.
func create(t *testing.T, s store.Store, id string, now time.Time) store.Grant {
	t.Helper()
	g := sample(id, now)
	ok(t, s.CreateGrant(t.Context(), now, g))
	return g
}

// revoke revokes a grant that must be good until now.
func revoke(t *testing.T, s store.Store, now time.Time, r store.Revocation) {
	t.Helper()
	did, err := s.RevokeGrant(t.Context(), now, r)
	ok(t, err)
	if !did {
		t.Fatalf("RevokeGrant(%s) says that the grant was revoked before", r.GrantID)
	}
}

// rotate moves a grant to its next generation and returns its new state.
func rotate(t *testing.T, s store.Store, now time.Time, r store.Rotation) store.Grant {
	t.Helper()
	g, err := s.RotateGrant(t.Context(), now, r)
	ok(t, err)
	if g.Generation != r.From+1 {
		t.Fatalf("RotateGrant(%s) from %d returned generation %d", r.ID, r.From, g.Generation)
	}
	return g
}

// ok fails the test on an error.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// fails fails the test unless err is target and no other error of the contract.
func fails(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
	for _, other := range verdicts {
		if !errors.Is(other, target) && errors.Is(err, other) {
			t.Fatalf("error %v is %v as well", err, other)
		}
	}
}

// verdicts are the errors that callers act upon; an outage is none of them.
var verdicts = []error{store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrRevoked}

// has fails the test unless the store returns want, with or without ErrRevoked.
func has(t *testing.T, s store.Store, now time.Time, want store.Grant) {
	t.Helper()
	got, err := s.Grant(t.Context(), now, want.ID)
	if want.Revoked.IsZero() {
		ok(t, err)
	} else {
		fails(t, err, store.ErrRevoked)
	}
	same(t, got, want)
}

// same fails the test unless both grants are equal; a time's location may get
// lost, the moment may not.
func same(t *testing.T, got, want store.Grant) {
	t.Helper()
	if !reflect.DeepEqual(plain(got), plain(want)) {
		t.Fatalf("got grant\n%+v\nwant\n%+v", got, want)
	}
}

// plain returns the grant with all times in one location, so that equal
// moments compare equal; no groups may come back as nil.
func plain(g store.Grant) store.Grant {
	for _, at := range []*time.Time{&g.AuthTime, &g.Created, &g.RotatedAt, &g.Expires, &g.NotAfter, &g.UsedAt, &g.Revoked} {
		*at = at.Round(0).UTC()
	}
	if len(g.User.Groups) == 0 {
		g.User.Groups = nil
	}
	return g
}

// together calls f from n goroutines that start at once and returns what each
// of them got.
func together[T any](n int, f func(i int) T) []T {
	var wg sync.WaitGroup
	out, start := make([]T, n), make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			out[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return out
}
