package authserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file is what operators do with personal access tokens, by Caddy's admin
// endpoint and the command that asks it.

// PersonalOrder is a token that an operator makes for somebody.
type PersonalOrder struct {
	// User is the person's subject, as in the token's sub. Required.
	User string `json:"user"`
	// Login is the id of the login that vouches for them. Default: the only one.
	Login string `json:"login,omitempty"`
	// Name is what the token is called. Required.
	Name string `json:"name"`
	// Resource is a URI of the server that it opens. Default: the only one that
	// accepts personal access tokens.
	Resource string `json:"resource,omitempty"`
	// Scope is what it may do there, space separated. Default: the
	// scopes for basic use.
	Scope string `json:"scope,omitempty"`
	// Seconds is how long it lives. Required.
	Seconds int64 `json:"expires_in"`
}

// MintedPersonal is a new token. Its text can't be had a second time.
type MintedPersonal struct {
	Token string `json:"token"`
	PersonalToken
}

// OrderPersonal makes a token for somebody on the operator's word. What the
// login knows of the person counts, and the rules do.
func (s *Server) OrderPersonal(ctx context.Context, o PersonalOrder) (MintedPersonal, error) {
	res, err := s.personalResource(o.Resource)
	if err != nil {
		return MintedPersonal{}, err
	}
	scope, ok := oauth.ParseScope(o.Scope)
	if !ok {
		return MintedPersonal{}, oauth.Errorf(oauth.CodeInvalidScope, "scope has a character that RFC 6749 section 3.3 does not allow")
	}
	if len(scope) == 0 {
		scope = res.Scopes
	}
	order := personalOrder{name: o.Name, byOperator: true, resource: res, scope: scope, lifetime: s.cfg.Lifetimes.PersonalToken + 1}
	if o.Seconds <= int64(s.cfg.Lifetimes.PersonalToken/time.Second) {
		order.lifetime = time.Duration(o.Seconds) * time.Second
	}
	who, err := s.nominate(ctx, o.User, o.Login)
	if err != nil {
		who.Subject, who.Login = o.User, o.Login
		s.personalEvent(ctx, who, order, "", err)
		return MintedPersonal{}, err
	}
	text, g, err := s.mintPersonal(ctx, who, order)
	if err != nil {
		return MintedPersonal{}, err
	}
	return MintedPersonal{text, personalToken(g)}, nil
}

// nominate returns a person whom nobody has signed in just now: as their login
// has them, if it keeps its people itself; else as they were when they last let
// a program in; else with nothing known but the name.
func (s *Server) nominate(ctx context.Context, subject, id string) (login.Person, error) {
	m, err := s.nominator(subject, id)
	if err != nil {
		return login.Person{}, err
	}
	p := login.Person{Identity: login.Identity{Subject: subject, GroupsUnknown: true}, Login: m.info.ID}
	if directory, ok := m.Method.(login.Directory); ok {
		found, err := directory.Lookup(ctx, m.own(p.Identity).Subject)
		if err == nil {
			p, err = m.person(found)
		}
		if err != nil {
			return p, nominationError(err)
		}
	} else if p, err = s.remembered(ctx, p); err != nil {
		return p, err
	}
	now, err := s.recheck(ctx, p)
	return now, nominationError(err)
}

// nominator finds the login that vouches for a person.
func (s *Server) nominator(subject, id string) (method, error) {
	if id == "" && len(s.logins) == 1 {
		id = s.logins[0].info.ID
	}
	m, ok := s.login(id)
	switch {
	case subject == "":
		return m, oauth.Errorf(oauth.CodeInvalidRequest, "say whose token it is: the user as servers know them, X-Mcp-User")
	case id == "":
		return m, oauth.Errorf(oauth.CodeInvalidRequest, "there are several logins, say which one knows the user: %s", strings.Join(s.loginIDs(), ", "))
	case !ok:
		return m, oauth.Errorf(oauth.CodeInvalidRequest, "there is no such login, the ids are: %s", strings.Join(s.loginIDs(), ", "))
	case !m.names(subject):
		return m, oauth.Errorf(oauth.CodeInvalidRequest, "the login %s has no such users: they begin with %s", id, m.info.Namespace+"|").
			WithCause(fmt.Errorf("the login %s has another namespace", id))
	}
	_, err := m.person(m.own(login.Identity{Subject: subject}))
	return m, nominationError(err)
}

func (s *Server) loginIDs() []string {
	ids := make([]string, len(s.logins))
	for i, m := range s.logins {
		ids[i] = m.info.ID
	}
	return ids
}

// remembered returns the person of the newest grant that they gave by this
// login, if there is one.
func (s *Server) remembered(ctx context.Context, p login.Person) (login.Person, error) {
	tokens, programs, _, err := s.owned(ctx, p.Subject)
	if err != nil {
		return p, err
	}
	for _, g := range append(programs, tokens...) {
		if g.User.Login == p.Login {
			found := personOf(g.User)
			found.AuthTime = g.AuthTime
			return found, nil
		}
	}
	return p, nil
}

func nominationError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, login.ErrDenied):
		return oauth.Errorf(oauth.CodeAccessDenied, "the login does not let this person in").WithCause(err)
	}
	return oauth.Unavailable(err)
}

// PersonalTokens lists the live tokens of a person, newest first.
func (s *Server) PersonalTokens(ctx context.Context, subject string) ([]PersonalToken, error) {
	tokens, _, _, err := s.owned(ctx, subject)
	if err != nil {
		return nil, err
	}
	all := make([]PersonalToken, len(tokens))
	for i, g := range tokens {
		all[i] = personalToken(g)
	}
	return all, nil
}

// PersonalID returns the id of a token for its text, or the text if it is none: it
// may be an id.
func PersonalID(text string) string {
	if validPersonalText(text) {
		return personalID(text)
	}
	return text
}

// RevokePersonal ends a token by its id, and returns what it was. A program's
// grant is not touched.
func (s *Server) RevokePersonal(ctx context.Context, id string) (PersonalToken, error) {
	g, err := s.deps.Store.Grant(ctx, s.now(), id)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrRevoked), err == nil && !isPersonal(g):
		return PersonalToken{}, oauth.Errorf(oauth.CodeInvalidRequest, "there is no live token with this id").WithCause(store.ErrNotFound)
	case err != nil:
		return PersonalToken{}, oauth.Unavailable(err)
	}
	return personalToken(g), s.revoke(ctx, s.now(), g, reasonOperator)
}
