package password

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile reads the login from a Caddyfile:
//
//	login password {
//		id         <id>
//		users_file <path>
//		user <name> <hash> {
//			email  <address>
//			name   <full name>
//			groups <group...>
//			disabled
//		}
//	}
//
// There may be any number of users; the block of a user may be left out.
func (l *Login) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		return d.Err("login password takes no argument: its options stand in a block")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "id":
			err = one(d, "id", &l.ID)
		case "users_file":
			err = one(d, "users_file", &l.UsersFile)
		case "user":
			err = l.parseUser(d)
		default:
			// What stands in the wrong place may be a hash.
			err = d.Err("unknown option of login password (known: id, users_file, user)")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseUser reads one user. Its errors never repeat what was written, which may
// be a hash, or a password in the place of one.
func (l *Login) parseUser(d *caddyfile.Dispenser) error {
	var u User
	if !d.AllArgs(&u.Username, &u.Hash) {
		return d.Err("user takes a name and a hash from caddy hash-password, and then perhaps a block")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "email":
			err = one(d, "email", &u.Email)
		case "name":
			err = one(d, "name", &u.Name)
		case "groups":
			args := d.RemainingArgs()
			if len(args) == 0 {
				return d.Err("groups takes one name or more")
			}
			u.Groups = append(u.Groups, args...)
		case "disabled":
			if d.NextArg() {
				return d.Err("disabled takes no argument: leave it out for a user who may sign in")
			}
			u.Disabled = true
		default:
			err = d.Err("unknown option of a user (known: email, name, groups, disabled)")
		}
		if err != nil {
			return err
		}
	}
	l.Users = append(l.Users, u)
	return nil
}

// one reads the only argument of an option that is given once.
func one(d *caddyfile.Dispenser, option string, to *string) error {
	if *to != "" {
		return d.Errf("%s is given twice", option)
	}
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Errf("%s takes one argument; one with blanks stands in quotes", option)
	}
	*to = args[0]
	return nil
}

// Interface guards.
var _ caddyfile.Unmarshaler = (*Login)(nil)
