package caddymodule

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// The options that say what the server behind the gateway is told.

// parse reads: identity_header <claim> <header>|off.
func (c *IdentityHeadersConfig) parse(d *caddyfile.Dispenser) error {
	var claim, name string
	if !d.AllArgs(&claim, &name) {
		return d.ArgErr()
	}
	field, ok := map[string]*string{
		"user": &c.User, "email": &c.Email, "name": &c.Name, "client": &c.Client, "scope": &c.Scope, "groups": &c.Groups,
	}[claim]
	if !ok {
		return d.Errf("unknown identity_header %s (known: client, email, groups, name, scope, user)", claim)
	}
	*field = name
	return nil
}

// parseClaim reads: identity_claim <claim> <header>.
func (c *IdentityHeadersConfig) parseClaim(d *caddyfile.Dispenser) error {
	var claim, name string
	if !d.AllArgs(&claim, &name) {
		return d.Err("identity_claim takes a claim and the header that tells it")
	}
	if c.Claims == nil {
		c.Claims = map[string]string{}
	}
	if _, twice := c.Claims[claim]; twice {
		return d.Errf("the claim %s has two headers", claim)
	}
	c.Claims[claim] = name
	return nil
}

// parseAssertion reads:
//
//	assertion [<header>] {
//		lifetime <duration>
//		audience <text>
//	}
func (h *Handler) parseAssertion(d *caddyfile.Dispenser) error {
	if h.Assertion != nil {
		return d.Err("assertion occurs twice")
	}
	h.Assertion = new(AssertionConfig)
	if d.NextArg() {
		h.Assertion.Header = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return parseBlock(d, "assertion", map[string]option{
		"lifetime": duration(&h.Assertion.Lifetime),
		"audience": text(&h.Assertion.Audience),
	})
}

// parseUpstreamHeader reads: upstream_header <header> <value>. No error repeats
// the value.
func (h *Handler) parseUpstreamHeader(d *caddyfile.Dispenser) error {
	var name, value string
	if !d.AllArgs(&name, &value) {
		return d.Err("upstream_header takes a header and its value: put the value in quotes if it has spaces")
	}
	if h.UpstreamHeaders == nil {
		h.UpstreamHeaders = map[string]string{}
	}
	if _, twice := h.UpstreamHeaders[name]; twice {
		return d.Errf("the upstream header %s occurs twice", name)
	}
	h.UpstreamHeaders[name] = value
	return nil
}
