package authserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// The flow takes a person with a checked authorization request to a code. It
// is a state machine whose state is never stored: where a request stands
// follows from the request and from who sits at the browser, so no step can be
// reached or skipped by its URL. What a person does on a page (signin.go,
// consent.go) changes one of the two, and the browser comes back here.

// step is where a request stands.
type step int

const (
	stepSignIn     step = iota // nobody is signed in, or must do so again
	stepNotInvited             // somebody is, but the rules don't let them in
	stepConsent                // the person has to be asked
	stepCode                   // the person has agreed before, or nobody is asked
)

// next decides where a request stands. It is the only place that knows the
// order of the steps.
func (s *Server) next(ctx context.Context, req authorizationRequest, v visitor) (step, error) {
	switch {
	case !v.known(), !v.ambient() && req.prompts(promptLogin, promptSelectAccount):
		return stepSignIn, nil
	case !s.permitted(v.Person, req.resource):
		return stepNotInvited, nil
	case s.unattended():
		return stepCode, nil
	case req.prompts(promptConsent):
		return stepConsent, nil
	case req.client.Trusted:
		return stepCode, nil // the operator has agreed for everybody
	}
	agreed, err := s.agreedBefore(ctx, req, v)
	if err != nil {
		return stepConsent, err
	}
	if agreed {
		return stepCode, nil
	}
	return stepConsent, nil
}

// flow shows the page for the step at which a request stands, or ends it with
// a code.
func (s *Server) flow(w http.ResponseWriter, r *http.Request, req authorizationRequest) {
	if err := s.checkUnattended(r, req); err != nil {
		s.refuse(w, r, req, err)
		return
	}
	if !s.unattended() && len(s.authorizeURL(req.with(promptLogin))) > maxURL {
		// It comes back from the sign-in with every slash escaped: better said now.
		s.refuse(w, r, req, redirectError{oauth.Errorf(oauth.CodeInvalidRequest, "the request is longer than %d bytes when it is written out", maxURL), req})
		return
	}
	if r.Method == http.MethodPost && !s.unattended() {
		// The cookies come with a GET only, if a client's page sent this.
		s.askAgain(w, r, req, "authorize_post")
		return
	}
	v, err := s.visitor(w, r)
	if err != nil {
		s.refuse(w, r, req, redirectError{asOAuthError(err), req})
		return
	}
	at, err := s.next(r.Context(), req, v)
	if err != nil {
		s.refuse(w, r, req, redirectError{oauth.Unavailable(err), req})
		return
	}
	if at == stepCode {
		s.approve(w, r, req, approval{v, newNonce(), s.unaskedFor(req)})
		return
	}
	if req.prompts(promptNone) {
		s.refuse(w, r, req, redirectError{silentError(at), req})
		return
	}
	s.ask(w, r, req, v, at)
}

// silentError is the answer to a client that wants no page to be shown
// (OpenID Connect Core §3.1.2.6).
func silentError(at step) *oauth.Error {
	switch at {
	case stepSignIn:
		return oauth.Errorf(oauth.CodeLoginRequired, "nobody is signed in, and prompt is none")
	case stepNotInvited:
		return oauth.Errorf(oauth.CodeAccessDenied, "the person who is signed in is not allowed to use this resource")
	case stepConsent, stepCode:
	}
	return oauth.Errorf(oauth.CodeConsentRequired, "the person has to be asked, and prompt is none")
}

// ask shows the page of a step.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, req authorizationRequest, v visitor, at step) {
	var err error
	switch at {
	case stepSignIn:
		err = s.signInPage(w, r, signInPage{query: req.query(), request: &req, unproven: v.unproven})
	case stepNotInvited:
		err = s.notInvitedPage(w, r, req, v)
	default:
		err = s.consentPage(w, r, req, v)
	}
	if err != nil {
		s.refuse(w, r, req, err)
	}
}

// Why a client gets a code, or that a person did not want it to: the reasons of an
// oauth.EventAuthorize.
const (
	reasonApproved   = "approved"   // the person said yes
	reasonRefused    = "refused"    // the person said no
	reasonRemembered = "remembered" // the person said yes before (agreedBefore)
	reasonTrusted    = "trusted"    // the operator said yes for everybody
	reasonUnattended = "unattended" // nobody is asked anything
)

// unaskedFor is why a code is handed out for a request without a question.
func (s *Server) unaskedFor(req authorizationRequest) string {
	switch {
	case s.unattended():
		return reasonUnattended
	case req.client.Trusted:
		return reasonTrusted
	}
	return reasonRemembered
}

// approval is what ends a flow well: a person who agrees, and why we know.
type approval struct {
	visitor visitor
	nonce   []byte // of the code
	reason  string
}

// approve ends the flow: the person is known and agrees, the client gets a
// code.
func (s *Server) approve(w http.ResponseWriter, r *http.Request, req authorizationRequest, a approval) {
	code, err := s.newCode(req, a.visitor.Person, a.nonce)
	if err != nil {
		s.refuse(w, r, req, redirectError{oauth.Unavailable(err), req})
		return
	}
	e := s.authorizeEvent(req)
	e.Subject, e.Login, e.Status, e.Reason = a.visitor.Subject, a.visitor.Login, redirectStatus(r), a.reason
	s.observe(r, e)
	s.sendBack(w, r, req, url.Values{"code": {code}})
}

