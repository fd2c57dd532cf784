package caddymodule

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/trust"
)

// TrustConfig has a resource accept access tokens of an identity provider that
// exists already. Users and clients of the provider are known as
// `<issuer>|<id>`, so that they can't be taken for ours. The rules of the
// resource and of the app apply to every call; `login` in a rule means the
// issuer. Placeholders are replaced when the configuration is loaded.
type TrustConfig struct {
	// The provider's issuer identifier, exactly as in its tokens and metadata.
	// It must use https, except on this machine. Required. Example:
	// `https://idp.example.com/realms/main`
	Issuer string `json:"issuer,omitempty"`

	// What tokens must name as their audience (`aud`). Default: the URLs of the
	// resource.
	Audiences []string `json:"audiences,omitempty"`

	// Accepts tokens that name other audiences as well. Whoever else the token
	// is for can use it here. Default: false
	OtherAudiences bool `json:"other_audiences,omitempty"`

	// Accepts tokens whose type is `JWT` or missing. Those of RFC 9068 have
	// `at+jwt`; many providers don't set it. Default: false
	PlainJWT bool `json:"plain_jwt,omitempty"`

	// The algorithms that tokens may be signed with. Default: `["ES256",
	// "ES384", "ES512", "Ed25519", "EdDSA", "PS256", "RS256"]`
	Algorithms []string `json:"algorithms,omitempty"`

	// Where the provider publishes its keys. Default: what its metadata says.
	JWKSURL string `json:"jwks_url,omitempty"`

	// How far the provider's clock may be off, at most 5 minutes. Default: `60s`
	ClockLeeway caddy.Duration `json:"clock_leeway,omitempty"`

	// How long keys are good while the provider can't be reached, at most a
	// day. After that, calls are answered with 503. Default: `1h`
	StaleKeys caddy.Duration `json:"stale_keys,omitempty"`

	// The claims that hold what is known about a user.
	Claims TrustClaims `json:"claims,omitzero"`

	// When an e-mail address counts as verified in rules. `claim`: if the token
	// has `email_verified`. `trust`: always, unless the token says that it is
	// not; only if nobody can choose the address of their own account at the
	// provider. Default: `claim`
	EmailVerified string `json:"email_verified,omitempty"`

	// Has the provider asked about every token, instead of checking it here.
	// Default: none, tokens are JWTs.
	Introspection *IntrospectionConfig `json:"introspection,omitempty"`
}

// TrustClaims names claims of access tokens. A dot leads into an object:
// `realm_access.roles`. A claim whose name has dots itself is found as well.
type TrustClaims struct {
	// The stable id of a user. Claims that people can change, such as `email`,
	// are refused. Default: `sub`
	User string `json:"user,omitempty"`
	// The full name. Default: `name`
	Name string `json:"name,omitempty"`
	// The e-mail address. Default: `email`
	Email string `json:"email,omitempty"`
	// The groups, for rules: a string or a list of strings. Default: `groups`
	Groups string `json:"groups,omitempty"`
	// The OAuth client. Default: `client_id`, or else `azp`
	Client string `json:"client,omitempty"`
	// The scope: a string with spaces or a list. Default: `scope`, or else `scp`
	Scope string `json:"scope,omitempty"`
}

// IntrospectionConfig says how a provider is asked about tokens (RFC 7662).
type IntrospectionConfig struct {
	// The endpoint. Default: what the provider's metadata says.
	URL string `json:"url,omitempty"`

	// Our client identifier at the provider. Required.
	ClientID string `json:"client_id,omitempty"`

	// Our secret at the provider. Required.
	ClientSecret string `json:"client_secret,omitempty"`

	// How long an answer counts, at most 10 minutes: so long a token may still
	// work after the provider revoked it. Default: `30s`
	CacheFor caddy.Duration `json:"cache_for,omitempty"`
}

// parseTrust reads:
//
//	trust <issuer> {
//		audience        <value...>
//		other_audiences
//		plain_jwt
//		algorithms      <name...>
//		jwks_url        <url>
//		clock_leeway    <duration>
//		stale_keys      <duration>
//		claim           user|name|email|groups|client|scope <claim>
//		email_verified  claim|trust
//		introspection   [<url>] { ... }
//	}
func (h *Handler) parseTrust(d *caddyfile.Dispenser) error {
	var c TrustConfig
	if !d.AllArgs(&c.Issuer) {
		return d.Err("trust needs an issuer: the URL by which an identity provider calls itself, such as https://idp.example.com")
	}
	err := parseBlock(d, "trust", map[string]option{
		"audience":        list(&c.Audiences),
		"other_audiences": flag(&c.OtherAudiences),
		"plain_jwt":       flag(&c.PlainJWT),
		"algorithms":      list(&c.Algorithms),
		"jwks_url":        text(&c.JWKSURL),
		"clock_leeway":    duration(&c.ClockLeeway),
		"stale_keys":      duration(&c.StaleKeys),
		"claim":           c.Claims.parse,
		"email_verified":  text(&c.EmailVerified),
		"introspection":   c.parseIntrospection,
	})
	h.Trust = append(h.Trust, c)
	return err
}

// parse reads: claim <what> <claim>.
func (c *TrustClaims) parse(d *caddyfile.Dispenser) error {
	var what, name string
	if !d.AllArgs(&what, &name) {
		return d.Err("claim takes what it is and the name of the claim, such as: claim groups realm_access.roles")
	}
	field, ok := map[string]*string{
		"user": &c.User, "name": &c.Name, "email": &c.Email, "groups": &c.Groups, "client": &c.Client, "scope": &c.Scope,
	}[what]
	if !ok {
		return d.Errf("unknown claim of trust: %s (known: client, email, groups, name, scope, user)", what)
	}
	*field = name
	return nil
}

