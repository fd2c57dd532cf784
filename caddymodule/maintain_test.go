package caddymodule

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	logtest "go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/atrest"
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
	clock, err := store.NewClock(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return &App{logger: zap.New(core), store: st, clock: clock, keys: ring, state: &state{revoked: authserver.NewRevocationSet(), calls: newCallCounter()}}, st, logs
}

// run does the background work of an app until the function that it returns is
// called.
func run(t *testing.T, a *App) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.maintain(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// TestMaintain runs the background work for a minute of a clock that does not
// take one.
func TestMaintain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, st, logs := maintained(t)
		end := run(t, a)
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		if f, r, s := st.follows.Load(), st.reads.Load(), st.sweeped.Load(); f != 120 || r != 30 || s != 1 {
			t.Errorf("in a minute: %d looks for revocations, %d for keys, %d sweeps", f, r, s)
		}
		end()
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
		end := run(t, a)
		st.broken.Store(true)
		time.Sleep(30 * time.Second)
		st.broken.Store(false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		end()
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
		end := run(t, a)
		time.Sleep(10 * time.Second)
		called := time.Now()
		a.state.calls.enter(caller{grant: "g"}, 1, "192.0.2.1").leave()
		time.Sleep(time.Minute)
		synctest.Wait()
		got, err := st.Grant(t.Context(), time.Now(), "g")
		if err != nil || !got.UsedAt.Equal(called) || got.UsedFrom != "192.0.2.1" {
			t.Errorf("used at %s from %q, %v; want %s", got.UsedAt, got.UsedFrom, err, called)
		}
		end()
	})
}

// TestRevocationsAreNotDelayed: however long the other work takes, revocations of
// other nodes arrive in time: at the next poll, and at once if the store calls.
func TestRevocationsAreNotDelayed(t *testing.T) {
	for name, tt := range map[string]struct {
		calls bool
		want  time.Duration
	}{"polled": {false, followEvery}, "called": {true, followPause}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, st, _ := maintained(t)
				a.store = store.Intercept(st, func(ctx context.Context, op string, call func(context.Context) error) error {
					switch op {
					case "revocations":
					case store.OpAwait:
						if !tt.calls {
							return errors.New("no such thing")
						}
					default: // hangs
						<-ctx.Done()
						return ctx.Err()
					}
					return call(ctx)
				})
				defer run(t, a)()
				time.Sleep(2*time.Minute + 13*time.Millisecond)
				begin := time.Now()
				ended := make(chan struct{})
				a.state.revoked.Watch(&authserver.Watch{Of: &authserver.Watched{Token: "jti"}, End: func() { close(ended) }})
				if err := st.Announce(t.Context(), begin, store.Revocation{Token: "jti", Reason: "client", Until: begin.Add(time.Hour)}); err != nil {
					t.Fatal(err)
				}
				<-ended
				if took := time.Since(begin); took > tt.want {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestVainCalls: a store that calls without need is not read in a tight loop, nor
// is one that calls and can't be read.
func TestVainCalls(t *testing.T) {
	for name, tt := range map[string]struct {
		broken bool
		most   int64
	}{"nothing new": {false, int64(time.Minute / followPause)}, "can't be read": {true, int64(time.Minute / followEvery)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, st, _ := maintained(t)
				st.broken.Store(tt.broken)
				a.store = store.Intercept(st, func(ctx context.Context, op string, call func(context.Context) error) error {
					if op == store.OpAwait {
						return nil
					}
					return call(ctx)
				})
				defer run(t, a)()
				time.Sleep(time.Minute)
				if n := st.follows.Load(); n > tt.most || n < tt.most/2 {
					t.Errorf("%d looks in a minute, at most %d were due", n, tt.most)
				}
			})
		})
	}
}

// TestSweepInBatches: expired records go a batch at a time, with pauses, and nodes
// that start together do not sweep together.
func TestSweepInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var firsts []time.Duration
		for range 8 {
			a, st, _ := maintained(t)
			for i := range 2500 {
				if _, err := st.Use(t.Context(), time.Now(), strconv.Itoa(i), time.Now().Add(time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			var turns []time.Time
			a.store = store.Intercept(st, func(ctx context.Context, op string, call func(context.Context) error) error {
				if op == "sweep" {
					turns = append(turns, time.Now())
				}
				return call(ctx)
			})
			begin := time.Now()
			end := run(t, a)
			time.Sleep(sweepEvery + 10*sweepPause)
			end()
			if len(turns) != 4 || turns[3].Sub(turns[0]) != 3*sweepPause { // the last one finds nothing
				t.Errorf("it sweeps at %v", turns)
			}
			firsts = append(firsts, turns[0].Sub(begin))
		}
		if slices.Max(firsts) == slices.Min(firsts) || slices.Min(firsts) < sweepEvery/2 || slices.Max(firsts) > sweepEvery {
			t.Errorf("they sweep at %v", firsts)
		}
	})
}

