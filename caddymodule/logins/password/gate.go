package password

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

const (
	// roomPerSlot is how many attempts may wait for each that is computed.
	roomPerSlot = 16

	// busyRetry is when to come back if there is no room to wait in.
	busyRetry = 5 * time.Second
)

// gate limits how many hashes are computed at a time, and how many attempts
// wait for that: hashes are expensive, and a flood of them would take the
// processors, or the memory, from everything else.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
}

func newGate(slots int) *gate { return &gate{slots: make(chan struct{}, slots)} }

// enter waits for a slot; leave gives it back. Half of the room to wait in is
// for those who are known by their device or at their address, so that strangers
// never fill it.
func (g *gate) enter(ctx context.Context, known bool) (leave func(), err error) {
	room := int64(cap(g.slots) * roomPerSlot)
	if !known {
		room /= 2
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > room {
		return nil, &login.ThrottledError{RetryAfter: busyRetry}
	}
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
