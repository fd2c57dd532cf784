package password

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

// address returns one of many IPv4 addresses.
func address(n int) string { return fmt.Sprintf("203.%d.%d.%d", n>>16&0xff, n>>8&0xff, n&0xff) }

// TestBackOff wants waits that double up to a quarter of an hour, and failures
// to be forgotten one by one.
func TestBackOff(t *testing.T) {
	r := newRig(t, alice(t))
	for range pairPolicy.free {
		r.wrong("alice", "guess", elsewhere)
	}
	for want := pairPolicy.first; ; want *= 2 {
		got := r.throttled("alice", "sesame", elsewhere) // not even the right one
		if got != min(want, pairPolicy.longest) {
			t.Fatalf("the wait is %s, want %s", got, want)
		}
		if got == pairPolicy.longest {
			break
		}
		r.pass(got - time.Nanosecond)
		r.throttled("alice", "sesame", elsewhere)
		r.pass(time.Nanosecond)
		r.wrong("alice", "guess", elsewhere)
	}
	// Quiet of an hour after the wait forgets four of them.
	r.pass(pairPolicy.longest + time.Hour)
	r.wrong("alice", "guess", elsewhere)
	if got, want := r.throttled("alice", "guess", elsewhere), pairPolicy.wait(pairPolicy.top()-3); got != want {
		t.Errorf("after an hour the wait is %s, want %s", got, want)
	}
	r.pass(24 * time.Hour)
	for range pairPolicy.free {
		r.wrong("alice", "guess", elsewhere)
	}
	r.throttled("alice", "guess", elsewhere)
}

// TestSuccessStartsAnew wants mistakes before a success not to count after it.
func TestSuccessStartsAnew(t *testing.T) {
	r := newRig(t, alice(t))
	for range 4 {
		for range pairPolicy.free - 1 {
			r.wrong("alice", "typo", home)
		}
		r.in("alice", "sesame", home)
	}
}

// TestSuccessIsNoFailure wants people who travel, and offices full of people, to
// sign in as often as they like.
func TestSuccessIsNoFailure(t *testing.T) {
	r := newRig(t, alice(t))
	for i := range 3 * accountPolicy.free {
		r.in("alice", "sesame", address(i))
	}
	var all []*account
	for i := range 3 * addressPolicy.free {
		all = append(all, mustAccount(t, User{Username: fmt.Sprint("u", i), Hash: cheapArgon2("sesame")}))
	}
	must(t, r.use(all))
	for _, a := range all {
		r.in(a.Username, "sesame", elsewhere)
	}
}

// TestUnknownIsThrottledAlike (SPEC O44): a stranger can't tell a user from a
// name that nobody has, nor from a disabled one, by the throttling.
func TestUnknownIsThrottledAlike(t *testing.T) {
	outcomes := func(name string) []string {
		r := newRig(t, alice(t), User{Username: "bob", Hash: cheapBcrypt(t, "x"), Disabled: true})
		r.compare = func(passhash.Hash, string) (bool, error) { return false, nil }
		var got []string
		for i := range 300 {
			_, err := r.try(name, "guess", address(i%7))
			got = append(got, err.Error())
			r.pass(time.Duration(i) * 100 * time.Millisecond)
		}
		must(t, r.Cleanup()) // the next begins with nothing counted
		return got
	}
	want := outcomes("alice")
	throttled := 0
	for _, name := range []string{"bob", "nobody", "\xff", "name with blanks"} {
		for i, got := range outcomes(name) {
			if got != want[i] {
				t.Fatalf("%q, attempt %d: %q, but for alice %q", name, i, got, want[i])
			}
			if got != login.ErrRejected.Error() {
				throttled++
			}
		}
	}
	if throttled == 0 {
		t.Error("nothing was throttled")
	}
}

