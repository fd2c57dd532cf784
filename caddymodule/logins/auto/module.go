package auto

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

func init() {
	caddy.RegisterModule(Login{})
}

// Login approves every sign-in at once, as the configured user. It is for
// development only.
type Login struct {
	// The stable id of the user; the `sub` of tokens. Default: `dev`.
	User string `json:"user,omitempty"`

	// The user's e-mail address. Default: none.
	Email string `json:"email,omitempty"`

	// The user's full name. Default: none.
	Name string `json:"name,omitempty"`

	// The user's groups, to try rules with. Default: none.
	Groups []string `json:"groups,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Login) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth.logins.auto",
		New: func() caddy.Module { return new(Login) },
	}
}

// Provision fills in the default user.
func (l *Login) Provision(caddy.Context) error {
	if l.User == "" {
		l.User = "dev"
	}
	return nil
}

// Info implements login.Method.
func (l *Login) Info() login.Info { return login.Info{ID: "auto", Ambient: true, Unattended: true} }

// Begin returns the configured user.
func (l *Login) Begin(context.Context, login.Request) (login.Step, error) {
	id := l.identity()
	id.AuthTime = time.Now()
	return login.Step{Identity: &id}, nil
}

func (l *Login) identity() login.Identity {
	return login.Identity{Subject: l.User, Name: l.Name, Email: l.Email, EmailVerified: true, Groups: l.Groups}
}

// Finish is never reached, because Begin does not redirect.
func (l *Login) Finish(context.Context, login.Request) (login.Step, error) {
	return login.Step{}, login.ErrDenied
}

// Recheck knows the configured user only, whose groups may have changed.
func (l *Login) Recheck(_ context.Context, id login.Identity) (login.Identity, error) {
	if id.Subject != l.User {
		return login.Identity{}, login.ErrDenied
	}
	id.Groups, id.GroupsUnknown = l.Groups, false
	return id, nil
}

// Lookup implements login.Directory.
func (l *Login) Lookup(_ context.Context, subject string) (login.Identity, error) {
	if subject != l.User {
		return login.Identity{}, login.ErrDenied
	}
	return l.identity(), nil
}

// UnmarshalCaddyfile reads the login from a Caddyfile:
//
//	login auto {
//		user   <id>
//		email  <address>
//		name   <full name>
//		groups <name...>
//	}
func (l *Login) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var field *string
		switch d.Val() {
		case "user":
			field = &l.User
		case "email":
			field = &l.Email
		case "name":
			field = &l.Name
		case "groups":
			groups := d.RemainingArgs()
			if len(groups) == 0 {
				return d.ArgErr()
			}
			l.Groups = append(l.Groups, groups...)
			continue
		default:
			return d.Errf("unknown option of login auto: %s (known: user, email, name, groups)", d.Val())
		}
		if !d.AllArgs(field) {
			return d.ArgErr()
		}
	}
	return nil
}

// Interface guards
var (
	_ login.Method          = (*Login)(nil)
	_ login.Directory       = (*Login)(nil)
	_ caddy.Provisioner     = (*Login)(nil)
	_ caddyfile.Unmarshaler = (*Login)(nil)
)
