package store

import (
	"context"
	"sync"
	"time"
)

// budget is how much time one request may still spend inside the store.
type budget struct {
	mu   sync.Mutex
	left time.Duration
}

type budgetKey struct{}

// WithBudget lets all calls of a [Bounded] store with this context, and with those
// made from it, take so much time together. Only time inside the store counts,
// not what goes by between two calls, so whoever waits for somebody else in between
// has not spent it. A context that has a budget keeps it.
func WithBudget(ctx context.Context, d time.Duration) context.Context {
	if budgetOf(ctx) != nil {
		return ctx
	}
	return context.WithValue(ctx, budgetKey{}, &budget{left: d})
}

// RenewBudget returns a context with a budget of its own in the place of the one
// that it has. It is for a long row of steps, each of which shall be bounded.
func RenewBudget(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, budgetKey{}, &budget{left: d})
}

// budgetOf returns the budget of the context, or nil.
func budgetOf(ctx context.Context) *budget {
	b, _ := ctx.Value(budgetKey{}).(*budget)
	return b
}

func (b *budget) rest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

func (b *budget) spend(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left -= d
}