// deny ends the flow with a person's no. They saw where they are going, so the
// redirect needs no other proof.
func (s *Server) deny(w http.ResponseWriter, r *http.Request, req authorizationRequest, who login.Person, cause *oauth.Error) {
	e := s.authorizeEvent(req)
	e.Subject, e.Login, e.Reason = who.Subject, who.Login, reasonRefused
	e.Err, e.Code, e.Status = cause, cause.Code, redirectStatus(r)
	s.observe(r, e)
	s.sendBack(w, r, req, errorValues(cause))
}

// sendBack sends the browser back to the client. Where a person has been asked,
// a browser does not follow a redirect to a program's own scheme reliably: it
// gets a page that goes there (INTEROP 10).
func (s *Server) sendBack(w http.ResponseWriter, r *http.Request, req authorizationRequest, result url.Values) {
	target := s.redirectTo(req, result)
	if scheme := privateScheme(req.redirectURI); scheme != "" && !s.unattended() {
		s.site.Write(w, r, http.StatusOK, pages.Leave{Name: req.client.Name, Scheme: scheme, URL: target})
		return
	}
	redirect(w, r, target)
}

// askAgain sends the browser to the flow with a request whose state is to be
// found out anew.
func (s *Server) askAgain(w http.ResponseWriter, r *http.Request, req authorizationRequest, reason string) {
	e := s.authorizeEvent(req)
	e.Kind, e.Reason, e.Status = oauth.EventRequest, reason, redirectStatus(r)
	s.observe(r, e)
	redirect(w, r, s.authorizeURL(req))
}

// checkUnattended protects a login that asks nobody. No other machine may use
// it, unless the operator allows everyone. And on this machine no web page
// elsewhere may send the browser through it and pick up the code: browsers say
// where a navigation comes from; programs and typed addresses pass.
func (s *Server) checkUnattended(r *http.Request, req authorizationRequest) error {
	fromElsewhere := s.local && r.Header.Get("Sec-Fetch-Site") == "cross-site" && !req.client.redirectTrusted(req.redirectURI)
	if !s.unattended() || s.localEnough(r) && !fromElsewhere {
		return nil
	}
	return pageError{cause: oauth.Errorf(oauth.CodeAccessDenied,
		"this development server approves without asking, so it answers only programs on its own machine: configure a login for others").
		WithStatus(http.StatusForbidden)}
}

// localEnough reports whether a request may use what asks nobody: it comes
// from this machine and no proxy or tunnel on it sent it on for someone else,
// or the operator allows everyone.
func (s *Server) localEnough(r *http.Request) bool {
	forwarded := r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != ""
	return s.cfg.AllowUnattended || oauth.IsLoopbackHost(r.RemoteAddr) && !forwarded
}

// refuse ends the flow with an error, in the way that the error's kind allows.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, req authorizationRequest, err error) {
	e := s.authorizeEvent(req)
	var page pageError
	var back redirectError
	switch {
	case errors.As(err, &page):
		e.Err, e.Code, e.Status, e.Reason = page.cause, page.cause.Code, page.cause.Status, page.problem
		e.Subject, e.Login = page.who.Subject, page.who.Login
		s.observe(r, e)
		s.errorPage(w, r, page)
	case errors.As(err, &back) && back.request.client.redirectTrusted(back.request.redirectURI):
		e.Err, e.Code, e.Status = back.cause, back.cause.Code, redirectStatus(r)
		s.observe(r, e)
		s.sendBack(w, r, back.request, errorValues(back.cause))
	case errors.As(err, &back):
		e.Err, e.Code, e.Status = back.cause, back.cause.Code, back.cause.Status
		s.observe(r, e)
		s.errorPage(w, r, pageError{cause: back.cause, back: &back})
	default:
		cause := asOAuthError(err)
		e.Err, e.Code, e.Status = err, cause.Code, cause.Status
		s.observe(r, e)
		s.errorPage(w, r, pageError{cause: cause})
	}
}

func (s *Server) authorizeEvent(req authorizationRequest) oauth.Event {
	e := oauth.Event{Kind: oauth.EventAuthorize, ClientID: req.client.ID, ClientName: req.client.Name, Scope: req.scope.String()}
	if len(req.resource.URIs) > 0 {
		e.Resource = req.resource.Audience()
	}
	return e
}

// redirect sends the browser on. The location is already encoded.
func redirect(w http.ResponseWriter, r *http.Request, location string) {
	pageHeaders(w)
	w.Header().Set("Location", location)
	w.WriteHeader(redirectStatus(r))
}

// redirectStatus is 303 after a POST, so that no browser repeats the body
// (OAuth 2.1 §7.5.4).
func redirectStatus(r *http.Request) int {
	if r.Method == http.MethodPost {
		return http.StatusSeeOther
	}
	return http.StatusFound
}
