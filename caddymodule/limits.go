package caddymodule

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// RateLimitsConfig bounds how many requests a node takes.
type RateLimitsConfig struct {
	// Those of one user, whatever program sends them. Default: no limit.
	User RateLimit `json:"user,omitzero"`
	// Those of one client, which many users may share: the client_id of a program
	// that is described by a metadata document is the same for all of them. Default:
	// no limit.
	Client RateLimit `json:"client,omitzero"`
}

// RateLimit is a number of requests in a while. As many may come at once; room for
// more comes back evenly.
type RateLimit struct {
	// How many requests. Example: `600`
	Events int `json:"events,omitempty"`
	// In what time. Example: `1m`
	Window caddy.Duration `json:"window,omitempty"`
}

// parse reads: rate_limit user|client <events> <window>.
func (c *RateLimitsConfig) parse(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("rate_limit takes whose requests are counted, how many, and in what time: rate_limit user 600 1m")
	}
	limit, ok := map[string]*RateLimit{"user": &c.User, "client": &c.Client}[d.Val()]
	if !ok {
		return d.Errf("unknown kind of rate_limit: %s (known: client, user)", d.Val())
	}
	if limit.Events != 0 {
		return d.Errf("rate_limit %s occurs twice", d.Val())
	}
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("rate_limit takes whose requests are counted, how many, and in what time: rate_limit user 600 1m")
	}
	events, err := strconv.Atoi(args[0])
	if err != nil || events < 1 {
		return d.Errf("%q is not a whole number of at least 1", args[0])
	}
	window, err := caddy.ParseDuration(args[1])
	if err != nil || window <= 0 {
		return d.Errf("%q is not a duration such as 90s, 1h or 30d", args[1])
	}
	*limit = RateLimit{events, caddy.Duration(window)}
	return nil
}

// check reports what is wrong with a limit.
func (l RateLimit) check(name string) error {
	if l.Events < 0 || l.Window < 0 || (l.Events == 0) != (l.Window == 0) {
		return fmt.Errorf("rate_limits.%s needs both events and window, and neither may be negative", name)
	}
	return nil
}

// rateLimiterSize bounds how many users or clients a limiter remembers; those
// who have not called for longest are forgotten first.
const rateLimiterSize = 50_000

// rateLimiter counts requests by whoever they are of. A nil one has no limit.
type rateLimiter struct {
	limit   RateLimit
	buckets *otter.Cache[digest, *rate.Limiter]
}

func newRateLimiter(l RateLimit) *rateLimiter {
	if l.Events == 0 {
		return nil
	}
	return &rateLimiter{l, otter.Must(&otter.Options[digest, *rate.Limiter]{
		MaximumSize: rateLimiterSize,
		// Who has not called for a window has all of it again.
		ExpiryCalculator: otter.ExpiryAccessing[digest, *rate.Limiter](time.Duration(l.Window)),
	})}
}

// close ends the work in the background.
func (l *rateLimiter) close() {
	if l != nil {
		l.buckets.StopAllGoroutines()
	}
}

// take counts a request, or returns how long to wait until the next one is let in.
func (l *rateLimiter) take(who digest) time.Duration {
	if l == nil {
		return 0
	}
	bucket, ok := l.buckets.GetIfPresent(who)
	if !ok {
		each := rate.Limit(float64(l.limit.Events) / time.Duration(l.limit.Window).Seconds())
		bucket, _ = l.buckets.SetIfAbsent(who, rate.NewLimiter(each, l.limit.Events))
	}
	now := time.Now()
	if bucket.AllowN(now, 1) {
		return 0
	}
	r := bucket.ReserveN(now, 1)
	defer r.CancelAt(now)
	return r.DelayFrom(now)
}

// rateLimits are the limiters of one resource.
type rateLimits struct{ user, client *rateLimiter }

// Destruct is called by the pool when the last configuration let go.
func (l *rateLimits) Destruct() error {
	l.user.close()
	l.client.close()
	return nil
}

// limiters keeps counting over reloads that leave a resource's limits as they are.
var limiters = caddy.NewUsagePool()

// provisionLimits takes the limiters of the resource.
func (h *Handler) provisionLimits() error {
	c := h.RateLimits
	for name, l := range map[string]RateLimit{"user": c.User, "client": c.Client} {
		if err := l.check(name); err != nil {
			return err
		}
	}
	key := fmt.Sprintf("%s %+v", h.Resource[0], c)
	shared, _, err := limiters.LoadOrNew(key, func() (caddy.Destructor, error) {
		return &rateLimits{newRateLimiter(c.User), newRateLimiter(c.Client)}, nil
	})
	if err != nil {
		return err
	}
	h.limits, h.limitsKey = shared.(*rateLimits), key
	return nil
}

// releaseLimits lets go of what provisionLimits took.
func (h *Handler) releaseLimits() error {
	if h.limitsKey == "" {
		return nil
	}
	_, err := limiters.Delete(h.limitsKey)
	h.limitsKey = ""
	return err
}

// retryAfter is a Retry-After header of a wait, in whole seconds.
func retryAfter(wait time.Duration) string {
	return strconv.Itoa(int(max(1, math.Ceil(wait.Seconds()))))
}
