package atrest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// sealedWith counts the values that are sealed with a key, and the others.
func sealedWith(t *testing.T, n *node, s store.Store, key string) (with, other int) {
	t.Helper()
	records, _, err := s.Records(t.Context(), "", 10_000)
	must(t, err)
	count := func(value string) {
		if value == "" {
			return
		}
		if id, _ := n.keys.Ring().Data.KeyOf(strings.TrimPrefix(value, "sealed:")); id == key {
			with++
		} else {
			other++
		}
	}
	for _, r := range records {
		if r.Grant != nil {
			count(r.Grant.Sealed)
			count(r.Grant.UsedFrom)
		}
		if r.Client != nil {
			count(r.Client.Metadata)
		}
	}
	return with, other
}

// TestKeyRotation: all that an older key sealed is sealed with the new one, once
// that seals; then there is nothing to do, also after a restart.
func TestKeyRotation(t *testing.T) {
	f := &faulty{Store: store.NewMemory()}
	n := newNode(t, f, secret)
	fill(t, n)
	n.settle(t, start)
	old := n.keys.Ring().Data.KeyID()
	must(t, n.keys.Rotate(t.Context(), start, false))
	if idle, err := n.resealer.Step(t.Context(), start); !idle || err != nil || n.keys.Ring().Data.KeyID() != old {
		t.Fatalf("it works for a key that does not seal yet: %v, %v", idle, err)
	}
	later := start.Add(10 * time.Minute)
	must(t, n.keys.Refresh(t.Context(), later))
	key := n.keys.Ring().Data.KeyID()
	if with, other := sealedWith(t, n, f, key); with != 0 || other != 7 {
		t.Fatalf("%d values sealed with the new key, %d with others", with, other)
	}
	n.settle(t, later)
	if with, other := sealedWith(t, n, f, key); with != 7 || other != 0 {
		t.Errorf("%d values sealed with the new key, %d with others", with, other)
	}
	check(t, n)
	again := newNode(t, f, secret)
	must(t, again.keys.Refresh(t.Context(), later))
	check(t, again)
	pages := f.pages.Load()
	if idle, err := again.resealer.Step(t.Context(), later); !idle || err != nil || f.pages.Load() != pages {
		t.Errorf("after a restart it begins again: %v, %v", idle, err)
	}
}

// TestSettles: a record that another node kept in its old form after the first
// walk is found by the last one, which waits until every node knows the key.
func TestSettles(t *testing.T) {
	s := store.NewMemory()
	inClear := newNode(t, s)
	n := newNode(t, s, secret)
	step := func(now time.Time) {
		t.Helper()
		if idle, err := n.resealer.Step(t.Context(), now); !idle || err != nil {
			t.Fatal(idle, err)
		}
	}
	step(start)
	fill(t, inClear)
	step(start.Add(9 * time.Minute))
	if n.resealer.Done() || raw(t, s, "a").Sealed != "" {
		t.Fatal("it walks again although there is nothing new, or is done too soon")
	}
	step(start.Add(10 * time.Minute))
	if !n.resealer.Done() || raw(t, s, "a").Sealed == "" {
		t.Error("the last walk is not the last")
	}
	check(t, inClear)
}

// TestRetire: what is stored outlives the keys that sealed it, and its people
// keep their names.
func TestRetire(t *testing.T) {
	s := store.NewMemory()
	n, other := newNode(t, s, secret), newNode(t, s, secret)
	fill(t, n)
	name := raw(t, s, "a").User.Subject
	for range 2 {
		_, err := n.keys.Retire(t.Context(), start)
		must(t, err)
		check(t, n)
		check(t, other) // it does not know yet
	}
	n.settle(t, start)
	check(t, n)
	check(t, other)
	if raw(t, s, "a").User.Subject == name || len(n.keys.Ring().PersonNames("subject-zoe")) != 1 {
		t.Error("the retired keys still name people")
	}
	if with, others := sealedWith(t, n, s, n.keys.Ring().Data.KeyID()); with != 7 || others != 0 {
		t.Errorf("%d values sealed with the new key, %d with others", with, others)
	}
}

// TestDerived: keys from the secret seal what was in the clear, too.
func TestDerived(t *testing.T) {
	s := store.NewMemory()
	fill(t, over(t, s, keys.Options{}))
	ring, err := keys.Open(t.Context(), start, s, derived)
	must(t, err)
	n := newNodeOf(s, ring)
	n.settle(t, start)
	check(t, n)
	if words := found(kept(t, s)); strings.Join(words, " ") != "subject-zoe" {
		t.Errorf("stored are %q", words)
	}
}

// TestInTheClear: without a secret there is nothing to do.
func TestInTheClear(t *testing.T) {
	f := &faulty{Store: store.NewMemory()}
	n := newNode(t, f)
	fill(t, n)
	idle, err := n.resealer.Step(t.Context(), start)
	if !idle || err != nil || f.pages.Load() != 0 || n.resealer.Done() || len(found(kept(t, f.Store))) != len(personal) {
		t.Errorf("%v, %v, %d pages", idle, err, f.pages.Load())
	}
}

