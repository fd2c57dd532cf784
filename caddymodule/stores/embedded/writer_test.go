package embedded

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// parallel calls f from n goroutines and fails the test on any error.
func parallel(t testing.TB, n int, f func(i int) error) {
	t.Helper()
	must(t, inParallel(n, f))
}

// inParallel calls f from n goroutines and returns their errors.
func inParallel(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// stall keeps the writer busy until release is called.
func stall(t *testing.T, s *Store) (release func()) {
	t.Helper()
	busy, done, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.w.do(context.Background(), func(*bbolt.Tx) error {
			close(busy)
			<-done
			return errUnchanged
		})
	}()
	<-busy
	return func() {
		close(done)
		if err := <-ended; !errors.Is(err, errUnchanged) {
			t.Errorf("the stalling write: %v", err)
		}
	}
}

// eventually returns when what it asks for has come true.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it never came true")
		}
	}
}

// waitQueue returns when n writes are waiting.
func waitQueue(t *testing.T, s *Store, n int) {
	t.Helper()
	eventually(t, func() bool { return len(s.w.queue) == n })
}

// start calls f in a goroutine and returns where its error arrives.
func start(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	return c
}

// TestCrowdSharesACommit wants writes that wait together to be one commit.
func TestCrowdSharesACommit(t *testing.T) {
	const crowd = 64
	s := openTest(t, newPath(t))
	release := stall(t, s)
	done := start(func() error {
		return inParallel(crowd, func(i int) error {
			return s.CreateGrant(context.Background(), testNow, testGrant(fmt.Sprint(i)))
		})
	})
	waitQueue(t, s, crowd)
	before := s.w.commits.Load()
	release()
	must(t, <-done)
	if got := s.w.commits.Load() - before; got != 1 {
		t.Fatalf("%d writes took %d commits", crowd, got)
	}
	// A verdict alone needs none.
	before = s.w.commits.Load()
	if err := s.CreateGrant(t.Context(), testNow, testGrant("0")); !errors.Is(err, store.ErrExists) {
		t.Fatal(err)
	}
	if _, err := s.RevokeGrant(t.Context(), testNow, store.Revocation{GrantID: "none"}); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	if got := s.w.commits.Load() - before; got != 0 {
		t.Fatalf("verdicts took %d commits", got)
	}
}

// TestOneFailureIsAlone puts every kind of failure into one batch: the others
// must not notice, and nothing of the failed ones may stay.
func TestOneFailureIsAlone(t *testing.T) {
	s := openTest(t, newPath(t))
	release := stall(t, s)
	boom := errors.New("boom")
	junk := func(tx *bbolt.Tx, id string) {
		if err := putRecord(tx, record{}, record{Grant: testGrant(id)}); err != nil {
			t.Error(err)
		}
	}
	ctx := context.Background()
	steps := []func() error{
		func() error { return s.CreateGrant(ctx, testNow, testGrant("a")) },
		func() error { return s.CreateGrant(ctx, testNow, testGrant("a")) },
		func() error { return s.w.do(ctx, func(tx *bbolt.Tx) error { junk(tx, "x"); return boom }) },
		func() error { return s.w.do(ctx, func(tx *bbolt.Tx) error { junk(tx, "y"); panic("bang") }) },
		func() error { return s.CreateGrant(ctx, testNow, testGrant("b")) },
		func() error {
			_, err := s.RotateGrant(ctx, testNow, store.Rotation{ID: "a", Expires: testNow.Add(1)})
			return err
		},
	}
	var answers []<-chan error
	for i, f := range steps {
		answers = append(answers, start(f))
		waitQueue(t, s, i+1) // in this order
	}
	release()
	for i, want := range []error{nil, store.ErrExists, boom, errors.New("bang"), nil, nil} {
		err := <-answers[i]
		if want == nil {
			must(t, err)
		} else if !errors.Is(err, want) && (err == nil || !strings.Contains(err.Error(), want.Error())) {
			t.Errorf("step %d: %v, want %v", i, err, want)
		}
	}
	for id, want := range map[string]error{"a": nil, "b": nil, "x": store.ErrNotFound, "y": store.ErrNotFound} {
		if _, err := s.Grant(ctx, testNow, id); !errors.Is(err, want) {
			t.Errorf("Grant(%s): %v, want %v", id, err, want)
		}
	}
}

