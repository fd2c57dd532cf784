package storetest

import (
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var crudParts = []part{
	{"CreateThenRead", createThenRead},
	{"UnknownGrant", unknownGrant},
	{"CreateTwice", createTwice},
	{"Revoke", revokeOnce},
	{"RevokeTwice", revokeTwice},
	{"GrantsAreApart", grantsAreApart},
	{"Ping", ping},
}

func createThenRead(t *testing.T, s store.Store) {
	now := clock()
	has(t, s, now, create(t, s, "a", now))
}

func unknownGrant(t *testing.T, s store.Store) {
	now := clock()
	create(t, s, "other", now)
	for _, id := range []string{"a", "othe", "other2", ""} {
		_, err := s.Grant(t.Context(), now, id)
		fails(t, err, store.ErrNotFound)
		_, err = s.RotateGrant(t.Context(), now, store.Rotation{ID: id, Expires: now.Add(time.Hour)})
		fails(t, err, store.ErrNotFound)
		did, err := s.RevokeGrant(t.Context(), now, revocation(id, now))
		fails(t, err, store.ErrNotFound)
		if did {
			t.Fatalf("RevokeGrant(%q) says that it revoked an unknown grant", id)
		}
	}
	entries, _, err := s.Revocations(t.Context(), now, "")
	ok(t, err)
	if len(entries) != 0 {
		t.Fatalf("revoking unknown grants left feed entries: %v", entries)
	}
}

func createTwice(t *testing.T, s store.Store) {
	now := clock()
	first := create(t, s, "a", now)
	second := first
	second.User.Subject = "mallory"
	second.Expires = now.Add(9 * time.Hour)
	fails(t, s.CreateGrant(t.Context(), now, second), store.ErrExists)
	fails(t, s.CreateGrant(t.Context(), now, first), store.ErrExists)
	has(t, s, now, first)

	first = rotate(t, s, now, store.Rotation{ID: "a", Expires: first.Expires})
	fails(t, s.CreateGrant(t.Context(), now, second), store.ErrExists)
	has(t, s, now, first)
}

func revokeOnce(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	later := now.Add(time.Minute)
	revoke(t, s, later, revocation("a", later))
	g.Revoked = later
	has(t, s, later, g)

	got, err := s.RotateGrant(t.Context(), later, store.Rotation{ID: "a", Expires: g.NotAfter})
	fails(t, err, store.ErrRevoked)
	same(t, got, g)
	// A wrong generation of a revoked grant is still a revoked grant.
	got, err = s.RotateGrant(t.Context(), later, store.Rotation{ID: "a", From: 7, Expires: g.NotAfter})
	fails(t, err, store.ErrRevoked)
	same(t, got, g)
	fails(t, s.CreateGrant(t.Context(), later, sample("a", later)), store.ErrExists)
	has(t, s, later, g)
}

func revokeTwice(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	first := revocation("a", now)
	revoke(t, s, now, first)
	later := now.Add(time.Minute)
	did, err := s.RevokeGrant(t.Context(), later, store.Revocation{GrantID: "a", Reason: "code_replay", Until: now.Add(2 * time.Hour)})
	ok(t, err)
	if did {
		t.Fatal("the second RevokeGrant says that it did it")
	}
	g.Revoked = now
	has(t, s, later, g)
	entries, _, err := s.Revocations(t.Context(), later, "")
	ok(t, err)
	if len(entries) != 1 || !equalRevocation(entries[0], first) {
		t.Fatalf("feed after revoking twice: %v, want only %v", entries, first)
	}
}

func grantsAreApart(t *testing.T, s store.Store) {
	now := clock()
	a, b, c := create(t, s, "a", now), create(t, s, "b", now), create(t, s, "c", now)
	b = rotate(t, s, now, store.Rotation{ID: "b", Expires: b.Expires})
	revoke(t, s, now, revocation("c", now))
	c.Revoked = now
	has(t, s, now, a)
	has(t, s, now, b)
	has(t, s, now, c)
}

func ping(t *testing.T, s store.Store) {
	ok(t, s.Ping(t.Context()))
	now := clock()
	g := create(t, s, "a", now)
	ok(t, s.Ping(t.Context()))
	has(t, s, now, g)
}

// equalRevocation compares entries by the moment, not the location, of times.
func equalRevocation(a, b store.Revocation) bool {
	return a.GrantID == b.GrantID && a.Session == b.Session && a.Subject == b.Subject &&
		a.Token == b.Token && a.Client == b.Client && a.Reason == b.Reason &&
		a.Before.Equal(b.Before) && a.Until.Equal(b.Until)
}
