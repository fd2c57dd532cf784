package oidc

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

func init() {
	caddy.RegisterModule(new(Login))
}

// Login signs people in at an OpenID provider. It asks the provider for an
// authorization code with PKCE, redeems it and believes the ID token, once
// everything that OpenID Connect Core 1.0 §3.1.3.7 asks for has been checked.
//
// At the provider, register a web application with the redirect URI
// `<issuer of this server>/oauth/callback/<id>`.
//
// Nothing is asked of the provider while the configuration loads: it may be
// down, and sign-in works as soon as it is back.
type Login struct {
	// The provider's issuer identifier, byte for byte as its discovery document
	// spells it: Auth0's ends in a slash, Google's doesn't. It must use https,
	// except on localhost. Placeholders are replaced. Required.
	// Example: `https://accounts.google.com`
	Issuer string `json:"issuer,omitempty"`

	// The client id that the provider gave this server. Placeholders are
	// replaced. Required.
	ClientID string `json:"client_id,omitempty"`

	// The client secret. Placeholders such as `{env.OIDC_CLIENT_SECRET}` are
	// replaced. Default: none, this server is a public client and PKCE is what
	// proves that it is the same one.
	ClientSecret string `json:"client_secret,omitempty"`

	// How the client secret is sent: `basic` or `post` (RFC 6749 §2.3.1).
	// Default: what the provider's discovery document lists, `basic` before
	// `post`.
	ClientAuth string `json:"client_auth,omitempty"`

	// The scopes to ask for; `openid` has to be among them. Default: `openid`,
	// `email`, `profile`.
	Scopes []string `json:"scopes,omitempty"`

	// Names this way to sign in, in URLs, logs and rules: 1 to 32 lower-case
	// letters, digits and hyphens. Each login of a server needs its own.
	// Default: `oidc`.
	ID string `json:"id,omitempty"`

	// What people call the provider; the button says "Continue with" before it.
	// Default: the name of a well-known provider, such as `Google`, or the
	// issuer's host.
	Label string `json:"label,omitempty"`

	// Admits only accounts of these Google Workspace domains: the claim `hd`
	// must be one of them. Default: any account.
	HostedDomains []string `json:"hosted_domains,omitempty"`

	// Admits only accounts of these Entra tenants, given by their directory id:
	// the claim `tid` must be one of them. Required for the issuers that serve
	// all tenants, `https://login.microsoftonline.com/common/v2.0` and
	// `…/organizations/v2.0`. With those the subject is `<tenant>:<sub>`.
	// Default: any account.
	Tenants []string `json:"tenants,omitempty"`

	// When an e-mail address counts as verified. `claim`: if the provider says
	// `email_verified`. `require`: likewise, and who has no verified address
	// does not get in. `trust`: always, unless the provider says that it is not;
	// for providers that don't send the claim (Entra), and only if nobody can
	// choose the address of their own account there. Default: `claim`.
	EmailVerified string `json:"email_verified,omitempty"`

	// The claims that hold what is known about a person.
	Claims Claims `json:"claims,omitzero"`

	// Further parameters of the authorization request, such as `prompt` or
	// `domain_hint`. Those of the protocol itself can't be set. Default: none.
	AuthorizeParams map[string]string `json:"authorize_params,omitempty"`

	// Asks the provider's userinfo endpoint too, for providers whose ID tokens
	// leave out e-mail address, name or groups. What the ID token says wins.
	// Default: false.
	UserInfo bool `json:"userinfo,omitempty"`

	// How far the provider's clock may be off, at most 5 minutes. Default: 30s.
	ClockLeeway caddy.Duration `json:"clock_leeway,omitempty"`

	issuer   issuer
	version  string
	now      func() time.Time
	logger   *zap.Logger
	client   *http.Client
	provider *cache[*provider]
	keys     *cache[*keySet]
	warned   atomic.Bool // about groups that are left out
}

// Claims names claims of the ID token. A dot leads into an object:
// `realm_access.roles`. A claim whose name has dots itself is found as well.
type Claims struct {
	// The stable id of a person; the `sub` of tokens is made of it. Claims that
	// people can change, such as `email`, are refused. Default: `sub`.
	Subject string `json:"subject,omitempty"`

	// The full name. Default: `name`.
	Name string `json:"name,omitempty"`

	// The e-mail address. The provider's `email_verified` speaks of the claim
	// `email` only: another one needs `email_verified trust` to count as
	// verified. Default: `email`.
	Email string `json:"email,omitempty"`

	// The groups: a string or a list of strings. Default: `groups`.
	Groups string `json:"groups,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Login) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth.logins.oidc",
		New: func() caddy.Module { return new(Login) },
	}
}

// Provision checks the configuration. It calls nobody.
func (l *Login) Provision(ctx caddy.Context) error {
	if err := l.configure(); err != nil {
		return err
	}
	l.now, l.logger, l.client = time.Now, ctx.Logger(), newClient()
	now := func() time.Time { return l.now() } // tests turn the clock
	l.provider = newCache(now, l.discover, documentTimes)
	l.keys = newCache(now, l.fetchKeys, keyTimes)
	if l.EmailVerified == verifiedTrust && (l.Info().Open || len(l.Tenants) > 1) {
		l.logger.Warn("email_verified trust: whoever can choose their own address at the provider has any address here",
			zap.String("login", l.ID))
	}
	return nil
}

// Cleanup closes idle connections to the provider.
func (l *Login) Cleanup() error {
	if l.client != nil {
		l.client.CloseIdleConnections()
	}
	return nil
}

// Interface guards
var (
	_ login.Method          = (*Login)(nil)
	_ caddy.Provisioner     = (*Login)(nil)
	_ caddy.CleanerUpper    = (*Login)(nil)
	_ caddyfile.Unmarshaler = (*Login)(nil)
)
