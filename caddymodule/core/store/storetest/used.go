package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var usedParts = []part{
	{"Once", useOnce},
	{"UntilTheEnd", usedUntilTheEnd},
	{"RefusalChangesNothing", refusedUseChangesNothing},
	{"OverAtOnce", useOverAtOnce},
	{"KeysAreApart", usedKeysAreApart},
	{"ApartFromGrants", usedKeysAreNoGrants},
	{"Times", usedTimes},
	{"Sweep", usedKeysAreSwept},
}

// uses marks a key that must be free.
func uses(t *testing.T, s store.Store, now time.Time, key string, until time.Time) {
	t.Helper()
	first, err := s.Use(t.Context(), now, key, until)
	if err != nil || !first.Equal(now) {
		t.Fatalf("Use(%.40q) = %v, %v; want %v and no error", key, first, err, now)
	}
}

// used fails the test unless a key was marked at a certain time.
func used(t *testing.T, s store.Store, now time.Time, key string, first time.Time) {
	t.Helper()
	got, err := s.Use(t.Context(), now, key, now.Add(time.Hour))
	fails(t, err, store.ErrExists)
	if !got.Equal(first) {
		t.Fatalf("Use(%.40q) says that it was used at %v, want %v", key, got, first)
	}
}

func useOnce(t *testing.T, s store.Store) {
	now := clock()
	uses(t, s, now, "k", now.Add(time.Hour))
	used(t, s, now, "k", now)
	for _, after := range []time.Duration{0, time.Second, time.Minute, time.Hour - time.Second} {
		used(t, s, now.Add(after), "k", now)
	}
}

func usedUntilTheEnd(t *testing.T, s store.Store) {
	now := clock()
	until := now.Add(10 * time.Minute)
	uses(t, s, now, "k", until)
	used(t, s, until.Add(-time.Second), "k", now)
	uses(t, s, until, "k", until.Add(time.Hour))
	used(t, s, until, "k", until)
	used(t, s, until.Add(time.Hour-time.Second), "k", until)
	uses(t, s, until.Add(2*time.Hour), "k", until.Add(3*time.Hour))
	used(t, s, until.Add(2*time.Hour), "k", until.Add(2*time.Hour))
}

func refusedUseChangesNothing(t *testing.T, s store.Store) {
	now := clock()
	until := now.Add(time.Hour)
	uses(t, s, now, "k", until)
	for _, other := range []time.Time{until.Add(time.Hour), now.Add(time.Minute), now, now.Add(-time.Hour)} {
		first, err := s.Use(t.Context(), now.Add(time.Second), "k", other)
		fails(t, err, store.ErrExists)
		if !first.Equal(now) {
			t.Fatalf("used at %v, want %v", first, now)
		}
	}
	used(t, s, until.Add(-time.Second), "k", now)
	uses(t, s, until, "k", until.Add(time.Minute))
}

func useOverAtOnce(t *testing.T, s store.Store) {
	now := clock()
	for range 2 {
		uses(t, s, now, "now", now)
		uses(t, s, now, "past", now.Add(-time.Hour))
	}
	uses(t, s, now, "now", now.Add(time.Minute))
	used(t, s, now, "now", now)
}

func usedKeysAreApart(t *testing.T, s store.Store) {
	now := clock()
	long := strings.Repeat("k", 299)
	keys := append([]string{
		"k", "K", "k ", " k", "kk", "k:", "k/", "k*", "k_", "k%", "a:b", "a", "é", "e\u0301x", long, long + "1", long + "2",
		"k\n", "k\x01", "0", "00", "used", "grants",
	}, awkward...)
	for i, key := range keys {
		at := now.Add(time.Duration(i) * time.Second)
		uses(t, s, at, key, now.Add(time.Hour))
	}
	for i, key := range keys {
		used(t, s, now.Add(30*time.Minute), key, now.Add(time.Duration(i)*time.Second))
	}
	uses(t, s, now, long[:298], now.Add(time.Hour))
}

