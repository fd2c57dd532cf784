package caddymodule

import (
	"net/netip"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// RegistrationConfig configures dynamic client registration (RFC 7591), and what
// clients may do that nobody vouches for: those that register themselves and
// those with a metadata document.
type RegistrationConfig struct {
	// Turns dynamic registration off: no new client registers. Those that did
	// stay, until their key is retired.
	Disabled bool `json:"disabled,omitempty"`

	// An initial access token that registrations must present as a bearer
	// token. Placeholders are replaced. Default: anyone may register.
	AccessToken string `json:"access_token,omitempty"`

	// Turns off that clients read, change and delete their registration
	// (RFC 7592). What they changed and deleted before stays so.
	DisableManagement bool `json:"disable_management,omitempty"`

	// The private-use URI schemes that redirect URIs may have, such as
	// `cursor`. Default: `cursor`, `vscode`, `vscode-insiders`, `vscodium`,
	// `windsurf`, `claude`, `zed`, `warp`, `raycast`, `goose`, `jetbrains`,
	// `kiro` and `trae`. An empty list allows none.
	RedirectSchemes []string `json:"redirect_schemes,omitzero"`

	// The only hosts that redirect URIs may have: `example.com`,
	// `*.example.com` for every host below it, with a port if only that one is
	// meant, or `loopback` for 127.0.0.1, [::1] and localhost. Default: every host.
	AllowRedirectHosts []string `json:"allow_redirect_hosts,omitempty"`

	// Hosts that redirect URIs may not have, whatever is allowed, written in
	// the same way. Default: none.
	DenyRedirectHosts []string `json:"deny_redirect_hosts,omitempty"`

	// The scopes that such clients may have at most, whatever people approve.
	// Default: all.
	UnvettedScopes []string `json:"unvetted_scopes,omitempty"`

	// How often clients register.
	Rate RateConfig `json:"rate,omitzero"`
}

// RateConfig bounds registrations per minute on each node. A minute's worth may
// come at once; what is beyond gets 429.
type RateConfig struct {
	// From one address, or one /64 network of IPv6. A negative number turns it
	// off. Default: `600`
	PerAddress int `json:"per_address,omitempty"`

	// From all addresses. A negative number turns it off. Default: `60000`
	Total int `json:"total,omitempty"`

	// Networks whose addresses have no bound of their own, because many people
	// share one. Default: `["160.79.104.0/21"]`, the egress of Claude
	Exempt []netip.Prefix `json:"exempt,omitzero"`
}

func (c *RegistrationConfig) registration() authserver.Registration {
	return authserver.Registration{
		Off:                c.Disabled,
		NoManagement:       c.DisableManagement,
		AccessToken:        c.AccessToken,
		RedirectSchemes:    c.RedirectSchemes,
		AllowRedirectHosts: c.AllowRedirectHosts,
		DenyRedirectHosts:  c.DenyRedirectHosts,
		UnvettedScopes:     c.UnvettedScopes,
		Rate:               authserver.Rate(c.Rate),
	}
}

// parse reads:
//
//	registration [off] {
//		access_token         <token>
//		management           on|off
//		redirect_schemes     <scheme...>|none
//		allow_redirect_hosts <host...>
//		deny_redirect_hosts  <host...>
//		unvetted_scopes      <scope...>
//		rate_limit           <per_address>|off [<total>|off]
//		rate_exempt          <network...>|none
//	}
func (c *RegistrationConfig) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		c.Disabled = d.Val() == "off"
		if !c.Disabled || d.NextArg() {
			return d.ArgErr()
		}
	}
	manage := true
	return parseBlock(d, "registration", map[string]option{
		"access_token":         credential(&c.AccessToken),
		"redirect_schemes":     c.parseSchemes,
		"allow_redirect_hosts": hosts(&c.AllowRedirectHosts),
		"deny_redirect_hosts":  hosts(&c.DenyRedirectHosts),
		"unvetted_scopes":      scopes(&c.UnvettedScopes),
		"rate_limit":           c.Rate.parse,
		"rate_exempt":          c.Rate.parseExempt,
		"management": func(d *caddyfile.Dispenser) error {
			err := onOff(&manage)(d)
			c.DisableManagement = !manage
			return err
		},
	})
}

func (c *RegistrationConfig) parseSchemes(d *caddyfile.Dispenser) error {
	schemes := d.RemainingArgs()
	if len(schemes) == 0 {
		return d.ArgErr()
	}
	if len(schemes) == 1 && schemes[0] == "none" {
		schemes = []string{}
	}
	for _, s := range schemes {
		if !oauth.AllowableRedirectScheme(s) {
			return d.Errf("redirect scheme %q can't be allowed", s)
		}
	}
	c.RedirectSchemes = schemes
	return nil
}

// hosts is list for patterns of hosts.
func hosts(field *[]string) option {
	return func(d *caddyfile.Dispenser) error {
		before := len(*field)
		if err := list(field)(d); err != nil {
			return err
		}
		for _, pattern := range (*field)[before:] {
			if err := oauth.CheckHostPattern(pattern); err != nil {
				return d.WrapErr(err)
			}
		}
		return nil
	}
}

// scopes is list for scopes.
func scopes(field *[]string) option {
	return func(d *caddyfile.Dispenser) error {
		before := len(*field)
		if err := list(field)(d); err != nil {
			return err
		}
		for _, scope := range (*field)[before:] {
			if !oauth.ValidScopeToken(scope) {
				return d.Errf("%q is not a scope (RFC 6749 section 3.3)", scope)
			}
		}
		return nil
	}
}

// parse reads: rate_limit <per_address>|off [<total>|off].
func (c *RateConfig) parse(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 2 {
		return d.ArgErr()
	}
	for i, field := range []*int{&c.PerAddress, &c.Total}[:len(args)] {
		if args[i] == "off" {
			*field = -1
			continue
		}
		n, err := strconv.Atoi(args[i])
		if err != nil || n < 1 {
			return d.Errf("%q is neither a number of registrations per minute nor off", args[i])
		}
		*field = n
	}
	return nil
}

// parseExempt reads: rate_exempt <network...>|none.
func (c *RateConfig) parseExempt(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	c.Exempt = []netip.Prefix{}
	if len(args) == 1 && args[0] == "none" {
		return nil
	}
	for _, arg := range args {
		network, err := netip.ParsePrefix(arg)
		if err != nil || network != network.Masked() {
			return d.Errf("%q is not a network such as 192.0.2.0/24", arg)
		}
		c.Exempt = append(c.Exempt, network)
	}
	return nil
}
