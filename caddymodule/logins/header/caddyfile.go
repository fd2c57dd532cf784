package header

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile reads the login from a Caddyfile:
//
//	login header {
//		preset          authelia|authentik|oauth2-proxy|cloudflare|tailscale
//		user            <header>
//		email           <header>|off
//		name            <header>|off
//		groups          <header> [<separator>]
//		groups          off
//		trusted_proxies <address|network|private_ranges|unix...>
//		secret_header   <header> <secret>
//		jwt [<header>] {
//			issuer   <issuer>
//			audience <aud...>
//			jwks_url <url>
//			claim    user|email|name|groups <claim>
//			leeway   <duration>
//		}
//		namespace       <name>
//		id              <id>
//		label           <text>
//	}
//
// At least one of trusted_proxies, secret_header and jwt is required.
func (l *Login) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		return d.Errf("login header takes no argument: its options stand in a block")
	}
	return parseBlock(d, "login header", map[string]option{
		"preset": text(&l.Preset), "user": text(&l.User), "email": text(&l.Email), "name": text(&l.Name),
		"namespace": text(&l.Namespace), "id": text(&l.ID), "label": text(&l.Label),
		"groups": l.parseGroups, "trusted_proxies": list(&l.TrustedProxies),
		"secret_header": l.parseSecret, "jwt": l.parseJWT,
	})
}

// option parses one option of a block; the dispenser stands on its name.
type option func(d *caddyfile.Dispenser) error

func parseBlock(d *caddyfile.Dispenser, what string, options map[string]option) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		parse, ok := options[d.Val()]
		if !ok {
			known := strings.Join(slices.Sorted(maps.Keys(options)), ", ")
			return d.Errf("unknown option of %s: %s (known: %s)", what, d.Val(), known)
		}
		if err := parse(d); err != nil {
			return err
		}
	}
	return nil
}

// text takes one argument, once.
func text(field *string) option {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if *field != "" {
			return d.Errf("%s is given twice", name)
		}
		if !d.AllArgs(field) {
			return d.ArgErr()
		}
		if *field == "" {
			return d.Errf("%s is empty", name)
		}
		return nil
	}
}

// list takes one or more arguments, and may be repeated.
func list(field *[]string) option {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		*field = append(*field, args...)
		return nil
	}
}

// parseGroups reads: groups <header> [<separator>].
func (l *Login) parseGroups(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 0 || len(args) > 2:
		return d.ArgErr()
	case l.Groups != "":
		return d.Err("groups is given twice")
	case args[0] == "" || len(args) == 2 && args[1] == "":
		return d.Err("groups is empty")
	}
	l.Groups = args[0]
	if len(args) == 2 {
		l.GroupsSeparator = args[1]
	}
	return nil
}

// parseSecret reads: secret_header <header> <secret>. No error repeats an
// argument: it may be the secret.
func (l *Login) parseSecret(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) != 2 || args[0] == "" || args[1] == "":
		return d.Err("secret_header takes the name of a header and the secret")
	case l.SecretHeader != "":
		return d.Err("secret_header is given twice")
	}
	l.SecretHeader, l.Secret = args[0], args[1]
	return nil
}

// parseJWT reads the block of jwt.
func (l *Login) parseJWT(d *caddyfile.Dispenser) error {
	if l.JWT != nil {
		return d.Err("jwt is given twice")
	}
	j := new(JWT)
	l.JWT = j
	if d.NextArg() {
		if j.Header = d.Val(); j.Header == "" || d.NextArg() {
			return d.ArgErr()
		}
	}
	return parseBlock(d, "jwt", map[string]option{
		"issuer": text(&j.Issuer), "audience": list(&j.Audience), "jwks_url": text(&j.JWKSURL),
		"claim": j.Claims.parse, "leeway": j.parseLeeway,
	})
}

// parse reads: claim user|email|name|groups <claim>.
func (c *Claims) parse(d *caddyfile.Dispenser) error {
	var field, claim string
	if !d.AllArgs(&field, &claim) {
		return d.ArgErr()
	}
	into, ok := map[string]*string{"user": &c.User, "email": &c.Email, "name": &c.Name, "groups": &c.Groups}[field]
	switch {
	case !ok:
		return d.Errf("unknown claim of jwt: %s (known: email, groups, name, user)", field)
	case claim == "":
		return d.Errf("claim %s is empty", field)
	case *into != "":
		return d.Errf("claim %s is given twice", field)
	}
	*into = claim
	return nil
}

// parseLeeway reads: leeway <duration>.
func (j *JWT) parseLeeway(d *caddyfile.Dispenser) error {
	var value string
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	leeway, err := caddy.ParseDuration(value)
	if err != nil || leeway <= 0 || leeway > maxLeeway {
		return d.Errf("leeway %q is not a duration up to 5m, such as 30s", value)
	}
	j.Leeway = caddy.Duration(leeway)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Login)(nil)
