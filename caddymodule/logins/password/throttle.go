package password

import (
	"crypto/sha256"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

const (
	// throttleSize bounds how many counters of each kind are kept. A flood of
	// new ones pushes out those that are used least.
	throttleSize = 20_000

	// knownAddresses is how many addresses of an account are remembered.
	knownAddresses = 16
)

// policy says how failures slow down further attempts: after free of them an
// attempt has to wait, and each failure doubles the wait, from first to longest.
// When the wait is over, one failure is forgotten in every forget.
type policy struct {
	free                   int
	first, longest, forget time.Duration
}

// The limits, for each thing that failures are counted by. [throttle] says what
// they come to.
var (
	devicePolicy  = policy{free: 5, first: 2 * time.Second, longest: 15 * time.Minute, forget: 15 * time.Minute}
	pairPolicy    = devicePolicy
	addressPolicy = policy{free: 20, first: 2 * time.Second, longest: 15 * time.Minute, forget: 5 * time.Minute}
	accountPolicy = policy{free: 10, first: time.Second, longest: 30 * time.Second, forget: 5 * time.Minute}
)

// window is how long an address must have had no failure at an account, for its
// next attempt to be a first one.
const window = time.Hour

// How many first attempts at an account that has to wait come from one network
// and from one provider: so many at once, and one in each window after them.
var (
	networkPolicy  = policy{free: 5, first: window, longest: window, forget: window}
	providerPolicy = policy{free: 50, first: window, longest: window, forget: window}
)

// wait is how long to wait after a failure that brought the level there.
func (p policy) wait(level float64) time.Duration {
	over := int(math.Round(level)) - p.free
	if over < 0 {
		return 0
	}
	return min(p.first<<min(over, 20), p.longest)
}

// top is the level from which the wait grows no more.
func (p policy) top() float64 {
	return float64(p.free) + math.Ceil(math.Log2(float64(p.longest)/float64(p.first)))
}

// key names a counter without keeping what people typed.
type key [sha256.Size]byte

func keyOf(parts ...string) key {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p)) // of one size, so that no two lists look alike
		h.Write(sum[:])
	}
	return key(h.Sum(nil))
}

// counter is a number of failures that goes down by itself.
type counter struct {
	level float64
	at    time.Time // of the last failure
}

// kind is all counters under one policy.
type kind struct {
	policy
	counters *otter.Cache[key, *counter]
}

func newKind(p policy, size int) *kind {
	return &kind{p, otter.Must(&otter.Options[key, *counter]{MaximumSize: size})}
}

// wait is how long the next attempt has to wait.
func (k *kind) wait(id key, now time.Time) time.Duration {
	c, ok := k.counters.GetIfPresent(id)
	if !ok {
		return 0
	}
	// A clock that was set back must not add to the wait.
	return k.policy.wait(c.level) - max(now.Sub(c.at), 0)
}

// count counts a failure.
func (k *kind) count(id key, now time.Time) {
	c, ok := k.counters.GetIfPresent(id)
	if !ok {
		c = &counter{at: now}
		k.counters.Set(id, c)
	}
	quiet := max(now.Sub(c.at)-k.policy.wait(c.level), 0)
	left := max(c.level-float64(quiet)/float64(k.forget), 0)
	c.level, c.at = min(left+1, k.top()), now
}

// quiet reports whether there was no failure within the last d.
func (k *kind) quiet(id key, now time.Time, d time.Duration) bool {
	c, ok := k.counters.GetIfPresent(id)
	return !ok || now.Sub(c.at) >= d
}

// uncount takes back a failure that was none.
func (k *kind) uncount(id key) {
	if c, ok := k.counters.GetIfPresent(id); ok {
		if c.level--; c.level <= 0 {
			k.counters.Invalidate(id)
		}
	}
}

// throttle slows guessing down. It counts failures
//
//   - by account and device, with waits of up to 15 minutes;
//   - by account and address together, with waits of up to 15 minutes;
//   - by address, whatever the account, with waits of up to 15 minutes;
//   - by account, whatever the address, with waits of up to 30 seconds.
//
// Which of them an attempt has to wait for depends on where it comes from:
//
//   - A device on which the person signed in to this account before waits for
//     the first count only, and adds to no other.
//   - An address from which they did waits for the second only, and adds to no
//     other.
//   - Everyone else waits for the longest of the last three. But the first
//     attempt from an address, which is one with no failure at this account
//     within the hour, does not wait for the account: else whoever takes each
//     of its turns could keep the person out. A network has 5 such attempts at
//     an account, and a provider has 50; then each has one in an hour.
//
// An address is an IPv4 address or the /64 network of an IPv6 address, a network
// a /24 or a /48, a provider a /16 or a /32. Attempts from nowhere, because the
// host could not tell, are counted by account only, if not by device.
//
// So strangers keep nobody out who is at a device of theirs, from wherever they
// attack, also after a restart and behind the same address. Without a device,
// the person gets one attempt an hour at once from any network where nobody
// attacks their account. What remains: where somebody does, and has used up the
// first attempts of the address, the network or the provider, a person without
// a device waits for as long as that goes on.
//
// What one who never pauses can guess, in the first hour and in each that
// follows:
//
//   - with a stolen device, or at one account from one address: 16, then 4;
//   - at many accounts from one address: 31, then 4;
//   - at one account from any number of addresses of one network: 135, then
//     121; of one provider: 179, then 121;
//   - at one account from many providers, such as a botnet: 133, then 120, and
//     one guess for each address in each hour, but no more than 5 for each
//     network and 50 for each provider at first, and then one in an hour. That
//     is the price: 10,000 machines far from each other have 10,000 guesses an
//     hour. The limits hold nobody up who has that many; good passwords do.
//
// Who once had the person's password, and signed in with it many times, has a
// device for each time, with a count of its own.
//
// A success makes the count by device, or else by account and address, start
// anew and takes its own attempt out of the others, but leaves those standing:
// one's own account is no means to guess at another's.
//
// Everything is counted for names that nobody has, too: who is throttled says
// nothing about who has an account, but for this: at an address that has to
// wait, an account that has not was used there before.
//
// All of it is in memory of bounded size, and on this node only; it outlives a
// reload of the configuration, but no restart. Devices do: they are kept by
// browsers.
type throttle struct {
	now func() time.Time

	mu                                  sync.Mutex // held for every step as a whole
	devices, pairs, addresses, accounts *kind
	networks, providers                 *kind                             // of first attempts, by account
	known                               *otter.Cache[key, []netip.Prefix] // by account, the latest last
}

