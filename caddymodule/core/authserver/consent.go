package authserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// maxAgreements bounds how many grants of a person are looked at for an
// earlier agreement.
const maxAgreements = 200

// agreedBefore reports whether the person need not be asked again: they have a
// live grant for the same client, redirect URI and resource that covers the
// scopes, and the client can be told from an impostor (OAuth 2.1 §7.3.1).
func (s *Server) agreedBefore(ctx context.Context, req authorizationRequest, v visitor) (bool, error) {
	if !s.recognizable(req) {
		return false, nil
	}
	grants, err := s.deps.Store.Grants(ctx, s.now(), v.Subject, maxAgreements)
	if err != nil {
		return false, fmt.Errorf("reading earlier grants: %w", err)
	}
	return slices.ContainsFunc(grants, func(g store.Grant) bool {
		scope, _ := oauth.ParseScope(g.Scope)
		sameClient := g.ClientID == req.client.ID && g.ClientHash == req.client.hash() || req.client.Origin != ClientConfigured && s.trustedRedirect(req.redirectURI)
		return sameClient && g.RedirectURI == req.redirectURI && g.Resource == req.resource.Audience() && scope.ContainsAll(req.scope)
	}), nil
}

// recognizable reports whether a client can be told from another program: its
// code goes to a web host over https, or it proves who it is with a secret that
// the operator gave it. A program on this machine can be any program.
func (s *Server) recognizable(req authorizationRequest) bool {
	return webHost(req.redirectURI) || req.client.Origin == ClientConfigured && req.client.AuthMethod != oauth.AuthMethodNone
}

// trustedRedirect reports whether the operator trusts the redirect URI's host
// so far that a fresh registration of it is the program that was approved.
func (s *Server) trustedRedirect(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && webHost(uri) && slices.Contains(s.cfg.TrustedRedirectHosts, u.Host)
}

func webHost(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.Scheme == "https" && !oauth.IsLoopbackHost(u.Host)
}

// consentPage asks the person whether the client may have what it wants.
func (s *Server) consentPage(w http.ResponseWriter, r *http.Request, req authorizationRequest, v visitor) error {
	token, err := s.sealPending(w, r, keys.PurposeConsent, &pending{Query: req.query(), Subject: v.Subject, Session: v.session.ID})
	if err != nil {
		return oauth.Unavailable(err)
	}
	s.askedEvent(r, req, v, "consent_page", http.StatusOK)
	s.site.Write(w, r, http.StatusOK, pages.Consent{
		Program: s.program(req), Resource: pageResource(req.resource), Scopes: pageScopes(req.resource, req.scope),
		Person: pagePerson(v.Person), CanSwitch: !v.ambient(), Action: s.base + consentPath, Token: token,
	})
	return nil
}

// notInvitedPage tells somebody that they signed in well, but may not come in.
func (s *Server) notInvitedPage(w http.ResponseWriter, r *http.Request, req authorizationRequest, v visitor) error {
	token, err := s.sealPending(w, r, keys.PurposeConsent, &pending{Query: req.query(), Subject: v.Subject, Session: v.session.ID})
	if err != nil {
		return oauth.Unavailable(err)
	}
	e := s.authorizeEvent(req)
	e.Subject, e.Login, e.Reason = v.Subject, v.Login, "not_invited"
	e.Err, e.Code, e.Status = errors.New("the rules do not allow this person"), oauth.CodeAccessDenied, http.StatusForbidden
	s.observe(r, e)
	program, back := s.program(req), ""
	if !req.client.redirectTrusted(req.redirectURI) {
		// With a session, they have seen no page yet that names the host.
		back = s.redirectTo(req, errorValues(oauth.Errorf(oauth.CodeAccessDenied, "the person is not allowed to use this resource")))
	}
	s.site.Write(w, r, http.StatusForbidden, pages.NotInvited{
		ReturnURL: back, Person: pagePerson(v.Person), Program: &program, Resource: pageResource(req.resource), CanSwitch: !v.ambient(),
		Action: s.base + consentPath, Token: token, RequestID: oauth.MetaFrom(r.Context()).RequestID,
	})
	return nil
}

