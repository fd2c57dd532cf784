package authserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Personal access tokens are what people hand to scripts and to programs that
// can't open a browser. One is a grant whose id is the token's hash: it is
// listed, noted as used and revoked like every other, and it lives and dies
// with its person (personal_verify.go). It is an opaque bearer token and
// nothing of OAuth: it is not refreshed, and no client redeems it.

// PersonalClientID is the client_id of calls with a personal access token. No
// configured client may have it, and no registered one can.
const PersonalClientID = "personal-access-token"

const (
	day = 24 * time.Hour

	// maxPersonal bounds the tokens that a person has at a time.
	maxPersonal = 50

	// maxPersonalMade bounds how many are made for a person within an hour, on
	// this node: what is revoked stays in the feed until it would have expired.
	maxPersonalMade = 20

	// maxOwned bounds the grants of a person that are looked at, programs' and
	// tokens'. It is the newest of them.
	maxOwned = 1000
)

// personalDays are the lives that the account page offers.
var personalDays = []int{7, 30, 90, 365}

// PersonalToken is a personal access token without its text.
type PersonalToken struct {
	// ID names it and is no secret.
	ID string `json:"id"`
	// Name is what its person calls it.
	Name string `json:"name"`
	// User and Login are whose it is.
	User  string `json:"user"`
	Login string `json:"login"`
	// Resource is the only server that it opens, and Scope what it may do there.
	Resource string `json:"resource"`
	Scope    string `json:"scope"`
	// Created and Expires are its life.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// LastUsed and LastUsedFrom are when it was last used and from which address;
	// both are empty if it was not.
	LastUsed     time.Time `json:"last_used,omitzero"`
	LastUsedFrom string    `json:"last_used_from,omitempty"`
}

func personalToken(g store.Grant) PersonalToken {
	return PersonalToken{
		ID: g.ID, Name: g.ClientName, User: g.User.Subject, Login: g.User.Login, Resource: g.Resource, Scope: g.Scope,
		Created: g.Created, Expires: g.NotAfter, LastUsed: g.UsedAt, LastUsedFrom: g.UsedFrom,
	}
}

// isPersonal reports whether a grant is a personal access token.
func isPersonal(g store.Grant) bool { return g.ClientID == PersonalClientID }

// What can be wrong with an order of a person who fills in the form.
var (
	errPersonalName  = oauth.Errorf(oauth.CodeInvalidRequest, "a token needs a name, by which it is found again")
	errPersonalScope = oauth.Errorf(oauth.CodeInvalidScope, "a token needs at least one scope")
	errPersonalMany  = oauth.Errorf(oauth.CodeInvalidRequest, "there are %d tokens of this person already: revoke some first", maxPersonal)
	errPersonalCount = oauth.Errorf(oauth.CodeInvalidRequest, "this person has let in so many programs that the tokens can't be counted: remove some first")
	errPersonalOften = oauth.Errorf(oauth.CodeTemporarilyUnavailable, "%d tokens were made for this person within an hour: try again later", maxPersonalMade).
				WithStatus(http.StatusTooManyRequests)
	errPersonalTakenBack = oauth.Errorf(oauth.CodeInvalidRequest, "the person has signed out or removed all in this moment: no token was made, try again").
				WithStatus(http.StatusConflict)
	errPersonalOff = oauth.Errorf(oauth.CodeInvalidRequest,
		"no server here accepts personal access tokens: set personal_access_tokens in the mcp_auth directive of one that shall")
)

// personalOrder is what somebody wants a token to be.
type personalOrder struct {
	name     string
	resource Resource
	scope    oauth.Scope
	lifetime time.Duration
	// session is the browser session it comes from; an operator has none.
	session    session
	byOperator bool
}

// personalResources are the servers that accept personal access tokens.
func (s *Server) personalResources() []Resource {
	return slices.DeleteFunc(slices.Clone(s.cfg.Resources), func(res Resource) bool { return !res.PersonalTokens })
}

// personalResource finds one of them by one of its URIs; "" is the only one.
func (s *Server) personalResource(uri string) (Resource, error) {
	all := s.personalResources()
	switch {
	case len(all) == 0:
		return Resource{}, errPersonalOff
	case uri == "" && len(all) == 1:
		return all[0], nil
	case uri == "":
		return Resource{}, oauth.Errorf(oauth.CodeInvalidTarget, "several servers accept personal access tokens: say which one")
	}
	res, err := s.resource(uri)
	switch {
	case err != nil:
		return res, err
	case !res.PersonalTokens:
		return res, oauth.Errorf(oauth.CodeInvalidTarget, "this server does not accept personal access tokens: its mcp_auth directive has no personal_access_tokens")
	}
	return res, nil
}