// TestDisabledIsThrottled: the right password of a disabled user leaves the same
// record as a wrong one, or else the record would tell.
func TestDisabledIsThrottled(t *testing.T) {
	r := newRig(t, User{Username: "bob", Hash: cheapBcrypt(t, "sesame"), Disabled: true})
	for range pairPolicy.free {
		r.wrong("bob", "sesame", home)
	}
	r.throttled("bob", "sesame", home)
}

// TestNobodyIsLockedOut: whatever strangers do to an account, from wherever,
// the person signs in from where they did before, and from networks where
// nobody attacks; inside an attacked one they wait for their turn.
func TestNobodyIsLockedOut(t *testing.T) {
	r := newRig(t, alice(t))
	r.in("alice", "sesame", home)
	for i := range 2000 {
		_, _ = r.try("alice", "guess", address(i))
	}
	r.in("alice", "sesame", home)
	// Her own mistakes there are hers alone.
	r.wrong("alice", "typo", home)
	r.in("alice", "sesame", home)
	r.in("alice", "sesame", elsewhere)

	inside := address(250)
	wait := r.throttled("alice", "sesame", inside)
	if wait > accountPolicy.longest {
		t.Fatalf("a new place has to wait %s", wait)
	}
	r.pass(wait)
	r.in("alice", "sesame", inside)
	r.in("alice", "sesame", inside) // now it is known
}

// TestNeighboursLockNobodyOut: one who shares an address with others, and makes
// it wait, does not keep those out who signed in from there before.
func TestNeighboursLockNobodyOut(t *testing.T) {
	r := newRig(t, alice(t))
	r.in("alice", "sesame", home)
	for i := range 100 {
		_, _ = r.try(fmt.Sprint("name", i), "guess", home)
	}
	r.throttled("another", "guess", home)
	r.in("alice", "sesame", home)
}

// TestKnownPlaceIsNoFreePass: from a place where the person was before, guessing
// is slowed down like anywhere.
func TestKnownPlaceIsNoFreePass(t *testing.T) {
	r := newRig(t, alice(t))
	r.in("alice", "sesame", home)
	for range pairPolicy.free {
		r.wrong("alice", "guess", home)
	}
	r.throttled("alice", "sesame", home)
	r.in("alice", "sesame", elsewhere) // these failures were not counted for the account
}

// TestOwnAccountIsNoMeans: someone with an account of their own can't clean
// their address's record by signing in between guesses at others.
func TestOwnAccountIsNoMeans(t *testing.T) {
	r := newRig(t, alice(t), User{Username: "mallory", Hash: cheapBcrypt(t, "own")})
	for i := range addressPolicy.free {
		r.wrong(fmt.Sprint("victim", i), "guess", elsewhere)
		r.in("mallory", "own", elsewhere)
	}
	r.throttled("alice", "guess", elsewhere)
	r.in("mallory", "own", elsewhere)
	r.throttled("alice", "guess", elsewhere)
}

// TestGuessesPerHour holds what the limits are worth against someone who never
// lets a chance pass.
func TestGuessesPerHour(t *testing.T) {
	const hour = time.Hour
	for name, tt := range map[string]struct {
		user, from  func(i int) string
		first, next int
	}{
		"one account, one address": {
			func(int) string { return "alice" }, func(int) string { return elsewhere }, 16, 4,
		},
		"any account, one address": {
			func(i int) string { return fmt.Sprint("u", i) }, func(int) string { return elsewhere }, 31, 4,
		},
		"one account, one IPv4 network": {
			func(int) string { return "alice" }, func(i int) string { return address(i % 256) }, 134, 121,
		},
		"one account, fresh /64s of one /48": {
			func(int) string { return "alice" }, func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i) }, 134, 121,
		},
		"one account, fresh /48s of one /32": {
			func(int) string { return "alice" }, func(i int) string { return fmt.Sprintf("2001:db8:%x::1", i) }, 179, 121,
		},
		"one account, address unknown": {
			func(int) string { return "alice" }, func(int) string { return "" }, 133, 120,
		},
		"one account, one /64": {
			func(int) string { return "alice" }, func(i int) string { return fmt.Sprintf("2001:db8:1:2::%x", i) }, 16, 4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, alice(t))
			guesses := [3]int{}
			r.compare = func(passhash.Hash, string) (bool, error) { return false, nil }
			for start, i := r.clock(), 0; r.clock().Sub(start) < 3*hour; i++ {
				_, err := r.try(tt.user(i), "guess", tt.from(i))
				if wait := waitOf(err); wait > 0 {
					r.pass(wait)
					continue
				}
				guesses[r.clock().Sub(start)/hour]++
			}
			if guesses[0] != tt.first || guesses[1] != tt.next || guesses[2] != tt.next {
				t.Errorf("%d guesses, want %d and then %d each hour", guesses, tt.first, tt.next)
			}
		})
	}
}

