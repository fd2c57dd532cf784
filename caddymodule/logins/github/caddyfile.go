package github

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile reads the login from a Caddyfile:
//
//	login github {
//		client_id     <id>
//		client_secret <secret>
//		organizations <org...>
//		teams         <org/slug...>
//		groups
//		base_url      <url>
//		api_url       <url>
//		id            <id>
//		label         <text>
//	}
//
// The options client_id and client_secret are required. Lists may be repeated.
func (l *Login) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		return d.Errf("login github takes no argument: its options stand in a block")
	}
	texts := map[string]*string{
		"client_id": &l.ClientID, "client_secret": &l.ClientSecret,
		"base_url": &l.BaseURL, "api_url": &l.APIURL, "id": &l.ID, "label": &l.Label,
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		var err error
		switch field, isText := texts[option]; {
		case isText:
			err = parseText(d, field)
		case option == "organizations":
			err = parseList(d, &l.Organizations)
		case option == "teams":
			err = parseList(d, &l.Teams)
		case option == "groups":
			if l.Groups = true; d.NextArg() {
				err = d.ArgErr()
			}
		default:
			known := append(slices.Collect(maps.Keys(texts)), "organizations", "teams", "groups")
			slices.Sort(known)
			err = d.Errf("unknown option of login github: %s (known: %s)", option, strings.Join(known, ", "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseText reads the one argument of an option. No error repeats it: it may be
// a secret.
func parseText(d *caddyfile.Dispenser, field *string) error {
	option := d.Val()
	switch args := d.RemainingArgs(); {
	case len(args) != 1:
		return d.Errf("%s takes one argument: put it in quotes if it has spaces", option)
	case args[0] == "":
		return d.Errf("%s is empty", option)
	case *field != "":
		return d.Errf("%s is given twice", option)
	default:
		*field = args[0]
		return nil
	}
}

func parseList(d *caddyfile.Dispenser, field *[]string) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	*field = append(*field, args...)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Login)(nil)
