package storetest

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// racers is how many goroutines want the same thing at once.
const racers = 64

// raceParts run against one store or several over the same state.
var raceParts = []struct {
	name string
	run  func(t *testing.T, nodes []store.Store)
}{
	{"Create", raceCreate},
	{"Rotate", raceRotate},
	{"Revoke", raceRevoke},
	{"SwapKeyRing", raceSwap},
	{"RevokeVersusRotate", raceRevokeRotate},
	{"CreateExpired", raceCreateExpired},
	{"Use", raceUse},
	{"UseOver", raceUseOver},
	{"UseMany", raceUseMany},
	{"Client", raceClient},
	{"ClientDelete", raceClientDelete},
	{"Clients", raceClients},
	{"Touch", raceTouch},
	{"TouchVersusRotate", raceTouchRotate},
	{"TouchVersusRevoke", raceTouchRevoke},
	{"FeedIsNeverMissed", raceFeed},
	{"Records", raceRecords},
	{"Reseal", raceReseal},
	{"ResealClient", raceResealClient},
}

// turn returns the node that the i-th racer talks to.
func turn(nodes []store.Store, i int) store.Store {
	return nodes[i%len(nodes)]
}

// one fails the test unless exactly one result is nil and the others are
// loses; it returns the winner.
func one(t *testing.T, errs []error, loses error) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Fatalf("racers %d and %d both won", winner, i)
		default:
			fails(t, err, loses)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	return winner
}

func raceCreate(t *testing.T, nodes []store.Store) {
	now := clock()
	errs := together(racers, func(i int) error {
		g := sample("a", now)
		g.User.Subject = fmt.Sprint(i)
		return turn(nodes, i).CreateGrant(t.Context(), now, g)
	})
	want := sample("a", now)
	want.User.Subject = fmt.Sprint(one(t, errs, store.ErrExists))
	for _, s := range nodes {
		has(t, s, now, want)
	}
}

// raceCreateExpired is the race for an id whose last grant has expired.
func raceCreateExpired(t *testing.T, nodes []store.Store) {
	now := clock()
	old := create(t, nodes[0], "a", now)
	now = old.Expires
	errs := together(racers, func(i int) error {
		return turn(nodes, i).CreateGrant(t.Context(), now, sample("a", now))
	})
	one(t, errs, store.ErrExists)
	sweepAll(t, nodes[0], now)
	has(t, nodes[0], now, sample("a", now))
}

func raceRotate(t *testing.T, nodes []store.Store) {
	now := clock()
	g := create(t, nodes[0], "a", now)
	for generation := range uint64(5) {
		got := make([]store.Grant, racers)
		rotation := func(i int) store.Rotation {
			expires := now.Add(time.Hour + time.Duration(i)*time.Minute)
			return store.Rotation{ID: "a", From: generation, Expires: expires, UsedFrom: fmt.Sprint("racer ", i)}
		}
		errs := together(racers, func(i int) (err error) {
			got[i], err = turn(nodes, i).RotateGrant(t.Context(), now, rotation(i))
			return err
		})
		winner := one(t, errs, store.ErrConflict)
		g = rotated(g, now, rotation(winner))
		for i := range got { // the losers see what the winner made
			same(t, got[i], g)
		}
		has(t, nodes[0], now, g)
		now = now.Add(time.Second)
	}
}

func raceRevoke(t *testing.T, nodes []store.Store) {
	now := clock()
	g := create(t, nodes[0], "a", now)
	errs := together(racers, func(i int) error {
		r := store.Revocation{GrantID: "a", Reason: fmt.Sprint(i), Until: now.Add(time.Hour)}
		did, err := turn(nodes, i).RevokeGrant(t.Context(), now, r)
		if err == nil && !did {
			return store.ErrRevoked // stands for "false without an error"
		}
		return err
	})
	winner := one(t, errs, store.ErrRevoked)
	g.Revoked = now
	for _, s := range nodes {
		has(t, s, now, g)
		entries, _, err := s.Revocations(t.Context(), now, "")
		ok(t, err)
		if len(entries) != 1 || entries[0].Reason != fmt.Sprint(winner) {
			t.Fatalf("racer %d won, the feed says %v", winner, entries)
		}
	}
}

func raceSwap(t *testing.T, nodes []store.Store) {
	var version uint64
	for round := range 5 {
		next := make([]uint64, racers)
		errs := together(racers, func(i int) (err error) {
			next[i], err = turn(nodes, i).SwapKeyRing(t.Context(), version, fmt.Append(nil, round, i))
			return err
		})
		winner := one(t, errs, store.ErrConflict)
		version = next[winner]
		for _, s := range nodes {
			hasRing(t, s, fmt.Append(nil, round, winner), version)
		}
	}
}