func newThrottle(now func() time.Time, size int) *throttle {
	return &throttle{
		now:       now,
		devices:   newKind(devicePolicy, size),
		pairs:     newKind(pairPolicy, size),
		addresses: newKind(addressPolicy, size),
		accounts:  newKind(accountPolicy, size),
		networks:  newKind(networkPolicy, size),
		providers: newKind(providerPolicy, size),
		known:     otter.Must(&otter.Options[key, []netip.Prefix]{MaximumSize: size}),
	}
}

// attempt is one guess. It is counted as a failure from the start, so that of
// many at once no more get through than one after the other would.
type attempt struct {
	t       *throttle
	account key
	address netip.Prefix // invalid if nobody knows
	known   bool         // there has been a sign-in to the account from there, or on the device
	own     counted      // what a success makes start anew
	counted []counted
}

// counted is a counter that an attempt is counted by.
type counted struct {
	kind *kind
	id   key
}

func (c counted) wait(now time.Time) time.Duration { return c.kind.wait(c.id, now) }

// reserve lets one attempt at an account in, or returns a [login.ThrottledError].
// The device is one on which somebody signed in to this very account, or empty.
// The attempt stays a failure unless succeed or cancel is called.
func (t *throttle) reserve(account, remoteIP, device string) (*attempt, error) {
	a := &attempt{t: t, account: keyOf(account), address: addressOf(remoteIP)}
	now := t.now()

	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := a.judge(device, now); wait > 0 {
		return nil, &login.ThrottledError{RetryAfter: wait}
	}
	for _, c := range a.counted {
		c.kind.count(c.id, now)
	}
	return a, nil
}

// judge finds the counters of an attempt, and returns how long it has to wait.
func (a *attempt) judge(device string, now time.Time) time.Duration {
	t := a.t
	account := counted{t.accounts, a.account}
	a.own = counted{t.pairs, a.at(a.address)}
	places, _ := t.known.GetIfPresent(a.account)
	switch {
	case device != "":
		a.known, a.own = true, counted{t.devices, keyOf(string(a.account[:]), device)}
	case !a.address.IsValid():
		a.own = counted{}
		a.counted = []counted{account}
		return account.wait(now)
	default:
		a.known = slices.Contains(places, a.address)
	}
	if a.known {
		a.counted = []counted{a.own}
		return a.own.wait(now)
	}
	address := counted{t.addresses, keyOf(a.address.String())}
	a.counted = []counted{a.own, address, account}
	wait := max(a.own.wait(now), address.wait(now))
	if turn := account.wait(now); turn > 0 && !a.first(now) {
		wait = max(wait, turn)
	}
	return wait
}

// first reports whether this is a first attempt, which does not wait for the
// account. If so, it adds the counters that there are for them.
func (a *attempt) first(now time.Time) bool {
	t := a.t
	network := counted{t.networks, a.at(wider(a.address, 24, 48))}
	provider := counted{t.providers, a.at(wider(a.address, 16, 32))}
	if !t.pairs.quiet(a.own.id, now, window) || network.wait(now) > 0 || provider.wait(now) > 0 {
		return false
	}
	a.counted = append(a.counted, network, provider)
	return true
}

// at names the counter of this account at an address or network.
func (a *attempt) at(p netip.Prefix) key { return keyOf(string(a.account[:]), p.String()) }

// cancel takes back an attempt at which nothing was compared.
func (a *attempt) cancel() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.uncount()
}

func (a *attempt) uncount() {
	for _, c := range a.counted {
		c.kind.uncount(c.id)
	}
	a.counted = nil
}

// succeed takes the attempt back, forgets the failures at this account on this
// device or from this address, and remembers that the person was there.
func (a *attempt) succeed() {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	a.uncount()
	if a.own.kind != nil {
		a.own.kind.counters.Invalidate(a.own.id)
	}
	if !a.address.IsValid() {
		return
	}
	places, _ := t.known.GetIfPresent(a.account)
	places = slices.DeleteFunc(slices.Clone(places), func(p netip.Prefix) bool { return p == a.address })
	places = append(places, a.address)
	t.known.Set(a.account, places[max(len(places)-knownAddresses, 0):])
}

// addressOf returns whose address this is: for IPv6, one subscriber has at least
// a /64. It is invalid if this is no address.
func addressOf(remoteIP string) netip.Prefix {
	ip, err := netip.ParseAddr(remoteIP)
	if err != nil {
		return netip.Prefix{}
	}
	return wider(netip.PrefixFrom(ip.WithZone("").Unmap(), 0), 32, 64)
}

// wider returns the network of so many bits, for IPv4 and for IPv6, around an
// address.
func wider(p netip.Prefix, v4, v6 int) netip.Prefix {
	bits := v4
	if p.Addr().Is6() {
		bits = v6
	}
	network, _ := p.Addr().Prefix(bits) // of an address without zone, it can't fail
	return network
}