// TestNetworks wants addresses of one subscriber to be one.
func TestNetworks(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":                    "192.0.2.1/32",
		"::ffff:192.0.2.1":             "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6":         "2001:db8:1:2::/64",
		"2001:DB8:1:2::":               "2001:db8:1:2::/64",
		"2001:db8:1:3::1":              "2001:db8:1:3::/64",
		"fe80::1%eth0":                 "fe80::/64",
		"fe80::1%" + home:              "fe80::/64",
		"::1":                          "::/64",
		"":                             "invalid Prefix",
		"@":                            "invalid Prefix",
		"192.0.2.1:80":                 "invalid Prefix",
		"192.0.2.01":                   "invalid Prefix",
		"unknown":                      "invalid Prefix",
		"192.0.2.1, 192.0.2.2":         "invalid Prefix",
		"[2001:db8::1]":                "invalid Prefix",
		"2001:db8:1:2:3:4:5:6:7:8:9:a": "invalid Prefix",
	} {
		if got := addressOf(in).String(); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestNoAddress: where the host can't tell who is asking, everybody would share
// one record. So nobody is kept out for longer than the account's half minute,
// and no place is remembered.
func TestNoAddress(t *testing.T) {
	for _, nowhere := range []string{"", "@"} {
		r := newRig(t, alice(t))
		r.compare = func(h passhash.Hash, p string) (bool, error) { return p == "sesame", nil }
		r.in("alice", "sesame", nowhere)
		for i := range 500 {
			_, _ = r.try(fmt.Sprint("name", i), "guess", nowhere)
		}
		r.in("alice", "sesame", nowhere)
		for range accountPolicy.free {
			_, _ = r.try("alice", "guess", nowhere)
		}
		for range 10 {
			wait := r.throttled("alice", "sesame", nowhere)
			if wait > accountPolicy.longest {
				t.Fatalf("the wait is %s", wait)
			}
			r.pass(wait)
			if _, err := r.try("alice", "guess", nowhere); !errors.Is(err, login.ErrRejected) {
				t.Fatal(err)
			}
		}
		must(t, r.Cleanup())
	}
}

// TestParallelGuesses: many guesses at once must not all be let in before the
// first of them has failed.
func TestParallelGuesses(t *testing.T) {
	for name, tt := range map[string]struct {
		from  func(i int) string
		known bool
		want  int64
	}{
		"one address":    {from: func(int) string { return elsewhere }, want: 5},
		"a known place":  {from: func(int) string { return home }, known: true, want: 5},
		"many addresses": {from: address, want: 10 + 5}, // first attempts of one network
		"no address":     {from: func(int) string { return "" }, want: 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, alice(t))
				if tt.known {
					r.in("alice", "sesame", home)
				}
				const guesses = 200
				r.state.gate = passhash.NewGate(guesses) // it must not be what holds them back
				var computed, throttled atomic.Int64
				verdict := make(chan struct{})
				r.compare = func(passhash.Hash, string) (bool, error) {
					computed.Add(1)
					<-verdict
					return false, nil
				}
				var all sync.WaitGroup
				for i := range guesses {
					all.Go(func() {
						if _, err := r.try("alice", "guess", tt.from(i)); waitOf(err) > 0 {
							throttled.Add(1)
						}
					})
				}
				synctest.Wait() // all have been let in or not, and none has failed
				if in, out := computed.Load(), throttled.Load(); in != tt.want || out != guesses-tt.want {
					t.Errorf("%d guesses got through and %d were throttled, want %d and %d", in, out, tt.want, guesses-tt.want)
				}
				close(verdict)
				all.Wait()
			})
		})
	}
}