// raceRevokeRotate refreshes and revokes at once: whoever comes first, the
// grant ends up revoked and no refresh follows the revocation.
func raceRevokeRotate(t *testing.T, nodes []store.Store) {
	now := clock()
	for round := range 10 {
		id := fmt.Sprint("g", round)
		want := create(t, nodes[0], id, now)
		r := store.Rotation{ID: id, Expires: now.Add(2 * time.Hour)}
		errs := together(racers, func(i int) error {
			s := turn(nodes, i)
			if i >= racers/2 {
				_, err := s.RevokeGrant(t.Context(), now, revocation(id, now))
				return err
			}
			_, err := s.RotateGrant(t.Context(), now, r)
			return err
		})
		rotations := 0
		for i, err := range errs {
			switch {
			case i >= racers/2:
				ok(t, err)
			case err == nil:
				rotations++
			case !errors.Is(err, store.ErrConflict):
				fails(t, err, store.ErrRevoked)
			}
		}
		if rotations > 1 {
			t.Fatalf("%d refreshes of one generation won", rotations)
		}
		if rotations == 1 {
			want = rotated(want, now, r)
		}
		want.Revoked = now
		has(t, nodes[0], now, want)
	}
	if ids, _ := poll(t, nodes[0], now, ""); len(ids) != 10 {
		t.Fatalf("feed after 10 revocations: %v", ids)
	}
}

// raceFeed lets a reader poll while writers append: an entry that was
// acknowledged must not hide behind the reader's cursor, whatever the order in
// which the writes became visible. It does so in rounds, because a fast store
// would be done before a single round's reader has polled twice.
func raceFeed(t *testing.T, nodes []store.Store) {
	const rounds, writers = 25, 8
	now := clock()
	for i := range rounds * writers {
		create(t, turn(nodes, i), fmt.Sprint("g", i), now)
	}
	seen, cursor := map[string]bool{}, ""
	read := func() {
		for _, s := range nodes { // a cursor of one node is good on the others
			var ids []string
			ids, cursor = poll(t, s, now, cursor)
			for _, id := range ids {
				seen[id] = true
			}
		}
	}
	for round := range rounds {
		done := make(chan []error, 1)
		go func() {
			done <- together(writers, func(w int) error {
				i := round*writers + w
				id := fmt.Sprint("g", i)
				if kind := announcedInRace(i); kind != nil {
					return turn(nodes, i).Announce(t.Context(), now, kind(id, now))
				}
				_, err := turn(nodes, i).RevokeGrant(t.Context(), now, revocation(id, now))
				return err
			})
		}()
		var errs []error
		for errs == nil {
			read()
			select {
			case errs = <-done:
			default:
				runtime.Gosched()
			}
		}
		ok(t, errors.Join(errs...))
	}
	read()
	for i := range rounds * writers {
		id := fmt.Sprint("g", i)
		if kind := announcedInRace(i); kind != nil {
			id = label(kind(id, now))
		}
		if !seen[id] {
			t.Errorf("the reader never saw the revocation of %s", id)
		}
	}
	if all, _ := poll(t, nodes[0], now, ""); len(all) != rounds*writers {
		t.Errorf("the feed has %d entries, want %d", len(all), rounds*writers)
	}
}

// announcedInRace returns what kind of entry the i-th writer of raceFeed
// announces; nil if it revokes a grant.
func announcedInRace(i int) func(name string, now time.Time) store.Revocation {
	return []func(string, time.Time) store.Revocation{endSession, nil, endToken, nil, endClient}[i%5]
}

// sharedParts need two nodes.
var sharedParts = []struct {
	name string
	run  func(t *testing.T, a, b store.Store)
}{
	{"SeenAtOnce", seenAtOnce},
	{"OneFeed", sharedSessions},
	{"OneClient", sharedClients},
	{"AwaitOther", awaitOther},
	{"OneTime", sharedTime},
}

// seenAtOnce wants what one node acknowledged to be true on the other.
func seenAtOnce(t *testing.T, a, b store.Store) {
	now := clock()
	_, cursor := poll(t, b, now, "")
	g := create(t, a, "a", now)
	has(t, b, now, g)
	lists(t, b, now, "user-1", g)
	g = rotate(t, b, now, store.Rotation{ID: "a", Expires: g.Expires})
	has(t, a, now, g)
	u := store.GrantUse{GrantID: "a", At: now.Add(time.Second), From: "192.0.2.9"}
	touch(t, b, now, u)
	g = touched(g, u)
	has(t, a, now, g)
	lists(t, a, now, "user-1", g)
	uses(t, a, now, "k", now.Add(time.Hour))
	used(t, b, now.Add(time.Second), "k", now)
	revoke(t, a, now, revocation("a", now))
	g.Revoked = now
	has(t, b, now, g)
	lists(t, b, now, "user-1")
	polls(t, b, now, cursor, "a")
	version, err := a.SwapKeyRing(t.Context(), 0, []byte("ring"))
	ok(t, err)
	hasRing(t, b, []byte("ring"), version)
}
