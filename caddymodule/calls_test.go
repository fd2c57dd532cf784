package caddymodule

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// remembered counts the callers that are known.
func (c *callCounter) remembered() int {
	n := 0
	for i := range c.parts {
		n += len(c.parts[i].callers)
	}
	return n
}

func TestCallCounter(t *testing.T) {
	s, err := newState()
	if err != nil {
		t.Fatal(err)
	}
	c := s.(*state).calls
	var in []*openCalls
	for i, want := range []bool{true, true, false} {
		o := c.enter(caller{grant: "g"}, 2, "")
		if (o != nil) != want {
			t.Errorf("call %d is let in: %v", i+1, !want)
		}
		if o != nil {
			in = append(in, o)
		}
	}
	other := c.enter(caller{grant: "h"}, 2, "")
	if other == nil {
		t.Fatal("one grant's calls count for another")
	}
	if c.enter(caller{user: "g"}, 2, "") == nil {
		t.Error("a grant's calls count for a user")
	}
	in[0].leave()
	if in[0] = c.enter(caller{grant: "g"}, 2, "192.0.2.9"); in[0] == nil {
		t.Fatal("a place that was left is not free")
	}
	uses := c.takeUses()
	if len(uses) != 2 {
		t.Errorf("uses: %v", uses)
	}
	for _, u := range uses {
		if u.GrantID == "g" && u.From != "192.0.2.9" || time.Since(u.At) > time.Minute {
			t.Errorf("used %+v", u)
		}
	}
	if uses := c.takeUses(); len(uses) != 0 {
		t.Errorf("taken twice: %v", uses)
	}
	for _, o := range append(in, other) {
		o.leave()
	}
	if n := c.remembered(); n != 1 { // user g is still calling
		t.Errorf("%d callers left behind", n)
	}
}

// TestCallCounterTogether: whatever happens at once, no more than the limit are
// in, every use is told, and nothing is left behind.
func TestCallCounterTogether(t *testing.T) {
	const limit = 3
	c := newCallCounter()
	var wg, told sync.WaitGroup
	var mu sync.Mutex
	used, done := map[string]bool{}, make(chan struct{})
	take := func() {
		for _, u := range c.takeUses() {
			mu.Lock()
			used[u.GrantID] = true
			mu.Unlock()
		}
	}
	told.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				take()
			}
		}
	})
	for i := range 16 {
		wg.Go(func() {
			for j := range 500 {
				who := caller{grant: fmt.Sprint("g", j%5)}
				if i%2 == 0 {
					who = caller{user: fmt.Sprint("u", j%5)}
				}
				o := c.enter(who, limit, fmt.Sprint(i))
				if o == nil {
					continue
				}
				if n := o.open.Load(); n < 1 || n > limit {
					t.Errorf("%d calls at once", n)
				}
				o.leave()
			}
		})
	}
	wg.Wait()
	close(done)
	told.Wait()
	take()
	if len(used) != 5 || c.remembered() != 0 {
		t.Errorf("uses of %d grants were told, %d callers left behind", len(used), c.remembered())
	}
}

func BenchmarkEnter(b *testing.B) {
	c := newCallCounter()
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.enter(caller{grant: "g"}, 1<<30, "192.0.2.1").leave()
		}
	})
}