// TestContextEndsInTheQueue wants a write that was given up before its turn
// not to happen.
func TestContextEndsInTheQueue(t *testing.T) {
	s := openTest(t, newPath(t))
	release := stall(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	dropped := start(func() error { return s.CreateGrant(ctx, testNow, testGrant("dropped")) })
	waitQueue(t, s, 1)
	kept := start(func() error { return s.CreateGrant(context.Background(), testNow, testGrant("kept")) })
	waitQueue(t, s, 2)
	cancel()
	if err := <-dropped; !errors.Is(err, context.Canceled) {
		t.Errorf("CreateGrant: %v", err)
	}
	release()
	must(t, <-kept)
	if _, err := s.Grant(t.Context(), testNow, "dropped"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Grant: %v", err)
	}
}

// TestContextEndsInTheWrite wants the caller to get away from a write that is
// under way, without a verdict, and the write to be whole.
func TestContextEndsInTheWrite(t *testing.T) {
	s := openTest(t, newPath(t))
	ctx, cancel := context.WithCancel(t.Context())
	finish := make(chan struct{})
	got, err := write(ctx, s, func(tx *bbolt.Tx) (int, error) {
		cancel()
		<-finish
		return 7, putRecord(tx, record{}, record{Grant: testGrant("a")})
	})
	if !errors.Is(err, context.Canceled) || got != 0 || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("write: %d, %v", got, err)
	}
	close(finish)
	if err := s.CreateGrant(t.Context(), testNow, testGrant("a")); !errors.Is(err, store.ErrExists) {
		t.Errorf("CreateGrant after it: %v", err)
	}
}

// TestQueueIsBounded wants a caller to wait, no longer than its context, when
// the writer is far behind.
func TestQueueIsBounded(t *testing.T) {
	s := openTest(t, newPath(t))
	release := stall(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	done := start(func() error {
		return inParallel(maxQueue, func(i int) error {
			return s.CreateGrant(context.Background(), testNow, testGrant(fmt.Sprint(i)))
		})
	})
	waitQueue(t, s, maxQueue)
	over := start(func() error { return s.CreateGrant(ctx, testNow, testGrant("over")) })
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("CreateGrant: %v", err)
	}
	release()
	must(t, <-done)
	if _, err := s.Grant(t.Context(), testNow, "over"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Grant: %v", err)
	}
}

// TestCloseFinishesTheQueue wants accepted writes to be stored, and callers of
// a closing store to get an answer. It does it often, as the writer may look
// at the queue or at the end first.
func TestCloseFinishesTheQueue(t *testing.T) {
	for range 10 {
		closeWithQueue(t)
	}
}

func closeWithQueue(t *testing.T) {
	t.Helper()
	path := newPath(t)
	s := openTest(t, path)
	release := stall(t, s)
	const queued = 20
	accepted := start(func() error {
		return inParallel(queued, func(i int) error {
			return s.CreateGrant(context.Background(), testNow, testGrant(fmt.Sprint(i)))
		})
	})
	waitQueue(t, s, queued)
	closed := start(s.Close)
	<-s.w.closing
	if err := s.CreateGrant(t.Context(), testNow, testGrant("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("CreateGrant while closing: %v", err)
	}
	release()
	must(t, <-accepted)
	must(t, <-closed)

	s = openTest(t, path)
	for i := range queued {
		_, err := s.Grant(t.Context(), testNow, fmt.Sprint(i))
		must(t, err)
	}
	if _, err := s.Grant(t.Context(), testNow, "late"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Grant: %v", err)
	}
}

// TestQueuedTooLate is the write that slips into the queue after the writer's
// last look at it: it must neither hang nor count as done.
func TestQueuedTooLate(t *testing.T) {
	w := &writer{queue: make(chan *job, 1), closing: make(chan struct{}), stopped: make(chan struct{})}
	close(w.stopped)
	if err := w.do(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("do: %v", err)
	}
}

// TestCloseUnderLoad closes the store while many write: each gets an answer,
// and what was acknowledged is there.
func TestCloseUnderLoad(t *testing.T) {
	for range 5 {
		path := newPath(t)
		s := openTest(t, path)
		var mu sync.Mutex
		var stored []string
		begun := make(chan struct{})
		var once sync.Once
		done := start(func() error {
			return inParallel(32, func(w int) error {
				for i := 0; ; i++ {
					id := fmt.Sprint(w, "-", i)
					err := s.CreateGrant(context.Background(), testNow, testGrant(id))
					if errors.Is(err, ErrClosed) {
						return nil
					}
					if err != nil {
						return err
					}
					mu.Lock()
					stored = append(stored, id)
					mu.Unlock()
					once.Do(func() { close(begun) })
				}
			})
		})
		<-begun
		must(t, s.Close())
		must(t, <-done)
		s = openTest(t, path)
		for _, id := range stored {
			if _, err := s.Grant(t.Context(), testNow, id); err != nil {
				t.Fatalf("%s was acknowledged: %v", id, err)
			}
		}
	}
}

// TestNoGoroutineStays wants the writer's goroutine, and any of the database,
// to end with Close.
func TestNoGoroutineStays(t *testing.T) {
	for range 10 {
		s, err := Open(newPath(t))
		must(t, err)
		must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
		must(t, s.Close())
	}
	eventually(t, func() bool { // the goroutine's last instructions may be left to run
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		return !strings.Contains(stacks, "embedded.(*writer).run") && !strings.Contains(stacks, "created by go.etcd.io/bbolt")
	})
}
