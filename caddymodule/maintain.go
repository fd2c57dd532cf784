package caddymodule

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// How often the background work is done.
const (
	followEvery  = 500 * time.Millisecond // revocations of other nodes
	refreshEvery = 10 * time.Second       // key rings of other nodes
	sweepEvery   = time.Minute            // expired records, key rotation, last uses
)

// stepTimeout bounds one round of background work.
const stepTimeout = 10 * time.Second

// maintain does the background work until the context ends. One failing step
// stops no other, and is tried again at its next turn.
func (a *App) maintain(ctx context.Context) {
	follow, refresh, sweep := time.NewTicker(followEvery), time.NewTicker(refreshEvery), time.NewTicker(sweepEvery)
	defer follow.Stop()
	defer refresh.Stop()
	defer sweep.Stop()
	steps := map[string]*faultLog{}
	for _, name := range []string{"follow revocations", "apply key options", "refresh keys", "rotate keys", "sweep", "note uses"} {
		steps[name] = &faultLog{logger: a.logger, step: name}
	}
	do := func(name string, f func(context.Context, time.Time) error) {
		step, cancel := context.WithTimeout(ctx, stepTimeout)
		defer cancel()
		if err := f(step, time.Now()); ctx.Err() == nil {
			steps[name].note(err)
		}
	}
	applied := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-follow.C:
			do("follow revocations", func(ctx context.Context, now time.Time) error {
				return a.state.revoked.Follow(ctx, now, a.store)
			})
			if !applied && a.inForce() {
				do("apply key options", func(ctx context.Context, now time.Time) error {
					err := a.keys.Apply(ctx, now)
					applied = err == nil
					return err
				})
			}
		case <-refresh.C:
			do("refresh keys", a.keys.Refresh)
		case <-sweep.C:
			do("rotate keys", a.rotate)
			do("sweep", a.sweep)
			do("note uses", a.noteUses)
		}
	}
}

// inForce reports whether this is the app of the running configuration. Caddy
// starts apps in no order, so a configuration may still be rejected after this
// one has started; until it is in force, nothing that is stored may change.
func (a *App) inForce() bool {
	app, err := caddy.ActiveContext().AppIfConfigured("mcp_auth")
	return err == nil && app == any(a)
}

func (a *App) rotate(ctx context.Context, now time.Time) error {
	changed, err := a.keys.Maintain(ctx, now)
	if changed {
		a.observer.Observe(ctx, oauth.Event{Kind: oauth.EventKeys, Reason: "scheduled_rotation"})
	}
	return err
}

// noteUses tells the store when grants were last used, so that people see it
// on every node. A failed round is not repeated: a grant that is in use is
// noted again.
func (a *App) noteUses(ctx context.Context, now time.Time) error {
	uses := a.state.calls.takeUses()
	if len(uses) == 0 {
		return nil
	}
	return a.store.TouchGrants(ctx, now, uses)
}

// sweep removes expired records, a bounded number at a time.
func (a *App) sweep(ctx context.Context, now time.Time) error {
	for {
		n, err := a.store.Sweep(ctx, now)
		if n == 0 || err != nil {
			return err
		}
	}
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
