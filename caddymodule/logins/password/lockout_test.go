package password

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

// device is a request from a browser in which somebody signed in before.
func device(id, subject, ip string) login.Request {
	return login.Request{Device: id, DeviceSubject: subject, RemoteIP: ip}
}

// with signs in on a device, and returns how long it has to wait.
func (r *rig) with(user, password string, from login.Request) (in bool, wait time.Duration) {
	id, err := r.begin(r.t.Context(), user, password, from)
	return id != nil, waitOf(err)
}

// underAttack returns a rig with alice in it, whose hashes cost nothing.
func underAttack(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, alice(t))
	r.compare = func(_ passhash.Hash, typed string) (bool, error) { return typed == "sesame", nil }
	return r
}

// attack lets somebody guess at alice's password once a second, for so long.
func (r *rig) attack(d time.Duration, from func(second int) string) (guesses int) {
	for range d / time.Second {
		guesses += r.guessed(from)
		r.pass(time.Second)
	}
	return guesses
}

// guessed is 1 if a guess at this time gets through.
func (r *rig) guessed(from func(second int) string) int {
	if _, err := r.try("alice", "guess", from(int(r.clock().Unix()&0xffff))); waitOf(err) > 0 {
		return 0
	}
	return 1
}

// freshNetworks cycles through the 256 /64s of a /56, which is what a customer
// of a provider has.
func freshNetworks(second int) string { return fmt.Sprintf("2001:db8:0:%x::1", second%256) }

// hourOfTries wants alice to be kept out for an hour in which somebody attacks
// and she tries again and again, each time a moment too late.
func (r *rig) hourOfTries(attacker func(int) string, from login.Request) {
	r.t.Helper()
	for range 180 {
		r.attack(20*time.Second, attacker)
		r.guessed(attacker)
		if in, wait := r.with("alice", "sesame", from); in || wait == 0 {
			r.t.Fatalf("she is in: %v, after a wait of %s", in, wait)
		}
	}
}

// TestFreshNetworksLockNobodyOut (SPEC O44): one who comes from another IPv6
// network each second takes every turn of alice's account. The server was just
// restarted, so no address of hers is known. She is let in at once with her
// device, also inside the attacker's network, and without one from her own.
func TestFreshNetworksLockNobodyOut(t *testing.T) {
	r := underAttack(t)
	r.attack(time.Hour, freshNetworks)
	if in, wait := r.with("ALICE", "sesame", device("d1", "alice", "2001:db8:0:fff::1")); !in {
		t.Errorf("with her device she has to wait %s", wait)
	}
	r.attack(time.Minute, freshNetworks)
	r.in("alice", "sesame", elsewhere)

	// What remains: inside the attacked network, a new device waits.
	r.hourOfTries(freshNetworks, login.Request{RemoteIP: "2001:db8:0:eee::1"})
}

// TestFirstAttemptIsOne: without a device, a mistake at a time of an attack
// costs an hour.
func TestFirstAttemptIsOne(t *testing.T) {
	r := underAttack(t)
	r.attack(time.Minute, freshNetworks)
	if in, wait := r.with("alice", "typo", login.Request{RemoteIP: elsewhere}); in || wait > 0 {
		t.Fatalf("the first has to wait %s", wait)
	}
	r.throttled("alice", "sesame", elsewhere)
	r.attack(window-time.Second, freshNetworks)
	r.throttled("alice", "sesame", elsewhere)
	r.pass(time.Second)
	r.guessed(freshNetworks) // who takes the turn
	r.in("alice", "sesame", elsewhere)
}

// TestColleagueLocksNobodyOut (SPEC O44): behind the address that alice shares
// with a whole office, somebody keeps her account waiting for hours. Her device
// is let in there all the time, and she is let in from another network.
func TestColleagueLocksNobodyOut(t *testing.T) {
	r := underAttack(t)
	r.in("alice", "sesame", home)
	colleague := func(int) string { return home }
	for range 6 {
		r.attack(time.Hour, colleague)
		if in, wait := r.with("alice", "sesame", device("d1", "alice", home)); !in {
			t.Fatalf("with her device she has to wait %s", wait)
		}
	}
	r.hourOfTries(colleague, login.Request{RemoteIP: home}) // a device is what it takes
	r.in("alice", "sesame", elsewhere)
}

// TestDeviceWorksFromNowhere: where the host can't tell addresses, all share the
// turns of the account, but not those of a device.
func TestDeviceWorksFromNowhere(t *testing.T) {
	r := underAttack(t)
	nowhere := func(int) string { return "" }
	r.attack(time.Hour, nowhere)
	if in, wait := r.with("alice", "sesame", device("d1", "alice", "")); !in {
		t.Errorf("with her device she has to wait %s", wait)
	}
	r.hourOfTries(nowhere, login.Request{})
}