// TestDoubleSubmit wants two clicks with the right password to be two sign-ins.
func TestDoubleSubmit(t *testing.T) {
	r := newRig(t, alice(t))
	r.state.gate = passhash.NewGate(2)
	var both sync.WaitGroup
	both.Add(2)
	r.during = func() { both.Done(); both.Wait() }
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if _, err := r.try("alice", "sesame", home); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	r.during = nil
	r.in("alice", "sesame", home)
}

// TestFloodOfHashes: no more are computed at a time than there are slots, no more
// wait than there is room for, and those who are known find room when strangers
// have filled theirs. What was not compared is no failure.
func TestFloodOfHashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, alice(t))
		r.in("alice", "sesame", home)
		r.state.gate = passhash.NewGate(2)
		var running, most atomic.Int64
		release := make(chan struct{})
		r.during = func() {
			most.Store(max(most.Load(), running.Add(1)))
			<-release
			running.Add(-1)
		}
		const strangers = 2 + 2*passhash.RoomPerSlot/2
		var all sync.WaitGroup
		for i := range strangers {
			all.Go(func() { r.wrongLater(fmt.Sprint("name", i), address(i)) })
		}
		synctest.Wait()
		for i := range 3 * pairPolicy.free {
			if wait := waitOf(func() error { _, err := r.try("late", "guess", address(999)); return err }()); wait != busyRetry {
				t.Fatalf("attempt %d in a full room: wait %s, want %s", i, wait, busyRetry)
			}
		}
		all.Go(func() {
			if _, err := r.try("alice", "sesame", home); err != nil {
				t.Errorf("alice, who is known: %v", err)
			}
		})
		synctest.Wait()

		// Someone gives up waiting.
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := r.tryIn(ctx, "alice", "sesame", home)
			gone <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled attempt: %v", err)
		}
		close(release)
		all.Wait()
		if n := most.Load(); n != 2 {
			t.Errorf("%d hashes at a time, want 2", n)
		}
		if n := r.state.gate.Waiting(); n != 0 {
			t.Errorf("%d still wait", n)
		}
		// None of the refused attempts was counted.
		for range pairPolicy.free {
			r.wrong("late", "guess", address(999))
		}
	})
}

// wrongLater is wrong for attempts that run beside others.
func (r *rig) wrongLater(user, ip string) {
	if _, err := r.try(user, "guess", ip); !errors.Is(err, login.ErrRejected) {
		r.t.Errorf("%s from %s: %v", user, ip, err)
	}
}

// TestReloadForgivesNothing: a reload of the configuration is no new start for
// one who guesses.
func TestReloadForgivesNothing(t *testing.T) {
	old := newRig(t, alice(t))
	old.in("alice", "sesame", home)
	for range pairPolicy.free {
		old.wrong("alice", "guess", elsewhere)
	}
	reloaded := newRig(t, alice(t))
	must(t, old.Cleanup())
	must(t, old.Cleanup()) // twice is once
	must(t, new(Login).Cleanup())
	reloaded.throttled("alice", "guess", elsewhere)
	if n, _ := pool.References(poolKey); n != 1 {
		t.Errorf("%d references, want 1", n)
	}
	for i := range 100 {
		_, _ = reloaded.try("alice", "guess", address(i))
	}
	reloaded.in("alice", "sesame", home) // known before the reload

	must(t, reloaded.Cleanup())
	if n, there := pool.References(poolKey); there {
		t.Errorf("%d references after the last configuration", n)
	}
}