func (s *Server) askedEvent(r *http.Request, req authorizationRequest, v visitor, reason string, status int) {
	s.observe(r, oauth.Event{
		Kind: oauth.EventRequest, Reason: reason, Status: status, Subject: v.Subject, Login: v.Login,
		ClientID: req.client.ID, ClientName: req.client.Name, Resource: req.resource.Audience(),
	})
}

// serveConsent takes the person's answer. Everything is checked again, as it is
// now: the form only says which request was shown to whom.
func (s *Server) serveConsent(w http.ResponseWriter, r *http.Request) {
	form, err := s.postedForm(w, r)
	if err != nil {
		s.refuse(w, r, authorizationRequest{}, pageErrorOf(err))
		return
	}
	p, err := s.openPending(r, keys.PurposeConsent, form.get("flow"))
	if err != nil {
		s.refusePending(w, r, p, err)
		return
	}
	req, err := s.pendingRequest(r.Context(), p)
	if err != nil {
		s.refuse(w, r, authorizationRequest{}, err)
		return
	}
	v, err := s.visitor(w, r)
	switch {
	case err != nil:
		s.refuse(w, r, *req, redirectError{asOAuthError(err), *req})
	case v.Subject != p.Subject || v.session.ID != p.Session:
		// Signed out meanwhile, or in as somebody else: the flow asks again.
		s.askAgain(w, r, *req, "session_changed")
	default:
		s.answer(w, r, answer{p, *req, v}, form.get("decision"))
	}
}

// answer is a person's answer to a consent page.
type answer struct {
	pending
	request authorizationRequest
	visitor visitor
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, a answer, decision string) {
	switch decision {
	case "allow":
		s.allow(w, r, a)
	case "deny":
		// Dated back, so that no later yes is taken for its double click.
		if _, err := s.use(r, a, s.now().Add(-doubleClick)); err != nil {
			s.refuse(w, r, a.request, s.answerError(a, err))
			return
		}
		s.deny(w, r, a.request, a.visitor.Person, oauth.Errorf(oauth.CodeAccessDenied, "the person said no"))
	case "switch":
		// An outage must not keep somebody in a session that is not theirs; the log
		// has it.
		_ = s.signOut(w, r, a.visitor)
		s.askAgain(w, r, a.request.with(promptLogin), "switch_account")
	default:
		s.refuse(w, r, a.request, pageError{cause: oauth.Errorf(oauth.CodeInvalidRequest, "the form has no decision")})
	}
}

// allow gives the client its code, if the person may agree. A second click
// while the first answer is on its way gets the same answer: its code becomes
// the same grant, so it is good once only.
func (s *Server) allow(w http.ResponseWriter, r *http.Request, a answer) {
	at, err := s.next(r.Context(), a.request.without(promptLogin, promptSelectAccount), a.visitor)
	switch {
	case err != nil:
		s.refuse(w, r, a.request, redirectError{oauth.Unavailable(err), a.request})
		return
	case at != stepConsent && at != stepCode:
		s.ask(w, r, a.request, a.visitor, at)
		return
	}
	first, err := s.use(r, a, s.now())
	if isUsed(err) && s.now().Sub(first) < doubleClick {
		err = nil
	}
	if err != nil {
		s.refuse(w, r, a.request, s.answerError(a, err))
		return
	}
	nonce := sha256.Sum256([]byte("mcp_auth answer\x00" + a.ID))
	s.approve(w, r, a.request, approval{a.visitor, nonce[:nonceSize], reasonApproved})
}

// doubleClick is how long a second yes counts as a part of the first.
const doubleClick = 10 * time.Second

// use notes that the page was answered, or returns when it was.
func (s *Server) use(r *http.Request, a answer, at time.Time) (time.Time, error) {
	return s.deps.Store.Use(r.Context(), at, "answer/"+a.ID, time.Unix(a.Expires, 0).Add(revocationMargin))
}

func (s *Server) answerError(a answer, err error) error {
	if isUsed(err) {
		page := problem(pages.ProblemUsed, http.StatusBadRequest, "this page was answered before")
		page.restart, page.who = s.restartURL(a.pending), a.visitor.Person
		return page
	}
	return redirectError{oauth.Unavailable(err), a.request}
}

func isUsed(err error) bool { return errors.Is(err, store.ErrExists) }
