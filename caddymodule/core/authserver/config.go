package authserver

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Default lifetimes.
const (
	DefaultAccessTokenLifetime = time.Hour
	DefaultCodeLifetime        = time.Minute
	DefaultRefreshGrace        = time.Minute
	DefaultRefreshIdle         = 30 * 24 * time.Hour
	DefaultRefreshAbsolute     = 180 * 24 * time.Hour
	DefaultSessionIdle         = 8 * time.Hour
	DefaultSessionAbsolute     = 7 * 24 * time.Hour
	DefaultPersonalToken       = 365 * 24 * time.Hour
)

// maxCodeLifetime bounds CodeLifetime.
const maxCodeLifetime = 10 * time.Minute // OAuth 2.1 §4.1.2

// DefaultScopes are the scopes of a resource that names none.
var DefaultScopes = oauth.Scope{"mcp:tools:read", "mcp:tools:execute"}

// Config says what the server is. Zero durations take the defaults.
type Config struct {
	// Issuer is the issuer identifier: https, without query, fragment and
	// trailing slash; http only on a loopback host. It is the prefix of every
	// URL that the server publishes. Required.
	Issuer string
	// Resources are the protected MCP servers. At least one.
	Resources []Resource
	// Lifetimes bound what is issued.
	Lifetimes Lifetimes
	// Registration configures dynamic registration.
	Registration Registration
	// Documents configures clients with a metadata document.
	Documents Documents
	// Clients are registered in the configuration.
	Clients []Client
	// LenientAssertionAudience also takes client assertions whose audience is the
	// token endpoint, or issuer and token endpoint both, for clients that are older
	// than draft-ietf-oauth-rfc7523bis.
	LenientAssertionAudience bool
	// RootPaths also answers /register, /authorize and /token at the root of
	// a path-less issuer, for clients of MCP revision 2025-03-26.
	RootPaths bool
	// Development adds /dev/token.
	Development bool
	// Rules say who may come in, for every resource.
	Rules login.Rules
	// Sessions bound how long a browser stays signed in.
	Sessions Sessions
	// TrustedRedirectHosts are hosts of https redirect URIs, with their port if
	// they have one, at which a fresh registration is taken for the program
	// that a person approved before: they are not asked again.
	TrustedRedirectHosts []string
	// Brand is how the pages look.
	Brand pages.Brand
	// Logo is shown on the pages; without Data there is none.
	Logo Logo
	// AllowUnattended lets a login method without proof run on an issuer that
	// others can reach.
	AllowUnattended bool
}

// Lifetimes bound codes, tokens and grants.
type Lifetimes struct {
	// AccessToken is how long an access token is good. Default 1 h.
	AccessToken time.Duration
	// Code is how long an authorization code is good. Default and usual
	// maximum 60 s.
	Code time.Duration
	// RefreshGrace is how long the refresh token before the newest one still
	// works. Default 60 s; negative turns it off.
	RefreshGrace time.Duration
	// RefreshIdle ends a grant that was not refreshed for so long. Default 30
	// days.
	RefreshIdle time.Duration
	// RefreshAbsolute ends a grant however often it is refreshed. Default 180
	// days.
	RefreshAbsolute time.Duration
	// PersonalToken is the longest life of a personal access token. Default 365
	// days.
	PersonalToken time.Duration
}

// Logo is a picture with its media type.
type Logo struct {
	Type string
	Data []byte
}

// Sessions bound the sessions of browsers.
type Sessions struct {
	// Idle ends a session that was not used for so long. Default 8 h.
	Idle time.Duration
	// Absolute ends a session however often it is used. Default 7 days.
	Absolute time.Duration
}

// Registration configures dynamic client registration (RFC 7591), and what
// clients may do that nobody vouches for.
type Registration struct {
	// Off turns it off: no endpoint, no metadata member.
	Off bool
	// NoManagement turns off reading, changing and deleting a registration
	// (RFC 7592). What was changed and deleted before stays so.
	NoManagement bool
	// Rate bounds how often clients register.
	Rate Rate
	// UnvettedScopes are the scopes that dynamic clients and clients with a
	// metadata document may have at most. Nil: all.
	UnvettedScopes oauth.Scope
	// AccessToken, if set, is the initial access token that a registration
	// must present as a bearer token (RFC 7591 §3).
	AccessToken string
	// RedirectSchemes are the private-use schemes that redirect URIs may have.
	// Nil takes oauth.DefaultRedirectSchemes.
	RedirectSchemes []string
	// AllowRedirectHosts, unless empty, are the only hosts that redirect URIs may
	// have, and DenyRedirectHosts those that they may not have in any case
	// (oauth.CheckHostPattern). All three also hold for metadata documents.
	AllowRedirectHosts, DenyRedirectHosts []string
}

