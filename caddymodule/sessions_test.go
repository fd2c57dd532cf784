package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var (
	aliceIn = ownerOf(&resource.Token{AccessTokenClaims: oauth.AccessTokenClaims{Issuer: "i", Subject: "alice", ClientID: "c1"}}, "c1")
	bobIn   = ownerOf(&resource.Token{AccessTokenClaims: oauth.AccessTokenClaims{Issuer: "i", Subject: "bob", ClientID: "c1"}}, "c1")
	// The same letters, divided in another way.
	eveIn = ownerOf(&resource.Token{AccessTokenClaims: oauth.AccessTokenClaims{Issuer: "i", Subject: "alicec", ClientID: "1"}}, "1")
)

// wantOwners checks who has a session at a node.
func wantOwners(t *testing.T, node *sessions, k *keeper, session digest, want map[digest]whose) {
	t.Helper()
	for owner, want := range want {
		if got, err := node.of(t.Context(), k, session, owner); got != want || err != nil {
			t.Errorf("of is %v, %v, want %v", got, err, want)
		}
	}
}

// TestSessionsAreOfOneUser walks through the nodes of one store: whoever opened a
// session has it on every node, after a restart too, and nobody else has.
func TestSessionsAreOfOneUser(t *testing.T) {
	k := &keeper{store.NewMemory(), time.Now}
	session := digestOf("https://h/mcp", "s1")
	first := newSessions()
	if err := first.opened(t.Context(), k, session, aliceIn); err != nil {
		t.Fatal(err)
	}
	for _, node := range []*sessions{first, newSessions(), newSessions()} {
		wantOwners(t, node, k, session, map[digest]whose{aliceIn: mine, bobIn: anothers, eveIn: anothers})
	}
	// The same id at another resource is another session.
	wantOwners(t, first, k, digestOf("https://h/other", "s1"), map[digest]whose{bobIn: nobodys})
}

// TestSessionsFromBefore: a session that nobody knows belongs to the first whom the
// server takes it from, for good. Asking for one is no claim.
func TestSessionsFromBefore(t *testing.T) {
	for name, k := range map[string]*keeper{"with a store": {store.NewMemory(), time.Now}, "without": nil} {
		s, session := newSessions(), digestOf("r", name)
		wantOwners(t, s, k, session, map[digest]whose{aliceIn: nobodys, bobIn: nobodys})
		for _, owner := range []digest{bobIn, aliceIn} {
			if err := s.used(t.Context(), k, session, owner); err != nil {
				t.Fatal(err)
			}
		}
		wantOwners(t, s, k, session, map[digest]whose{aliceIn: anothers, bobIn: mine})
		if k != nil {
			wantOwners(t, newSessions(), k, session, map[digest]whose{aliceIn: anothers, bobIn: mine})
		}
	}
}

// TestSessionIDsThatComeAgain: a server that gives an id out anew has ended the
// former session. Who named the id before it was given out has nothing of it.
func TestSessionIDsThatComeAgain(t *testing.T) {
	s, k, session := newSessions(), &keeper{store.NewMemory(), time.Now}, digestOf("r", "1")
	if err := newSessions().used(t.Context(), k, session, eveIn); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []digest{aliceIn, aliceIn, bobIn} {
		if err := s.opened(t.Context(), k, session, owner); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range []*sessions{s, newSessions()} {
		wantOwners(t, node, k, session, map[digest]whose{bobIn: mine, aliceIn: anothers, eveIn: anothers})
	}
}

// TestSessionsThatDoNotExist: made-up ids leave nothing in the store.
func TestSessionsThatDoNotExist(t *testing.T) {
	memory := store.NewMemory()
	s, k := newSessions(), &keeper{memory, time.Now}
	for i := range 100 {
		wantOwners(t, s, k, digestOf("r", fmt.Sprint(i)), map[digest]whose{bobIn: nobodys})
	}
	if records, _, err := memory.Records(t.Context(), "", 10); err != nil || len(records) > 0 {
		t.Errorf("the store has %v, %v", records, err)
	}
}

// TestSessionsInAnOutage: what a node has seen goes on, what it has not is an
// outage, and never somebody else's.
func TestSessionsInAnOutage(t *testing.T) {
	gone := store.Intercept(store.NewMemory(), func(context.Context, string, func(context.Context) error) error {
		return errors.New("no store")
	})
	s, k := newSessions(), &keeper{gone, time.Now}
	if err := s.opened(t.Context(), k, digestOf("r", "mine"), aliceIn); err == nil {
		t.Error("nobody hears that the store doesn't know of a session")
	}
	wantOwners(t, s, k, digestOf("r", "mine"), map[digest]whose{aliceIn: mine, bobIn: anothers})
	if got, err := s.of(t.Context(), k, digestOf("r", "another"), bobIn); got != anothers || err == nil {
		t.Errorf("a session that it has not: %v, %v, want an outage", got, err)
	}
}

// TestRateLimiter counts by whoever calls, and says when to come again.
func TestRateLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRateLimiter(RateLimit{Events: 3, Window: caddy.Duration(time.Minute)})
		defer l.close()
		for i := range 3 {
			if wait := l.take(aliceIn); wait != 0 {
				t.Fatalf("call %d has to wait %s", i, wait)
			}
		}
		for range 5 { // asking does not push the next one away
			if wait := l.take(aliceIn); retryAfter(wait) != "20" {
				t.Fatalf("the fourth call has to wait %s, want 20 s", wait)
			}
		}
		if wait := l.take(bobIn); wait != 0 {
			t.Errorf("bob has to wait for alice: %s", wait)
		}
		time.Sleep(20 * time.Second)
		if wait := l.take(aliceIn); wait != 0 {
			t.Errorf("after the wait it said: %s", wait)
		}
		if wait := l.take(aliceIn); wait == 0 {
			t.Error("two calls for the room of one")
		}
	})
	if wait := (*rateLimiter)(nil).take(bobIn); wait != 0 {
		t.Error("no limit is one")
	}
}
