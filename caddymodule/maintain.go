package caddymodule

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// How often the background work is done.
const (
	followEvery = 500 * time.Millisecond // revocations of other nodes, at the latest
	followPause = 50 * time.Millisecond  // and at the soonest
	resealEvery = time.Second            // a page of what is stored, while there is something to encrypt
	keysEvery   = 2 * time.Second        // key rings of other nodes
	retireEvery = 10 * time.Second       // open streams of retired keys
	clockEvery  = 10 * time.Second       // the store's clock
	sweepEvery  = time.Minute            // expired records, key rotation, last uses
	sweepPause  = 100 * time.Millisecond // between two batches of expired records
)

// Bounds of one piece of background work.
const (
	followTimeout = 5 * time.Second
	stepTimeout   = 10 * time.Second // any other
	lastTimeout   = 2 * time.Second  // what is done when the app stops
)

// maintain does the background work until the context ends. Each row of work has
// a goroutine, so that nothing slow delays revocations. A step that fails is
// tried again at its next turn.
func (a *App) maintain(ctx context.Context) {
	var rows sync.WaitGroup
	rows.Go(func() { a.follow(ctx) })
	rows.Go(func() { a.takeForce(ctx) })
	look, refresh := a.step("read the store's clock"), a.step("refresh keys")
	rows.Go(func() { every(ctx, clockEvery, clockEvery, func() { look.do(ctx, a.readClock) }) })
	rows.Go(func() { every(ctx, keysEvery, keysEvery, func() { refresh.do(ctx, a.refreshKeys) }) })
	rows.Go(func() { every(ctx, retireEvery, retireEvery, a.endRetired) })
	seal := a.step("encrypt what is stored")
	rows.Go(func() { every(ctx, resealEvery, resealEvery, func() { a.reseal(ctx, seal) }) })
	rotate, sweep, note := a.step("rotate keys"), a.step("sweep"), a.step("note uses")
	for _, row := range []func(){
		func() { rotate.do(ctx, a.rotate) },
		func() { a.sweep(ctx, sweep) },
		func() { note.do(ctx, a.noteUses) },
	} {
		// Nodes that start together don't sweep together.
		first := sweepEvery/2 + rand.N(sweepEvery/2) //nolint:gosec // when a node sweeps is no secret
		rows.Go(func() { every(ctx, first, sweepEvery, row) })
	}
	rows.Wait()
}

// every does something first after a while, and then again and again, until the
// context ends.
func every(ctx context.Context, first, period time.Duration, do func()) {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(period)
		do()
	}
}

// follow reads revocations every half second, and as soon as the store knows of
// new ones.
func (a *App) follow(ctx context.Context) {
	read, ok := a.step("follow revocations"), true
	read.timeout = followTimeout
	for {
		a.awaitRevocations(ctx, ok)
		if ctx.Err() != nil {
			return
		}
		ok = read.do(ctx, func(ctx context.Context, now time.Time) error {
			return a.state.revoked.Follow(ctx, now, a.store)
		})
	}
}

// awaitRevocations returns when it is time to read the feed. It waits the whole
// time if the last read failed, or a store that calls in vain would be asked
// without end.
func (a *App) awaitRevocations(ctx context.Context, hints bool) {
	ctx, cancel := context.WithTimeout(ctx, followEvery)
	defer cancel()
	if hints && a.state.revoked.Await(ctx, a.store) == nil {
		pause, stop := context.WithTimeout(ctx, followPause) // many may come at once
		defer stop()
		ctx = pause
	}
	<-ctx.Done()
}

// takeForce waits until the configuration is in force, and then brings the stored
// keys in line with it.
func (a *App) takeForce(ctx context.Context) {
	apply := a.step("apply key options")
	turn := time.NewTicker(followEvery)
	defer turn.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
		if !a.inForce() {
			continue
		}
		a.forced.Store(true)
		if apply.do(ctx, a.keys.Apply) {
			return
		}
	}
}

// reseal brings some of what is stored to its present form, once nothing can
// reject the configuration any more.
func (a *App) reseal(ctx context.Context, step *step) {
	if !a.forced.Load() {
		return
	}
	before := a.resealer.Done()
	step.do(ctx, func(ctx context.Context, now time.Time) error {
		_, err := a.resealer.Step(ctx, now)
		return err
	})
	if !before && a.resealer.Done() {
		a.logger.Info("all that is stored is encrypted with the newest key")
	}
}