// usedKeysAreNoGrants wants keys and ids not to meet, nor their feed.
func usedKeysAreNoGrants(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	uses(t, s, now, "a", now.Add(10*time.Minute))
	uses(t, s, now, "user-1", now.Add(10*time.Minute))
	uses(t, s, now, "b", now.Add(5*time.Hour))
	gone(t, s, now, "b")
	has(t, s, now, g)
	lists(t, s, now, "user-1", g)
	lists(t, s, now, "b")
	polls(t, s, now, "")
	b := create(t, s, "b", now)
	sweepAll(t, s, now.Add(10*time.Minute))
	has(t, s, now.Add(10*time.Minute), g)
	sweepAll(t, s, b.Expires)
	gone(t, s, b.Expires, "b")
	used(t, s, b.Expires, "b", now)
}

func usedTimes(t *testing.T, s store.Store) {
	zone := time.FixedZone("", 5*3600+45*60)
	now := clock().Add(123456 * time.Microsecond).In(zone)
	uses(t, s, now, "k", now.Add(time.Hour))
	used(t, s, now.UTC(), "k", now)
	far := time.Date(2262, 12, 31, 23, 59, 59, 0, zone) // past what int64 nanoseconds hold
	uses(t, s, now, "far", far)
	used(t, s, now.Add(100*24*time.Hour), "far", now)
}

// usedKeysAreSwept wants the sweeper to go by the newest mark.
func usedKeysAreSwept(t *testing.T, s store.Store) {
	now := clock()
	short, long := now.Add(10*time.Minute), now.Add(5*time.Hour)
	uses(t, s, now, "short", short)
	uses(t, s, now, "again", short)
	uses(t, s, now, "long", long)
	if n := sweepAll(t, s, short.Add(-time.Second)); n != 0 {
		t.Fatalf("Sweep removed %d marks that are good", n)
	}
	used(t, s, short.Add(-time.Second), "short", now)
	uses(t, s, short, "again", long)
	if n := sweepAll(t, s, short); n > 1 {
		t.Fatalf("Sweep removed %d marks, one is over", n)
	}
	later := now.Add(2 * time.Hour)
	if n := sweepAll(t, s, later); n != 0 {
		t.Fatalf("Sweep removed %d marks, none is over", n)
	}
	used(t, s, later, "again", short)
	used(t, s, later, "long", now)
	uses(t, s, later, "short", long)
	sweepAll(t, s, long)
	for _, key := range []string{"short", "again", "long"} {
		uses(t, s, long, key, long.Add(time.Minute))
	}
}

// raceUse has racers, each with a clock of its own, who all want one key.
func raceUse(t *testing.T, nodes []store.Store) {
	now := clock()
	until := now.Add(time.Hour)
	for round := range 5 {
		key := fmt.Sprint("k", round)
		raceForKey(t, nodes, now, key, until)
	}
}

// raceUseOver is the race for a key whose last mark is over.
func raceUseOver(t *testing.T, nodes []store.Store) {
	now := clock()
	uses(t, nodes[0], now, "k", now.Add(time.Minute))
	now = now.Add(time.Minute)
	raceForKey(t, nodes, now, "k", now.Add(time.Hour))
	sweepAll(t, nodes[0], now.Add(30*time.Minute))
	_, err := nodes[0].Use(t.Context(), now.Add(30*time.Minute), "k", now.Add(time.Hour))
	fails(t, err, store.ErrExists)
}

// raceForKey wants exactly one racer to get the key, and the others to be told
// when that was.
func raceForKey(t *testing.T, nodes []store.Store, now time.Time, key string, until time.Time) {
	t.Helper()
	at := func(i int) time.Time { return now.Add(time.Duration(i) * time.Second) }
	first := make([]time.Time, racers)
	errs := together(racers, func(i int) (err error) {
		first[i], err = turn(nodes, i).Use(t.Context(), at(i), key, until)
		return err
	})
	winner := one(t, errs, store.ErrExists)
	for i := range first {
		if !first[i].Equal(at(winner)) {
			t.Fatalf("racer %d got the key at %v, racer %d is told %v", winner, at(winner), i, first[i])
		}
	}
	for _, s := range nodes {
		used(t, s, at(racers), key, at(winner))
	}
}

// raceUseMany has everybody use keys of their own.
func raceUseMany(t *testing.T, nodes []store.Store) {
	now := clock()
	errs := together(racers, func(i int) error {
		_, err := turn(nodes, i).Use(t.Context(), now, fmt.Sprint("k", i), now.Add(time.Hour))
		return err
	})
	ok(t, errors.Join(errs...))
	for i := range racers {
		used(t, turn(nodes, i+1), now, fmt.Sprint("k", i), now)
	}
}
