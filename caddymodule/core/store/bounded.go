package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The bounds of a [Bounded] store.
const (
	// MaxCalls is how many calls with a budget it has under way at a time.
	MaxCalls = 1024
	// slowFailure is from when on a call that failed was hanging, and not refused.
	slowFailure = 250 * time.Millisecond
	// hungAfter is how many calls in a row must have hung, with none that came
	// back meanwhile, until the store is suspected to hang.
	hungAfter = 3
	// pingTimeout bounds the Ping that a suspicion has to be confirmed by.
	pingTimeout = time.Second
	// probeEvery is how often one call is let through to a hung store.
	probeEvery = time.Second
)

// Errors of a [Bounded] store that did not ask the store. They are outages.
var (
	errSpent = errors.New("store: the time that a request may spend in the store is over")
	errBusy  = errors.New("store: too many calls wait for it already")
)

// Bounded is a store whose outage costs callers little: the calls of one request
// share a budget of time ([WithBudget]), a bounded number of calls waits, and
// while the store hangs, all but one a second fail at once. A call without a
// budget is never kept from the store, but what becomes of it counts: background
// work shows soonest that the store is back.
//
// One slow call is no outage: it takes several in a row that hang until they
// fail, and any call that comes back, whatever it says, ends that. Nor are several
// an outage that wait for one record that somebody holds: a Ping, which is about no
// record, has to hang as well before anybody is refused.
type Bounded struct {
	Store
	failed func(op string, err error)

	mu      sync.Mutex
	calls   int       // with a budget, under way
	hung    int       // calls in a row
	pinged  bool      // one of them is a Ping
	pinging bool      // one is under way, to find out
	cause   error     // of the last of them
	probe   time.Time // when the next call is let through
}

// NewBounded bounds a store. If failed is not nil it hears of every call that the
// store could not do, under the name that [Intercept] gives it.
func NewBounded(s Store, failed func(op string, err error)) *Bounded {
	if failed == nil {
		failed = func(string, error) {}
	}
	b := &Bounded{failed: failed}
	b.Store = Intercept(s, b.do)
	return b
}

// do makes one call. Waiting for revocations is none that could hang.
func (b *Bounded) do(ctx context.Context, op string, call func(context.Context) error) error {
	if op == OpAwait {
		return call(ctx)
	}
	budget := budgetOf(ctx)
	if budget == nil {
		begin := time.Now()
		return b.done(ctx, op, call(ctx), time.Since(begin))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	rest := budget.rest()
	if rest <= 0 {
		return errSpent
	}
	if err := b.enter(); err != nil {
		b.failed(op, err)
		return err
	}
	defer b.leave()
	within, cancel := context.WithTimeout(ctx, rest)
	defer cancel()
	begin := time.Now()
	err := call(within)
	took := time.Since(begin)
	budget.spend(took)
	return b.done(within, op, err, took)
}

// enter lets a call with a budget in.
func (b *Bounded) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuses() {
		now := time.Now()
		if now.Before(b.probe) {
			return fmt.Errorf("store: not asked, as it hangs: %w", b.cause)
		}
		b.probe = now.Add(probeEvery)
	}
	if b.calls >= MaxCalls {
		return errBusy
	}
	b.calls++
	return nil
}

// refuses reports whether the store is taken for hung, for those who hold mu.
func (b *Bounded) refuses() bool { return b.hung >= hungAfter && b.pinged }

func (b *Bounded) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls--
}

// done takes note of what became of a call. One whose caller went away shows
// nothing unless it came back, and so does one that had hardly any time.
func (b *Bounded) done(ctx context.Context, op string, err error, took time.Duration) error {
	outage := isOutage(err)
	if outage && errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	switch {
	case !outage || took < slowFailure && ctx.Err() == nil:
		b.cameBack()
	case took >= slowFailure:
		b.hangs(op, err)
	}
	if outage {
		b.failed(op, err)
	}
	return err
}

// cameBack takes note of a call that did not hang.
func (b *Bounded) cameBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hung, b.pinged, b.cause = 0, false, nil
}

// hangs takes note of a call that did, and asks whether it is the store's fault.
// Meanwhile others are let through, which costs each of them its budget at most.
func (b *Bounded) hangs(op string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	refusing := b.refuses()
	b.hung++
	b.pinged = b.pinged || op == opPing
	b.cause = err
	switch {
	case refusing:
	case b.refuses():
		b.probe = time.Now().Add(probeEvery)
	case b.hung >= hungAfter && !b.pinging:
		b.pinging = true
		go b.confirm()
	}
}

// confirm makes the Ping that a suspicion has to be confirmed by. It is a call
// like every other, so what becomes of it counts.
func (b *Bounded) confirm() {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	_ = b.Ping(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pinging = false
}

// isOutage reports whether an error says that the store could not do its work.
func isOutage(err error) bool {
	for _, verdict := range []error{ErrNotFound, ErrExists, ErrConflict, ErrRevoked} {
		if errors.Is(err, verdict) {
			return false
		}
	}
	return err != nil
}

// Interface guard.
var _ Store = (*Bounded)(nil)
