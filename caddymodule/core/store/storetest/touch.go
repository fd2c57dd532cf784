package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var touchParts = []part{
	{"Touch", touchSome},
	{"NeverBack", touchNeverBack},
	{"ManyOfOneGrant", touchManyOfOne},
	{"LeavesOutUnknown", touchUnknown},
	{"LeavesOutRevoked", touchRevoked},
	{"LeavesOutExpired", touchExpired},
	{"IsNoRefresh", touchIsNoRefresh},
	{"NothingToTouch", touchNothing},
	{"Values", touchValues},
}

// touch notes uses of grants.
func touch(t *testing.T, s store.Store, now time.Time, uses ...store.GrantUse) {
	t.Helper()
	ok(t, s.TouchGrants(t.Context(), now, uses))
}

// touched returns what a use makes of a grant.
func touched(g store.Grant, u store.GrantUse) store.Grant {
	g.UsedAt, g.UsedFrom = u.At, u.From
	return g
}

func touchSome(t *testing.T, s store.Store) {
	now := clock()
	a, b, c := create(t, s, "a", now), create(t, s, "b", now), create(t, s, "c", now)
	later := now.Add(10 * time.Minute)
	uses := []store.GrantUse{
		{GrantID: "c", At: now.Add(9 * time.Minute), From: "2001:db8::1"},
		{GrantID: "a", At: now.Add(time.Minute), From: "198.51.100.7"},
	}
	touch(t, s, later, uses...)
	a, c = touched(a, uses[1]), touched(c, uses[0])
	has(t, s, later, a)
	has(t, s, later, b)
	has(t, s, later, c)
	lists(t, s, later, "user-1", a, b, c)
	polls(t, s, later, "")
	// An address that is not known takes the place of one that was.
	u := store.GrantUse{GrantID: "a", At: later}
	touch(t, s, later, u)
	has(t, s, later, touched(a, u))
}

func touchNeverBack(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	last := store.GrantUse{GrantID: "a", At: now.Add(5 * time.Minute), From: "192.0.2.5"}
	touch(t, s, last.At, last)
	g = touched(g, last)
	later := now.Add(10 * time.Minute)
	for _, at := range []time.Time{last.At.Add(-time.Second), now, now.Add(-time.Hour), {}, last.At} {
		touch(t, s, later, store.GrantUse{GrantID: "a", At: at, From: "late report"})
		has(t, s, later, g)
	}
	// A refresh is a use as well.
	g = rotate(t, s, later, store.Rotation{ID: "a", Expires: g.Expires, UsedFrom: "192.0.2.6"})
	touch(t, s, later, store.GrantUse{GrantID: "a", At: later.Add(-time.Second), From: "late report"})
	has(t, s, later, g)
}

func touchManyOfOne(t *testing.T, s store.Store) {
	now := clock()
	later := now.Add(time.Hour - time.Second)
	var uses []store.GrantUse
	for i := range 5 {
		uses = append(uses, store.GrantUse{At: now.Add(time.Duration(i+1) * time.Minute), From: fmt.Sprint(i)})
	}
	for i, order := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 4, 0, 1, 3}} {
		g := create(t, s, fmt.Sprint(i), now)
		var batch []store.GrantUse
		for _, n := range order {
			uses[n].GrantID = g.ID
			batch = append(batch, uses[n])
		}
		touch(t, s, later, batch...)
		has(t, s, later, touched(g, uses[4]))
	}
}

// touchUnknown wants what can't be touched not to be in the way of the rest,
// wherever it stands.
func touchUnknown(t *testing.T, s store.Store) {
	now := clock()
	at := now.Add(time.Minute)
	a, b := create(t, s, "a", now), create(t, s, "b", now)
	use := func(id string) store.GrantUse { return store.GrantUse{GrantID: id, At: at, From: "192.0.2.9"} }
	touch(t, s, at, use("unknown"))
	touch(t, s, at, use(""), use("a"), use("aa"), use("unknown"), use("b"), use("A"))
	has(t, s, at, touched(a, use("a")))
	has(t, s, at, touched(b, use("b")))
	for _, id := range []string{"unknown", "", "aa", "A"} {
		gone(t, s, at, id)
	}
	if n := sweepAll(t, s, a.Expires); n > 2 {
		t.Fatalf("Sweep removed %d records, there were two grants", n)
	}
}

func touchRevoked(t *testing.T, s store.Store) {
	now := clock()
	bad, good := create(t, s, "bad", now), create(t, s, "good", now)
	revoke(t, s, now, revocation("bad", now))
	bad.Revoked = now
	at := now.Add(time.Minute)
	u := store.GrantUse{GrantID: "good", At: at, From: "192.0.2.9"}
	touch(t, s, at, store.GrantUse{GrantID: "bad", At: at, From: "192.0.2.9"}, u)
	has(t, s, at, bad)
	has(t, s, at, touched(good, u))
	lists(t, s, at, "user-1", touched(good, u))
	polls(t, s, at, "", "bad")
}

// touchExpired wants a late report not to bring back what is over.
func touchExpired(t *testing.T, s store.Store) {
	now := clock()
	old := create(t, s, "a", now)
	for _, at := range []time.Time{old.Expires, old.Expires.Add(time.Hour)} {
		touch(t, s, at, store.GrantUse{GrantID: "a", At: at, From: "192.0.2.9"})
		gone(t, s, at, "a")
		lists(t, s, at, "user-1")
	}
	has(t, s, now, old)
	again := sample("a", old.Expires)
	ok(t, s.CreateGrant(t.Context(), old.Expires, again))
	has(t, s, old.Expires, again)
}

