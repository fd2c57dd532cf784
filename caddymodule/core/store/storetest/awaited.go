package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var awaitParts = []part{
	{"ContextEnds", awaitContextEnds},
	{"Behind", awaitBehind},
	{"Wakes", awaitWakes},
	{"WakesAll", awaitWakesAll},
	{"Quiet", awaitQuiet},
	{"Time", storeTime},
}

// patience is how long what must happen by itself may take on a busy machine.
var patience = 20 * time.Second

// awaits fails the test unless Await returns nil by itself.
func awaits(t *testing.T, s store.Store, after string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Await(ctx, after); err != nil {
		t.Fatalf("Await after %.40q: %v", after, err)
	}
}

func awaitBehind(t *testing.T, s store.Store) {
	now := clock()
	_, first := poll(t, s, now, "")
	create(t, s, "a", now)
	revoke(t, s, now, revocation("a", now))
	_, second := poll(t, s, now, "")
	end(t, s, now, endToken("jti", now))
	for _, cursor := range append([]string{"", first, second}, garbage...) {
		awaits(t, s, cursor)
	}
	_, last := poll(t, s, now, "")
	other := store.NewMemory()
	fill(t, other, now)
	copyAll(t, other, s)
	awaits(t, s, last)
}

// awaitWakes makes entries of both kinds while somebody waits for them.
func awaitWakes(t *testing.T, s store.Store) {
	now, cursor := clock(), ""
	for i := range 10 {
		id := fmt.Sprint(i)
		create(t, s, id, now)
		woken := waiter(t, s, cursor)
		if i%2 == 0 {
			time.Sleep(time.Millisecond) // most often it waits by now; either way it must wake
		}
		if i%3 == 0 {
			end(t, s, now, endSession(id, now))
		} else {
			revoke(t, s, now, revocation(id, now))
		}
		ok(t, <-woken)
		var ids []string
		if ids, cursor = poll(t, s, now, cursor); len(ids) != 1 {
			t.Fatalf("feed: %q, want one entry", ids)
		}
	}
}

// waiter awaits in the background until the feed has an entry after the cursor.
func waiter(t *testing.T, s store.Store, cursor string) <-chan error {
	woken := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			if err := s.Await(ctx, cursor); err != nil {
				woken <- fmt.Errorf("waiting for an entry: %w", err)
				return
			}
			entries, _, err := s.Revocations(ctx, clock(), cursor)
			if err != nil || len(entries) > 0 {
				woken <- err
				return
			}
			time.Sleep(time.Millisecond) // woken for nothing
		}
	}()
	return woken
}

func awaitWakesAll(t *testing.T, s store.Store) {
	now := clock()
	_, cursor := poll(t, s, now, "")
	var all []<-chan error
	for range racers {
		all = append(all, waiter(t, s, cursor))
	}
	time.Sleep(time.Millisecond)
	end(t, s, now, endClient("c", now))
	for _, woken := range all {
		ok(t, <-woken)
	}
}

// awaitQuiet wants a feed without news to keep its readers waiting, so that
// they don't spin. Other writes are no news.
func awaitQuiet(t *testing.T, s store.Store) {
	now := clock()
	staysQuiet(t, s, func() { create(t, s, "a grant", now) })
	fill(t, s, now)
	staysQuiet(t, s, func() { create(t, s, "another grant", now) })
}

// staysQuiet writes what is no news and awaits for a moment.
func staysQuiet(t *testing.T, s store.Store, write func()) {
	t.Helper()
	_, cursor := poll(t, s, clock(), "")
	write()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for returns := 0; ; returns++ {
		err := s.Await(ctx, cursor)
		switch {
		case err != nil && ctx.Err() != nil:
			fails(t, err, context.DeadlineExceeded)
			return
		case err != nil:
			t.Fatalf("Await: %v", err)
		case returns == 20:
			t.Fatal("Await returns again and again, and there is nothing new")
		}
	}
}

func awaitContextEnds(t *testing.T, s store.Store) {
	_, cursor := poll(t, s, clock(), "")
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			for {
				if err := s.Await(ctx, cursor); err != nil {
					done <- err
					return
				}
			}
		}()
		time.Sleep(time.Millisecond)
		cancel()
		select {
		case err := <-done:
			fails(t, err, context.Canceled)
		case <-time.After(patience):
			t.Fatal("Await goes on although its context has ended")
		}
	}
}

// storeTime wants a clock that goes, and not far from this machine's.
func storeTime(t *testing.T, s store.Store) {
	last, err := s.Now(t.Context())
	ok(t, err)
	first, deadline := last, time.Now().Add(patience)
	for i := 0; i < 4 || !last.After(first.Add(5*time.Millisecond)); i++ {
		if time.Now().After(deadline) {
			t.Fatalf("the store's clock stands still at %v", last)
		}
		now, err := s.Now(t.Context())
		ok(t, err)
		if off := time.Until(now); off.Abs() > time.Minute {
			t.Fatalf("the store's clock is %v off", off)
		}
		if now.Before(last.Add(-time.Second)) {
			t.Fatalf("the store's clock goes back: %v, then %v", last, now)
		}
		last = now
	}
}

// awaitOther wants an entry of one node to wake a reader of another. Now and
// then one may go unnoticed.
func awaitOther(t *testing.T, a, b store.Store) {
	now := clock()
	for round, pair := range [][2]store.Store{{a, b}, {b, a}} {
		writer, reader := pair[0], pair[1]
		_, cursor := poll(t, reader, now, "")
		noticed := false
		for try := 0; try < 4 && !noticed; try++ {
			ctx, cancel := context.WithTimeout(t.Context(), patience/4)
			done := make(chan error, 1)
			go func() { done <- reader.Await(ctx, cursor) }()
			time.Sleep(time.Millisecond)
			end(t, writer, now, endSession(fmt.Sprint(round, try), now))
			noticed = <-done == nil
			cancel()
		}
		if !noticed {
			t.Fatal("no entry of the other node was noticed")
		}
		awaits(t, reader, cursor) // it is behind now
	}
}

// sharedTime wants nodes to go by one clock.
func sharedTime(t *testing.T, a, b store.Store) {
	for range 3 {
		first, err := a.Now(t.Context())
		ok(t, err)
		second, err := b.Now(t.Context())
		ok(t, err)
		third, err := a.Now(t.Context())
		ok(t, err)
		if second.Before(first.Add(-time.Second)) || second.After(third.Add(time.Second)) {
			t.Fatalf("one node says %v, the other then %v, the first %v", first, second, third)
		}
	}
}
