package authserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// revokedAt is when things are revoked in these tests.
var revokedAt = time.Unix(1_800_000_000, 500)

// aToken is one of a client, of a grant, issued before revokedAt.
func aToken() Watched {
	return Watched{GrantID: "g", Token: "t", ClientKey: "c", Issued: revokedAt.Add(-time.Minute)}
}

// revocations are all the ways in which aToken ends.
func revocations(until time.Time) map[string]store.Revocation {
	return map[string]store.Revocation{
		"grant":  {GrantID: "g", Until: until},
		"token":  {Token: "t", Until: until},
		"client": {Client: "c", Before: revokedAt, Until: until},
	}
}

// TestWhatATokenEndsWith: its grant, itself and its client, and nothing else of
// that name.
func TestWhatATokenEndsWith(t *testing.T) {
	until := revokedAt.Add(time.Hour)
	for name, r := range revocations(until) {
		set := NewRevocationSet()
		if set.Ended(aToken()) || set.Ended(Watched{}) {
			t.Fatalf("%s: ended before", name)
		}
		set.add(r)
		if !set.Ended(aToken()) {
			t.Errorf("%s: the token is still good", name)
		}
		if set.Revoked("g") != (name == "grant") || set.TokenRevoked("t") != (name == "token") ||
			set.ClientEnded("c", aToken().Issued) != (name == "client") {
			t.Errorf("%s: grant %v, token %v, client %v", name, set.Revoked("g"), set.TokenRevoked("t"), set.ClientEnded("c", aToken().Issued))
		}
		for _, other := range []Watched{{}, {GrantID: "t", Token: "c", ClientKey: "g"}, {GrantID: "c", Token: "g", ClientKey: "t"}, {GrantID: "G", Token: "T", ClientKey: "C"}} {
			if set.Ended(other) {
				t.Errorf("%s: ended %+v", name, other)
			}
		}
	}
	set := NewRevocationSet()
	set.add(store.Revocation{Session: "g", Until: until})
	set.add(store.Revocation{Subject: "c", Before: revokedAt, Until: until})
	set.add(store.Revocation{Reason: "of a kind that is not known yet", Until: until})
	if set.Ended(aToken()) || set.Ended(Watched{}) {
		t.Error("the end of a session ends a token")
	}
}

// TestClientEnds: tokens tell when they were issued in whole seconds, rounded
// down; the revocation knows it better.
func TestClientEnds(t *testing.T) {
	set := NewRevocationSet()
	revoke := func(before, until time.Time) { set.add(store.Revocation{Client: "c", Before: before, Until: until}) }
	second := revokedAt.Truncate(time.Second)
	revoke(second, second.Add(2*time.Hour))
	for issued, ended := range map[time.Time]bool{
		second.Add(-time.Second): true, second: true, second.Add(time.Second): false, {}: true,
	} {
		if set.ClientEnded("c", issued) != ended {
			t.Errorf("issued %v: ended %v", issued, !ended)
		}
	}
	if set.ClientEnded("other", second) || set.ClientEnded("", time.Time{}) {
		t.Error("another client ended")
	}
	revoke(second.Add(-time.Hour), second.Add(time.Hour)) // comes late, and takes nothing back
	if !set.ClientEnded("c", second) {
		t.Error("an older revocation took back the newer one")
	}
	revoke(second.Add(time.Hour), second.Add(time.Hour+time.Minute))
	if !set.ClientEnded("c", second.Add(time.Hour)) || set.ClientEnded("c", second.Add(time.Hour+time.Second)) {
		t.Error("the newer revocation does not count")
	}
	if err := set.Follow(t.Context(), second.Add(2*time.Hour-time.Second), store.NewMemory()); err != nil || !set.ClientEnded("c", second) {
		t.Errorf("forgotten before the last token ended: %v", err)
	}
}

// TestTokenStaysRevoked: a second revocation does not make the first shorter.
func TestTokenStaysRevoked(t *testing.T) {
	set := NewRevocationSet()
	set.add(store.Revocation{Token: "t", Until: revokedAt.Add(time.Hour)})
	set.add(store.Revocation{Token: "t", Until: revokedAt.Add(time.Minute)})
	if err := set.Follow(t.Context(), revokedAt.Add(30*time.Minute), store.NewMemory()); err != nil || !set.TokenRevoked("t") {
		t.Errorf("forgotten: %v", err)
	}
}

// halfRead is a feed of which some could not be read.
type halfRead struct {
	store.Store
	err error
}

func (h *halfRead) Revocations(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
	entries, cursor, err := h.Store.Revocations(ctx, now, after)
	if h.err != nil {
		return entries[:1], after, h.err
	}
	return entries, cursor, err
}

