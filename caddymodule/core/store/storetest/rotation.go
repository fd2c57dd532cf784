package storetest

import (
	"bytes"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var rotationParts = []part{
	{"Rotate", rotateOnce},
	{"WrongGeneration", wrongGeneration},
	{"ManyGenerations", manyGenerations},
}

func rotateOnce(t *testing.T, s store.Store) {
	now := clock()
	want := create(t, s, "a", now)
	later := now.Add(10 * time.Minute)
	r := store.Rotation{ID: "a", From: 0, Expires: later.Add(2 * time.Hour), UsedFrom: "2001:db8::7"}
	want = rotated(want, later, r)
	same(t, rotate(t, s, later, r), want)
	has(t, s, later, want)
}

func wrongGeneration(t *testing.T, s store.Store) {
	now := clock()
	create(t, s, "a", now)
	g := rotate(t, s, now, store.Rotation{ID: "a", From: 0, Expires: now.Add(2 * time.Hour)})
	later := now.Add(time.Minute)
	for _, from := range []uint64{0, 2, 1<<63 - 1} {
		got, err := s.RotateGrant(t.Context(), later, store.Rotation{ID: "a", From: from, Expires: now.Add(9 * time.Hour)})
		fails(t, err, store.ErrConflict)
		same(t, got, g)
		has(t, s, later, g)
	}
}

func manyGenerations(t *testing.T, s store.Store) {
	now := clock()
	g := create(t, s, "a", now)
	for range 100 {
		now = now.Add(time.Minute)
		g = rotate(t, s, now, store.Rotation{ID: "a", From: g.Generation, Expires: now.Add(time.Hour)})
	}
	has(t, s, now, g)
	if g.Generation != 100 || !g.RotatedAt.Equal(now) {
		t.Fatalf("after 100 rotations: %+v", g)
	}
}

var keyRingParts = []part{
	{"NoneYet", noRingYet},
	{"Swap", swapRing},
	{"AnyBytes", ringOfAnyBytes},
	{"NotSwept", ringIsNotSwept},
}

func noRingYet(t *testing.T, s store.Store) {
	_, _, err := s.KeyRing(t.Context())
	fails(t, err, store.ErrNotFound)
	_, err = s.SwapKeyRing(t.Context(), 1, []byte("ring"))
	fails(t, err, store.ErrConflict)
	_, _, err = s.KeyRing(t.Context())
	fails(t, err, store.ErrNotFound)
}

func swapRing(t *testing.T, s store.Store) {
	var version uint64
	for _, ring := range []string{"first", "second", "third"} {
		stale := version + 1
		_, err := s.SwapKeyRing(t.Context(), stale, []byte("wrong version"))
		fails(t, err, store.ErrConflict)
		next, err := s.SwapKeyRing(t.Context(), version, []byte(ring))
		ok(t, err)
		if next == version || next == 0 {
			t.Fatalf("version %d follows %d", next, version)
		}
		_, err = s.SwapKeyRing(t.Context(), version, []byte("old version"))
		fails(t, err, store.ErrConflict)
		version = next
		hasRing(t, s, []byte(ring), version)
	}
}

func ringOfAnyBytes(t *testing.T, s store.Store) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	var version uint64
	for _, ring := range [][]byte{{0}, all, bytes.Repeat(all, 256), {}} {
		next, err := s.SwapKeyRing(t.Context(), version, ring)
		ok(t, err)
		version = next
		hasRing(t, s, ring, version)
	}
}

func ringIsNotSwept(t *testing.T, s store.Store) {
	version, err := s.SwapKeyRing(t.Context(), 0, []byte("ring"))
	ok(t, err)
	now := clock()
	create(t, s, "a", now)
	sweepAll(t, s, now.Add(100*365*24*time.Hour))
	hasRing(t, s, []byte("ring"), version)
}

// hasRing fails the test unless the store returns this ring.
func hasRing(t *testing.T, s store.Store, ring []byte, version uint64) {
	t.Helper()
	got, v, err := s.KeyRing(t.Context())
	ok(t, err)
	if !bytes.Equal(got, ring) || v != version {
		t.Fatalf("KeyRing has %d bytes, version %d; want %d bytes, version %d", len(got), v, len(ring), version)
	}
}
