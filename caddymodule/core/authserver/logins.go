package authserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// method is a way to sign in with its description.
type method struct {
	login.Method
	info login.Info
	// named are the groups that some rule names.
	named []string
}

// namedGroups are the groups that the rules name, those about calls included.
func (c *Config) namedGroups() []string {
	names := slices.Concat(c.Rules.Allow.Groups, c.Rules.Deny.Groups)
	for _, res := range c.Resources {
		names = slices.Concat(names, res.Rules.Allow.Groups, res.Rules.Deny.Groups, res.PolicyGroups)
	}
	return names
}

// redirects reports whether the browser goes to a provider and comes back.
func (m method) redirects() bool { return !m.info.Ambient && len(m.info.Fields) == 0 }

// loginID is what a method may be called: it stands in paths.
var loginID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// newMethods checks the ways to sign in against the configuration.
func newMethods(logins []login.Method, cfg Config) ([]method, error) {
	if len(logins) == 0 {
		return nil, errors.New("no login is configured: say how people sign in with the login option (login auto approves everyone, for development)")
	}
	var all []method
	ids, bare := map[string]bool{}, ""
	for _, l := range logins {
		m := method{Method: l, info: l.Info()}
		m.named = slices.Concat(cfg.namedGroups(), m.info.Groups)
		id := m.info.ID
		switch {
		case !loginID.MatchString(id):
			return nil, fmt.Errorf("login %q: an id has up to 32 lower-case letters, digits and hyphens", id)
		case ids[id]:
			return nil, fmt.Errorf("two logins are called %s: give each its own id with the id option", id)
		case len(strings.Join(m.named, "")) > maxNamed:
			return nil, fmt.Errorf("login %s: the groups that the rules name have more than %d characters together, which does not fit into a session", id, maxNamed)
		case m.info.Namespace == clientNamespace:
			return nil, fmt.Errorf("login %s: the namespace %s is for programs without a person", id, clientNamespace)
		case len(m.info.Namespace) > maxNamespace:
			return nil, fmt.Errorf("login %s: its namespace has more than %d characters", id, maxNamespace)
		case m.info.Unattended && len(logins) > 1:
			return nil, fmt.Errorf("login %s lets everyone in without asking, so no other login can stand beside it", id)
		case m.info.Namespace == "" && bare != "":
			return nil, fmt.Errorf("logins %s and %s both hand out plain user names, so one's alice could be taken for the other's: give one a namespace", bare, id)
		}
		if m.info.Namespace == "" {
			bare = id
		}
		ids[id] = true
		all = append(all, m)
	}
	return all, checkRules(all, ids, cfg)
}

// checkRules sees to it that rules name logins that exist, and that a login
// where anyone may have an account is never without a rule.
func checkRules(all []method, ids map[string]bool, cfg Config) error {
	rules, everywhere := []login.Rules{cfg.Rules}, !cfg.Rules.Allow.Empty()
	restricted, known := true, maps.Clone(ids)
	for _, res := range cfg.Resources {
		rules = append(rules, res.Rules)
		for _, issuer := range res.Issuers {
			known[issuer] = true
		}
		restricted = restricted && !res.Rules.Allow.Empty()
	}
	for _, r := range rules {
		if err := r.Check(); err != nil {
			return err
		}
		for _, name := range append(append([]string{}, r.Allow.Logins...), r.Deny.Logins...) {
			if !known[name] {
				return fmt.Errorf("a rule names the login %s, which does not exist", name)
			}
		}
	}
	for _, m := range all {
		if m.info.Open && !everywhere && !restricted {
			return fmt.Errorf("anyone can have an account for login %s: say who may come in, for example with allow email *@example.com, or allow anyone if you really mean it", m.info.ID)
		}
	}
	return nil
}

// unattended reports whether the login asks nobody.
func (s *Server) unattended() bool { return s.logins[0].info.Unattended }

func (s *Server) login(id string) (method, bool) {
	for _, m := range s.logins {
		if m.info.ID == id {
			return m, true
		}
	}
	return method{}, false
}

// maxSubject bounds a method's own subject, and maxNamespace what stands before
// it, in bytes.
const (
	maxSubject   = 200
	maxNamespace = 99
)

// maxNamed bounds the groups that rules name, in bytes: somebody may be in all
// of them, and they travel in a code.
const maxNamed = 3 << 10

