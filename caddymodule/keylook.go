package caddymodule

import (
	"context"
	"sync"
	"time"
)

// Bounds of looks for a signing key that nobody here has heard of.
const (
	keyLookEvery   = time.Second // at most, whatever tokens name
	keyLookTimeout = time.Second // for the look, and for whoever waits for it
)

// verifyKey finds the key that signed a token. A key that signs as soon as it is
// made (another algorithm, rotate?immediately, retire) is known to other nodes at
// their next look at the ring; a token that comes before does not wait for that,
// or it would be refused although it is good.
func (a *App) verifyKey(kid string) (string, any, bool) {
	alg, key, ok := a.keys.Ring().VerifyKey(kid)
	if !ok && a.newKeys.look(a.ctx, a.lookForKeys) {
		return a.keys.Ring().VerifyKey(kid)
	}
	return alg, key, ok
}

func (a *App) lookForKeys(ctx context.Context) error { return a.keys.Refresh(ctx, a.clock.Now()) }

// keyLook makes looks for new keys, one at a time. Anybody can send a token that
// names a key which does not exist, so there is a look a second at most: who comes
// while it is under way waits for it, and who comes later goes without.
type keyLook struct {
	mu    sync.Mutex
	began time.Time
	done  chan struct{} // of the last look: closed when it is over
}

// look reports whether there was a look since the call, so that it is worth
// asking again. It waits for a second at most; what fails is told by the look that
// the background work makes.
func (l *keyLook) look(ctx context.Context, refresh func(context.Context) error) bool {
	done, rest := l.join(ctx, refresh)
	if rest <= 0 {
		return false
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// join returns the look that is under way, after it has begun one if it may, and
// for how long it is worth waiting for. That is 0 if there is none.
func (l *keyLook) join(ctx context.Context, refresh func(context.Context) error) (<-chan struct{}, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	over := l.done == nil
	if !over {
		select {
		case <-l.done:
			over = true
		default:
		}
	}
	switch {
	case !over:
		return l.done, keyLookTimeout - time.Since(l.began)
	case l.done != nil && time.Since(l.began) < keyLookEvery:
		return nil, 0
	}
	done := make(chan struct{})
	l.began, l.done = time.Now(), done
	go func() {
		defer close(done)
		within, cancel := context.WithTimeout(ctx, keyLookTimeout)
		defer cancel()
		_ = refresh(within)
	}()
	return done, keyLookTimeout
}
