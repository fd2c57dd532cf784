package authserver

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file is what people do with personal access tokens on the account page.

// personalSignIn is how long ago a person may have signed in here to get a
// token, which can outlive their session by far: whoever finds a browser open,
// or a copy of its cookie, must not walk away with access for a year.
const personalSignIn = time.Hour

// signedInLately reports whether the visitor may get a token without signing in
// again. Who is known from the request itself has just shown who they are.
// Elsewhere it counts when they did, and not when a provider that keeps people
// signed in has named them once more.
func (s *Server) signedInLately(v visitor) bool {
	return v.ambient() || s.now().Sub(time.UnixMilli(v.session.Proved)) < personalSignIn
}

// notAsked reports whether the visitor did sign in again, and their provider did
// not ask them who they are.
func (s *Server) notAsked(v visitor) bool {
	return v.session.Forced && s.now().Sub(time.UnixMilli(v.session.Began)) < personalSignIn && !s.signedInLately(v)
}

// proved is when somebody who signs in proved who they are, or the zero time if
// that is not known.
func (s *Server) proved(a attempt, id login.Identity) time.Time {
	now := s.now()
	switch {
	case len(a.method.info.Fields) > 0, id.AuthTimeUnknown && a.Force:
		return now // they have just typed it, or the provider was told to ask
	case id.AuthTimeUnknown:
		return time.Time{}
	case id.AuthTime.After(now):
		return now
	}
	return id.AuthTime
}

// pageTokens is what the account page shows of tokens; nil where no server
// accepts them.
func (s *Server) pageTokens(v visitor, tokens []store.Grant) *pages.Tokens {
	accepting := s.personalResources()
	if len(accepting) == 0 {
		return nil
	}
	out := &pages.Tokens{Days: s.personalChoices(), SignInFirst: !s.signedInLately(v), NotAsked: s.notAsked(v)}
	for _, g := range tokens {
		t := s.pageGrant(g)
		out.Tokens = append(out.Tokens, pages.PersonalToken{
			ID: t.ID, Name: g.ClientName, Resource: t.Resource, Scopes: t.Scopes,
			Since: t.Since, Expires: g.NotAfter, LastUsed: g.UsedAt, From: g.UsedFrom,
		})
	}
	for _, res := range accepting {
		if s.permitted(v.Person, res) {
			out.Servers = append(out.Servers, pages.TokenServer{
				ID: res.Audience(), Resource: pageResource(res), Scopes: pageScopes(res, res.AllScopes()), Proposed: res.Scopes,
			})
		}
	}
	return out
}

// personalChoices are the lives that a person can choose from, in days.
func (s *Server) personalChoices() []int {
	most := int(s.cfg.Lifetimes.PersonalToken / day)
	days := slices.DeleteFunc(slices.Clone(personalDays), func(d int) bool { return d > most })
	if !slices.Contains(days, most) {
		days = append(days, most)
	}
	return days
}

// What the form of a new token sends besides flow and do. The scopes have a name
// each, because no parameter may occur twice.
const (
	fieldTokenName   = "name"
	fieldTokenServer = "resource"
	fieldTokenDays   = "days"
	fieldTokenScope  = "scope_"
)

// mintOwn makes a token for the visitor and shows it, this once. The page's form
// is good for one: whoever sends it again, by a second click or by loading the
// answer anew, gets the list and no other token.
func (s *Server) mintOwn(w http.ResponseWriter, r *http.Request, a answer, form params) error {
	if !s.signedInLately(a.visitor) {
		return s.signInPage(w, r, signInPage{force: true})
	}
	order, err := s.ownOrder(form)
	if err != nil {
		return err
	}
	order.session = a.visitor.session
	if order.name = cleanName(order.name); s.checkPersonal(order) == nil {
		// Only what could be made uses the form up.
		if _, err = s.use(r, a, s.now()); isUsed(err) {
			return s.accountPage(w, r, a.visitor, pages.DoneTokenMade)
		} else if err != nil {
			return oauth.Unavailable(err)
		}
	}
	text, g, err := s.mintPersonal(r.Context(), a.visitor.Person, order)
	if done := personalProblem(err); done != "" {
		return s.accountPage(w, r, a.visitor, done)
	} else if err != nil {
		return err
	}
	s.site.Write(w, r, http.StatusOK, pages.NewToken{
		Token: text, Name: g.ClientName, Resource: pageResource(order.resource), Scopes: pageScopes(order.resource, order.scope), Expires: g.NotAfter,
	})
	return nil
}

// ownOrder reads the form. What a page of ours can't have sent is refused.
func (s *Server) ownOrder(form params) (personalOrder, error) {
	res, err := s.personalResource(form.get(fieldTokenServer))
	if err != nil {
		return personalOrder{}, err
	}
	days, err := strconv.Atoi(form.get(fieldTokenDays))
	if err != nil || !slices.Contains(s.personalChoices(), days) {
		return personalOrder{}, oauth.Errorf(oauth.CodeInvalidRequest, "the form does not say how long the token shall live")
	}
	o := personalOrder{name: form.get(fieldTokenName), resource: res, lifetime: time.Duration(days) * day}
	// In the order of the configuration, whatever the order of the form.
	asked := map[string]bool{}
	for field := range form {
		if strings.HasPrefix(field, fieldTokenScope) {
			asked[form.get(field)] = true
		}
	}
	for _, name := range res.AllScopes() {
		if asked[name] {
			o.scope = append(o.scope, name)
			delete(asked, name)
		}
	}
	if delete(asked, ""); len(asked) > 0 {
		return o, oauth.Errorf(oauth.CodeInvalidScope, "the form has a scope that this server does not have")
	}
	return o, nil
}

// personalProblem is what a page says of what a person can put right.
func personalProblem(err error) string {
	switch {
	case errors.Is(err, errPersonalName):
		return pages.DoneTokenNoName
	case errors.Is(err, errPersonalScope):
		return pages.DoneTokenNoScope
	case errors.Is(err, errPersonalMany), errors.Is(err, errPersonalCount):
		return pages.DoneTokenTooMany
	case errors.Is(err, errPersonalOften):
		return pages.DoneTokenTooOften
	}
	return ""
}