// TestFollowsWhatComesWithAnError: what could be read of the feed ends at once, and
// the rest is read again.
func TestFollowsWhatComesWithAnError(t *testing.T) {
	st, set, until := &halfRead{store.NewMemory(), errors.New("half of it")}, NewRevocationSet(), revokedAt.Add(time.Hour)
	for _, r := range []store.Revocation{{Token: "t", Until: until}, {Token: "u", Until: until}} {
		if err := st.Announce(t.Context(), revokedAt, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Follow(t.Context(), revokedAt, st); !errors.Is(err, st.err) || !set.TokenRevoked("t") || set.TokenRevoked("u") {
		t.Errorf("after half of it: %v", err)
	}
	st.err = nil
	if err := set.Follow(t.Context(), revokedAt, st); err != nil || !set.TokenRevoked("t") || !set.TokenRevoked("u") {
		t.Errorf("after all of it: %v", err)
	}
}

// TestFollowsAllKinds: what another node announced counts here, and is forgotten
// when it can't matter any more.
func TestFollowsAllKinds(t *testing.T) {
	st, set, until := store.NewMemory(), NewRevocationSet(), revokedAt.Add(time.Hour)
	ended := map[string]func() bool{
		"token":  func() bool { return set.TokenRevoked("t") },
		"client": func() bool { return set.ClientEnded("c", revokedAt) },
	}
	for name, is := range ended {
		if err := st.Announce(t.Context(), revokedAt, revocations(until)[name]); err != nil || is() {
			t.Fatal(name, err)
		}
		for _, at := range []time.Time{revokedAt, until.Add(-time.Second)} {
			if err := set.Follow(t.Context(), at, st); err != nil || !is() {
				t.Errorf("%s at %v: not ended, %v", name, at, err)
			}
		}
	}
	if err := set.Follow(t.Context(), until.Add(purgeEvery), st); err != nil {
		t.Fatal(err)
	}
	if len(set.tokens)+len(set.clients)+len(set.until) > 0 || ended["token"]() || ended["client"]() {
		t.Error("revocations are remembered for ever")
	}
}

// TestWatchEndsWithAnything: a stream ends with whatever ends its token, once,
// and leaves nothing behind.
func TestWatchEndsWithAnything(t *testing.T) {
	for name, r := range revocations(revokedAt.Add(time.Hour)) {
		t.Run(name, func(t *testing.T) {
			set := NewRevocationSet()
			var calls, others int
			watch := func(of Watched, end func()) *Watch {
				w := &Watch{Of: &of, End: end}
				set.Watch(w)
				return w
			}
			watch(aToken(), func() { calls++ })
			newer := aToken()
			newer.GrantID, newer.Token, newer.Issued = "newer", "newer", revokedAt.Add(time.Second)
			watch(newer, func() { others++ })
			watch(Watched{}, func() { others++ })
			stopped := watch(aToken(), func() { others++ })
			stopped.Stop()
			stopped.Stop() // once more does no harm
			for range 2 {
				set.add(r)
			}
			if calls != 1 || others != 0 {
				t.Errorf("ended %d times, others %d times", calls, others)
			}
			if n := watches(set); n != 1 { // newer
				t.Errorf("left: %d", n)
			}
			late := make(chan bool)
			watch(aToken(), func() { close(late) }).Stop()
			<-late
		})
	}
}

// TestWatchRaces revokes, watches and stops at once: each watch is ended exactly
// once unless it was stopped, and none is left.
func TestWatchRaces(t *testing.T) {
	const streams = 200
	set := NewRevocationSet()
	var wg sync.WaitGroup
	ends := make([]atomic.Int32, streams)
	for i := range streams {
		of := Watched{GrantID: fmt.Sprint("g", i%7), Token: fmt.Sprint("t", i), ClientKey: fmt.Sprint("c", i%5), Issued: revokedAt}
		r := []store.Revocation{{GrantID: of.GrantID}, {Token: of.Token}, {Client: of.ClientKey, Before: revokedAt}}[i%3]
		ended := make(chan struct{})
		wg.Go(func() {
			w := &Watch{Of: &of, End: func() {
				if ends[i].Add(1) == 1 {
					close(ended)
				}
			}}
			set.Watch(w)
			<-ended
			w.Stop()
		})
		wg.Go(func() {
			set.add(r)
			if !set.Ended(of) {
				t.Errorf("stream %d: still good", i)
			}
		})
	}
	wg.Wait()
	for i := range ends {
		if n := ends[i].Load(); n != 1 {
			t.Errorf("stream %d ended %d times", i, n)
		}
	}
	if n := watches(set); n != 0 {
		t.Errorf("%d watches left", n)
	}
}

// TestEndedCostsNothing: it is asked on every call.
func TestEndedCostsNothing(t *testing.T) {
	set, of := NewRevocationSet(), aToken()
	check := func() error {
		if set.Ended(of) || set.Revoked("g") || set.TokenRevoked("t") || set.ClientEnded("c", of.Issued) {
			return errors.New("ended")
		}
		return nil
	}
	for range 2 {
		if n := testing.AllocsPerRun(100, func() {
			if err := check(); err != nil {
				t.Error(err)
			}
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
		for i := range 1000 {
			set.add(store.Revocation{Token: fmt.Sprint(i), Until: revokedAt})
		}
	}
}

func BenchmarkEnded(b *testing.B) {
	for _, total := range []int{0, 10_000} {
		b.Run(fmt.Sprint(total), func(b *testing.B) {
			set, of := NewRevocationSet(), aToken()
			for i := range total {
				set.add(store.Revocation{Token: fmt.Sprint(i), Until: revokedAt})
				set.add(store.Revocation{Client: fmt.Sprint(i), Before: revokedAt, Until: revokedAt})
			}
			b.ReportAllocs()
			for b.Loop() {
				if set.Ended(of) {
					b.Fatal("ended")
				}
			}
		})
	}
}
