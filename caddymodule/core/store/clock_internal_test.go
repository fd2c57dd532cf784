package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// away is a store that can't be reached while err is set.
type away struct {
	Store
	err error
}

func (s *away) Now(context.Context) (time.Time, error) { return time.Now(), s.err }

// TestClockOfASuspendedMachine: what expired while a machine was suspended is
// expired when it goes on, even if the store can't be asked. In a test both clocks
// go alike, so the one that stood still is told by where the other one began.
func TestClockOfASuspendedMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct{ ahead, counts time.Duration }{
			"nothing happened":            {0, 0},
			"clocks are like that":        {suspendedFrom, 0},
			"suspended":                   {time.Hour, time.Hour},
			"the wall clock was set":      {time.Minute, time.Minute}, // nobody can tell it from that
			"the wall clock was set back": {-time.Hour, 0},
		} {
			st := &away{Store: NewMemory()}
			c, err := NewClock(t.Context(), st)
			if err != nil {
				t.Fatal(err)
			}
			m := *c.noted.Load()
			m.wall = m.wall.Add(-tt.ahead)
			c.noted.Store(&m)
			before := time.Now()
			time.Sleep(5 * time.Second)
			off := func() time.Duration { return time.Until(c.Now()) }
			if got := off(); got != tt.counts {
				t.Errorf("%s: %s counted", name, got)
			}
			st.err = errors.New("gone")
			if err := c.Look(t.Context()); err == nil || off() != tt.counts {
				t.Errorf("%s: %v, %s counted while the store is out", name, err, off())
			}
			if n := testing.AllocsPerRun(100, func() { c.Now() }); n != 0 {
				t.Errorf("%s: Now allocates %g times", name, n)
			}
			st.err = nil
			if err := c.Look(t.Context()); err != nil || off() != 0 {
				t.Errorf("%s: %v, %s counted after a look", name, err, off())
			}
			if at := c.At(before); !at.Equal(before) {
				t.Errorf("%s: before the look it was %s, not %s", name, at, before)
			}
		}
	})
}
