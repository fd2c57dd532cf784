package oidc

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile reads the login from a Caddyfile:
//
//	login oidc <issuer> {
//		client_id       <id>
//		client_secret   <secret>
//		client_auth     basic|post
//		scopes          <scope> ...
//		id              <id>
//		label           <text>
//		hosted_domain   <domain> ...
//		tenant          <tenant id> ...
//		email_verified  claim|require|trust
//		claim           subject|name|email|groups <claim>
//		authorize_param <name> <value>
//		userinfo
//		clock_leeway    <duration>
//	}
//
// hosted_domain, tenant, claim and authorize_param may come several times, the
// others once. Only client_id is required.
func (l *Login) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if !d.AllArgs(&l.Issuer) {
		return d.Errf("write login oidc and the provider's issuer, such as login oidc https://accounts.google.com")
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] && !slices.Contains([]string{"hosted_domain", "tenant", "claim", "authorize_param"}, option) {
			return d.Errf("%s is given twice", option)
		}
		seen[option] = true
		if err := l.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

// unmarshalOption reads the arguments of one option.
func (l *Login) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	if field, ok := map[string]*string{
		"client_id": &l.ClientID, "client_secret": &l.ClientSecret, "client_auth": &l.ClientAuth,
		"id": &l.ID, "label": &l.Label, "email_verified": &l.EmailVerified,
	}[option]; ok {
		if !d.AllArgs(field) || *field == "" {
			return d.Errf("%s needs one value", option)
		}
		return nil
	}
	if list, ok := map[string]*[]string{
		"scopes": &l.Scopes, "hosted_domain": &l.HostedDomains, "tenant": &l.Tenants,
	}[option]; ok {
		values := d.RemainingArgs()
		if len(values) == 0 {
			return d.ArgErr()
		}
		*list = append(*list, values...)
		return nil
	}
	switch option {
	case "claim":
		return l.unmarshalClaim(d)
	case "authorize_param":
		return l.unmarshalParam(d)
	case "userinfo":
		if d.NextArg() {
			return d.ArgErr()
		}
		l.UserInfo = true
		return nil
	case "clock_leeway":
		return l.unmarshalLeeway(d)
	}
	return d.Errf("unknown option of login oidc: %s (known: client_id, client_secret, client_auth, scopes, id, label, "+
		"hosted_domain, tenant, email_verified, claim, authorize_param, userinfo, clock_leeway)", option)
}

func (l *Login) unmarshalClaim(d *caddyfile.Dispenser) error {
	var what, claim string
	if !d.AllArgs(&what, &claim) {
		return d.Errf("claim needs what it is for and the claim's name, such as claim groups roles")
	}
	field, ok := map[string]*string{
		"subject": &l.Claims.Subject, "name": &l.Claims.Name, "email": &l.Claims.Email, "groups": &l.Claims.Groups,
	}[what]
	switch {
	case !ok:
		return d.Errf("claim %s: only subject, name, email and groups can be mapped", what)
	case *field != "":
		return d.Errf("claim %s is given twice", what)
	case claim == "":
		return d.ArgErr()
	}
	*field = claim
	return nil
}

func (l *Login) unmarshalParam(d *caddyfile.Dispenser) error {
	var name, value string
	if !d.AllArgs(&name, &value) {
		return d.Errf("authorize_param needs a name and a value, such as authorize_param prompt select_account")
	}
	if _, twice := l.AuthorizeParams[name]; twice {
		return d.Errf("authorize_param %s is given twice", name)
	}
	if l.AuthorizeParams == nil {
		l.AuthorizeParams = map[string]string{}
	}
	l.AuthorizeParams[name] = value
	return nil
}

func (l *Login) unmarshalLeeway(d *caddyfile.Dispenser) error {
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	leeway, err := caddy.ParseDuration(text)
	if err != nil || leeway <= 0 || strings.HasPrefix(text, "-") {
		return d.Errf("clock_leeway %s is not a time such as 30s", text)
	}
	l.ClockLeeway = caddy.Duration(leeway)
	return nil
}
