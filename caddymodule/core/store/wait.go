package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// ConnectTimeout is how long a store waits at most for its server when it opens:
// the deadline of the context that it gives to [Connect].
const ConnectTimeout = 30 * time.Second

// ErrRefused marks an error of connecting that trying again won't mend, such as
// a wrong password. [Connect] gives up on it at once.
var ErrRefused = errors.New("store: refused")

// Connect calls try until it succeeds, until the context ends, or until it
// returns ErrRefused. Before every wait it reports why and for how long, for
// the log: a server that starts with this one may take its time.
func Connect(ctx context.Context, try func(ctx context.Context) error, report func(err error, wait time.Duration)) error {
	begin, wait := time.Now(), firstRetry
	for {
		err := try(ctx)
		if err == nil || errors.Is(err, ErrRefused) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %s: %w", time.Since(begin).Round(time.Second), err)
		default:
		}
		report(err, wait)
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %s: %w", time.Since(begin).Round(time.Second), err)
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}