// TestOutage: a step that fails is repeated, and nothing is left out.
func TestOutage(t *testing.T) {
	f := &faulty{Store: store.NewMemory()}
	fill(t, newNode(t, f))
	n := newNode(t, f, secret)
	f.down.Store(true)
	for range 3 {
		if _, err := n.resealer.Step(t.Context(), start); !errors.Is(err, errDown) {
			t.Fatalf("no outage: %v", err)
		}
	}
	f.down.Store(false)
	n.settle(t, start)
	if with, other := sealedWith(t, n, f, n.keys.Ring().Data.KeyID()); with != 7 || other != 0 {
		t.Errorf("%d values sealed, %d not", with, other)
	}
}

// TestDamaged: a record that does not open is reported, stays as it is, and
// holds up no other.
func TestDamaged(t *testing.T) {
	s := store.NewMemory()
	n := newNode(t, s, secret)
	fill(t, n)
	must(t, n.keys.Rotate(t.Context(), start, true))
	bad := raw(t, s, "a")
	bad.Sealed = flip(bad.Sealed, len(bad.Sealed)-9)
	must(t, s.Restore(t.Context(), []store.Record{{Grant: &store.GrantRecord{Grant: bad}}}))
	for _, now := range []time.Time{start, start.Add(10 * time.Minute)} {
		if _, err := n.resealer.Step(t.Context(), now); err == nil || !strings.Contains(err.Error(), `1 records can't be sealed anew, the first: grant "a"`) {
			t.Errorf("it is not reported: %v", err)
		}
	}
	if !n.resealer.Done() || raw(t, s, "a").Sealed != bad.Sealed || raw(t, s, "b").Sealed == "" {
		t.Error("it holds up others, or was changed")
	}
}

// TestPages goes through more than fits a step, on two nodes at once, with
// grants that are used all the while: no use is lost, and in the end all is
// sealed with the newest key.
func TestPages(t *testing.T) {
	const grants, racers, turns = 1200, 64, 20
	s := store.NewMemory()
	inClear := newNode(t, s)
	for i := range grants {
		must(t, inClear.CreateGrant(t.Context(), start, zoe(fmt.Sprint(i))))
	}
	a, b := newNode(t, s, secret), newNode(t, s, secret)
	ctx, cancel := context.WithCancel(t.Context())
	var walks, uses sync.WaitGroup
	for _, n := range []*node{a, b} {
		walks.Go(func() {
			for ctx.Err() == nil {
				if _, err := n.resealer.Step(t.Context(), start); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range racers {
		uses.Go(func() {
			n := []*node{a, b, inClear}[i%3]
			for turn := range uint64(turns) {
				r := store.Rotation{ID: fmt.Sprint(i), From: turn, Expires: start.Add(time.Hour), UsedFrom: fmt.Sprint("address ", turn)}
				g, err := n.RotateGrant(t.Context(), start, r)
				if err != nil || g.Generation != turn+1 || g.User.Subject != "subject-zoe" || g.UsedFrom != r.UsedFrom {
					t.Errorf("turn %d of %d: %+v, %v", turn, i, g, err)
				}
			}
		})
	}
	uses.Wait()
	cancel()
	walks.Wait()
	a.settle(t, start)
	must(t, b.keys.Refresh(t.Context(), start))
	if with, other := sealedWith(t, a, s, a.keys.Ring().Data.KeyID()); with != 2*grants || other != 0 || !b.resealer.Done() {
		t.Errorf("%d values sealed, %d not; the other node knows: %v", with, other, b.resealer.Done())
	}
	for i := range racers {
		g, err := b.Grant(t.Context(), start, fmt.Sprint(i))
		if err != nil || g.Generation != turns || g.UsedFrom != fmt.Sprint("address ", turns-1) {
			t.Errorf("grant %d: %+v, %v", i, g, err)
		}
	}
	if got, err := b.Grants(t.Context(), start, "subject-zoe", 5000); err != nil || len(got) != grants {
		t.Errorf("%d grants, %v", len(got), err)
	}
}

// TestListMissesNone: a list that is read while grants are sealed has all of
// them.
func TestListMissesNone(t *testing.T) {
	const grants = 100
	s := store.NewMemory()
	inClear := newNode(t, s)
	for i := range grants {
		must(t, inClear.CreateGrant(t.Context(), start, zoe(fmt.Sprint(i))))
	}
	n := newNode(t, s, secret)
	var walk sync.WaitGroup
	walk.Go(func() {
		if _, err := n.resealer.Step(t.Context(), start); err != nil {
			t.Error(err)
		}
	})
	for range 15 {
		for _, reader := range []*node{n, inClear} {
			if got, err := reader.Grants(t.Context(), start, "subject-zoe", 5000); err != nil || len(got) != grants {
				t.Fatalf("%d grants, %v", len(got), err)
			}
		}
	}
	walk.Wait()
}
