package login

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// People describes people by what is known about them. Somebody is among them
// if one entry of one list matches.
type People struct {
	// Emails are addresses with * for any text, without regard to case. To be
	// allowed, the method must vouch for the address; to be denied, it need not.
	Emails []string `json:"emails,omitempty"`
	// Domains are what follows the @ of an address, without regard to case.
	// Subdomains don't match.
	Domains []string `json:"domains,omitempty"`
	// Groups are groups as the method names them; to be denied, in any case.
	Groups []string `json:"groups,omitempty"`
	// Users are subjects as they stand in tokens, byte for byte.
	Users []string `json:"users,omitempty"`
	// Logins are ids of methods: everyone who signed in that way.
	Logins []string `json:"logins,omitempty"`
	// Anyone is everyone who can sign in.
	Anyone bool `json:"anyone,omitempty"`
}

// Rules say who may come in. Nobody who is denied does; of the others, those
// who are allowed, or all of them where nothing is allowed by name.
type Rules struct {
	Allow People `json:"allow,omitzero"`
	Deny  People `json:"deny,omitzero"`
}

// Person is who the rules are about.
type Person struct {
	Identity
	// Login is the id of the method that established the identity.
	Login string
	// GroupsOf says that Groups are only those that some rule named at the
	// sign-in, and which ones were named; empty if Groups are all of them.
	GroupsOf string `json:",omitempty"`
}

// maxGroups bounds the groups that are kept whole, in bytes.
const maxGroups = 1 << 10

// Named returns the person with groups that fit into a cookie and a code: all
// of them, or if those are too long only the named ones.
func (p Person) Named(names []string) Person {
	size := 0
	for _, g := range p.Groups {
		size += len(g)
	}
	if size <= maxGroups || p.GroupsOf != "" {
		return p
	}
	p.Groups = Among(p.Groups, names)
	p.GroupsOf = oauth.GroupsOf(names)
	return p
}

// Among returns the groups that are named, in whatever case: a rule that denies
// does not tell cases apart.
func Among(groups, names []string) []string {
	return slices.DeleteFunc(slices.Clone(groups), func(g string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(g, name) })
	})
}

// Recalled returns a person of an earlier sign-in for rules that name these
// groups. If other groups were named then, what they say of the person is not
// known any more.
func (p Person) Recalled(names []string) Person {
	if p.GroupsOf != "" && p.GroupsOf != oauth.GroupsOf(names) {
		p.GroupsUnknown = true
	}
	return p
}

// Check reports entries that can never match.
func (r Rules) Check() error { return errors.Join(r.Allow.check("allow"), r.Deny.check("deny")) }

func (p People) check(list string) error {
	for _, e := range p.Emails {
		if !utf8.ValidString(e) || strings.Count(e, "@") != 1 || strings.ContainsAny(e, " \t") {
			return fmt.Errorf("%s email %q is not an address such as *@example.com", list, e)
		}
	}
	for _, d := range p.Domains {
		if d == "" || strings.ContainsAny(d, "@*/ \t") {
			return fmt.Errorf("%s domain %q is not a domain such as example.com", list, d)
		}
	}
	for _, names := range [][]string{p.Groups, p.Users, p.Logins} {
		if slices.Contains(names, "") {
			return fmt.Errorf("%s has an empty name", list)
		}
	}
	return nil
}

// Empty reports whether nobody is described.
func (p People) Empty() bool {
	return !p.Anyone && len(p.Emails)+len(p.Domains)+len(p.Groups)+len(p.Users)+len(p.Logins) == 0
}

// Permit reports whether the person may come in.
func (r Rules) Permit(p Person) bool {
	if r.Deny.include(p, p.Email) || r.Deny.mayGroup(p) {
		return false
	}
	return r.Allow.Empty() || r.Allow.include(p, vouched(p.Identity))
}

// mayGroup reports whether the person could be in one of the groups: theirs are
// unknown, or are written in another case, which some providers don't tell
// apart.
func (p People) mayGroup(who Person) bool {
	return len(p.Groups) > 0 && who.GroupsUnknown || slices.ContainsFunc(p.Groups, func(g string) bool {
		return slices.ContainsFunc(who.Groups, func(theirs string) bool { return strings.EqualFold(g, theirs) })
	})
}

// include reports whether the person, under the address given, is among them.
func (p People) include(who Person, email string) bool {
	domain := email[strings.LastIndexByte(email, '@')+1:]
	switch {
	case p.Anyone, slices.Contains(p.Users, who.Subject), slices.Contains(p.Logins, who.Login):
		return true
	case slices.ContainsFunc(p.Groups, func(g string) bool { return slices.Contains(who.Groups, g) }):
		return true
	case email == "":
		return false
	}
	return slices.ContainsFunc(p.Domains, func(d string) bool { return strings.EqualFold(d, domain) }) ||
		slices.ContainsFunc(p.Emails, func(pattern string) bool { return glob(pattern, email) })
}

// vouched returns the person's address if it is certain that it is theirs. An
// address with two @ has no domain that two readers would agree on.
func vouched(id Identity) string {
	ascii := strings.IndexFunc(id.Email, func(r rune) bool { return r > '~' }) < 0 // beyond it, case is no clear matter
	if !id.EmailVerified || !ascii || strings.Count(id.Email, "@") != 1 {
		return ""
	}
	return id.Email
}

// glob matches a pattern in which * stands for any text, without regard to
// case.
func glob(pattern, text string) bool {
	expr := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
	re, err := regexp.Compile(`(?is)\A` + expr + `\z`)
	return err == nil && re.MatchString(text)
}
