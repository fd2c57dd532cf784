package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// announcedParts are about the revocations of single tokens and of clients, and
// about what is refused; sessionParts are about the others that are announced.
var announcedParts = []part{
	{"BetweenOthers", announcedBetweenOthers},
	{"RoundTrip", announcedRoundTrip},
	{"Refused", announcedRefused},
	{"Expire", announcedExpire},
}

// endToken returns the revocation of one access token.
func endToken(jti string, now time.Time) store.Revocation {
	return store.Revocation{Token: jti, Reason: "client", Until: now.Add(time.Hour)}
}

// endClient returns the revocation of a client's tokens.
func endClient(key string, now time.Time) store.Revocation {
	return store.Revocation{Client: key, Before: now, Reason: "client", Until: now.Add(time.Hour)}
}

// announcedBetweenOthers wants one feed with one order for all kinds.
func announcedBetweenOthers(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	end(t, s, now, endToken("z", now))
	revokeNew(t, s, now, "b")
	end(t, s, now, endClient("y", now))
	next := polls(t, s, now, "", "token z", "b", "client y")
	end(t, s, now, endSession("x", now))
	end(t, s, now, endToken("a", now))
	end(t, s, now, endToken("a", now)) // twice is two entries
	end(t, s, now, endPerson("user-2", now))
	end(t, s, now, endClient("a", now))
	end(t, s, now, endClient(g.ClientID, now))
	next = polls(t, s, now, next, "session x", "token a", "token a", "subject user-2", "client a", "client "+g.ClientID)
	polls(t, s, now, next)
	has(t, s, now, g)
	lists(t, s, now, "user-1", g)
	revoke(t, s, now, revocation("a", now))
	polls(t, s, now, next, "a")
	polls(t, s, now, "garbage", "token z", "b", "client y", "session x", "token a", "token a", "subject user-2", "client a", "client "+g.ClientID, "a")
}

func announcedRoundTrip(t *testing.T, s store.Store) {
	now := clock()
	until := now.Add(time.Hour + 123456*time.Microsecond)
	before := now.Add(-654321 * time.Microsecond).In(time.FixedZone("LMT", 19*60+32))
	var want []store.Revocation
	for _, text := range append([]string{strings.Repeat("漢", 100)}, awkward...) {
		want = append(
			want,
			store.Revocation{Token: text, Reason: text, Until: until},
			store.Revocation{Client: text, Before: before, Reason: text, Until: until},
			store.Revocation{Client: text, Reason: "no time", Until: until},
			store.Revocation{Token: text, Before: before, Reason: "a time of no use", Until: until},
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

// announcedRefused tries every set of names but those of one name.
func announcedRefused(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	for set := range 1 << 5 {
		r := store.Revocation{Before: now, Reason: "user", Until: now.Add(time.Hour)}
		var names []string
		for i, name := range []*string{&r.GrantID, &r.Session, &r.Subject, &r.Token, &r.Client} {
			if set&(1<<i) > 0 {
				*name = "a"
				names = append(names, []string{"grant", "session", "person", "token", "client"}[i])
			}
		}
		if len(names) == 1 && r.GrantID == "" {
			continue
		}
		err := s.Announce(t.Context(), now, r)
		if err == nil {
			t.Errorf("%v: it was taken", names)
		}
		for _, verdict := range verdicts {
			if errors.Is(err, verdict) {
				t.Errorf("%v: the verdict %v", names, err)
			}
		}
	}
	polls(t, s, now, "")
	has(t, s, now, g)
}

func announcedExpire(t *testing.T, s store.Store) {
	now := clock()
	for i, of := range []func(string, time.Time) store.Revocation{endToken, endClient} {
		short, long, over := of(fmt.Sprint("short", i), now), of(fmt.Sprint("long", i), now), of(fmt.Sprint("over", i), now)
		short.Until, long.Until, over.Until = now.Add(10*time.Minute), now.Add(2*time.Hour), now
		for _, r := range []store.Revocation{short, long, over} {
			end(t, s, now, r)
		}
	}
	next := polls(t, s, now.Add(10*time.Minute-time.Second), "", "token short0", "token long0", "client short1", "client long1")
	for range 2 {
		polls(t, s, now.Add(10*time.Minute), "", "token long0", "client long1")
		sweepAll(t, s, now.Add(10*time.Minute))
	}
	polls(t, s, now.Add(2*time.Hour-time.Second), "", "token long0", "client long1")
	later := now.Add(2 * time.Hour)
	sweepAll(t, s, later)
	polls(t, s, later, "")
	end(t, s, later, endToken("new", later))
	end(t, s, later, endClient("new", later))
	polls(t, s, later, next, "token new", "client new")
}
