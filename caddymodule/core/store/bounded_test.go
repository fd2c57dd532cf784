package store_test

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// patient is a store whose Ping does what the test says.
type patient struct {
	store.Store
	ping  func(ctx context.Context) error
	calls atomic.Int64
}

func (p *patient) Ping(ctx context.Context) error {
	p.calls.Add(1)
	return p.ping(ctx)
}

var errGone = errors.New("gone")

func fine(context.Context) error    { return nil }
func refused(context.Context) error { return errGone }

func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const budget = 1500 * time.Millisecond

// TestBudget: the calls of one request share a budget, and what goes by between
// them is not on it.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{ping: takes(time.Second)}
		b := store.NewBounded(p, nil)
		begin := time.Now()
		ctx := store.WithBudget(t.Context(), budget)
		if err := b.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // somebody else was slow
		if err := b.Ping(store.WithBudget(ctx, budget)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second call: %v", err)
		}
		if took := time.Since(begin) - time.Hour; took != budget {
			t.Errorf("both took %s", took)
		}
		if err := b.Ping(ctx); err == nil || time.Since(begin) != budget+time.Hour || p.calls.Load() != 2 {
			t.Errorf("the third call: %v", err)
		}
		if err := b.Ping(store.RenewBudget(ctx, budget)); err != nil {
			t.Errorf("with a budget of its own: %v", err)
		}
		if err := b.Ping(t.Context()); err != nil {
			t.Errorf("without one: %v", err)
		}
	})
}

// TestHung: a store that hangs costs callers nothing after a while, is looked at
// again every second, and is used again as soon as anything shows that it is back.
func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{Store: store.NewMemory(), ping: hangs}
		b := store.NewBounded(p, nil)
		ping := func(f func(context.Context) error) (time.Duration, error) {
			p.ping = f
			begin := time.Now()
			err := b.Ping(store.WithBudget(t.Context(), budget))
			return time.Since(begin), err
		}
		for range 3 {
			if took, _ := ping(hangs); took != budget {
				t.Fatalf("it took %s", took)
			}
		}
		asked := p.calls.Load()
		for range 50 {
			if took, err := ping(fine); took != 0 || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("hung: %s, %v", took, err)
			}
		}
		if p.calls.Load() != asked {
			t.Error("it was asked although it hangs")
		}
		time.Sleep(time.Second)
		if took, _ := ping(hangs); took != budget {
			t.Errorf("the look took %s", took)
		}
		if _, err := b.Grants(t.Context(), time.Now(), "alice", 1); err != nil {
			t.Error(err)
		}
		if _, err := ping(fine); err != nil {
			t.Errorf("background work has shown that it is back: %v", err)
		}
	})
}

// TestHeldRecord: calls that wait for one record, which somebody holds, keep
// nobody else from the store. If the store hangs indeed, one Ping confirms it, and
// others are refused a moment later.
func TestHeldRecord(t *testing.T) {
	for name, tt := range map[string]struct {
		ping    func(context.Context) error
		refused bool
	}{"the rest is quick": {fine, false}, "the rest fails": {refused, false}, "nobody knows about the rest": {hangs, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &patient{Store: store.NewMemory(), ping: tt.ping}
				b := store.NewBounded(store.Intercept(p, func(ctx context.Context, op string, call func(context.Context) error) error {
					if op == "rotate_grant" || op == "revoke_grant" {
						return hangs(ctx)
					}
					return call(ctx)
				}), nil)
				within := func() context.Context { return store.WithBudget(t.Context(), budget) }
				for range 5 {
					go func() { _, _ = b.RotateGrant(within(), time.Now(), store.Rotation{ID: "held"}) }()
					go func() { _, _ = b.RevokeGrant(within(), time.Now(), store.Revocation{GrantID: "held"}) }()
				}
				time.Sleep(budget + time.Second + 1)
				synctest.Wait()
				begin := time.Now()
				_, err := b.Grant(within(), time.Now(), "other")
				if errors.Is(err, context.DeadlineExceeded) != tt.refused || errors.Is(err, store.ErrNotFound) == tt.refused || time.Since(begin) != 0 {
					t.Errorf("about another record, after %s: %v", time.Since(begin), err)
				}
				if n := p.calls.Load(); n < 1 || n > 4 || tt.refused && n != 1 {
					t.Errorf("%d Pings for ten calls", n)
				}
			})
		})
	}
}

// TestNotHung: neither slow calls nor errors nor impatient callers make an outage.
func TestNotHung(t *testing.T) {
	for name, before := range map[string][]func(context.Context) error{
		"one slow call":        {hangs},
		"slow and fine":        {takes(time.Second), takes(time.Second), takes(time.Second), takes(time.Second)},
		"some of them":         {hangs, hangs, fine, hangs, hangs},
		"a verdict in between": {hangs, hangs, func(context.Context) error { return store.ErrNotFound }, hangs},
		"errors at once":       {refused, refused, refused, refused, refused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &patient{}
				b := store.NewBounded(p, nil)
				for _, p.ping = range before {
					_ = b.Ping(store.WithBudget(t.Context(), budget))
				}
				p.ping = fine
				if err := b.Ping(store.WithBudget(t.Context(), budget)); err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Run("callers that went away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			failed := 0
			p := &patient{ping: hangs}
			b := store.NewBounded(p, func(string, error) { failed++ })
			for range 5 {
				ctx, cancel := context.WithCancel(store.WithBudget(t.Context(), budget))
				time.AfterFunc(time.Second, cancel)
				if err := b.Ping(ctx); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
			p.ping = fine
			if err := b.Ping(store.WithBudget(t.Context(), budget)); err != nil || failed != 0 {
				t.Errorf("%v, %d failures", err, failed)
			}
		})
	})
}

// TestHungBounded: a bounded number of calls waits for a store that hangs.
func TestHungBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{ping: hangs}
		b := store.NewBounded(p, nil)
		var errs atomic.Int64
		for range 2 * store.MaxCalls {
			go func() {
				if b.Ping(store.WithBudget(t.Context(), budget)) != nil {
					errs.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n, e := p.calls.Load(), errs.Load(); n != store.MaxCalls || e != store.MaxCalls {
			t.Errorf("%d wait, %d were sent away", n, e)
		}
		time.Sleep(budget)
		synctest.Wait()
		if e := errs.Load(); e != 2*store.MaxCalls {
			t.Errorf("%d of them were answered", e)
		}
	})
}

// TestIntercept: every method goes through, under a name of its own.
func TestIntercept(t *testing.T) {
	ops := map[string]bool{}
	broken := store.Intercept(store.NewMemory(), func(_ context.Context, op string, _ func(context.Context) error) error {
		ops[op] = true
		return errGone
	})
	failed := map[string]bool{}
	b := reflect.ValueOf(store.NewBounded(broken, func(op string, _ error) { failed[op] = true }))
	methods := reflect.TypeFor[store.Store]()
	for m := range methods.Methods() {
		args := make([]reflect.Value, m.Type.NumIn())
		for j := range args {
			args[j] = reflect.Zero(m.Type.In(j))
		}
		args[0] = reflect.ValueOf(t.Context())
		out := b.MethodByName(m.Name).Call(args)
		if err, _ := reflect.TypeAssert[error](out[len(out)-1]); !errors.Is(err, errGone) {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	if len(ops) != methods.NumMethod() {
		t.Errorf("%d methods, intercepted are %v", methods.NumMethod(), ops)
	}
	if failed[store.OpAwait] || len(failed) != len(ops)-1 {
		t.Errorf("failures are counted of %v", failed)
	}
}
