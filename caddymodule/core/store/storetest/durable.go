package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// RunDurable is for stores that keep their state when they are closed. open
// returns a new, empty store and a function that closes the store it opened
// last and opens the same state again. without is as for [Run].
func RunDurable(t *testing.T, open func(t *testing.T) (first store.Store, reopen func(t *testing.T) store.Store), without ...string) {
	t.Helper()
	t.Run("ReopenEmpty", func(t *testing.T) {
		s, reopen := open(t)
		ok(t, s.Ping(t.Context()))
		s = reopen(t)
		_, _, err := s.KeyRing(t.Context())
		fails(t, err, store.ErrNotFound)
		now := clock()
		polls(t, s, now, "")
		gone(t, s, now, "a")
		has(t, s, now, create(t, s, "a", now))
	})
	t.Run("ReopenKeepsEverything", func(t *testing.T) { reopenKeeps(t, open) })
	t.Run("ReopenKeepsUses", func(t *testing.T) { reopenKeepsUses(t, open) })
	t.Run("ReopenKeepsClients", func(t *testing.T) { reopenKeepsClients(t, open) })
	if restored := "ReopenKeepsTheRestored"; !slices.Contains(without, restored) {
		t.Run(restored, func(t *testing.T) { reopenKeepsRestored(t, open) })
	}
	t.Run("ReopenKeepsExpiry", func(t *testing.T) {
		s, reopen := open(t)
		now := clock()
		short := create(t, s, "short", now)
		create(t, s, "long", now)
		long := rotate(t, s, now, store.Rotation{ID: "long", Expires: now.Add(5 * time.Hour)})
		s = reopen(t)
		sweepAll(t, s, short.Expires)
		gone(t, s, short.Expires, "short")
		has(t, s, short.Expires, long)
		s = reopen(t)
		gone(t, s, short.Expires, "short")
		has(t, s, short.Expires, long)
	})
}

func reopenKeeps(t *testing.T, open func(t *testing.T) (store.Store, func(t *testing.T) store.Store)) {
	s, reopen := open(t)
	now := clock()
	var want []store.Grant
	for i := range 30 {
		g := create(t, s, fmt.Sprint("g", i), now)
		if i%3 > 0 {
			g = rotate(t, s, now, store.Rotation{ID: g.ID, Expires: now.Add(2 * time.Hour)})
		}
		want = append(want, g)
	}
	revoke(t, s, now, revocation("g0", now))
	cursor := polls(t, s, now, "", "g0")
	revoke(t, s, now, revocation("g1", now))
	want[0].Revoked, want[1].Revoked = now, now
	version, err := s.SwapKeyRing(t.Context(), 0, []byte("first"))
	ok(t, err)
	version, err = s.SwapKeyRing(t.Context(), version, []byte("second"))
	ok(t, err)

	for range 2 {
		s = reopen(t)
		for _, g := range want {
			has(t, s, now, g)
			fails(t, s.CreateGrant(t.Context(), now, sample(g.ID, now)), store.ErrExists)
		}
		hasRing(t, s, []byte("second"), version)
		polls(t, s, now, "", "g0", "g1")
		polls(t, s, now, cursor, "g1")
	}
	// The old tokens stay used, and life goes on where it stopped.
	_, err = s.RotateGrant(t.Context(), now, store.Rotation{ID: "g2", From: 0, Expires: now.Add(time.Hour)})
	fails(t, err, store.ErrConflict)
	rotate(t, s, now, store.Rotation{ID: "g2", From: 1, Expires: now.Add(time.Hour)})
	_, err = s.SwapKeyRing(t.Context(), version-1, []byte("stale"))
	fails(t, err, store.ErrConflict)
	revoke(t, s, now, revocation("g3", now))
	polls(t, s, now, cursor, "g1", "g3")
}

