package authserver

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// limiterSize bounds how many keys a limiter remembers; the least used ones
// are forgotten first.
const limiterSize = 20_000

// limiter counts failures by key in bounded memory, on this node only. It
// slows guessing down; what makes guessing hopeless is the size of secrets.
type limiter struct {
	max    int64
	counts *otter.Cache[string, *atomic.Int64]
}

// newLimiter allows max failures of a key; they are forgotten window after the
// first one.
func newLimiter(limit int64, window time.Duration) *limiter {
	return &limiter{limit, otter.Must(&otter.Options[string, *atomic.Int64]{
		MaximumSize:      limiterSize,
		ExpiryCalculator: otter.ExpiryCreating[string, *atomic.Int64](window),
	})}
}

func (l *limiter) count(key string) {
	if n, ok := l.counts.SetIfAbsent(key, newCount()); !ok {
		n.Add(1)
	}
}

// take counts a use of the key and reports whether it is within the limit.
func (l *limiter) take(key string) bool {
	n, first := l.counts.SetIfAbsent(key, newCount())
	return first || n.Add(1) <= l.max
}

func newCount() *atomic.Int64 {
	n := new(atomic.Int64)
	n.Store(1)
	return n
}

func (l *limiter) exhausted(key string) bool {
	n, ok := l.counts.GetIfPresent(key)
	return ok && n.Load() >= l.max
}

const (
	// subnetBits is the IPv6 network of one link, and siteBits the largest that
	// one home or office gets (RFC 6177 §2): 65,536 of the former.
	subnetBits, siteBits = 64, 48
)
