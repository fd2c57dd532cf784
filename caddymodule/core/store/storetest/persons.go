package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var personParts = []part{
	{"NobodyKnown", nobodyKnown},
	{"NewestFirst", newestFirst},
	{"Limit", listLimit},
	{"OnlyTheGood", listsOnlyTheGood},
	{"FollowsTheGrant", listFollowsTheGrant},
	{"SubjectsAreApart", subjectsAreApart},
	{"CodeChangesHands", codeChangesHands},
	{"CallerKeepsItsGroups", callerKeepsItsGroups},
}

// plenty is a limit that no test reaches.
const plenty = 1000

// lists fails the test unless a person has exactly these grants, in this order.
func lists(t *testing.T, s store.Store, now time.Time, subject string, want ...store.Grant) {
	t.Helper()
	got, err := s.Grants(t.Context(), now, subject, plenty)
	ok(t, err)
	equalList(t, got, want)
}

// listsUpTo is lists with a limit, for user-1.
func listsUpTo(t *testing.T, s store.Store, now time.Time, limit int, want ...store.Grant) {
	t.Helper()
	got, err := s.Grants(t.Context(), now, "user-1", limit)
	ok(t, err)
	equalList(t, got, want)
}

// equalList fails the test unless both lists have the same grants in one order.
func equalList(t *testing.T, got, want []store.Grant) {
	t.Helper()
	if gotIDs, wantIDs := grantIDs(got), grantIDs(want); fmt.Sprintf("%q", gotIDs) != fmt.Sprintf("%q", wantIDs) {
		t.Fatalf("got grants %q, want %q", gotIDs, wantIDs)
	}
	for i := range got {
		same(t, got[i], want[i])
	}
}

// grantIDs returns the ids of grants.
func grantIDs(grants []store.Grant) []string {
	ids := make([]string, 0, len(grants))
	for _, g := range grants {
		ids = append(ids, g.ID)
	}
	return ids
}

// grantOf stores a grant of a person that was made at some time.
func grantOf(t *testing.T, s store.Store, subject, id string, created time.Time) store.Grant {
	t.Helper()
	now := clock()
	g := sample(id, now)
	g.User.Subject, g.Created = subject, created
	ok(t, s.CreateGrant(t.Context(), now, g))
	return g
}

func nobodyKnown(t *testing.T, s store.Store) {
	now := clock()
	for _, subject := range []string{"user-1", "", "a"} {
		lists(t, s, now, subject)
	}
	g := create(t, s, "a", now)
	lists(t, s, now, g.User.Subject, g)
	// A person is not found by what else they are called, nor by the grant.
	for _, other := range []string{g.ID, g.User.Name, g.User.Email, g.ClientID, ""} {
		lists(t, s, now, other)
	}
}

// newestFirst stores grants in no order: the list goes by the moment, then by
// the bytes of the id.
func newestFirst(t *testing.T, s store.Store) {
	now := clock()
	half := now.Add(-30 * time.Minute)
	made := map[string]store.Grant{}
	for _, g := range []struct {
		id      string
		created time.Time
	}{
		{"mid", half},
		{"9", now},
		{"old", now.Add(-10 * 365 * 24 * time.Hour)},
		{"10", now},
		{"zone", half.Add(time.Minute).In(time.FixedZone("", -9*3600-1800))},
		{"b", now},
		{"a", now},
		{"a0", now},
		{"B", now},
		{"before 1970", time.Date(1969, 12, 31, 23, 59, 58, 0, time.UTC)},
		{"mid and a bit", half.Add(time.Microsecond)},
		{"no time", time.Time{}},
		{"é", now},
	} {
		made[g.id] = grantOf(t, s, "user-1", g.id, g.created)
	}
	var want []store.Grant
	for _, id := range []string{
		"10", "9", "B", "a", "a0", "b", "é", "zone", "mid and a bit", "mid", "old", "before 1970", "no time",
	} {
		want = append(want, made[id])
	}
	lists(t, s, now, "user-1", want...)
	for limit := range want {
		listsUpTo(t, s, now, limit, want[:limit]...)
	}
}

func listLimit(t *testing.T, s store.Store) {
	now := clock()
	var want []store.Grant
	for i := range 5 {
		want = append(want, grantOf(t, s, "user-1", fmt.Sprint(i), now.Add(-time.Duration(i)*time.Second)))
	}
	for limit, n := range map[int]int{-1: 0, 0: 0, 1: 1, 4: 4, 5: 5, 6: 5, 1 << 30: 5} {
		listsUpTo(t, s, now, limit, want[:n]...)
	}
	// What does not belong into the list takes no place in it.
	revoke(t, s, now, revocation("0", now))
	_, err := s.RotateGrant(t.Context(), now, store.Rotation{ID: "1", Expires: now.Add(time.Minute)})
	ok(t, err)
	listsUpTo(t, s, now.Add(time.Minute), 2, want[2:4]...)
}

// listsOnlyTheGood wants revoked and expired grants to be missing from the
// list from that moment on, swept or not.
func listsOnlyTheGood(t *testing.T, s store.Store) {
	now := clock()
	short := sample("short", now)
	short.Expires = now.Add(10 * time.Minute)
	ok(t, s.CreateGrant(t.Context(), now, short))
	good, bad := create(t, s, "good", now), create(t, s, "taken back", now)
	lists(t, s, now, "user-1", good, short, bad)
	// It stays for long, to be in the way of its code.
	revoke(t, s, now, store.Revocation{GrantID: "taken back", Reason: "user", Until: now.Add(5 * time.Hour)})
	lists(t, s, now, "user-1", good, short)
	lists(t, s, short.Expires.Add(-time.Second), "user-1", good, short)
	for range 2 {
		lists(t, s, short.Expires, "user-1", good)
		sweepAll(t, s, short.Expires)
	}
	for range 2 {
		lists(t, s, good.Expires, "user-1")
		sweepAll(t, s, good.Expires)
	}
}

