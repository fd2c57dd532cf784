package authserver

import (
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Rate bounds how often something is done by strangers, per minute. A minute's
// worth may come at once. Negative numbers turn a bound off.
type Rate struct {
	// PerAddress is the bound for one address, or one /64 network of IPv6.
	PerAddress int
	// Total is the bound for all addresses together.
	Total int
	// Exempt are networks without a bound for each of their addresses: many
	// people share one.
	Exempt []netip.Prefix
}

// Default bounds of registrations. The first is high because whole companies
// share an address, the second only keeps the processor free: a registration
// stores nothing.
const (
	DefaultRegistrationsPerAddress = 600
	DefaultRegistrationsTotal      = 60_000
)

// changesRate bounds changes and deletions of registrations: what becomes of a
// client is stored for good, and everybody can make them. An address is a site.
var changesRate = Rate{PerAddress: 20, Total: 60}

// DefaultSharedEgress returns the networks that are exempt unless the
// configuration names others: the published egress of Claude, from which all of
// its people register.
func DefaultSharedEgress() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("160.79.104.0/21")}
}

// throttle holds callers to a Rate, on this node only and in bounded memory:
// with more addresses than limiterSize the least active ones start anew.
type throttle struct {
	rate      Rate
	bits      int           // of the IPv6 network that counts as one address
	total     *rate.Limiter // nil for no bound
	addresses *otter.Cache[string, *rate.Limiter]
}

func newThrottle(r Rate) *throttle { return newWideThrottle(r, subnetBits) }

// newWideThrottle counts IPv6 by networks of so many bits.
func newWideThrottle(r Rate, bits int) *throttle {
	return &throttle{r, bits, perMinute(r.Total), otter.Must(&otter.Options[string, *rate.Limiter]{
		MaximumSize: limiterSize,
		// A bucket that nobody took from for a minute is full: as good as none.
		ExpiryCalculator: otter.ExpiryAccessing[string, *rate.Limiter](time.Minute),
	})}
}

func perMinute(n int) *rate.Limiter {
	if n < 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(float64(n)/60), n)
}

// allow takes one turn of an address, or returns the bound that is reached.
func (t *throttle) allow(now time.Time, address string) (reached *rate.Limiter) {
	if reached = t.allowAddress(now, address); reached != nil {
		return reached
	}
	if t.total != nil && !t.total.AllowN(now, 1) {
		return t.total
	}
	return nil
}

// allowAddress is allow without the bound for all addresses together.
func (t *throttle) allowAddress(now time.Time, address string) (reached *rate.Limiter) {
	if l := t.of(address); l != nil && !l.AllowN(now, 1) {
		return l
	}
	return nil
}

// of returns the bucket of an address, nil for one without a bound.
func (t *throttle) of(address string) *rate.Limiter {
	if t.rate.PerAddress < 0 {
		return nil
	}
	if ip, err := netip.ParseAddr(address); err == nil {
		ip = ip.Unmap().WithZone("")
		if slices.ContainsFunc(t.rate.Exempt, func(p netip.Prefix) bool { return p.Contains(ip) }) {
			return nil
		}
	}
	address = oauth.NetworkOf(address, t.bits)
	if l, ok := t.addresses.GetIfPresent(address); ok {
		return l
	}
	l, _ := t.addresses.SetIfAbsent(address, perMinute(t.rate.PerAddress))
	return l
}

// bounded refuses a request beyond a bound, and says when to come again.
func (s *Server) bounded(w http.ResponseWriter, r *http.Request, t *throttle) error {
	return tooMany(w, t.allow(s.now(), oauth.MetaFrom(r.Context()).RemoteIP), "too many requests to register, try again shortly")
}

// boundedChange is bounded for a change of a client. One that was changed before has a
// record already, which does not grow: so strangers never keep it from its own.
func (s *Server) boundedChange(w http.ResponseWriter, r *http.Request, c Client) error {
	allow := s.changes.allow
	if c.Version > 0 {
		allow = s.changes.allowAddress
	}
	reached := allow(s.now(), oauth.MetaFrom(r.Context()).RemoteIP)
	return tooMany(w, reached, "too many requests to change or delete registrations, try again shortly")
}

// tooMany is the error of a bound that is reached, if one is.
func tooMany(w http.ResponseWriter, reached *rate.Limiter, text string) error {
	if reached == nil {
		return nil
	}
	wait := int(math.Ceil(1 / float64(reached.Limit())))
	w.Header().Set("Retry-After", strconv.Itoa(max(wait, 1)))
	return oauth.Errorf(oauth.CodeTemporarilyUnavailable, "%s", text).WithStatus(http.StatusTooManyRequests)
}
