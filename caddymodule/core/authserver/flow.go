package authserver

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// flow takes a person with a checked request through sign-in to a code. It is
// the only place that knows the order of the steps.
func (s *Server) flow(w http.ResponseWriter, r *http.Request, req authorizationRequest) {
	if err := s.checkUnattended(r, req); err != nil {
		s.refuse(w, r, req, err)
		return
	}
	step, err := s.deps.Login.Begin(r.Context(), r)
	switch {
	case errors.Is(err, login.ErrDenied):
		s.refuse(w, r, req, redirectError{oauth.Errorf(oauth.CodeAccessDenied, "sign-in was refused").WithCause(err), req})
	case err != nil:
		s.refuse(w, r, req, redirectError{oauth.Unavailable(err), req})
	case step.Identity == nil:
		s.refuse(w, r, req, redirectError{oauth.Unavailable(errors.New("the login method wants a redirect, which this version does not follow")), req})
	default:
		s.approve(w, r, req, *step.Identity)
	}
}

// approve ends the flow: the person is known and agrees, the client gets a
// code.
func (s *Server) approve(w http.ResponseWriter, r *http.Request, req authorizationRequest, id login.Identity) {
	code, err := s.newCode(req, id)
	if err != nil {
		s.refuse(w, r, req, redirectError{oauth.Unavailable(err), req})
		return
	}
	e := s.authorizeEvent(req)
	e.Subject, e.Status = id.Subject, redirectStatus(r)
	s.observe(r, e)
	redirect(w, r, s.redirectTo(req, url.Values{"code": {code}}))
}

// checkUnattended protects a login that asks nobody. No other machine may use
// it, unless the operator allows everyone. And on this machine no web page
// elsewhere may send the browser through it and pick up the code: browsers say
// where a navigation comes from; programs and typed addresses pass.
func (s *Server) checkUnattended(r *http.Request, req authorizationRequest) error {
	fromElsewhere := s.local && r.Header.Get("Sec-Fetch-Site") == "cross-site" && !req.client.redirectTrusted(req.redirectURI)
	if !s.deps.Login.Unattended() || s.localEnough(r) && !fromElsewhere {
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
		e.Err, e.Code, e.Status = page.cause, page.cause.Code, page.cause.Status
		s.observe(r, e)
		s.errorPage(w, r, page)
	case errors.As(err, &back) && back.request.client.redirectTrusted(back.request.redirectURI):
		e.Err, e.Code, e.Status = back.cause, back.cause.Code, redirectStatus(r)
		s.observe(r, e)
		redirect(w, r, s.redirectTo(back.request, errorValues(back.cause)))
	case errors.As(err, &back):
		e.Err, e.Code, e.Status = back.cause, back.cause.Code, back.cause.Status
		s.observe(r, e)
		s.returnPage(w, r, back)
	default:
		e.Err, e.Code, e.Status = err, oauth.CodeServerError, http.StatusInternalServerError
		s.observe(r, e)
		s.errorPage(w, r, pageError{cause: asOAuthError(err)})
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