func (s *Server) checkPersonal(o personalOrder) error {
	switch {
	case o.name == "":
		return errPersonalName
	case len(o.scope) == 0:
		return errPersonalScope
	case !o.resource.AllScopes().ContainsAll(o.scope):
		return oauth.Errorf(oauth.CodeInvalidScope, "the scope is more than this server has: %s", o.resource.AllScopes())
	case o.lifetime < time.Second || o.lifetime > s.cfg.Lifetimes.PersonalToken:
		return oauth.Errorf(oauth.CodeInvalidRequest, "a token may live %d days at most (personal_token_lifetime)", int(s.cfg.Lifetimes.PersonalToken/day))
	}
	return nil
}

// mintPersonal makes a token for somebody whom the login knows. Its text is in
// the answer and nowhere else.
func (s *Server) mintPersonal(ctx context.Context, who login.Person, o personalOrder) (string, store.Grant, error) {
	o.name = cleanName(o.name)
	text, g, err := s.makePersonal(ctx, who, o)
	s.personalEvent(ctx, who, o, g.ID, err)
	return text, g, err
}

// personalEvent tells of a token that was made, or could not be.
func (s *Server) personalEvent(ctx context.Context, who login.Person, o personalOrder, id string, failure error) {
	reason := reasonUser
	if o.byOperator {
		reason = reasonOperator
	}
	s.tell(ctx, oauth.Event{
		Kind: oauth.EventPersonalToken, GrantID: id, ClientID: PersonalClientID, ClientName: o.name,
		Resource: o.resource.Audience(), Scope: o.scope.String(), Subject: who.Subject, Login: who.Login, Reason: reason,
	}, failure)
}

// makePersonal is mintPersonal without the event.
func (s *Server) makePersonal(ctx context.Context, who login.Person, o personalOrder) (string, store.Grant, error) {
	began := s.after(who.Subject)
	if err := s.checkPersonal(o); err != nil {
		return "", store.Grant{}, err
	}
	if !s.permitted(who, o.resource) {
		return "", store.Grant{}, oauth.Errorf(oauth.CodeAccessDenied, "the rules do not allow this person to use the server")
	}
	if err := s.roomForPersonal(ctx, who.Subject, maxPersonal-1); err != nil {
		return "", store.Grant{}, err
	}
	if !s.personal.made.take(who.Subject) {
		return "", store.Grant{}, errPersonalOften
	}
	now, text := s.now(), newPersonalText()
	end := now.Add(o.lifetime).Truncate(time.Second) // as claims count
	g := store.Grant{
		ID: personalID(text), ClientID: PersonalClientID, ClientName: o.name, User: userOf(who),
		Resource: o.resource.Audience(), Scope: o.scope.String(), AuthTime: who.AuthTime,
		Created: now, RotatedAt: now, Expires: end, NotAfter: end,
	}
	if err := s.deps.Store.CreateGrant(ctx, now, g); err != nil {
		return "", g, oauth.Unavailable(err)
	}
	if err := s.confirmPersonal(ctx, g, o, began); err != nil {
		return "", g, err
	}
	return text, g, nil
}

// confirmPersonal looks at what has happened since a token was begun, and takes it
// back if it must not be, before anybody has it. Others may have been made, and
// whoever sees too many ends the own one. Or the person has taken all back: they
// marked that before they listed what there was (endCodes), so what their list
// missed is seen here, on every node, once the feed is read.
func (s *Server) confirmPersonal(ctx context.Context, g store.Grant, o personalOrder, began time.Time) error {
	subject := g.User.Subject
	if err := s.roomForPersonal(ctx, subject, maxPersonal); err != nil {
		return errors.Join(s.revoke(ctx, s.now(), g, reasonLimit), err)
	}
	if err := s.deps.Revoked.Follow(ctx, s.now(), s.deps.Store); err != nil {
		return errors.Join(s.revoke(ctx, s.now(), g, reasonUser), oauth.Unavailable(err))
	}
	left := o.session.ID != "" && s.deps.Revoked.SessionEnded(o.session.ID, subject, time.UnixMilli(o.session.Began))
	if left || s.tookBack(subject, began) {
		return errors.Join(s.revoke(ctx, s.now(), g, reasonUser), errPersonalTakenBack)
	}
	return nil
}

// roomForPersonal returns errPersonalMany if a person has more tokens than that.
// Programs must not hide how many there are: who has too many to count has no
// room.
func (s *Server) roomForPersonal(ctx context.Context, subject string, most int) error {
	tokens, _, more, err := s.owned(ctx, subject)
	switch {
	case err != nil:
		return err
	case len(tokens) > most:
		return errPersonalMany
	case more:
		return errPersonalCount
	}
	return nil
}

// owned returns what a person has, newest first, the tokens apart from the
// programs, and whether there is more.
func (s *Server) owned(ctx context.Context, subject string) (tokens, programs []store.Grant, more bool, err error) {
	grants, err := s.deps.Store.Grants(ctx, s.now(), subject, maxOwned)
	if err != nil {
		return nil, nil, false, oauth.Unavailable(err)
	}
	for _, g := range grants {
		if isPersonal(g) {
			tokens = append(tokens, g)
		} else {
			programs = append(programs, g)
		}
	}
	return tokens, programs, len(grants) == maxOwned, nil
}