// TestClocksDiffer: that the store's clock is another one is told once per change.
func TestClocksDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, st, logs := maintained(t)
		ahead := new(atomic.Int64)
		a.store = aheadStore{st, ahead}
		var err error
		if a.clock, err = store.NewClock(t.Context(), a.store); err != nil {
			t.Fatal(err)
		}
		defer run(t, a)()
		for _, tt := range []struct {
			ahead, clock time.Duration
			want         string
		}{
			{0, 0, ""},
			{time.Second, time.Second, ""},
			{time.Minute, time.Minute, "warn 1m0s"},
			{-time.Minute, -time.Minute, "warn -1m0s"},
			{50 * 365 * 24 * time.Hour, -time.Minute, "error 0s"},
			{0, 0, "info 0s"},
		} {
			ahead.Store(int64(tt.ahead))
			time.Sleep(5 * clockEvery)
			got := ""
			for _, e := range logs.TakeAll() {
				if e.Message == "background work is fine again" {
					continue
				}
				by, _ := e.ContextMap()["store_ahead_by"].(time.Duration)
				got += e.Level.String() + " " + by.String()
			}
			if off := time.Until(a.clock.Now()); got != tt.want || off != tt.clock {
				t.Errorf("ahead by %s: logged %q, clock %s ahead", tt.ahead, got, off)
			}
		}
	})
}

// aheadStore is a store whose clock is ahead.
type aheadStore struct {
	store.Store
	ahead *atomic.Int64
}

func (s aheadStore) Now(context.Context) (time.Time, error) {
	return time.Now().Add(time.Duration(s.ahead.Load())), nil
}

// TestLastUsesAreNoted: an app that was in force notes uses when it stops, by the
// store's clock, and a store that hangs keeps it for a moment only.
func TestLastUsesAreNoted(t *testing.T) {
	for name, tt := range map[string]struct{ forced, hangs bool }{
		"in force": {true, false}, "never in force": {false, false}, "the store hangs": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, st, _ := maintained(t)
				ahead := new(atomic.Int64)
				ahead.Store(int64(time.Hour))
				var err error
				if a.clock, err = store.NewClock(t.Context(), aheadStore{st, ahead}); err != nil {
					t.Fatal(err)
				}
				a.store = store.Intercept(st, func(ctx context.Context, op string, call func(context.Context) error) error {
					if tt.hangs {
						<-ctx.Done()
						return ctx.Err()
					}
					return call(ctx)
				})
				began := a.clock.Now()
				g := store.Grant{ID: "g", User: store.User{Subject: "alice"}, Created: began, Expires: began.Add(time.Hour), NotAfter: began.Add(time.Hour)}
				if err := st.CreateGrant(t.Context(), began, g); err != nil {
					t.Fatal(err)
				}
				a.served = true
				end := run(t, a)
				time.Sleep(time.Second)
				a.state.calls.enter(caller{grant: "g"}, 1, "192.0.2.1")
				time.Sleep(time.Second)
				end()
				a.forced.Store(tt.forced)
				stopped := time.Now()
				if err := a.Stop(); err != nil || time.Since(stopped) > lastTimeout {
					t.Errorf("%v after %s", err, time.Since(stopped))
				}
				got, err := st.Grant(t.Context(), began, "g")
				want := time.Time{}
				if tt.forced && !tt.hangs {
					want = began.Add(time.Second)
				}
				if err != nil || !got.UsedAt.Equal(want) {
					t.Errorf("used at %s, %v, want %s", got.UsedAt, err, want)
				}
			})
		})
	}
}

// TestResealInBackground: with a secret, what was stored in the clear is
// encrypted once the configuration is in force, and the log says so once.
func TestResealInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, st, logs := maintained(t)
		ring, err := keys.Open(t.Context(), time.Now(), st, keys.Options{Secret: []byte("a secret of at least thirty-two bytes")})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		g := store.Grant{ID: "g", User: store.User{Subject: "alice"}, Created: began, Expires: began.Add(time.Hour), NotAfter: began.Add(time.Hour)}
		if err := st.CreateGrant(t.Context(), began, g); err != nil {
			t.Fatal(err)
		}
		sealing := atrest.New(st, ring)
		a.keys, a.store, a.resealer = ring, sealing, atrest.NewResealer(sealing)
		defer run(t, a)()
		sealed := func(after time.Duration) bool {
			time.Sleep(after)
			synctest.Wait()
			kept, err := st.Grant(t.Context(), time.Now(), "g")
			if err != nil {
				t.Fatal(err)
			}
			return kept.Sealed != "" && kept.User.Subject != "alice"
		}
		if sealed(10 * time.Second) {
			t.Error("a configuration that may still be rejected changes what is stored")
		}
		a.forced.Store(true)
		if !sealed(2 * time.Second) {
			t.Error("it is not encrypted")
		}
		if !sealed(12*time.Minute) || !a.resealer.Done() || logs.FilterMessage("all that is stored is encrypted with the newest key").Len() != 1 {
			t.Errorf("logged: %v", logs.All())
		}
	})
}
