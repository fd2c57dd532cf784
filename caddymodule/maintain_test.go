package caddymodule

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	logtest "go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// countingStore counts the background work, and fails it while broken is set.
type countingStore struct {
	store.Store
	broken                  atomic.Bool
	follows, reads, sweeped atomic.Int64
}

func (s *countingStore) Revocations(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
	s.follows.Add(1)
	if s.broken.Load() {
		return nil, "", errors.New("gone")
	}
	return s.Store.Revocations(ctx, now, after)
}

func (s *countingStore) KeyRing(ctx context.Context) ([]byte, uint64, error) {
	s.reads.Add(1)
	return s.Store.KeyRing(ctx)
}

func (s *countingStore) Sweep(ctx context.Context, now time.Time) (int, error) {
	s.sweeped.Add(1)
	return s.Store.Sweep(ctx, now)
}

func maintained(t *testing.T) (*App, *countingStore, *logtest.ObservedLogs) {
	t.Helper()
	st := &countingStore{Store: store.NewMemory()}
	ring, err := keys.Open(t.Context(), time.Now(), st, keys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st.reads.Store(0)
	core, logs := logtest.New(zapcore.InfoLevel)
	return &App{logger: zap.New(core), store: st, keys: ring, state: &state{revoked: authserver.NewRevocationSet(), calls: newCallCounter()}}, st, logs
}

// TestMaintain runs the background work for a minute of a clock that does not
// take one.
func TestMaintain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, st, logs := maintained(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.maintain(ctx)
		}()
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		if f, r, s := st.follows.Load(), st.reads.Load(), st.sweeped.Load(); f != 120 || r != 6 || s != 1 {
			t.Errorf("in a minute: %d looks for revocations, %d for keys, %d sweeps", f, r, s)
		}
		cancel()
		<-ended
		if logs.Len() != 0 {
			t.Errorf("logged: %v", logs.All())
		}
	})
}

// TestMaintainOutlivesAnOutage: a failing step is tried again at every turn,
// and writes one line when it begins to fail and one when it works again.
func TestMaintainOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, st, logs := maintained(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.maintain(ctx)
		}()
		st.broken.Store(true)
		time.Sleep(30 * time.Second)
		st.broken.Store(false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		cancel()
		<-ended
		if f := st.follows.Load(); f < 118 {
			t.Errorf("%d looks for revocations in a minute", f)
		}
		var lines []string
		for _, e := range logs.All() {
			lines = append(lines, e.Level.String())
		}
		if len(lines) != 2 || lines[0] != "error" || lines[1] != "info" {
			t.Errorf("logged: %v", logs.All())
		}
	})
}

// TestLastUse: what the account page shows as last used is in the store within
// a minute of a call.
func TestLastUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, st, _ := maintained(t)
		began := time.Now()
		g := store.Grant{ID: "g", User: store.User{Subject: "alice"}, Created: began, Expires: began.Add(time.Hour), NotAfter: began.Add(time.Hour)}
		if err := st.CreateGrant(t.Context(), began, g); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.maintain(ctx)
		}()
		time.Sleep(10 * time.Second)
		called := time.Now()
		a.state.calls.enter(caller{grant: "g"}, 1, "192.0.2.1")
		a.state.calls.leave(caller{grant: "g"})
		time.Sleep(time.Minute)
		synctest.Wait()
		got, err := st.Grant(t.Context(), time.Now(), "g")
		if err != nil || !got.UsedAt.Equal(called) || got.UsedFrom != "192.0.2.1" {
			t.Errorf("used at %s from %q, %v; want %s", got.UsedAt, got.UsedFrom, err, called)
		}
		cancel()
		<-ended
	})
}