// TestLoginsCountApart wants two ways to sign in to keep their users' records
// apart: alice here need not be alice there.
func TestLoginsCountApart(t *testing.T) {
	here, there := newRig(t, alice(t)), &rig{t: t, Login: &Login{ID: "staff", Users: []User{alice(t)}}}
	there.time = here.time
	there.provision()
	for range pairPolicy.free {
		here.wrong("alice", "guess", elsewhere)
	}
	here.throttled("alice", "guess", elsewhere)
	there.in("alice", "sesame", elsewhere)
}

// TestFloodIsBounded: a flood of names and addresses takes no more memory than
// planned, and does not make the record of a hot target disappear.
func TestFloodIsBounded(t *testing.T) {
	const size = 500
	now := time.Unix(1_800_000_000, 0)
	th := newThrottle(func() time.Time { return now }, size)
	home, err := th.reserve("alice", home, "")
	must(t, err)
	home.succeed()
	for range accountPolicy.free {
		a, err := th.reserve("alice", "", "")
		must(t, err)
		_ = a
	}
	_, err = th.reserve("alice", elsewhere, "") // the first attempt there
	must(t, err)
	for i := range 10 * size {
		if _, err := th.reserve("alice", elsewhere, ""); waitOf(err) <= 0 {
			t.Fatalf("after %d others: %v", i, err)
		}
		_, err := th.reserve(fmt.Sprint("name", i), address(i), "")
		must(t, err)
		_, err = th.reserve("alice", fmt.Sprintf("%x:%x::1", 0x2000+i, i), "") // of many providers
		must(t, err)
		_, err = th.reserve("alice", "", fmt.Sprint("device", i))
		must(t, err)
	}
	for name, k := range map[string]*kind{
		"devices": th.devices, "pairs": th.pairs, "addresses": th.addresses, "accounts": th.accounts,
		"networks": th.networks, "providers": th.providers,
	} {
		k.counters.CleanUp()
		if n := k.counters.EstimatedSize(); n > size {
			t.Errorf("%d %s, want at most %d", n, name, size)
		}
	}
	if a, err := th.reserve("alice", "192.0.2.10", ""); err != nil || !a.known {
		t.Errorf("where alice was: %+v, %v", a, err)
	}
}

// TestKnownPlacesAreBounded wants the latest places to be remembered.
func TestKnownPlacesAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	th := newThrottle(func() time.Time { return now }, throttleSize)
	come := func(ip string) *attempt {
		a, err := th.reserve("alice", ip, "")
		must(t, err)
		return a
	}
	come(address(0)).succeed()
	for i := 1; i < knownAddresses; i++ {
		come(address(i)).succeed()
		come(address(0)).succeed() // again, so it is no old one
	}
	come(address(100)).succeed()
	for i, want := range map[int]bool{0: true, 1: false, 2: true, knownAddresses - 1: true, 100: true, 101: false} {
		a := come(address(i))
		if a.known != want {
			t.Errorf("address %d: known is %v", i, a.known)
		}
		a.cancel()
	}
	if places, _ := th.known.GetIfPresent(keyOf("alice")); len(places) != knownAddresses {
		t.Errorf("%d places", len(places))
	}
}

// TestClockSetBack wants a clock that jumps to make nobody wait for longer.
func TestClockSetBack(t *testing.T) {
	r := newRig(t, alice(t))
	for range pairPolicy.free {
		r.wrong("alice", "guess", elsewhere)
	}
	r.pass(-24 * time.Hour)
	if wait := r.throttled("alice", "guess", elsewhere); wait > pairPolicy.first {
		t.Fatalf("the wait is %s", wait)
	}
	r.pass(48 * time.Hour)
	r.in("alice", "sesame", elsewhere)
}

func BenchmarkReserve(b *testing.B) {
	th := newThrottle(time.Now, throttleSize)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if a, err := th.reserve("alice", address(i), ""); err == nil {
			a.cancel()
		}
	}
}