// redirects is the policy for redirect URIs of clients that nobody vouches for.
func (r Registration) redirects() oauth.RedirectPolicy {
	return oauth.RedirectPolicy{Schemes: r.RedirectSchemes, Allow: r.AllowRedirectHosts, Deny: r.DenyRedirectHosts}
}

// Resource is one protected MCP server.
type Resource struct {
	// URIs are its endpoints in canonical form. The first one is the audience
	// of tokens, whichever endpoint they were asked for.
	URIs []string
	// Scopes are the scopes for basic use: what metadata list and what is granted
	// to a client that asks for none. At least one.
	Scopes oauth.Scope
	// StepUpScopes are granted besides, to clients that ask for them by name.
	// None of them is listed, because clients ask for the whole list.
	StepUpScopes oauth.Scope
	// Name is for people.
	Name string
	// ScopeTexts say in the operator's words what a scope allows.
	ScopeTexts map[string]string
	// Rules say who may use it, besides the rules for all.
	Rules login.Rules
	// PersonalTokens says that it accepts personal access tokens.
	PersonalTokens bool
	// Issuers are others whose tokens it accepts. Rules name them as logins.
	Issuers []string
	// PolicyGroups are the groups that are named where calls are judged: tokens
	// say which of them their user is in, and no others.
	PolicyGroups []string
	// AllGroups says that tokens name all groups of the user that are known, for
	// an upstream server that wants them.
	AllGroups bool
	// Assertions says that what it is told is signed, so that the keys are published.
	Assertions bool
}

// AllScopes are the scopes that can be granted for it, those for basic use first.
func (r Resource) AllScopes() oauth.Scope { return union(r.Scopes, r.StepUpScopes) }

// Audience returns the aud of the resource's tokens.
func (r Resource) Audience() string { return r.URIs[0] }

// Deps are the parts that the server works with.
type Deps struct {
	// Store should be a store.Bounded: requests bring it a budget of time.
	Store    store.Store
	Keys     *keys.Manager
	Revoked  *RevocationSet
	Logins   []login.Method // in the order in which they are offered
	Observer oauth.Observer
	// Fetch fetches what clients publish about themselves. Without it there are
	// no clients with a metadata document.
	Fetch *fetch.Client
	// ClientKeys finds keys at addresses that strangers name, so it connects to
	// public ones only. ConfiguredKeys finds those at addresses of the
	// configuration. Nil: such clients can't authenticate.
	ClientKeys, ConfiguredKeys KeyFinder
	// Leaving reports whether this process is about to end, so that the health
	// page can say it to a load balancer. Nil: it never is.
	Leaving func() bool
	// Now is the clock, for nodes that share a store a store.Clock; nil takes
	// time.Now.
	Now func() time.Time
}

// CheckIssuer reports why a string can't be an issuer identifier (RFC 8414 §2),
// or nil. One with a trailing slash is refused, because clients compare
// issuers byte by byte and would disagree about it.
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("issuer %q is not an absolute URL", issuer)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(issuer, "#"):
		return fmt.Errorf("issuer %q must not have a query or fragment (RFC 8414 section 2)", issuer)
	case strings.HasSuffix(issuer, "/"):
		return fmt.Errorf("issuer %q must not end with a slash: write %q", issuer, strings.TrimRight(issuer, "/"))
	case u.Scheme == "http" && !oauth.IsLoopbackHost(u.Host):
		return fmt.Errorf("issuer %q must use https unless its host is localhost, 127.0.0.1 or [::1]", issuer)
	}
	canonical, err := oauth.CanonicalResource(issuer)
	if err != nil {
		return fmt.Errorf("issuer %q %w", issuer, err)
	}
	if canonical != issuer {
		return fmt.Errorf("issuer %q must be in canonical form: write %q", issuer, canonical)
	}
	return nil
}

