package oidc

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestCacheLateComer: who decided to ask just as somebody else got the answer
// takes that one, or a crowd would ask one after the other (SPEC O25).
func TestCacheLateComer(t *testing.T) {
	now, loads := time.Unix(1e9, 0), 0
	var failure error
	c := newCache(func() time.Time { return now }, func(context.Context) (int, error) {
		loads++
		return loads, failure
	}, times{fresh: time.Hour, keep: 2 * time.Hour, gap: time.Second})
	for range 3 {
		if h, err := c.fetch(t.Context()); err != nil || h.doc != 1 || h.serial != 1 {
			t.Fatalf("%+v, %v", h, err)
		}
	}
	now, failure = now.Add(time.Second), errors.New("down")
	for range 3 {
		if _, err := c.fetch(t.Context()); !errors.Is(err, failure) {
			t.Fatal(err)
		}
	}
	if loads != 2 {
		t.Errorf("%d requests", loads)
	}
}

// TestCacheClockSetBack: a clock that was wrong and is set right must not keep a
// document for years, nor stop asking.
func TestCacheClockSetBack(t *testing.T) {
	now, loads := time.Unix(2e9, 0), 0
	c := newCache(func() time.Time { return now }, func(context.Context) (int, error) {
		loads++
		return loads, nil
	}, times{fresh: time.Hour, keep: 2 * time.Hour, gap: time.Second})
	for _, at := range []int64{2e9, 1e9, 1e9} {
		now = time.Unix(at, 0)
		if _, err := c.get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if loads != 2 {
		t.Errorf("%d requests", loads)
	}
}