// TestForeignDeviceIsNone: the device of another person, or half of one, gives
// nothing: who has it waits like anyone, and adds to the same counts.
func TestForeignDeviceIsNone(t *testing.T) {
	mallory := User{Username: "mallory", Hash: cheapBcrypt(t, "own")}
	for name, from := range map[string]login.Request{
		"another's":       device("m1", "mallory", elsewhere),
		"nobody's":        device("m1", "", elsewhere),
		"no id":           device("", "alice", elsewhere),
		"a longer name":   device("m1", "alice2", elsewhere),
		"a name in it":    device("m1", "password alice", elsewhere),
		"no device":       {RemoteIP: elsewhere},
		"another's space": device("m1", " alice", elsewhere),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, alice(t), mallory)
			for i := range pairPolicy.free {
				if _, wait := r.with("alice", "guess", from); wait != 0 {
					t.Fatalf("guess %d has to wait %s", i, wait)
				}
			}
			if in, wait := r.with("alice", "sesame", from); in || wait != pairPolicy.first {
				t.Errorf("in: %v, wait %s", in, wait)
			}
			r.throttled("alice", "sesame", elsewhere) // one count for all of them
		})
	}
}

// TestStolenDeviceIsThrottled: who has alice's device guesses no faster than
// from one address, wherever they come from. It costs nobody else a thing: not
// her, on another device or without one, nor their neighbours.
func TestStolenDeviceIsThrottled(t *testing.T) {
	r := underAttack(t)
	guesses := [3]int{}
	for start, i := r.clock(), 0; r.clock().Sub(start) < 3*time.Hour; i++ {
		if _, wait := r.with("alice", "guess", device("stolen", "alice", address(i*256))); wait > 0 {
			r.pass(wait)
			continue
		}
		guesses[r.clock().Sub(start)/time.Hour]++
	}
	if guesses != [3]int{16, 4, 4} {
		t.Errorf("%d guesses, want 16 and then 4 each hour", guesses)
	}
	_, _ = r.with("alice", "guess", device("stolen", "alice", elsewhere)) // at the end of a wait
	if in, wait := r.with("alice", "sesame", device("stolen", "alice", elsewhere)); in || wait == 0 {
		t.Errorf("the stolen device is in: %v", in)
	}
	for range pairPolicy.free { // nothing was counted there, nor for the account
		if _, err := r.try("alice", "typo", address(0)); waitOf(err) != 0 {
			t.Fatal(err)
		}
	}
	if in, wait := r.with("alice", "sesame", device("hers", "alice", address(0))); !in {
		t.Errorf("her other device has to wait %s", wait)
	}
}

// TestSuccessStartsDeviceAnew wants mistakes on a device before a success not to
// count after it, and a success there to clean no other record.
func TestSuccessStartsDeviceAnew(t *testing.T) {
	r := newRig(t, alice(t))
	hers := device("d1", "alice", home)
	for range pairPolicy.free {
		r.wrong("alice", "guess", home) // a neighbour
	}
	for range 4 {
		for range devicePolicy.free - 1 {
			if _, wait := r.with("alice", "typo", hers); wait != 0 {
				t.Fatalf("a mistake has to wait %s", wait)
			}
		}
		if in, wait := r.with("alice", "sesame", hers); !in {
			t.Fatalf("she has to wait %s", wait)
		}
	}
	r.throttled("alice", "guess", home)
}

// TestDeviceTellsNothing (SPEC O44): a device of a user who was removed gets the
// same answers as before: it does not tell that they are gone.
func TestDeviceTellsNothing(t *testing.T) {
	outcomes := func(u User) (got []time.Duration) {
		r := newRig(t, u)
		for range pairPolicy.free { // so that without a device there is a wait
			r.wrong("alice", "guess", elsewhere)
		}
		for range 40 {
			_, wait := r.with("alice", "guess", device("d1", "alice", elsewhere))
			got = append(got, wait)
			r.pass(time.Second)
		}
		must(t, r.Cleanup())
		return got
	}
	before, after := outcomes(alice(t)), outcomes(User{Username: "bob", Hash: cheapBcrypt(t, "x")})
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("%v\nis now\n%v", before, after)
	}
}

// TestFreshNetworksAreBounded: a customer with a whole /48 has 65536 networks,
// and polls each second; a provider has as many customers. A botnet has what
// it has: one guess for each machine.
func TestFreshNetworksAreBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		from        func(second int) string
		first, next int // at most, in the first hour and in another
	}{
		"a /56": {freshNetworks, 10 + 5 + 120, 1 + 120},
		"a /48": {func(s int) string { return fmt.Sprintf("2001:db8:1:%x::1", s) }, 10 + 5 + 120, 1 + 120},
		"a /32": {func(s int) string { return fmt.Sprintf("2001:db8:%x::1", s) }, 10 + 50 + 120, 1 + 120},
		"a botnet of 1000 networks": {
			func(s int) string { return fmt.Sprintf("198.%d.%d.7", s%200, s/200%5) }, 10 + 1000 + 120, 1000 + 120,
		},
		"a /24": {func(s int) string { return address(s % 256) }, 10 + 5 + 120, 1 + 120},
	} {
		t.Run(name, func(t *testing.T) {
			r := underAttack(t)
			for hour, most := range []int{tt.first, tt.next, tt.next} {
				got := r.attack(time.Hour, tt.from)
				t.Logf("hour %d: %d guesses", hour, got)
				if got > most {
					t.Errorf("hour %d: %d guesses, want at most %d", hour, got, most)
				}
				if got < 100 {
					t.Errorf("hour %d: %d guesses: this is no attack", hour, got)
				}
			}
		})
	}
}