// touchIsNoRefresh wants a use to leave the grant's end and its generation
// alone, also in the sweeper's eyes.
func touchIsNoRefresh(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	u := store.GrantUse{GrantID: "a", At: g.Expires.Add(-time.Second), From: "192.0.2.9"}
	touch(t, s, u.At, u)
	has(t, s, u.At, touched(g, u))
	gone(t, s, g.Expires, "a")

	create(t, s, "b", now)
	touch(t, s, now, store.GrantUse{GrantID: "b", At: now.Add(time.Minute)})
	g = rotate(t, s, now.Add(2*time.Minute), store.Rotation{ID: "b", From: 0, Expires: now.Add(3 * time.Hour)})
	sweepAll(t, s, now.Add(2*time.Hour))
	has(t, s, now.Add(2*time.Hour), g)
	gone(t, s, g.Expires, "b")
}

func touchNothing(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	ok(t, s.TouchGrants(t.Context(), now, nil))
	ok(t, s.TouchGrants(t.Context(), now, []store.GrantUse{}))
	has(t, s, now, g)
	// A grant from before uses were kept.
	old := sample("old", now)
	old.UsedAt, old.UsedFrom = time.Time{}, ""
	ok(t, s.CreateGrant(t.Context(), now, old))
	has(t, s, now, old)
	u := store.GrantUse{GrantID: "old", At: now, From: "192.0.2.9"}
	touch(t, s, now, u)
	has(t, s, now, touched(old, u))
}

func touchValues(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	zone := time.FixedZone("", 5*3600+45*60)
	for i, text := range awkward {
		u := store.GrantUse{GrantID: "a", At: now.Add(time.Duration(i+1) * 1234567 * time.Microsecond).In(zone), From: text}
		uses := []store.GrantUse{u}
		touch(t, s, now, uses...)
		clear(uses)
		g = touched(g, u)
		has(t, s, now, g)
	}
}

// raceTouch reports uses from everywhere at once: the latest stays.
func raceTouch(t *testing.T, nodes []store.Store) {
	now := clock()
	g := create(t, nodes[0], "a", now)
	use := func(i int) store.GrantUse {
		return store.GrantUse{GrantID: "a", At: now.Add(time.Duration(i) * time.Second), From: fmt.Sprint("racer ", i)}
	}
	errs := together(racers, func(i int) error {
		i = i*37%racers + 1 // in no order
		return turn(nodes, i).TouchGrants(t.Context(), now, []store.GrantUse{use(i)})
	})
	ok(t, errors.Join(errs...))
	for _, s := range nodes {
		has(t, s, now, touched(g, use(racers)))
	}
}

// raceTouchRotate reports uses while others refresh: a report must not undo
// the refresh.
func raceTouchRotate(t *testing.T, nodes []store.Store) {
	now := clock()
	later := now.Add(racers * time.Second)
	for round := range 10 {
		id := fmt.Sprint("g", round)
		want := create(t, nodes[0], id, now)
		r := store.Rotation{ID: id, Expires: now.Add(2 * time.Hour), UsedFrom: "the refresh"}
		errs := together(racers, func(i int) error {
			s := turn(nodes, i/2)
			if i%2 == 0 {
				u := store.GrantUse{GrantID: id, At: now.Add(time.Duration(i) * time.Second), From: "a call"}
				return s.TouchGrants(t.Context(), now, []store.GrantUse{u})
			}
			_, err := s.RotateGrant(t.Context(), later, r)
			return err
		})
		won := 0
		for i, err := range errs {
			if err == nil {
				won += i % 2
			} else {
				fails(t, err, store.ErrConflict)
			}
		}
		if won != 1 {
			t.Fatalf("%d refreshes of one generation won", won)
		}
		has(t, nodes[0], later, rotated(want, later, r))
	}
}

// raceTouchRevoke reports uses while somebody takes the grant back: it stays
// taken back.
func raceTouchRevoke(t *testing.T, nodes []store.Store) {
	now := clock()
	later := now.Add(time.Minute)
	var ids []string
	for round := range 10 {
		id := fmt.Sprint("g", round)
		ids = append(ids, id)
		want := create(t, nodes[0], id, now)
		errs := together(racers, func(i int) error {
			s := turn(nodes, i)
			if i == racers/2 {
				_, err := s.RevokeGrant(t.Context(), now, revocation(id, now))
				return err
			}
			return s.TouchGrants(t.Context(), now, []store.GrantUse{{GrantID: id, At: later, From: "a call"}})
		})
		ok(t, errors.Join(errs...))
		got, err := nodes[0].Grant(t.Context(), now, id)
		fails(t, err, store.ErrRevoked)
		if !slices.Contains([]string{want.UsedFrom, "a call"}, got.UsedFrom) {
			t.Fatalf("used from %q", got.UsedFrom)
		}
		if want.Revoked = now; got.UsedFrom == "a call" {
			want.UsedAt, want.UsedFrom = later, "a call"
		}
		same(t, got, want)
	}
	lists(t, nodes[0], now, "user-1")
	polls(t, nodes[0], now, "", ids...)
}
