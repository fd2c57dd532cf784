package trust

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/maypok86/otter/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

const (
	// DefaultLeeway is how far a provider's clock may be off.
	DefaultLeeway = time.Minute
	// maxLeeway bounds that.
	maxLeeway = 5 * time.Minute
	// DefaultStaleFor is how long keys are good while the provider is down.
	DefaultStaleFor = time.Hour
	// maxStaleFor bounds that.
	maxStaleFor = 24 * time.Hour
	// remembered is how many tokens are remembered.
	remembered = 20_000
	// Fetches under way at once. Introspection is one for each new token.
	concurrency = 64
)

// Config says which tokens of which provider are good at a resource.
type Config struct {
	// Issuer is the provider's issuer identifier, byte for byte as in its
	// tokens and metadata. It uses https, or http on this machine.
	Issuer string
	// URIs are the endpoints of the resource in canonical form, the audience of
	// its tokens first.
	URIs []string
	// Audiences are what tokens must name as their audience. The default is the
	// URIs.
	Audiences []string
	// OtherAudiences accepts tokens that name others as well.
	OtherAudiences bool
	// Algorithms are those that tokens may be signed with. The default is all
	// of jose.Algorithms.
	Algorithms []string
	// PlainJWT accepts tokens of the type JWT or none as well as at+jwt.
	PlainJWT bool
	// JWKSURL is where the keys are. The default is what the metadata says.
	JWKSURL string
	// Leeway is how far the provider's clock may be off. The default is 60 s;
	// negative values mean not at all, here and below.
	Leeway time.Duration
	// StaleFor is how long keys are good while the provider is down. The
	// default is 1 h.
	StaleFor time.Duration
	// Claims name the claims that are read.
	Claims Claims
	// Introspection, unless nil, has every token checked by the provider.
	Introspection *Introspection
	// Permit decides whether the user of a good token may come in. Its subject and
	// client are those of the provider, with its name and | before them. The
	// default is everybody.
	Permit func(*resource.Token) bool
	// Now is the clock. The default is time.Now.
	Now func() time.Time
	// Client is what fetches. The default is one for configured addresses.
	Client *fetch.Client
}

// Issuer checks the access tokens of one provider. It is safe for concurrent
// use.
type Issuer struct {
	cfg    Config
	where  *discovery
	remote *jose.Remote
	known  *otter.Cache[[sha256.Size]byte, *verified]
	asker  *asker // nil without introspection
}

var _ resource.Kind = (*Issuer)(nil)

// New checks the configuration. It fetches nothing. Close ends it.
func New(c Config) (*Issuer, error) {
	if c.Client == nil {
		c.Client = fetch.New(fetch.Options{AllowPrivate: true, Concurrency: concurrency, PerHost: concurrency})
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Leeway = max(cmp.Or(c.Leeway, DefaultLeeway), 0)
	c.StaleFor = cmp.Or(c.StaleFor, DefaultStaleFor)
	c.Claims = c.Claims.withDefaults()
	if len(c.Algorithms) == 0 {
		c.Algorithms = jose.Algorithms()
	}
	i := &Issuer{
		cfg: c, where: newDiscovery(c),
		remote: jose.NewRemote(c.Client, jose.RemoteOptions{StaleFor: c.StaleFor, HoldOff: holdOff, Size: 16, Now: c.Now}),
		known:  otter.Must(&otter.Options[[sha256.Size]byte, *verified]{MaximumSize: remembered}),
	}
	if c.Introspection != nil {
		i.asker = newAsker(c, i.where)
	}
	return i, nil
}

func (c Config) check() error {
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || c.Client.Check(c.Issuer) != nil:
		return fmt.Errorf("trust %q: the issuer is not a URL such as https://idp.example.com, or http on this machine", c.Issuer)
	case u.RawQuery != "" || u.ForceQuery:
		return fmt.Errorf("trust %s: an issuer has no query (RFC 8414 section 2)", c.Issuer)
	case len(c.URIs) == 0:
		return fmt.Errorf("trust %s: there is no resource", c.Issuer)
	case slices.Contains(c.Audiences, ""):
		return fmt.Errorf("trust %s: an audience is empty", c.Issuer)
	case c.Leeway > maxLeeway:
		return fmt.Errorf("trust %s: leeway may be up to %s", c.Issuer, maxLeeway)
	case c.StaleFor > maxStaleFor:
		return fmt.Errorf("trust %s: stale_keys may be up to %s", c.Issuer, maxStaleFor)
	case c.JWKSURL != "" && c.Client.Check(c.JWKSURL) != nil:
		return fmt.Errorf("trust %s: jwks_url must use https: who answers there decides who signs", c.Issuer)
	}
	for _, alg := range c.Algorithms {
		if !slices.Contains(jose.Algorithms(), alg) {
			return fmt.Errorf("trust %s: the algorithm %s is not one of %s", c.Issuer, alg, strings.Join(jose.Algorithms(), ", "))
		}
	}
	if err := c.Claims.check(); err != nil {
		return fmt.Errorf("trust %s: %w", c.Issuer, err)
	}
	return c.Introspection.check(c)
}

// Name returns the issuer identifier.
func (i *Issuer) Name() string { return i.cfg.Issuer }

// Close ends all fetches and waits for them.
func (i *Issuer) Close() {
	i.where.close()
	i.remote.Close()
	if i.asker != nil {
		i.asker.close()
	}
}

// Recognizes reports whether a token says that it is of this issuer. One that
// says nothing is, if the issuer is asked about its tokens.
func (i *Issuer) Recognizes(raw string) bool {
	if len(raw) > jose.MaxLength {
		return false
	}
	if t, err := jose.ReadCompact(raw); err == nil {
		var says struct {
			Issuer string `json:"iss"`
		}
		if json.Unmarshal(t.Unverified, &says) == nil {
			return says.Issuer == i.cfg.Issuer
		}
	}
	return i.asker != nil
}

// Verify returns the token if the provider issued it for this resource, it is
// current, and its user may come in.
func (i *Issuer) Verify(ctx context.Context, raw string) (*resource.Token, error) {
	check := i.verifyJWT
	if i.asker != nil {
		check = i.introspect
	}
	t, err := check(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("a token of %s: %w", i.cfg.Issuer, err)
	}
	if i.cfg.Permit != nil && !i.cfg.Permit(t) {
		return t, fmt.Errorf("a token of %s: %w", i.cfg.Issuer, resource.ErrForbidden)
	}
	return t, nil
}

// checkTime judges what changes while a token is remembered.
func (i *Issuer) checkTime(t *resource.Token) error {
	now := i.cfg.Now()
	switch {
	case !now.Before(time.Unix(t.Expires, 0).Add(i.cfg.Leeway)):
		return errors.New("the token has expired")
	case time.Unix(max(t.IssuedAt, t.NotBefore), 0).After(now.Add(i.cfg.Leeway)):
		return errors.New("the token is not valid yet")
	}
	return nil
}
