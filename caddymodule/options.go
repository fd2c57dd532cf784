package caddymodule

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// The kinds of options that Caddyfile blocks are made of.

func known(options map[string]option) string {
	return strings.Join(slices.Sorted(maps.Keys(options)), ", ")
}

// text takes one argument.
func text(field *string) option {
	return func(d *caddyfile.Dispenser) error {
		if !d.AllArgs(field) {
			return d.ArgErr()
		}
		return nil
	}
}

// credential takes one argument that no error repeats.
func credential(field *string) option {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if !d.AllArgs(field) {
			return d.Errf("%s takes one argument: put it in quotes if it has spaces", name)
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

// flag takes no argument.
func flag(field *bool) option {
	return func(d *caddyfile.Dispenser) error {
		if d.NextArg() {
			return d.ArgErr()
		}
		*field = true
		return nil
	}
}

// onOff takes on or off.
func onOff(field *bool) option {
	return func(d *caddyfile.Dispenser) error {
		var value string
		if !d.AllArgs(&value) || value != "on" && value != "off" {
			return d.Err("expected on or off")
		}
		*field = value == "on"
		return nil
	}
}

// duration takes a duration such as 90s, 1h or 30d, or off, which is kept as
// a negative value.
func duration(field *caddy.Duration) option {
	return func(d *caddyfile.Dispenser) error {
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		if value == "off" || value == "0" {
			*field = -1
			return nil
		}
		parsed, err := caddy.ParseDuration(value)
		if err != nil || parsed <= 0 {
			return d.Errf("%q is not a duration such as 90s, 1h or 30d", value)
		}
		*field = caddy.Duration(parsed)
		return nil
	}
}

// size takes a number of bytes such as 16MiB, or off.
func size(field *int64) option {
	return func(d *caddyfile.Dispenser) error {
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		if value == "off" {
			*field = -1
			return nil
		}
		parsed, err := humanize.ParseBytes(value)
		if err != nil || parsed == 0 || parsed > 1<<40 {
			return d.Errf("%q is not a size such as 16MiB", value)
		}
		*field = int64(parsed)
		return nil
	}
}

// number takes a whole number of at least one.
func number(field *int) option {
	return func(d *caddyfile.Dispenser) error {
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		parsed, err := strconv.Atoi(value)
		if err != nil || parsed < 1 {
			return d.Errf("%q is not a whole number of at least 1", value)
		}
		*field = parsed
		return nil
	}
}

// people takes a kind of people and who they are: `anyone`, or email, domain,
// group, user or login with values. It may be repeated.
func people(list *login.People) option {
	return func(d *caddyfile.Dispenser) error {
		rule := d.Val()
		if !d.NextArg() {
			return d.Errf("%s needs a kind and who: email, domain, group, user or login with values, or anyone", rule)
		}
		kind, values := d.Val(), d.RemainingArgs()
		if kind == "anyone" {
			if len(values) > 0 {
				return d.ArgErr()
			}
			list.Anyone = true
			return nil
		}
		field, ok := map[string]*[]string{
			"email": &list.Emails, "domain": &list.Domains, "group": &list.Groups, "user": &list.Users, "login": &list.Logins,
		}[kind]
		if !ok {
			return d.Errf("unknown kind of %s rule: %s (known: anyone, domain, email, group, login, user)", rule, kind)
		}
		if len(values) == 0 {
			return d.ArgErr()
		}
		*field = append(*field, values...)
		if err := (login.Rules{Allow: *list}).Check(); err != nil && rule == "allow" {
			return d.WrapErr(err)
		}
		if err := (login.Rules{Deny: *list}).Check(); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
}

// guests is guest for an option that may be repeated.
func guests(namespace string, field *[]json.RawMessage) option {
	return func(d *caddyfile.Dispenser) error {
		var one json.RawMessage
		if err := guest(namespace, &one)(d); err != nil {
			return err
		}
		*field = append(*field, one)
		return nil
	}
}

// guest takes the name of a guest module of a namespace, and hands the rest of
// the option to it.
func guest(namespace string, field *json.RawMessage) option {
	return func(d *caddyfile.Dispenser) error {
		if *field != nil {
			return d.Errf("%s occurs twice", d.Val())
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		name := d.Val()
		module, err := caddyfile.UnmarshalModule(d, namespace+name)
		if err != nil {
			return err
		}
		*field = caddyconfig.JSONModuleObject(module, "module", name, nil)
		return nil
	}
}
