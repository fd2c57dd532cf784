package jose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
)

const (
	// maxSet bounds a key set that is fetched, in bytes: certificates make
	// some long.
	maxSet = 128 << 10
	// waitAfter is the least time between two fetches of a set, so that made-up
	// key ids cause no flood of them.
	waitAfter = 30 * time.Second
	// maxSetFresh is how long a set counts without asking again, whatever its
	// host says: how long a key that was withdrawn is still good.
	maxSetFresh = time.Hour
)

// Why no key was found, for errors.Is.
var (
	// ErrUnavailable says that the keys could not be fetched: an outage, and no
	// verdict about any token.
	ErrUnavailable = errors.New("the keys are not available")
	// ErrNoKey says that no published key fits the token.
	ErrNoKey = errors.New("no published key fits the token")
)

// RemoteOptions say how key sets are kept.
type RemoteOptions struct {
	// StaleFor is how long keys are good after they ceased to be fresh, while
	// their host can't be reached. The default is 1 h; a negative value means not
	// at all.
	StaleFor time.Duration
	// HoldOff is how long an address that failed is not asked again. The default
	// is 30 s, which is for addresses that strangers name: a client whose keys
	// can't be had may present as many tokens as it likes.
	HoldOff time.Duration
	// Size bounds the number of sets. The default is 1000.
	Size int
	// Now is the clock. The default is time.Now.
	Now func() time.Time
}

// Remote finds keys in sets that others publish. It is safe for concurrent
// use.
type Remote struct {
	sets *fetch.Cache[Set]
}

// NewRemote returns a Remote that fetches with the client. Close ends it.
func NewRemote(c *fetch.Client, o RemoteOptions) *Remote {
	return &Remote{sets: fetch.NewCache(c, fetch.CacheOptions[Set]{
		Decode:  func(_ string, r *fetch.Response) (Set, error) { return ParseSet(r.Body) },
		Accept:  "application/jwk-set+json, application/json",
		MaxBody: maxSet, MaxFresh: maxSetFresh, StaleFor: cmp.Or(o.StaleFor, time.Hour), HoldOff: cmp.Or(o.HoldOff, waitAfter),
		Size: o.Size, Now: o.Now,
	})}
}

// Close ends all fetches and waits for them.
func (r *Remote) Close() { r.sets.Close() }

// Keys returns the keys of a set that a token with this header may be signed
// with, at least one. A key id that the set does not have makes it be fetched
// again, for keys rotate, but not more often than every 30 s. The error is
// ErrNoKey, which is a verdict about the token, or ErrUnavailable, which is
// none.
func (r *Remote) Keys(ctx context.Context, rawURL, kid, alg string) ([]Key, error) {
	if algorithms[alg] == "" {
		return nil, fmt.Errorf("%w: its algorithm is not one that is accepted", ErrNoKey)
	}
	set, status, err := r.sets.Get(ctx, rawURL)
	if err != nil {
		return nil, unavailable(err)
	}
	if found := set.Find(kid, alg); len(found) > 0 {
		return found, nil
	}
	if status.Source != fetch.Network {
		if set, status, err = r.sets.Renew(ctx, rawURL, waitAfter); err != nil {
			return nil, unavailable(err)
		}
	}
	if found := set.Find(kid, alg); len(found) > 0 {
		return found, nil
	}
	if status.Cause != nil {
		// Its host may have the key by now, and can't be asked.
		return nil, unavailable(status.Cause)
	}
	return nil, ErrNoKey
}

// unavailable wraps the failure of a fetch. An address that is never fetched is
// no outage.
func unavailable(err error) error {
	if errors.Is(err, fetch.ErrURL) || errors.Is(err, fetch.ErrAddress) {
		return fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