// inForce reports whether this is the app of the running configuration. Caddy
// starts apps in no order, so a configuration may still be rejected after this
// one has started; until it is in force, nothing that is stored may change.
func (a *App) inForce() bool {
	app, err := caddy.ActiveContext().AppIfConfigured("mcp_auth")
	return err == nil && app == any(a)
}

func (a *App) readClock(ctx context.Context, _ time.Time) error {
	defer a.tellSkew()
	return a.clock.Look(ctx)
}

// noticeableSkew is how far two clocks differ until it is told, once per change.
const noticeableSkew = 3 * time.Second

// tellSkew warns if this machine's clock is another one than the store's: tokens of
// other issuers, and what logins say, are checked by the machine's.
func (a *App) tellSkew() {
	skew := a.clock.Skew()
	if (skew - a.skew).Abs() < noticeableSkew {
		return
	}
	a.skew = skew
	log := a.logger.Warn
	if skew.Abs() < noticeableSkew {
		log = a.logger.Info
	}
	log("the clocks of the store and of this machine differ; what this server issues and stores goes by the store's",
		zap.Duration("store_ahead_by", skew.Round(time.Millisecond)))
}

// refreshKeys takes over what other nodes did to the keys, and tells the operator if
// the store had lost them: then it lost grants and revocations too.
func (a *App) refreshKeys(ctx context.Context, now time.Time) error {
	err := a.keys.Refresh(ctx, now)
	if a.keys.Restored() {
		a.logger.Warn("the store had lost the keys, and this node has put them back; look what else the store has lost, such as grants")
		a.observer.Observe(ctx, oauth.Event{Kind: oauth.EventKeys, Reason: "restored"})
	}
	return err
}

func (a *App) rotate(ctx context.Context, now time.Time) error {
	changed, err := a.keys.Maintain(ctx, now)
	if changed {
		a.observer.Observe(ctx, oauth.Event{Kind: oauth.EventKeys, Reason: "scheduled_rotation"})
	}
	return err
}

// endRetired ends the open streams of tokens whose key was retired, here or on
// another node. It asks the ring itself: verifyKey may wait for the store.
func (a *App) endRetired() {
	a.state.revoked.EndRetired(func(keyID string) bool {
		_, _, ok := a.keys.Ring().VerifyKey(keyID)
		return ok
	})
}

// noteUses tells the store when grants were last used, so that people see it
// on every node. A failed round is not repeated: a grant that is in use is
// noted again.
func (a *App) noteUses(ctx context.Context, now time.Time) error {
	uses := a.state.calls.takeUses()
	if len(uses) == 0 {
		return nil
	}
	for i := range uses {
		uses[i].At = a.clock.At(uses[i].At)
	}
	return a.store.TouchGrants(ctx, now, uses)
}

// noteLastUses is noteUses for an app that stops. One that never came into force
// leaves them to the app that is.
func (a *App) noteLastUses() {
	if !a.forced.Load() && !a.inForce() {
		return
	}
	note := a.step("note uses")
	note.timeout = lastTimeout
	note.do(context.Background(), a.noteUses)
}

// sweep removes expired records, one batch after the other, with pauses for those
// who need the store meanwhile.
func (a *App) sweep(ctx context.Context, batch *step) {
	for removed := 1; removed > 0; {
		ok := batch.do(ctx, func(ctx context.Context, now time.Time) (err error) {
			removed, err = a.store.Sweep(ctx, now)
			return err
		})
		if !ok {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepPause):
		}
	}
}

// step is a piece of background work that is done again and again.
type step struct {
	faultLog
	clock   *store.Clock
	timeout time.Duration
}

func (a *App) step(name string) *step {
	return &step{faultLog{logger: a.logger, step: name}, a.clock, stepTimeout}
}

// do does it once, in bounded time, and reports whether it worked.
func (s *step) do(ctx context.Context, f func(ctx context.Context, now time.Time) error) bool {
	within, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := f(within, s.clock.Now())
	if ctx.Err() == nil {
		s.note(err)
	}
	return err == nil
}

// faultLog writes a line when a step begins to fail and when it works again,
// and none in between.
type faultLog struct {
	logger  *zap.Logger
	step    string
	failing bool
}

func (f *faultLog) note(err error) {
	switch {
	case err != nil && !f.failing:
		f.logger.Error("background work fails, it is tried again", zap.String("step", f.step), zap.Error(err))
	case err == nil && f.failing:
		f.logger.Info("background work is fine again", zap.String("step", f.step))
	}
	f.failing = err != nil
}
