package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// remote is a store on another machine, whose clock is ahead of this one's.
type remote struct {
	store.Store
	ahead       time.Duration
	there, back time.Duration // how long question and answer take
	err         error
}

func (r *remote) Now(ctx context.Context) (time.Time, error) {
	time.Sleep(r.there)
	now := time.Now().Add(r.ahead)
	time.Sleep(r.back)
	return now, errors.Join(r.err, ctx.Err())
}

// TestClock looks at a store of which more and more becomes known, and that is
// set while the clock runs.
func TestClock(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		r := &remote{ahead: time.Hour, there: 300 * ms, back: 100 * ms}
		c, err := store.NewClock(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name        string
			set         time.Duration // how far the store is set
			there, back time.Duration
			err         error
			off         time.Duration // of the clock, against the store, afterwards
		}{
			{"half of the way was assumed", 0, 300 * ms, 100 * ms, nil, 100 * ms},
			{"a quick look corrects as little as possible", 0, 10 * ms, 10 * ms, nil, 10 * ms},
			{"a slow one does not undo it", 0, 2 * time.Second, 0, nil, 10 * ms},
			{"the store was set within the uncertainty", 30 * ms, 40 * ms, 40 * ms, nil, -20 * ms},
			{"and beyond", time.Minute, 0, 0, nil, 0},
			{"back too", -2 * time.Hour, 0, 0, nil, 0},
			{"an outage", 0, 0, 0, errors.New("gone"), 0},
			{"absurd", 50 * 365 * 24 * time.Hour, 0, 0, store.ErrRefused, -50 * 365 * 24 * time.Hour},
			{"mended", -50 * 365 * 24 * time.Hour, 0, 0, nil, 0},
		} {
			r.ahead, r.there, r.back, r.err = r.ahead+tt.set, tt.there, tt.back, tt.err
			if errors.Is(tt.err, store.ErrRefused) {
				r.err = nil
			}
			if err := c.Look(t.Context()); (err != nil) != (tt.err != nil) {
				t.Errorf("%s: %v", tt.name, err)
			}
			time.Sleep(7 * time.Second)
			if off := c.Now().Sub(time.Now().Add(r.ahead)); off != tt.off {
				t.Errorf("%s: %s off, want %s", tt.name, off, tt.off)
			}
		}
		local := time.Now()
		time.Sleep(time.Second)
		if at := c.At(local); !at.Equal(local.Add(r.ahead)) || c.Now().Sub(at) != time.Second || c.Skew() != r.ahead {
			t.Errorf("at %s, now %s, skew %s", at, c.Now(), c.Skew())
		}
	})
}

// TestClockFirstLook: without a time of the store there is no clock.
func TestClockFirstLook(t *testing.T) {
	gone := errors.New("gone")
	if _, err := store.NewClock(t.Context(), &remote{err: gone}); !errors.Is(err, gone) {
		t.Errorf("an outage: %v", err)
	}
	for _, ahead := range []time.Duration{store.MaxSkew + time.Hour, -store.MaxSkew - time.Hour} {
		if _, err := store.NewClock(t.Context(), &remote{ahead: ahead}); err == nil || !strings.Contains(err.Error(), "set right the one that is wrong") {
			t.Errorf("%s ahead: %v", ahead, err)
		}
	}
	c, err := store.NewClock(t.Context(), store.NewMemory())
	if err != nil || c.Skew().Abs() > time.Second || time.Since(c.Now()).Abs() > time.Second {
		t.Errorf("a store on this machine: %v", err)
	}
	if n := testing.AllocsPerRun(100, func() { c.Now() }); n != 0 {
		t.Errorf("Now allocates %g times", n)
	}
}