// person completes an identity of the method: the subject gets the name of
// whoever hands it out, so that no two methods' people are taken for one.
func (m method) person(id login.Identity) (login.Person, error) {
	sub := id.Subject
	printable := strings.IndexFunc(sub, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
	if sub == "" || len(sub) > maxSubject || !printable {
		return login.Person{}, fmt.Errorf("%w: the subject is not 1 to %d characters of printable ASCII", login.ErrDenied, maxSubject)
	}
	if m.info.Namespace != "" {
		id.Subject = m.info.Namespace + "|" + sub
	} else if strings.Contains(sub, "|") {
		return login.Person{}, fmt.Errorf("%w: the subject has a | in it: give login %s a namespace", login.ErrDenied, m.info.ID)
	}
	return login.Person{Identity: id, Login: m.info.ID}.Named(m.named), nil
}

// names reports whether a subject is one that the method gives out.
func (m method) names(subject string) bool {
	if m.info.Namespace == "" {
		return !strings.Contains(subject, "|")
	}
	return strings.HasPrefix(subject, m.info.Namespace+"|")
}

// own takes the method's own subject out of a person's.
func (m method) own(id login.Identity) login.Identity {
	if m.info.Namespace != "" {
		id.Subject = strings.TrimPrefix(id.Subject, m.info.Namespace+"|")
	}
	return id
}

// permitted reports whether the person may use the resource.
func (s *Server) permitted(p login.Person, res Resource) bool {
	return s.cfg.Rules.Permit(p) && res.Rules.Permit(p)
}

// recheck returns the person as their method knows them now, or ErrDenied.
func (s *Server) recheck(ctx context.Context, p login.Person) (login.Person, error) {
	if p.Login == "" && s.unattended() {
		p.Login = s.logins[0].info.ID // a grant of before there were others
	}
	m, ok := s.login(p.Login)
	switch {
	case !ok:
		return p, fmt.Errorf("%w: the login %q is not configured any more", login.ErrDenied, p.Login)
	case !m.names(p.Subject):
		return p, fmt.Errorf("%w: the login %s speaks for another provider now", login.ErrDenied, p.Login)
	}
	id, err := m.Recheck(ctx, m.own(p.Recalled(m.named).Identity))
	if err != nil {
		return p, fmt.Errorf("checking the person again: %w", err)
	}
	now, err := m.person(id)
	if err == nil && now.Subject != p.Subject {
		return p, fmt.Errorf("%w: the login %s knows the person by another name now", login.ErrDenied, p.Login)
	}
	if slices.Equal(now.Groups, p.Groups) {
		now.GroupsOf = p.GroupsOf // the method left them as they were
	}
	return now, err
}

// entitled returns the person of a grant as they are now, or why they may no
// longer have tokens: their account is gone, or the rules changed.
func (s *Server) entitled(ctx context.Context, u store.User, res Resource) (store.User, error) {
	p, err := s.recheck(ctx, personOf(u))
	switch {
	case errors.Is(err, login.ErrDenied):
		return u, oauth.Errorf(oauth.CodeInvalidGrant, "the person behind this grant may not sign in any more").WithCause(err)
	case err != nil:
		return u, oauth.Unavailable(err)
	case !s.permitted(p, res):
		return u, oauth.Errorf(oauth.CodeInvalidGrant, "the person behind this grant is not allowed to use the resource any more").
			WithCause(errors.New("the rules do not allow this person"))
	}
	return userOf(p), nil
}

// loginRequest is what a method learns about a request.
func (s *Server) loginRequest(r *http.Request, m method) login.Request {
	return login.Request{
		HTTP:        r,
		RemoteIP:    oauth.MetaFrom(r.Context()).RemoteIP,
		CallbackURL: s.url(callbackPath + m.info.ID),
	}
}

// userOf is what a grant keeps of a person.
func userOf(p login.Person) store.User {
	return store.User{
		Subject: p.Subject, Name: p.Name, Email: p.Email,
		EmailVerified: p.EmailVerified, Groups: p.Groups, GroupsUnknown: p.GroupsUnknown, GroupsOf: p.GroupsOf,
		Login: p.Login, Version: p.Version,
	}
}

// personOf is the person of a grant.
func personOf(u store.User) login.Person {
	return login.Person{Login: u.Login, GroupsOf: u.GroupsOf, Identity: login.Identity{
		Subject: u.Subject, Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified, Groups: u.Groups, GroupsUnknown: u.GroupsUnknown, Version: u.Version,
	}}
}
