package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var sessionParts = []part{
	{"BetweenOthers", sessionsBetweenOthers},
	{"RoundTrip", sessionsRoundTrip},
	{"LookAtNoGrant", sessionsLookAtNoGrant},
	{"Expire", sessionsExpire},
}

// label names a feed entry in the tests: a grant by its id.
func label(r store.Revocation) string {
	switch {
	case r.Session != "":
		return "session " + r.Session
	case r.Subject != "":
		return "subject " + r.Subject
	case r.Token != "":
		return "token " + r.Token
	case r.Client != "":
		return "client " + r.Client
	default:
		return r.GrantID
	}
}

// endSession returns the end of one session.
func endSession(name string, now time.Time) store.Revocation {
	return store.Revocation{Session: name, Reason: "sign_out", Until: now.Add(time.Hour)}
}

// endPerson returns the end of a person's sessions.
func endPerson(subject string, now time.Time) store.Revocation {
	return store.Revocation{Subject: subject, Before: now, Reason: "sign_out_everywhere", Until: now.Add(time.Hour)}
}

// end announces the end of sessions or tokens.
func end(t *testing.T, s store.Store, now time.Time, r store.Revocation) {
	t.Helper()
	ok(t, s.Announce(t.Context(), now, r))
}

// sessionsBetweenOthers wants one feed with one order for all kinds.
func sessionsBetweenOthers(t *testing.T, s store.Store) {
	now := clock()
	end(t, s, now, endSession("z", now))
	revokeNew(t, s, now, "b")
	end(t, s, now, endPerson("user-1", now))
	next := polls(t, s, now, "", "session z", "b", "subject user-1")
	revokeNew(t, s, now, "a")
	end(t, s, now, endSession("a", now))
	end(t, s, now, endSession("a", now)) // twice is two entries
	revokeNew(t, s, now, "c")
	next = polls(t, s, now, next, "a", "session a", "session a", "c")
	end(t, s, now, endPerson("a", now))
	next = polls(t, s, now, next, "subject a")
	polls(t, s, now, next)
	all := []string{"session z", "b", "subject user-1", "a", "session a", "session a", "c", "subject a"}
	polls(t, s, now, "", all...)
	polls(t, s, now, "garbage", all...)
}

func sessionsRoundTrip(t *testing.T, s store.Store) {
	now := clock()
	until := now.Add(time.Hour + 123456*time.Microsecond)
	before := now.Add(-654321 * time.Microsecond).In(time.FixedZone("", -3*3600-1800))
	var want []store.Revocation
	for _, text := range awkward {
		want = append(
			want,
			store.Revocation{Session: text, Reason: text, Until: until},
			store.Revocation{Subject: text, Before: before, Reason: text, Until: until},
			store.Revocation{Subject: text, Reason: "no time", Until: until},
		)
	}
	for _, r := range want {
		end(t, s, now, r)
	}
	got, _, err := s.Revocations(t.Context(), now, "")
	ok(t, err)
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range want {
		if !equalRevocation(got[i], want[i]) {
			t.Fatalf("entry %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// sessionsLookAtNoGrant wants the end of a session to leave grants alone, also
// those of that person and those that happen to be called like it.
func sessionsLookAtNoGrant(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	for _, r := range []store.Revocation{
		endSession("a", now), endPerson("a", now), endPerson(g.User.Subject, now.Add(time.Second)),
	} {
		end(t, s, now, r)
		has(t, s, now, g)
		lists(t, s, now, g.User.Subject, g)
	}
	revoke(t, s, now, revocation("a", now))
	polls(t, s, now, "", "session a", "subject a", "subject user-1", "a")
}

func sessionsExpire(t *testing.T, s store.Store) {
	now := clock()
	short, long := endSession("short", now), endPerson("long", now)
	short.Until, long.Until = now.Add(10*time.Minute), now.Add(2*time.Hour)
	end(t, s, now, short)
	end(t, s, now, long)
	over := endSession("over", now)
	over.Until = now
	end(t, s, now, over)
	next := polls(t, s, short.Until.Add(-time.Second), "", "session short", "subject long")
	for range 2 {
		polls(t, s, short.Until, "", "subject long")
		sweepAll(t, s, short.Until)
	}
	sweepAll(t, s, long.Until)
	polls(t, s, long.Until, "")
	end(t, s, long.Until, endSession("new", long.Until))
	polls(t, s, long.Until, next, "session new")
	polls(t, s, long.Until, "", "session new")
}

// sharedSessions wants two nodes to write into one feed with one order.
func sharedSessions(t *testing.T, a, b store.Store) {
	now := clock()
	var want []string
	cursor := polls(t, a, now, "")
	for i := range 12 {
		name := fmt.Sprint("s", i)
		x, y := a, b
		if i%2 > 0 {
			x, y = b, a
		}
		end(t, x, now, endSession(name, now))
		revokeNew(t, y, now, name)
		end(t, x, now, endPerson(name, now))
		end(t, y, now, endToken(name, now))
		end(t, x, now, endClient(name, now))
		all := []string{"session " + name, name, "subject " + name, "token " + name, "client " + name}
		want = append(want, all...)
		cursor = polls(t, y, now, cursor, all...)
	}
	for _, s := range []store.Store{a, b} {
		polls(t, s, now, "", want...)
		polls(t, s, now, cursor)
	}
}
