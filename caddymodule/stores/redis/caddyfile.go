package redis

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile reads the module's name, addresses and options. Syntax:
//
//	redis <address...> {
//		address           <address...>
//		master_name       <name>
//		cluster
//		username          <name>
//		password          <password>
//		sentinel_username <name>
//		sentinel_password <password>
//		database          <number>
//		prefix            <prefix>
//		tls
//		tls_ca            <file>
//		tls_cert          <certificate file> <key file>
//		tls_server_name   <name>
//		wait              <duration>
//		timeout           <duration>
//	}
func (m *Module) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	m.Addresses = d.RemainingArgs()
	options := m.options()
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		parse, ok := options[name]
		switch {
		case !ok:
			return d.Errf("unrecognized option %q of the redis store (known: %s)", name, strings.Join(slices.Sorted(maps.Keys(options)), ", "))
		case seen[name] && name != "address":
			return d.Errf("%s is given twice", name)
		}
		seen[name] = true
		if err := parse(d, d.RemainingArgs()); err != nil {
			return err
		}
	}
	if len(m.Addresses) == 0 {
		return d.Err("name the Redis server: store redis <host:port>")
	}
	if slices.Contains(m.Addresses, "") {
		return d.Err("an address is empty")
	}
	return nil
}

// option reads the arguments of an option.
type option func(d *caddyfile.Dispenser, args []string) error

// options returns how to read each option.
func (m *Module) options() map[string]option {
	return map[string]option{
		"address": func(d *caddyfile.Dispenser, args []string) error {
			if len(args) == 0 {
				return d.ArgErr()
			}
			m.Addresses = append(m.Addresses, args...)
			return nil
		},
		"master_name":       texts(&m.MasterName),
		"cluster":           flag(&m.Cluster),
		"username":          texts(&m.Username),
		"password":          texts(&m.Password),
		"sentinel_username": texts(&m.SentinelUsername),
		"sentinel_password": texts(&m.SentinelPassword),
		"database": func(d *caddyfile.Dispenser, args []string) error {
			if len(args) != 1 {
				return d.ArgErr()
			}
			number, err := strconv.Atoi(args[0])
			if err != nil || number < 0 {
				return d.Errf("database %q is not a number", args[0])
			}
			m.Database = number
			return nil
		},
		"prefix":          texts(&m.Prefix),
		"tls":             flag(&m.TLS),
		"tls_ca":          texts(&m.TLSCA),
		"tls_cert":        texts(&m.TLSCert, &m.TLSKey),
		"tls_server_name": texts(&m.TLSServerName),
		"wait":            duration(&m.Wait),
		"timeout":         duration(&m.Timeout),
	}
}

// texts takes as many arguments as there are places for them.
func texts(into ...*string) option {
	return func(d *caddyfile.Dispenser, args []string) error {
		if len(args) != len(into) || slices.Contains(args, "") {
			return d.ArgErr()
		}
		for i, text := range args {
			*into[i] = text
		}
		return nil
	}
}

// duration takes a duration that is longer than nothing.
func duration(into *caddy.Duration) option {
	return func(d *caddyfile.Dispenser, args []string) error {
		if len(args) != 1 {
			return d.ArgErr()
		}
		parsed, err := caddy.ParseDuration(args[0])
		if err != nil || parsed <= 0 {
			return d.Errf("%q is not a duration such as 30s", args[0])
		}
		*into = caddy.Duration(parsed)
		return nil
	}
}

// flag takes no arguments.
func flag(into *bool) option {
	return func(d *caddyfile.Dispenser, args []string) error {
		if len(args) > 0 {
			return d.ArgErr()
		}
		*into = true
		return nil
	}
}

// Interface guard.
var _ caddyfile.Unmarshaler = (*Module)(nil)
