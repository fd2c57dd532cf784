package authserver

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// maxListed bounds the programs that the account page lists; more are said to
// exist, and one button ends them all.
const maxListed = 100

// serveAccount shows people the programs that they let in.
func (s *Server) serveAccount(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		s.serveAccountForm(w, r)
		return
	}
	if err := s.checkUnattended(r, authorizationRequest{}); err != nil {
		s.refuseAccount(w, r, err)
		return
	}
	v, err := s.visitor(w, r)
	switch {
	case err != nil:
	case !v.known():
		err = s.signInPage(w, r, signInPage{unproven: v.unproven})
	default:
		err = s.accountPage(w, r, v, "")
	}
	if err != nil {
		s.refuseAccount(w, r, err)
	}
}

func (s *Server) accountPage(w http.ResponseWriter, r *http.Request, v visitor, done string) error {
	tokens, grants, more, err := s.owned(r.Context(), v.Subject)
	if err != nil {
		return err
	}
	token, err := s.sealPending(w, r, keys.PurposeAccount, &pending{Subject: v.Subject, Session: v.session.ID})
	if err != nil {
		return oauth.Unavailable(err)
	}
	page := pages.Account{
		Person: pagePerson(v.Person), Action: s.base + accountPath, Token: token, CanSignOut: !v.ambient(), Done: done, More: more || len(grants) > maxListed,
		Tokens: s.pageTokens(v, tokens),
	}
	for _, g := range grants[:min(len(grants), maxListed)] {
		page.Grants = append(page.Grants, s.pageGrant(g))
	}
	e := oauth.Event{Kind: oauth.EventRequest, Reason: accountPath, Subject: v.Subject, Login: v.Login, Status: http.StatusOK}
	if done != "" {
		e.Reason = "account_" + done
	}
	s.observe(r, e)
	s.site.Write(w, r, http.StatusOK, page)
	return nil
}

// grantedClient is what is known of the client of a grant without asking anybody.
func (s *Server) grantedClient(id string) Client {
	if c, ok := s.clients[id]; ok {
		return c
	}
	if isDocumentID(id) {
		return Client{ID: id, Origin: ClientDocument}
	}
	if c, err := s.sealedClient(id); err == nil {
		return c
	}
	return Client{ID: id, Origin: ClientDynamic}
}

// pageGrant is how a grant is shown. Its client may be gone from the
// configuration; what was approved stays.
func (s *Server) pageGrant(g store.Grant) pages.Grant {
	client := s.grantedClient(g.ClientID)
	client.Name = g.ClientName
	res, err := s.configured(g.Resource)
	if err != nil {
		res = Resource{URIs: []string{g.Resource}}
	}
	scope, _ := oauth.ParseScope(g.Scope)
	out := pages.Grant{
		ID: g.ID, Program: pageProgram(client, g.RedirectURI), Resource: pageResource(res), Scopes: pageScopes(res, scope),
		Since: g.Created, LastUsed: g.UsedAt, From: g.UsedFrom,
	}
	if out.LastUsed.IsZero() {
		out.LastUsed = g.RotatedAt
	}
	return out
}

// serveAccountForm does what a button of the account page says.
func (s *Server) serveAccountForm(w http.ResponseWriter, r *http.Request) {
	form, err := s.postedForm(w, r)
	if err != nil {
		s.refuseAccount(w, r, err)
		return
	}
	p, err := s.openPending(r, keys.PurposeAccount, form.get("flow"))
	if err != nil {
		s.refuseAccount(w, r, err)
		return
	}
	if err := s.checkUnattended(r, authorizationRequest{}); err != nil {
		s.refuseAccount(w, r, err)
		return
	}
	v, err := s.visitor(w, r)
	switch {
	case err != nil:
	case v.Subject != p.Subject || v.session.ID != p.Session:
		// Signed out meanwhile, or in as somebody else: nothing is done.
		s.observe(r, oauth.Event{Kind: oauth.EventRequest, Reason: "session_changed", Status: http.StatusSeeOther})
		redirect(w, r, s.base+accountPath)
		return
	default:
		err = s.doAccount(w, r, answer{pending: p, visitor: v}, form)
	}
	if err != nil {
		s.refuseAccount(w, r, err)
	}
}

func (s *Server) doAccount(w http.ResponseWriter, r *http.Request, a answer, form params) error {
	v := a.visitor
	switch form.get("do") {
	case "revoke":
		done, err := s.revokeOwn(r.Context(), v, form.get("grant"))
		if err != nil {
			return err
		}
		return s.accountPage(w, r, v, done)
	case "revoke_all":
		if err := s.revokeAll(r.Context(), v); err != nil {
			return err
		}
		return s.accountPage(w, r, v, pages.DoneRevokedAll)
	case "mint_token":
		return s.mintOwn(w, r, a, form)
	case "sign_in":
		return s.signInPage(w, r, signInPage{force: true})
	case "sign_out":
		if err := s.signOut(w, r, v); err != nil {
			return err
		}
	case "sign_out_everywhere":
		if err := s.signOutEverywhere(w, r, v); err != nil {
			return err
		}
	default:
		return oauth.Errorf(oauth.CodeInvalidRequest, "the form says nothing to do")
	}
	s.site.Write(w, r, http.StatusOK, pages.SignedOut{Everywhere: form.get("do") == "sign_out_everywhere"})
	return nil
}

// revokeOwn ends one grant of the visitor, and returns what to tell them. One of
// somebody else is not told from one that is gone.
func (s *Server) revokeOwn(ctx context.Context, v visitor, id string) (string, error) {
	g, err := s.deps.Store.Grant(ctx, s.now(), id)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrRevoked), err == nil && g.User.Subject != v.Subject:
		return pages.DoneGone, nil
	case err != nil:
		return "", oauth.Unavailable(err)
	}
	done := pages.DoneRevoked
	if isPersonal(g) {
		done = pages.DoneTokenRevoked
	}
	return done, s.revoke(ctx, s.now(), g, reasonUser)
}

// revokeAll ends every grant of the visitor, a page of them at a time, and what
// is about to become one.
func (s *Server) revokeAll(ctx context.Context, v visitor) error {
	if err := s.endCodes(ctx, v); err != nil {
		return err
	}
	for {
		// There may be many, so each step has a budget of its own.
		ctx := store.RenewBudget(ctx, storeBudget)
		grants, err := s.deps.Store.Grants(ctx, s.now(), v.Subject, maxListed)
		if err != nil {
			return oauth.Unavailable(err)
		}
		if len(grants) == 0 {
			return nil
		}
		for _, g := range grants {
			if err := s.revoke(store.RenewBudget(ctx, storeBudget), s.now(), g, reasonUser); err != nil && asOAuthError(err).Code != oauth.CodeInvalidGrant {
				return err
			}
		}
	}
}

// refuseAccount answers an account request that can't be done.
func (s *Server) refuseAccount(w http.ResponseWriter, r *http.Request, err error) {
	page := pageErrorOf(err)
	page.restart = s.base + accountPath
	e := oauth.Event{Kind: oauth.EventRequest, Err: page.cause, Code: page.cause.Code, Status: page.cause.Status, Reason: page.problem}
	if e.Reason == "" {
		e.Reason = accountPath
	}
	s.observe(r, e)
	s.errorPage(w, r, page)
}
