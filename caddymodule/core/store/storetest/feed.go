package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var feedParts = []part{
	{"Empty", emptyFeed},
	{"OrderAndCursor", orderAndCursor},
	{"EveryCursorContinues", everyCursorContinues},
	{"GarbageCursor", garbageCursor},
	{"ExpiredEntries", expiredEntries},
	{"CursorSurvivesSweep", cursorSurvivesSweep},
}

// poll reads the feed and returns the labels of its entries and the next cursor.
func poll(t *testing.T, s store.Store, now time.Time, after string) ([]string, string) {
	t.Helper()
	entries, next, err := s.Revocations(t.Context(), now, after)
	ok(t, err)
	var ids []string
	for _, e := range entries {
		ids = append(ids, label(e))
	}
	return ids, next
}

// polls fails the test unless reading after the cursor yields exactly these
// entries in this order; it returns the next cursor.
func polls(t *testing.T, s store.Store, now time.Time, after string, want ...string) string {
	t.Helper()
	got, next := poll(t, s, now, after)
	if !slices.Equal(got, want) {
		t.Fatalf("feed after %.100q: %q, want %q", after, got, want)
	}
	return next
}

// revokeNew creates and revokes a grant for each id, in order.
func revokeNew(t *testing.T, s store.Store, now time.Time, ids ...string) {
	t.Helper()
	for _, id := range ids {
		create(t, s, id, now)
		revoke(t, s, now, revocation(id, now))
	}
}

func emptyFeed(t *testing.T, s store.Store) {
	now := clock()
	next := polls(t, s, now, "")
	next = polls(t, s, now, next)
	revokeNew(t, s, now, "a")
	polls(t, s, now, next, "a")
}

func orderAndCursor(t *testing.T, s store.Store) {
	now := clock()
	revokeNew(t, s, now, "c", "a", "b")
	next := polls(t, s, now, "", "c", "a", "b")
	next = polls(t, s, now, next)
	revokeNew(t, s, now, "z", "y")
	next = polls(t, s, now, next, "z", "y")
	polls(t, s, now, next)
	polls(t, s, now, "", "c", "a", "b", "z", "y")
}

func everyCursorContinues(t *testing.T, s store.Store) {
	now := clock()
	_, first := poll(t, s, now, "")
	cursors, ids := []string{first}, []string(nil)
	for i := range 12 { // past 9, where text and number sort differently
		id := fmt.Sprintf("g%d", i)
		revokeNew(t, s, now, id)
		ids = append(ids, id)
		cursors = append(cursors, polls(t, s, now, cursors[i], id))
	}
	for i, c := range cursors {
		polls(t, s, now, c, ids[i:]...)
	}
}

// garbage holds what no store hands out as a cursor.
var garbage = []string{
	"garbage", " ", "-1", "/", "9", "18446744073709551615", "99999999999999999999999", "1e3", "0x1", "' OR 1=1 --",
	"\x00", "\xff\xfe", "漢字", strings.Repeat("9", 10_000), "$", "+", "9999999999999-0",
}

// garbageCursor (THREATS T12): a cursor is a position, and nothing that a store
// runs.
func garbageCursor(t *testing.T, s store.Store) {
	now := clock()
	revokeNew(t, s, now, "a", "b")
	_, good := poll(t, s, now, "")
	for _, cursor := range append([]string{good + "0000000", good + "x", "x" + good}, garbage...) {
		next := polls(t, s, now, cursor, "a", "b")
		polls(t, s, now, next)
	}
	next := polls(t, s, now, "garbage", "a", "b")
	revokeNew(t, s, now, "c")
	polls(t, s, now, next, "c")
}

func expiredEntries(t *testing.T, s store.Store) {
	now := clock()
	for id, until := range map[string]time.Time{"short": now.Add(10 * time.Minute), "long": now.Add(2 * time.Hour)} {
		create(t, s, id, now)
		revoke(t, s, now, store.Revocation{GrantID: id, Reason: "user", Until: until})
	}
	if got, _ := poll(t, s, now.Add(10*time.Minute-time.Second), ""); len(got) != 2 {
		t.Fatalf("feed a second before the first entry ends: %v", got)
	}
	polls(t, s, now.Add(10*time.Minute), "", "long")
	sweepAll(t, s, now.Add(10*time.Minute))
	polls(t, s, now.Add(10*time.Minute), "", "long")
	polls(t, s, now.Add(2*time.Hour), "")
	// An entry that is over when it is made is never seen.
	create(t, s, "over", now)
	revoke(t, s, now, store.Revocation{GrantID: "over", Reason: "user", Until: now})
	polls(t, s, now.Add(10*time.Minute), "", "long")
}

func cursorSurvivesSweep(t *testing.T, s store.Store) {
	now := clock()
	revokeNew(t, s, now, "a", "b")
	next := polls(t, s, now, "", "a", "b")
	later := now.Add(3 * time.Hour)
	sweepAll(t, s, later)
	next = polls(t, s, later, next)
	revokeNew(t, s, later, "c", "d")
	next = polls(t, s, later, next, "c", "d")
	polls(t, s, later, next)
	polls(t, s, later, "", "c", "d")
}
