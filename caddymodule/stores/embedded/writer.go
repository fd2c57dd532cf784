package embedded

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	// maxQueue is how many writes may wait; more wait for a place in the queue.
	maxQueue = 1024
	// maxBatch is how many writes share a commit at most, which bounds how much
	// one commit holds in memory.
	maxBatch = 256
)

// ErrClosed is what every method returns after Close.
var ErrClosed = errors.New("embedded: the store is closed")

// errUnchanged is returned by a step that succeeded without writing.
var errUnchanged = errors.New("embedded: nothing to write")

// isVerdict reports whether an error is a step's answer, given before it wrote
// anything, rather than a failure to do the work.
func isVerdict(err error) bool {
	for _, v := range []error{errUnchanged, store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrRevoked} {
		if errors.Is(err, v) {
			return true
		}
	}
	return false
}

// step is one atomic write. It returns a verdict only while it has written
// nothing; after any other error the whole transaction is rolled back. It may
// run more than once.
type step func(tx *bbolt.Tx) error

// States of a job: the caller may drop it until the writer takes it.
const (
	jobWaiting int32 = iota
	jobTaken
	jobDropped
)

// job is a step on its way through the writer.
type job struct {
	step  step
	state atomic.Int32
	done  chan error // gets exactly one answer if the job is taken
}

// writer owns all writing to the file: one goroutine, started by start, ended
// by stop.
type writer struct {
	file    *file
	queue   chan *job
	closing chan struct{} // closed by stop
	stopped chan struct{} // closed when the goroutine has ended
	once    sync.Once
	commits atomic.Int64                  // successful ones, ever
	commit  atomic.Pointer[chan struct{}] // closed by the next one

	mu       sync.Mutex
	lastGood time.Time // end of the last commit that succeeded
	failures uint64    // failed commits, ever
	healed   uint64    // how many there were before the last good probe
}

// startWriter starts the goroutine.
func startWriter(f *file) *writer {
	w := &writer{
		file:    f,
		queue:   make(chan *job, maxQueue),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	next := make(chan struct{})
	w.commit.Store(&next)
	go w.run()
	return w
}

// nextCommit returns a channel that the next successful commit closes.
func (w *writer) nextCommit() <-chan struct{} { return *w.commit.Load() }

// stop lets the goroutine finish what is queued and waits for its end.
func (w *writer) stop() {
	w.once.Do(func() { close(w.closing) })
	<-w.stopped
}

// do runs a step and returns after it is durable, or with the step's verdict.
func (w *writer) do(ctx context.Context, s step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-w.closing:
		return ErrClosed
	default:
	}
	j := &job{step: s, done: make(chan error, 1)}
	select {
	case w.queue <- j:
	case <-w.closing:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("embedded: the queue of writes is full: %w", ctx.Err())
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobWaiting, jobDropped) {
			return fmt.Errorf("embedded: nothing was written: %w", ctx.Err())
		}
		return fmt.Errorf("embedded: outcome of the write unknown: %w", ctx.Err())
	case <-w.stopped:
		select {
		case err := <-j.done: // answered before the end
			return err
		default: // queued after the last look at the queue
			return ErrClosed
		}
	}
}

// run is the goroutine.
func (w *writer) run() {
	defer close(w.stopped)
	batch := make([]*job, 0, maxBatch)
	for {
		select {
		case j := <-w.queue:
			// Those who were just answered may be about to write again: let them
			// run first, if they are ready. This waits for nobody.
			runtime.Gosched()
			batch = w.fill(append(batch[:0], j))
		case <-w.closing:
			for {
				if batch = w.fill(batch[:0]); len(batch) == 0 {
					return
				}
				w.flush(batch)
			}
		}
		w.flush(batch)
	}
}

// fill adds what is waiting, without waiting for more.
func (w *writer) fill(batch []*job) []*job {
	for len(batch) < maxBatch {
		select {
		case j := <-w.queue:
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

// flush commits a batch and answers its jobs. If a step fails in a way that it
// must not, the batch is undone and each job gets a transaction of its own, so
// that only the guilty one fails.
func (w *writer) flush(batch []*job) {
	taken := batch[:0]
	for _, j := range batch {
		if j.state.CompareAndSwap(jobWaiting, jobTaken) {
			taken = append(taken, j)
		}
	}
	errs, err := w.attempt(taken)
	var broken *stepError
	if errors.As(err, &broken) && len(taken) > 1 {
		for _, j := range taken {
			if errs, err = w.attempt([]*job{j}); err != nil {
				j.done <- err
			} else {
				j.done <- errs[0]
			}
		}
		return
	}
	for i, j := range taken {
		if err != nil {
			j.done <- err
		} else {
			j.done <- errs[i]
		}
	}
}

// stepError is a step's failure that is no verdict.
type stepError struct{ cause error }

// Error implements error.
func (e *stepError) Error() string { return "embedded: " + e.cause.Error() }

// Unwrap returns the cause.
func (e *stepError) Unwrap() error { return e.cause }

// attempt runs jobs in one transaction. Without an error the transaction is
// durable, or there was nothing to write, and errs has each step's verdict.
func (w *writer) attempt(jobs []*job) (errs []error, err error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	// A page of the file that can't be read must not end the whole server.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := w.file.beginWrite()
	if err != nil {
		w.remember(err)
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			errs, err = nil, fmt.Errorf("embedded: panic in commit: %v", r)
			w.remember(err)
			w.file.distrust()
		}
		_ = tx.Rollback() // only fails after Commit, where there is nothing to undo
	}()
	errs, wrote := make([]error, len(jobs)), false
	for i, j := range jobs {
		errs[i] = run(j.step, tx)
		if errs[i] == nil {
			wrote = true
		} else if !isVerdict(errs[i]) {
			return nil, &stepError{errs[i]}
		}
	}
	if !wrote {
		return errs, nil
	}
	if err = w.file.present(); err == nil {
		err = tx.Commit()
	}
	if w.remember(err); err != nil {
		return nil, fmt.Errorf("embedded: nothing certain was written to %s: %w", w.file.path, err)
	}
	w.commits.Add(1)
	next := make(chan struct{})
	close(*w.commit.Swap(&next))
	return errs, nil
}

// run calls a step and turns a panic into an error.
func run(s step, tx *bbolt.Tx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in a write: %v", r)
		}
	}()
	return s(tx)
}

// remember notes how a commit ended.
func (w *writer) remember(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.failures++
	} else {
		w.lastGood = w.file.clock()
	}
}

// health reports whether a commit succeeded within the given time, and how many
// have failed, ever; fresh says that no probe came after the last of those.
func (w *writer) health(within time.Duration) (proven bool, failures uint64, fresh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	proven = !w.lastGood.IsZero() && w.file.clock().Sub(w.lastGood) < within
	return proven, w.failures, w.failures > w.healed
}

// heal forgets the failures up to a number that health returned.
func (w *writer) heal(failures uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.healed = max(w.healed, failures)
}

// closedError maps the database's own word for closed to ours.
func closedError(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
