package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var sweepParts = []part{
	{"NothingToDo", nothingToSweep},
	{"OnlyExpired", sweepsOnlyExpired},
	{"AfterRotation", sweepAfterRotation},
	{"AfterRevocation", sweepAfterRevocation},
}

// sweepCalls is how many calls the suite allows until nothing is left; a store
// needs one more than it has batches.
const sweepCalls = 1000

// sweepAll sweeps until a call removes nothing and returns how many records
// went away.
func sweepAll(t *testing.T, s store.Store, now time.Time) int {
	t.Helper()
	total := 0
	for range sweepCalls {
		n, err := s.Sweep(t.Context(), now)
		ok(t, err)
		if n < 0 {
			t.Fatalf("Sweep removed %d records", n)
		}
		if n == 0 {
			return total
		}
		total += n
	}
	t.Fatalf("Sweep still finds something after %d calls", sweepCalls)
	return 0
}

func nothingToSweep(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	revokeNew(t, s, now, "b")
	if n := sweepAll(t, s, now); n != 0 {
		t.Fatalf("Sweep removed %d live records", n)
	}
	has(t, s, now, g)
	polls(t, s, now, "", "b")
}

func sweepsOnlyExpired(t *testing.T, s store.Store) {
	now := clock()
	const each = 200
	for i := range each {
		g := sample(fmt.Sprint("old", i), now)
		g.Expires = now.Add(time.Duration(i%7+1) * time.Minute)
		ok(t, s.CreateGrant(t.Context(), now, g))
		create(t, s, fmt.Sprint("new", i), now)
	}
	later := now.Add(30 * time.Minute)
	if n := sweepAll(t, s, later); n > each {
		t.Fatalf("Sweep removed %d records, only %d are expired", n, each)
	}
	for i := range each {
		has(t, s, later, sample(fmt.Sprint("new", i), now))
		gone(t, s, later, fmt.Sprint("old", i))
	}
}

// sweepAfterRotation wants the sweeper to go by the newest Expires, in both
// directions.
func sweepAfterRotation(t *testing.T, s store.Store) {
	now := clock()
	create(t, s, "longer", now)
	create(t, s, "shorter", now)
	longer := rotate(t, s, now, store.Rotation{ID: "longer", Expires: now.Add(5 * time.Hour)})
	rotate(t, s, now, store.Rotation{ID: "shorter", Expires: now.Add(time.Minute)})

	later := now.Add(time.Minute)
	if n := sweepAll(t, s, later); n > 1 {
		t.Fatalf("Sweep removed %d records, one is expired", n)
	}
	has(t, s, later, longer)
	gone(t, s, later, "shorter")

	later = now.Add(2 * time.Hour) // past the first Expires of both
	if n := sweepAll(t, s, later); n != 0 {
		t.Fatalf("Sweep removed %d records, none is expired", n)
	}
	has(t, s, later, longer)

	// The id is free again, and the old end of the old grant is forgotten.
	ok(t, s.CreateGrant(t.Context(), later, sample("shorter", later)))
	sweepAll(t, s, later)
	has(t, s, later, sample("shorter", later))
}

func sweepAfterRevocation(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	until := now.Add(3 * time.Hour)
	revoke(t, s, now, store.Revocation{GrantID: "a", Reason: "user", Until: until})
	g.Revoked = now
	if n := sweepAll(t, s, g.Expires); n != 0 {
		t.Fatalf("Sweep removed %d records of a grant that must stay until %v", n, until)
	}
	has(t, s, g.Expires, g)
	polls(t, s, g.Expires, "", "a")
	if n := sweepAll(t, s, until); n > 2 {
		t.Fatalf("Sweep removed %d records, there are only the grant and its entry", n)
	}
	gone(t, s, until, "a")
	polls(t, s, until, "")
}

