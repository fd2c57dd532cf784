package password

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

// User is one person who may sign in.
type User struct {
	// Username is the user name and the stable id of the person: the `sub` of
	// tokens. 1 to 64 letters, digits and `. _ - + @`, beginning with a letter
	// or digit. The id is kept as written here; to sign in, people may write it
	// in upper or lower case, so no two names may differ in that only. Required.
	Username string `json:"user,omitempty"`

	// Hash is the hash of the password, as `caddy hash-password` prints it:
	// bcrypt or argon2id. bcrypt knows passwords of up to 72 bytes only; longer
	// ones never match. In the configuration, global placeholders such as
	// `{env.ALICE_HASH}` or `{file./run/secrets/alice}` are replaced; in a users
	// file they are not. Changing it ends the person's sessions. Required.
	Hash string `json:"hash,omitempty"`

	// Email is the person's e-mail address; it counts as verified. Default: none.
	Email string `json:"email,omitempty"`

	// Name is the person's full name. Default: none.
	Name string `json:"name,omitempty"`

	// Groups are the groups the person is in, for rules: up to 100, each up to
	// 128 characters without comma or control characters. Default: none.
	Groups []string `json:"groups,omitempty"`

	// Disabled keeps the person out, and ends their sessions. Default: false.
	Disabled bool `json:"disabled,omitempty"`
}

// Bounds of what is kept and typed.
const (
	maxEmail    = 254
	maxName     = 200
	maxGroups   = 100
	maxGroup    = 128
	maxPassword = 4 << 10 // bytes
)

var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+@-]{0,63}$`)

// account is a user whose entry was checked.
type account struct {
	User
	hash    passhash.Hash
	version string
	line    int // in the users file; 0 for users of the configuration
}

// newAccount checks an entry. Errors name the user, but repeat neither the hash
// nor a name that isn't one: it may be a hash in the wrong place.
func newAccount(u User) (*account, error) {
	if !userName.MatchString(u.Username) {
		return nil, errors.New("a user's name is missing or not one: 1 to 64 letters, digits and . _ - + @, beginning with a letter or digit")
	}
	h, err := passhash.Parse(u.Hash)
	if err == nil {
		err = u.check()
	}
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", u.Username, err)
	}
	u.Hash = "" // one place is enough
	return &account{User: u, hash: h, version: h.Tag()}, nil
}

// check looks at everything but name and hash.
func (u User) check() error {
	local, domain, _ := strings.Cut(u.Email, "@")
	switch {
	case u.Email != "" && (local == "" || domain == "" || strings.Contains(domain, "@") || !plain(u.Email, maxEmail, " ,;<>\"")):
		return errors.New("the email is not an address such as alice@example.com")
	case !plain(u.Name, maxName, ""):
		return fmt.Errorf("the name has control characters or more than %d characters", maxName)
	case len(u.Groups) > maxGroups:
		return fmt.Errorf("there are %d groups: at most %d are supported", len(u.Groups), maxGroups)
	}
	for _, g := range u.Groups {
		if g == "" || g != strings.TrimSpace(g) || !plain(g, maxGroup, ",") {
			return fmt.Errorf("a group is empty, begins or ends with a space, or has a comma, a control character or more than %d characters", maxGroup)
		}
	}
	return nil
}

// plain reports whether text is printable, has none of the characters in
// without, and is not too long.
func plain(text string, longest int, without string) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= longest && !strings.ContainsAny(text, without) &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// identity is who the person is now.
func (a *account) identity(authTime time.Time) login.Identity {
	return login.Identity{
		Subject: a.Username, Name: a.Name, Email: a.Email, EmailVerified: a.Email != "",
		Groups: append([]string(nil), a.Groups...), AuthTime: authTime, Version: a.version,
	}
}

// fold brings a user name into the form under which it is looked up. Only ASCII
// letters have another case here: of the others, some would turn into ASCII.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, name)
}

// directory holds all users at one time. It does not change.
type directory struct {
	accounts map[string]*account // by folded name
	decoys   *passhash.Decoys    // for names that nobody has
}

// newDirectory puts users together. A line in an error is that of the users
// file.
func newDirectory(lists ...[]*account) (*directory, error) {
	d := &directory{accounts: map[string]*account{}}
	var hashes []passhash.Hash
	for _, list := range lists {
		for _, a := range list {
			name := fold(a.Username)
			if other := d.accounts[name]; other != nil {
				return nil, atLine(a.line, twice(other, a))
			}
			d.accounts[name] = a
			hashes = append(hashes, a.hash)
		}
	}
	var err error
	d.decoys, err = passhash.NewDecoys("password", hashes)
	return d, err
}

// twice says where the other user of a name is.
func twice(first, second *account) error {
	where := "twice"
	if first.line != second.line && first.line == 0 {
		where = "in the configuration too"
	} else if first.line != 0 {
		where = fmt.Sprintf("on line %d too", first.line)
	}
	if first.Username == second.Username {
		return fmt.Errorf("user %s is %s: give each person one entry", second.Username, where)
	}
	return fmt.Errorf("user %s is %s, as %s: names that differ in upper and lower case only are one name",
		second.Username, where, first.Username)
}

// find returns the user with a folded name, nil if there is none, and the hash
// that an attempt under this name has to be compared with. Nobody's name has
// the cost of a user's hash that the name chooses: always the same one, until
// the users change.
func (d *directory) find(name string) (*account, passhash.Hash) {
	if a := d.accounts[name]; a != nil {
		return a, a.hash
	}
	return nil, d.decoys.For(name)
}

// weak names the users whose hashes are cheap to guess.
func weak(accounts []*account) []string {
	var names []string
	for _, a := range accounts {
		if a.hash.Weak() {
			names = append(names, a.Username)
		}
	}
	return names
}
