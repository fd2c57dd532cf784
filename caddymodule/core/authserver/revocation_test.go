package authserver

import (
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func grantIn(t *testing.T, st store.Store, now time.Time, id string) {
	t.Helper()
	if err := st.CreateGrant(t.Context(), now, store.Grant{ID: id, Created: now, Expires: now.Add(time.Hour), NotAfter: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

func revokeIn(t *testing.T, st store.Store, now time.Time, id string) {
	t.Helper()
	if _, err := st.RevokeGrant(t.Context(), now, store.Revocation{GrantID: id, Reason: "user", Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

// TestRevocationSetFollowsTheStore: what another node revoked counts here, and
// is forgotten when it can't matter any more.
func TestRevocationSetFollowsTheStore(t *testing.T) {
	st, now := store.NewMemory(), time.Unix(1_800_000_000, 0)
	set := NewRevocationSet()
	for _, id := range []string{"a", "b"} {
		grantIn(t, st, now, id)
	}
	follow := func(now time.Time) {
		if err := set.Follow(t.Context(), now, st); err != nil {
			t.Fatal(err)
		}
	}
	revokeIn(t, st, now, "a")
	if set.Revoked("a") {
		t.Fatal("the test tests nothing")
	}
	follow(now)
	if !set.Revoked("a") || set.Revoked("b") {
		t.Errorf("a revoked: %v, b revoked: %v", set.Revoked("a"), set.Revoked("b"))
	}
	revokeIn(t, st, now, "b")
	follow(now)
	if !set.Revoked("b") {
		t.Error("the second revocation is missed")
	}
	follow(now.Add(time.Hour)) // more than a minute later
	if set.Revoked("a") || len(set.until) != 0 {
		t.Error("revocations are remembered for ever")
	}
}

func TestWatch(t *testing.T) {
	set := NewRevocationSet()
	ended := make(chan string, 3)
	watch := func(grant, name string) *Watch {
		w := &Watch{Of: &Watched{GrantID: grant}, End: func() { ended <- name }}
		set.Watch(w)
		return w
	}
	watch("a", "a")
	stopped := watch("a", "stopped")
	watch("b", "b")
	stopped.Stop()
	set.add(store.Revocation{GrantID: "a", Until: time.Now().Add(time.Hour)})
	set.add(store.Revocation{GrantID: "a", Until: time.Now().Add(time.Hour)})
	if got := <-ended; got != "a" || len(ended) != 0 {
		t.Errorf("ended: %s and %d more", got, len(ended))
	}
	watch("a", "late")
	if got := <-ended; got != "late" {
		t.Errorf("watching a revoked grant: %s", got)
	}
	if n := watches(set); n != 1 {
		t.Errorf("%d grants are watched, want b's only", n)
	}
}

// watches counts those that are in the table.
func watches(s *RevocationSet) int {
	all := map[*Watch]bool{}
	for i := range s.watches.parts {
		for w := range s.watches.parts[i].watches {
			all[w] = true
		}
	}
	return len(all)
}

// TestFollowPurgesNowAndThen: Follow runs many times a second, and must not go
// through all that is revoked each time. What is over goes within a minute, also
// when the clock was set back.
func TestFollowPurgesNowAndThen(t *testing.T) {
	st, now, set := store.NewMemory(), time.Unix(1_800_000_000, 0), NewRevocationSet()
	left := func(now time.Time) int {
		if err := set.Follow(t.Context(), now, st); err != nil {
			t.Fatal(err)
		}
		return len(set.until) + len(set.tokens) + len(set.clients) + len(set.ended) + len(set.signOut)
	}
	revokeAll := func(until time.Time) {
		for _, r := range []store.Revocation{{GrantID: "g"}, {Token: "t"}, {Client: "c"}, {Session: "s"}, {Subject: "u"}} {
			r.Until = until
			set.add(r)
		}
	}
	left(now)
	revokeAll(now.Add(time.Second))
	if n := left(now.Add(purgeEvery - time.Second)); n != 5 {
		t.Errorf("%d left within the minute, want all 5: it looked again", n)
	}
	if n := left(now.Add(purgeEvery)); n != 0 {
		t.Errorf("%d left after a minute", n)
	}
	now = now.Add(-time.Hour)
	revokeAll(now)
	if n := left(now); n != 0 {
		t.Errorf("%d left after the clock was set back", n)
	}
}

// TestWatchCostsNothing: every answer that is an event stream is watched.
func TestWatchCostsNothing(t *testing.T) {
	set, of, end := NewRevocationSet(), aToken(), func() {}
	round := make([]Watch, 101) // AllocsPerRun runs once more, to warm up
	n := testing.AllocsPerRun(100, func() {
		w := &round[0]
		round = round[1:]
		w.Of, w.End = &of, end
		set.Watch(w)
		w.Stop()
	})
	if n > 0 || watches(set) > 0 {
		t.Errorf("%v allocations, %d left", n, watches(set))
	}
}

// TestEndRetired: what was opened with a token of a retired key ends, once, and
// nothing else does: tokens of other kinds have no key of ours.
func TestEndRetired(t *testing.T) {
	set, ended := NewRevocationSet(), map[string]int{}
	for _, key := range []string{"old", "new", ""} {
		of := aToken()
		of.KeyID = key
		set.Watch(&Watch{Of: &of, End: func() { ended[key]++ }})
	}
	for range 2 {
		set.EndRetired(func(key string) bool { return key == "new" })
	}
	if len(ended) != 1 || ended["old"] != 1 || watches(set) != 2 {
		t.Errorf("ended %v, %d left", ended, watches(set))
	}
}
