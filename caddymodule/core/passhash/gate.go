package passhash

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
)

// RoomPerSlot is how many attempts may wait for each that is computed.
const RoomPerSlot = 16

// ErrBusy says that there is no room to wait in.
var ErrBusy = errors.New("too many passwords are compared at a time")

// Slots is how many hashes to compute at a time: it leaves half of the
// processors to everything else.
func Slots() int { return (runtime.GOMAXPROCS(0) + 1) / 2 }

// Gate limits how many hashes are computed at a time, and how many attempts
// wait for that: hashes are expensive, and a flood of them would take the
// processors, or the memory, from everything else.
type Gate struct {
	slots   chan struct{}
	waiting atomic.Int64
}

// NewGate returns a gate for so many hashes at a time.
func NewGate(slots int) *Gate { return &Gate{slots: make(chan struct{}, slots)} }

// Enter waits for a slot; leave gives it back. It returns [ErrBusy], or the
// context's cause. Half of the room to wait in is for those who are known, so
// that strangers never fill it.
func (g *Gate) Enter(ctx context.Context, known bool) (leave func(), err error) {
	room := int64(cap(g.slots) * RoomPerSlot)
	if !known {
		room /= 2
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > room {
		return nil, ErrBusy
	}
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Waiting returns how many attempts wait for a slot.
func (g *Gate) Waiting() int { return int(g.waiting.Load()) }
