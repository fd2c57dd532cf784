package redis

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// bell wakes everybody who waits for the feed.
type bell struct {
	mu   sync.Mutex
	rung chan struct{}
}

// next returns a channel that the next ring closes.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

// ring wakes everybody.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
}

// listen rings the bell for everything that arrives: new entries, and that the
// subscription stands (again), before which entries may have gone unheard. The
// client keeps the subscription alive and renews it; listen ends when it is
// closed.
func (b *bell) listen(sub *redis.PubSub) {
	for range sub.ChannelWithSubscriptions() {
		b.ring()
	}
}

// Await implements [store.Store]. While the server can't be reached it waits:
// when the subscription is back, everybody is woken.
func (s *Store) Await(ctx context.Context, after string) error {
	rung := s.bell.next()
	if s.news(ctx, parsePositions(after)) {
		return nil
	}
	select {
	case <-rung:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