// listFollowsTheGrant wants the list to show what a grant is now, in the place
// that it had.
func listFollowsTheGrant(t *testing.T, s store.Store) {
	now := clock()
	grantOf(t, s, "user-1", "older", now.Add(-time.Hour))
	newer := grantOf(t, s, "user-1", "newer", now)
	at := now.Add(time.Minute)
	older := rotate(t, s, at, store.Rotation{ID: "older", Expires: now.Add(5 * time.Hour), UsedFrom: "2001:db8::7"})
	lists(t, s, at, "user-1", newer, older)
	ok(t, s.TouchGrants(t.Context(), at, []store.GrantUse{{GrantID: "newer", At: at, From: "192.0.2.9"}}))
	newer.UsedAt, newer.UsedFrom = at, "192.0.2.9"
	lists(t, s, at, "user-1", newer, older)
	sweepAll(t, s, newer.Expires)
	lists(t, s, older.Expires.Add(-time.Second), "user-1", older)
	lists(t, s, older.Expires, "user-1")
}

// subjectsAreApart wants persons that only a sloppy look-up takes for one
// another to see their own grants.
func subjectsAreApart(t *testing.T, s store.Store) {
	now := clock()
	long := strings.Repeat("s", 299)
	subjects := append([]string{
		"user-1", "user-10", "user-", "user", "u", "USER-1", "User-1", "user-1 ", " user-1", "user-1\n", "",
		"user%", "user_1", "user*", "user?1", "user-[1]", "0", "00", "01",
		// With ids like these, gluing subject and id together is ambiguous.
		"a", "a:b", "a/b", "a|b", "a.b", "a,b", "a\x01b", "a\x1fb", "a\x7fb", "a\U0010ffff", "a:", ":a", "a::b",
		"é", "e\u0301", long + "1", long + "2", long, "https://id.example.com|user-1",
	}, awkward...)
	want := make([][]store.Grant, len(subjects))
	for i, subject := range subjects {
		for j, suffix := range []string{":b", "b:c"} {
			g := grantOf(t, s, subject, fmt.Sprint(suffix, i), now.Add(-time.Duration(j)*time.Minute))
			want[i] = append(want[i], g)
		}
	}
	for i, subject := range subjects {
		lists(t, s, now, subject, want[i]...)
	}
	revoke(t, s, now, revocation(want[0][0].ID, now))
	lists(t, s, now, subjects[0], want[0][1])
	for i, subject := range subjects[1:] {
		lists(t, s, now, subject, want[i+1]...)
	}
	lists(t, s, now, long[:298])
}

// codeChangesHands makes a grant anew, for somebody else, when the one before
// is over.
func codeChangesHands(t *testing.T, s store.Store) {
	now := clock()
	old := create(t, s, "a", now)
	create(t, s, "other", now)
	other := rotate(t, s, now, store.Rotation{ID: "other", Expires: now.Add(9 * time.Hour)})
	again := sample("a", old.Expires)
	again.User.Subject = "user-2"
	ok(t, s.CreateGrant(t.Context(), old.Expires, again))
	for range 2 {
		lists(t, s, old.Expires, "user-1", other)
		lists(t, s, old.Expires, "user-2", again)
		sweepAll(t, s, old.Expires)
	}
	revoke(t, s, old.Expires, store.Revocation{GrantID: "a", Reason: "user", Until: again.Expires})
	lists(t, s, old.Expires, "user-2")
	third := sample("a", again.Expires)
	third.Created = now // not where the one before stood in the list
	ok(t, s.CreateGrant(t.Context(), again.Expires, third))
	for range 2 {
		lists(t, s, again.Expires, "user-1", third, other)
		lists(t, s, again.Expires, "user-2")
		sweepAll(t, s, again.Expires)
	}
}

// callerKeepsItsGroups wants the store to share no memory with its callers.
func callerKeepsItsGroups(t *testing.T, s store.Store) {
	now := clock()
	g := sample("a", now)
	ok(t, s.CreateGrant(t.Context(), now, g))
	clear(g.User.Groups)
	want := sample("a", now)
	has(t, s, now, want)
	r := store.Rotation{ID: "a", Expires: now.Add(2 * time.Hour)}
	spoil := []func() ([]store.Grant, error){
		func() ([]store.Grant, error) { g, err := s.Grant(t.Context(), now, "a"); return []store.Grant{g}, err },
		func() ([]store.Grant, error) { return s.Grants(t.Context(), now, "user-1", plenty) },
		func() ([]store.Grant, error) {
			want = rotated(want, now, r)
			g, err := s.RotateGrant(t.Context(), now, r)
			return []store.Grant{g}, err
		},
	}
	for i, get := range spoil {
		grants, err := get()
		ok(t, err)
		if len(grants) != 1 {
			t.Fatalf("look %d: %d grants", i, len(grants))
		}
		clear(grants[0].User.Groups)
		has(t, s, now, want)
	}
}