// parseIntrospection reads:
//
//	introspection [<url>] {
//		client_id     <id>
//		client_secret <secret>
//		cache_for     <duration>
//	}
func (c *TrustConfig) parseIntrospection(d *caddyfile.Dispenser) error {
	if c.Introspection != nil {
		return d.Err("introspection occurs twice")
	}
	c.Introspection = new(IntrospectionConfig)
	if d.NextArg() {
		c.Introspection.URL = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return parseBlock(d, "introspection", map[string]option{
		"client_id":     text(&c.Introspection.ClientID),
		"client_secret": credential(&c.Introspection.ClientSecret),
		"cache_for":     duration(&c.Introspection.CacheFor),
	})
}

// replace fills placeholders in.
func (c *TrustConfig) replace(repl *caddy.Replacer) error {
	fields := map[string]*string{"issuer": &c.Issuer, "jwks_url": &c.JWKSURL}
	for i := range c.Audiences {
		fields[fmt.Sprintf("audience %d", i+1)] = &c.Audiences[i]
	}
	if n := c.Introspection; n != nil {
		fields["introspection url"], fields["client_id"], fields["client_secret"] = &n.URL, &n.ClientID, &n.ClientSecret
	}
	for name, field := range fields {
		value, err := repl.ReplaceOrErr(*field, true, true)
		if err != nil {
			return placeholderError("trust: "+name, *field)
		}
		*field = value
	}
	return nil
}

// config translates the options for the core.
func (c *TrustConfig) config(uris []string) (trust.Config, error) {
	if c.EmailVerified != "" && c.EmailVerified != "claim" && c.EmailVerified != "trust" {
		return trust.Config{}, fmt.Errorf("trust %s: email_verified is claim or trust, not %q", c.Issuer, c.EmailVerified)
	}
	cfg := trust.Config{
		Issuer: c.Issuer, URIs: uris, Audiences: c.Audiences, OtherAudiences: c.OtherAudiences,
		Algorithms: c.Algorithms, PlainJWT: c.PlainJWT, JWKSURL: c.JWKSURL,
		Leeway: time.Duration(c.ClockLeeway), StaleFor: time.Duration(c.StaleKeys),
		Claims: trust.Claims{
			User: c.Claims.User, Name: c.Claims.Name, Email: c.Claims.Email, Groups: c.Claims.Groups,
			Client: c.Claims.Client, Scope: c.Claims.Scope, TrustEmail: c.EmailVerified == "trust",
		},
	}
	if n := c.Introspection; n != nil {
		cfg.Introspection = &trust.Introspection{URL: n.URL, ClientID: n.ClientID, Secret: n.ClientSecret, Remember: time.Duration(n.CacheFor)}
	}
	return cfg, nil
}

// provisionTrust makes a kind of tokens of every issuer that is trusted.
func (h *Handler) provisionTrust() ([]resource.Kind, error) {
	if err := h.Rules.Check(); err != nil {
		return nil, err
	}
	var kinds []resource.Kind
	asked := ""
	for i := range h.Trust {
		c := &h.Trust[i]
		if err := c.replace(caddy.NewReplacer()); err != nil {
			return nil, err
		}
		same := func(o TrustConfig) bool { return o.Issuer == c.Issuer }
		switch {
		case c.Issuer != "" && c.Issuer == h.back.issuer:
			return nil, fmt.Errorf("trust %s: this is our own issuer, whose tokens are good anyway", c.Issuer)
		case slices.ContainsFunc(h.Trust[:i], same):
			return nil, fmt.Errorf("trust %s occurs twice", c.Issuer)
		case c.Introspection != nil && asked != "":
			return nil, fmt.Errorf("trust %s and %s both have introspection: which one knows a token can't be seen from it", asked, c.Issuer)
		case c.Introspection != nil:
			asked = c.Issuer
		}
		cfg, err := c.config(h.Resource)
		if err != nil {
			return nil, err
		}
		cfg.Permit = h.permits(c.Issuer)
		issuer, err := trust.New(cfg)
		if err != nil {
			return nil, err
		}
		h.trusted = append(h.trusted, issuer)
		if c.Introspection == nil {
			kinds = slices.Insert(kinds, 0, resource.Kind(issuer)) // those that read a token come first
		} else {
			kinds = append(kinds, issuer)
		}
	}
	return kinds, nil
}

// permits applies the rules to users of a provider. Ours passed them when they
// signed in; these come with every call.
func (h *Handler) permits(issuer string) func(*resource.Token) bool {
	return func(t *resource.Token) bool {
		who := login.Person{Login: issuer, Identity: login.Identity{
			Subject: t.Subject, Name: t.Name, Email: t.Email, EmailVerified: t.EmailVerified,
			Groups: t.Groups, GroupsUnknown: t.GroupsUnknown,
		}}
		return h.back.rules.Permit(who) && h.Rules.Permit(who)
	}
}

// issuers lists who is trusted, in the order of the configuration.
func (h *Handler) issuers() []string {
	var names []string
	for _, c := range h.Trust {
		names = append(names, c.Issuer)
	}
	return names
}

// Cleanup ends the fetches of keys, and lets go of what is shared.
func (h *Handler) Cleanup() error {
	for _, issuer := range h.trusted {
		issuer.Close()
	}
	return h.releaseLimits()
}

var _ caddy.CleanerUpper = (*Handler)(nil)