// RunSwept is for stores whose Sweep is the only thing that removes records:
// it must get at all of them, in bounded steps, and count them. open is as for
// [Run].
func RunSwept(t *testing.T, open func(t *testing.T) store.Store) {
	t.Helper()
	t.Run("SweepRemovesAll", func(t *testing.T) {
		s, now := open(t), clock()
		const total = 3000
		errs := together(total, func(i int) error {
			return s.CreateGrant(t.Context(), now, sample(fmt.Sprint(i), now))
		})
		ok(t, errors.Join(errs...))
		later := now.Add(2 * time.Hour)
		first, err := s.Sweep(t.Context(), later)
		ok(t, err)
		if first == 0 || first == total {
			t.Fatalf("one call removed %d of %d records, want a bounded part", first, total)
		}
		if n := first + sweepAll(t, s, later); n != total {
			t.Fatalf("Sweep removed %d of %d expired records", n, total)
		}
	})
	t.Run("SweepRemovesEveryKind", func(t *testing.T) {
		s, now := open(t), clock()
		revokeNew(t, s, now, "a", "b")
		touch(t, s, now, store.GrantUse{GrantID: "a", At: now.Add(time.Minute)})
		g := create(t, s, "c", now)
		touch(t, s, now, store.GrantUse{GrantID: "c", At: now.Add(time.Minute)})
		rotate(t, s, now, store.Rotation{ID: "c", Expires: g.Expires})
		uses(t, s, now, "used", now.Add(time.Minute))
		uses(t, s, now.Add(time.Minute), "used", now.Add(time.Hour))
		uses(t, s, now, "used too", now.Add(time.Hour))
		end(t, s, now, endSession("s", now))
		end(t, s, now, endPerson("user-1", now))
		if n := sweepAll(t, s, now.Add(2*time.Hour)); n != 9 {
			t.Fatalf("Sweep removed %d records, want 3 grants, 2 used keys and 4 entries", n)
		}
		lists(t, s, now.Add(2*time.Hour), "user-1")
	})
	t.Run("SweepIsBoundedForUsed", func(t *testing.T) {
		s, now := open(t), clock()
		const total = 3000
		errs := together(total, func(i int) error {
			_, err := s.Use(t.Context(), now, fmt.Sprint(i), now.Add(time.Hour))
			return err
		})
		ok(t, errors.Join(errs...))
		later := now.Add(2 * time.Hour)
		first, err := s.Sweep(t.Context(), later)
		ok(t, err)
		if first == 0 || first == total {
			t.Fatalf("one call removed %d of %d marks, want a bounded part", first, total)
		}
		if n := first + sweepAll(t, s, later); n != total {
			t.Fatalf("Sweep removed %d of %d marks", n, total)
		}
	})
	t.Run("RecordsHasTheExpired", func(t *testing.T) {
		s, now := open(t), clock()
		want := fill(t, s, now.Add(-48*time.Hour)) // over by any clock
		equalState(t, kept(t, s), want)
		sweepAll(t, s, now)
		want.grants, want.uses, want.feed = nil, nil, nil
		equalState(t, kept(t, s), want)
	})
	t.Run("ResealOfTheSwept", func(t *testing.T) {
		s, now := open(t), clock()
		create(t, s, "a", now)
		g := keptGrant(t, s, "a")
		sweepAll(t, s, g.Expires)
		next := sealedForm(g, "key")
		fails(t, s.Reseal(t.Context(), store.Record{Grant: &g}, store.Record{Grant: &next}), store.ErrNotFound)
		gone(t, s, now, "a")
		lists(t, s, now, next.User.Subject)
	})
	t.Run("SweepRemovesTheRestored", func(t *testing.T) {
		s, other, now := open(t), store.NewMemory(), clock()
		want := fill(t, other, now)
		copyAll(t, other, s)
		g := keptGrant(t, s, "new")
		reseal(t, s, g, sealedForm(g, "key"))
		total := len(want.grants) + len(want.uses) + len(want.feed)
		if n := sweepAll(t, s, now.Add(6*time.Hour)); n != total {
			t.Fatalf("Sweep removed %d records, want %d", n, total)
		}
	})
	t.Run("SweepRemovesFeed", func(t *testing.T) {
		s, now := open(t), clock()
		revokeNew(t, s, now, "a", "b", "c")
		if n := sweepAll(t, s, now.Add(2*time.Hour)); n != 6 {
			t.Fatalf("Sweep removed %d records, want 3 grants and 3 entries", n)
		}
	})
}
