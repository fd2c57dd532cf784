package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// MaxSkew is how far the clock of a store and that of this machine may differ.
// Beyond, one of them is absurd, and nobody can know which: a store that believes
// to be years ahead would have every record swept.
const MaxSkew = 24 * time.Hour

// Clock tells the time of a store, so that all nodes that share it agree on when
// something is over, whatever their own clocks say.
//
// Between two looks at the store it goes by this machine's monotonic clock, which
// nobody sets. That one stands still while the machine is suspended, so if the wall
// clock has run ahead of it by more than a few seconds, the wall clock counts until
// the next look that succeeds: what expired meanwhile is expired. Nobody can tell
// this from a wall clock that was set forward, which therefore counts as time that
// has passed until then too; that ends tokens for a moment, and never prolongs
// them. A wall clock that was set back changes nothing. For a store on this machine,
// whose time is the wall clock, a jump stays.
//
// It is safe for concurrent use.
type Clock struct {
	store interface {
		Now(ctx context.Context) (time.Time, error)
	}
	reading sync.Mutex // one look at a time, so that they are noted in order
	noted   atomic.Pointer[moment]
}

// moment is one moment by the store's clock and by this machine's.
type moment struct {
	at    time.Time     // without a monotonic reading
	local time.Time     // with one
	wall  time.Time     // local without it
	skew  time.Duration // of the store, against the wall clock
}

// suspendedFrom is how far the wall clock runs ahead of the monotonic one when the
// machine was suspended, at least. Less is how clocks are.
const suspendedFrom = 3 * time.Second

// then returns the store's time at a moment of this machine.
func (m *moment) then(local time.Time) time.Time {
	passed := local.Sub(m.local)
	if wall := local.Round(0).Sub(m.wall); passed > 0 && wall-passed > suspendedFrom {
		passed = wall
	}
	return m.at.Add(passed)
}

// NewClock returns a clock of the store that has looked at it once. It fails if
// the store does not answer, and if the two clocks are more than MaxSkew apart.
func NewClock(ctx context.Context, s Store) (*Clock, error) {
	c := &Clock{store: s}
	return c, c.Look(ctx)
}

// Now returns the store's time, in UTC. It allocates nothing and never waits.
func (c *Clock) Now() time.Time { return c.At(time.Now()) }

// At returns the store's time at a moment of this machine, which has to come from
// time.Now as it is, with its monotonic reading.
func (c *Clock) At(local time.Time) time.Time { return c.noted.Load().then(local) }

// Skew is how far the store was ahead of this machine's wall clock at the last
// look; it is negative if the store was behind.
func (c *Clock) Skew() time.Duration { return c.noted.Load().skew }

// Look asks the store for its time. Call it every few seconds. After an error,
// and after a time beyond MaxSkew, which is one, the clock goes on as before.
//
// The store read its clock between question and answer. What the clock says
// already is left alone if it is a time that fits, and corrected as little as
// possible otherwise: so one slow answer can't undo what a fast one has shown.
func (c *Clock) Look(ctx context.Context) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	asked := time.Now()
	at, err := c.store.Now(ctx)
	if err != nil {
		return fmt.Errorf("reading the store's clock: %w", err)
	}
	took := time.Since(asked)
	local := asked.Add(took / 2)
	skew := at.Sub(local.Round(0)) // by the wall clock
	if skew.Abs() > MaxSkew {
		return fmt.Errorf("the store's clock says %s and this machine's %s: set right the one that is wrong",
			at.UTC().Format(time.RFC3339), local.UTC().Format(time.RFC3339))
	}
	at = at.UTC().Round(0)
	if last := c.noted.Load(); last != nil {
		now := last.at.Add(local.Sub(last.local))
		off := at.Sub(now)
		at = now.Add(off - min(max(off, -took/2), took/2))
	}
	c.noted.Store(&moment{at: at, local: local, wall: local.Round(0), skew: skew})
	return nil
}