func (c *Config) setDefaults() {
	l := &c.Lifetimes
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&l.AccessToken, DefaultAccessTokenLifetime},
		{&l.Code, DefaultCodeLifetime},
		{&l.RefreshGrace, DefaultRefreshGrace},
		{&l.RefreshIdle, DefaultRefreshIdle},
		{&l.RefreshAbsolute, DefaultRefreshAbsolute},
		{&l.PersonalToken, DefaultPersonalToken},
		{&c.Sessions.Idle, DefaultSessionIdle},
		{&c.Sessions.Absolute, DefaultSessionAbsolute},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if r := &c.Registration.Rate; r.PerAddress == 0 {
		r.PerAddress = DefaultRegistrationsPerAddress
	}
	if r := &c.Registration.Rate; r.Total == 0 {
		r.Total = DefaultRegistrationsTotal
	}
	if c.Registration.Rate.Exempt == nil {
		c.Registration.Rate.Exempt = DefaultSharedEgress()
	}
	if c.Registration.RedirectSchemes == nil {
		c.Registration.RedirectSchemes = oauth.DefaultRedirectSchemes
	}
}

// Check reports what is wrong with the configuration, the resources excepted:
// they are known only when every site is.
//
// It fills the defaults in.
func (c *Config) Check() error {
	c.setDefaults()
	l := c.Lifetimes
	switch {
	case l.AccessToken < time.Second || l.RefreshIdle < time.Second || l.RefreshAbsolute < time.Second:
		return errors.New("lifetimes must be at least one second")
	case l.PersonalToken < day:
		return errors.New("personal_token_lifetime must be at least one day")
	case c.Sessions.Idle < time.Minute || c.Sessions.Absolute < time.Minute:
		return errors.New("session_idle and session_lifetime must be at least one minute")
	case l.Code < time.Second || l.Code > maxCodeLifetime:
		return fmt.Errorf("the code lifetime must be between 1s and %s (OAuth 2.1 section 4.1.2)", maxCodeLifetime)
	}
	for _, s := range c.Registration.RedirectSchemes {
		if !oauth.AllowableRedirectScheme(s) {
			return fmt.Errorf("redirect scheme %q can't be allowed", s)
		}
	}
	for _, pattern := range slices.Concat(c.Registration.AllowRedirectHosts, c.Registration.DenyRedirectHosts) {
		if err := oauth.CheckHostPattern(pattern); err != nil {
			return fmt.Errorf("redirect host %w", err)
		}
	}
	for _, host := range c.TrustedRedirectHosts {
		if u, err := url.Parse("https://" + host); err != nil || u.Host != host || host == "" || oauth.IsLoopbackHost(host) {
			return fmt.Errorf("trusted redirect host %q is not a host such as claude.ai; a host of this machine can't be trusted", host)
		}
	}
	return errors.Join(CheckIssuer(c.Issuer), c.Rules.Check(), c.checkClients(), c.Documents.check())
}

func (c *Config) checkResources() error {
	if len(c.Resources) == 0 {
		return errors.New("no resource to protect: put the mcp_auth directive in a site")
	}
	seen := map[string]bool{}
	for _, res := range c.Resources {
		if len(res.URIs) == 0 || len(res.Scopes) == 0 {
			return errors.New("every resource needs a URI and a scope")
		}
		for _, uri := range res.URIs {
			if seen[uri] {
				return fmt.Errorf("resource %s is claimed twice: give each site its own with the resource option", uri)
			}
			seen[uri] = true
		}
		for _, scope := range res.StepUpScopes {
			switch {
			case !oauth.ValidScopeToken(scope):
				return fmt.Errorf("step-up scope %q of %s has a character that RFC 6749 section 3.3 does not allow", scope, res.Audience())
			case len(oauth.Scope{scope}.WithoutIdentity()) == 0:
				return fmt.Errorf("step-up scope %s of %s is one of OpenID Connect, which is never granted here", scope, res.Audience())
			}
		}
	}
	return nil
}

// basicScopes are the scopes of all resources for basic use, in their order.
func (c *Config) basicScopes() oauth.Scope {
	var all oauth.Scope
	for _, res := range c.Resources {
		all = union(all, res.Scopes)
	}
	return all
}

// allScopes are all scopes of all resources, in their order.
func (c *Config) allScopes() oauth.Scope {
	var all oauth.Scope
	for _, res := range c.Resources {
		all = union(all, res.AllScopes())
	}
	return all
}

// union returns the scopes of both, each once, in a slice of its own.
func union(a, b oauth.Scope) oauth.Scope {
	all := slices.Clone(a)
	for _, s := range b {
		if !all.Contains(s) {
			all = append(all, s)
		}
	}
	return all
}
