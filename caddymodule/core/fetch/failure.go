package fetch

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Failure tells of the tries at a document that is not in memory.
type Failure struct {
	// Tried is when its host was last asked, and Cause why that failed.
	Tried time.Time
	Cause error
	// Gone is when its host last said that there is no such document, zero if it
	// never did. Other failures since then do not count against that.
	Gone time.Time
}

// Failed returns the failure of a document that is not in memory. A good fetch
// ends it, and so does that too many others failed since.
func (c *Cache[T]) Failed(rawURL string) (Failure, bool) { return c.failures.GetIfPresent(rawURL) }

// fail notes that a document was asked for and is not there. That nobody was
// asked says nothing about its host.
func (c *Cache[T]) fail(rawURL string, cause error) {
	if errors.Is(cause, ErrBusy) || errors.Is(cause, ErrClosed) || errors.Is(cause, context.Canceled) {
		return
	}
	old, _ := c.failures.GetIfPresent(rawURL)
	f := Failure{Tried: c.opts.Now(), Cause: cause, Gone: old.Gone}
	if errors.Is(cause, ErrGone) {
		f.Gone = f.Tried
	}
	c.failures.Set(rawURL, f)
}

// heldOff returns why a document is not asked for again so soon, or nil.
func (c *Cache[T]) heldOff(rawURL string) error {
	if f, ok := c.Failed(rawURL); ok && c.since(f.Tried) < c.opts.HoldOff {
		return fmt.Errorf("it is not asked again for %s: %w", c.opts.HoldOff, f.Cause)
	}
	return nil
}