// reopenKeepsUses wants used keys, the persons' lists, the times of use and the
// ends of sessions to survive.
func reopenKeepsUses(t *testing.T, open func(t *testing.T) (store.Store, func(t *testing.T) store.Store)) {
	s, reopen := open(t)
	now := clock()
	short, long := now.Add(time.Minute), now.Add(5*time.Hour)
	uses(t, s, now, "short", short)
	uses(t, s, now, "long", long)
	a, b := create(t, s, "a", now), create(t, s, "b", now)
	other := grantOf(t, s, "user-10", "other", now)
	u := store.GrantUse{GrantID: "b", At: now.Add(time.Second), From: "192.0.2.9"}
	touch(t, s, now, u)
	b = touched(b, u)
	end(t, s, now, endSession("s", now))
	cursor := polls(t, s, now, "", "session s")
	revokeNew(t, s, now, "c")
	last := endPerson("user-1", now)
	end(t, s, now, last)

	for range 2 {
		s = reopen(t)
		used(t, s, now, "short", now)
		used(t, s, long.Add(-time.Second), "long", now)
		lists(t, s, now, "user-1", a, b)
		lists(t, s, now, "user-10", other)
		polls(t, s, now, cursor, "c", "subject user-1")
		entries, _, err := s.Revocations(t.Context(), now, "")
		ok(t, err)
		if len(entries) != 3 || !equalRevocation(entries[2], last) {
			t.Fatalf("feed: %v", entries)
		}
	}
	// Late reports stay late, and life goes on where it stopped.
	touch(t, s, now, store.GrantUse{GrantID: "b", At: now, From: "late report"})
	has(t, s, now, b)
	end(t, s, now, endSession("new", now))
	polls(t, s, now, cursor, "c", "subject user-1", "session new")
	s = reopen(t)
	sweepAll(t, s, short)
	uses(t, s, short, "short", long)
	s = reopen(t)
	used(t, s, short, "short", short)
	sweepAll(t, s, a.Expires)
	lists(t, s, a.Expires, "user-1")
	used(t, s, a.Expires, "long", now)
}

// reopenKeepsClients wants changed clients, deleted ones and the announced ends
// of tokens to survive.
func reopenKeepsClients(t *testing.T, open func(t *testing.T) (store.Store, func(t *testing.T) store.Store)) {
	s, reopen := open(t)
	now := clock()
	puts(t, s, now, record("changed", 1, now))
	puts(t, s, now, record("changed", 2, now))
	puts(t, s, now, record("ended", 1, now))
	puts(t, s, now, deleted("ended", 2, now))
	big := record("big", 1, now)
	big.Metadata = bigMetadata
	puts(t, s, now, big)
	end(t, s, now, endToken("jti", now))
	last := endClient("ended", now)
	end(t, s, now, last)
	for range 2 {
		s = reopen(t)
		hasClient(t, s, big)
		noClient(t, s, "unknown")
		for version := range uint64(3) {
			keeps(t, s, now, record("changed", 2, now), record("changed", version, now))
		}
		for version := range uint64(5) {
			keeps(t, s, now, deleted("ended", 2, now), record("ended", version, now))
		}
		polls(t, s, now, "", "token jti", "client ended")
		entries, _, err := s.Revocations(t.Context(), now, "")
		ok(t, err)
		if len(entries) != 2 || !equalRevocation(entries[1], last) {
			t.Fatalf("feed: %v", entries)
		}
	}
	puts(t, s, now, deleted("changed", 3, now))
	s = reopen(t)
	keeps(t, s, now, deleted("changed", 3, now), record("changed", 4, now))
}

// reopenKeepsRestored wants restored records, and those in another form, to
// survive.
func reopenKeepsRestored(t *testing.T, open func(t *testing.T) (store.Store, func(t *testing.T) store.Store)) {
	s, reopen := open(t)
	now, other := clock(), store.NewMemory()
	for version := range uint64(5) {
		puts(t, s, now, record("new", version+1, now)) // more than will be restored
	}
	create(t, s, "revoked", now)
	want := fill(t, other, now)
	copyAll(t, other, s)
	for _, id := range []string{"new", "rotated", "revoked for long"} {
		old := want.grants[id]
		next := sealedForm(old, "key")
		reseal(t, s, old, next)
		want.grants[id] = plainRecord(next)
	}
	old := want.clients["ended"]
	next := old
	next.Metadata = "sealed"
	ok(t, s.Reseal(t.Context(), store.Record{Client: &old}, store.Record{Client: &next}))
	want.clients["ended"] = next
	for range 2 {
		s = reopen(t)
		equalState(t, kept(t, s), want)
		lists(t, s, now, "sealed by key", want.grants["new"].Grant, want.grants["rotated"].Grant)
		lists(t, s, now, "user-1", want.grants["touched"].Grant)
		noRing(t, s)
	}
	puts(t, s, now, record("new", 4, now))
	sweepAll(t, s, now.Add(6*time.Hour))
	s = reopen(t)
	hasClient(t, s, record("new", 4, now))
	for id := range want.grants {
		gone(t, s, now, id)
	}
}
