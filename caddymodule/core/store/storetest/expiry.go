package storetest

import (
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var expiryParts = []part{
	{"LastSecond", lastSecond},
	{"AbsentFromEveryMethod", absentFromEveryMethod},
	{"CreateAgain", createAgain},
	{"RotationMovesTheEnd", rotationMovesTheEnd},
	{"RotationMayShorten", rotationMayShorten},
	{"RevokedStaysUntilUntil", revokedStaysUntilUntil},
	{"RevokedStaysUntilExpires", revokedStaysUntilExpires},
	{"CreateAgainAfterRevocation", createAgainAfterRevocation},
}

func lastSecond(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	last := g.Expires.Add(-time.Second)
	has(t, s, last, g)
	fails(t, s.CreateGrant(t.Context(), last, sample("a", last)), store.ErrExists)
	g = rotate(t, s, last, store.Rotation{ID: "a", Expires: g.Expires})
	has(t, s, last, g)
	revoke(t, s, last, revocation("a", last))
}

func absentFromEveryMethod(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	for _, at := range []time.Time{g.Expires, g.Expires.Add(time.Hour)} {
		gone(t, s, at, "a")
	}
	// Looking did not change it for those whose clock is behind.
	has(t, s, now, g)
}

// gone fails the test unless every method treats the grant as absent.
func gone(t *testing.T, s store.Store, now time.Time, id string) {
	t.Helper()
	_, err := s.Grant(t.Context(), now, id)
	fails(t, err, store.ErrNotFound)
	_, err = s.RotateGrant(t.Context(), now, store.Rotation{ID: id, Expires: now.Add(time.Hour)})
	fails(t, err, store.ErrNotFound)
	did, err := s.RevokeGrant(t.Context(), now, revocation(id, now))
	fails(t, err, store.ErrNotFound)
	if did {
		t.Fatalf("RevokeGrant(%q) revoked an expired grant", id)
	}
}

func createAgain(t *testing.T, s store.Store) {
	now := clock()
	old := create(t, s, "a", now)
	old = rotate(t, s, now, store.Rotation{ID: "a", Expires: old.Expires})
	again := sample("a", old.Expires)
	again.User.Subject = "somebody else"
	ok(t, s.CreateGrant(t.Context(), old.Expires, again))
	has(t, s, old.Expires, again)
	fails(t, s.CreateGrant(t.Context(), old.Expires, again), store.ErrExists)
	sweepAll(t, s, old.Expires)
	has(t, s, old.Expires, again)
	gone(t, s, again.Expires, "a")
}

func rotationMovesTheEnd(t *testing.T, s store.Store) {
	now := clock()
	old := create(t, s, "a", now)
	g := rotate(t, s, now, store.Rotation{ID: "a", Expires: now.Add(5 * time.Hour)})
	if !g.Expires.Equal(now.Add(5 * time.Hour)) {
		t.Fatalf("Expires is %v after the rotation", g.Expires)
	}
	for _, at := range []time.Time{old.Expires, g.Expires.Add(-time.Second)} {
		has(t, s, at, g)
		fails(t, s.CreateGrant(t.Context(), at, sample("a", at)), store.ErrExists)
	}
	gone(t, s, g.Expires, "a")
}

func rotationMayShorten(t *testing.T, s store.Store) {
	now := clock()
	create(t, s, "a", now)
	g := rotate(t, s, now, store.Rotation{ID: "a", Expires: now.Add(10 * time.Minute)})
	has(t, s, g.Expires.Add(-time.Second), g)
	gone(t, s, g.Expires, "a")
}

func revokedStaysUntilUntil(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	until := g.Expires.Add(2 * time.Hour)
	revoke(t, s, now, store.Revocation{GrantID: "a", Reason: "user", Until: until})
	g.Revoked = now
	staysRevoked(t, s, g, g.Expires, until.Add(-time.Second))
	gone(t, s, until, "a")
}

func revokedStaysUntilExpires(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	until := now.Add(time.Minute)
	revoke(t, s, now, store.Revocation{GrantID: "a", Reason: "user", Until: until})
	g.Revoked = now
	staysRevoked(t, s, g, until, g.Expires.Add(-time.Second))
	gone(t, s, g.Expires, "a")
}

// staysRevoked wants a revoked grant to be in the way of its code at each of
// these times, swept or not.
func staysRevoked(t *testing.T, s store.Store, g store.Grant, at ...time.Time) {
	t.Helper()
	for _, now := range at {
		sweepAll(t, s, now)
		has(t, s, now, g)
		fails(t, s.CreateGrant(t.Context(), now, sample(g.ID, now)), store.ErrExists)
		_, err := s.RotateGrant(t.Context(), now, store.Rotation{ID: g.ID, Expires: now.Add(time.Hour)})
		fails(t, err, store.ErrRevoked)
		did, err := s.RevokeGrant(t.Context(), now, revocation(g.ID, now))
		ok(t, err)
		if did {
			t.Fatal("a revoked grant was revoked again")
		}
	}
}

func createAgainAfterRevocation(t *testing.T, s store.Store) {
	now := clock()
	create(t, s, "a", now)
	r := store.Revocation{GrantID: "a", Reason: "user", Until: now.Add(2 * time.Hour)}
	revoke(t, s, now, r)
	again := sample("a", r.Until)
	ok(t, s.CreateGrant(t.Context(), r.Until, again))
	has(t, s, r.Until, again)
	again = rotate(t, s, r.Until, store.Rotation{ID: "a", Expires: again.Expires})
	sweepAll(t, s, r.Until)
	has(t, s, r.Until, again)

	second := revocation("a", r.Until)
	revoke(t, s, r.Until, second)
	entries, _, err := s.Revocations(t.Context(), r.Until, "")
	ok(t, err)
	if len(entries) != 1 || !equalRevocation(entries[0], second) {
		t.Fatalf("feed: %v, want only %v", entries, second)
	}
	gone(t, s, again.Expires, "a")
}
