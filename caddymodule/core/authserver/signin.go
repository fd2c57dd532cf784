package authserver

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// Paths of the pages that people post to and come back to, below the issuer.
const (
	signInPath   = "/oauth/login"
	consentPath  = "/oauth/consent"
	accountPath  = "/oauth/account"
	callbackPath = "/oauth/callback/" // and the id of a login
)

// signInPage is what the page that offers the ways to sign in shows.
type signInPage struct {
	// query is the authorization request, and request the same one checked;
	// both are empty for the account page.
	query   string
	request *authorizationRequest
	// force asks for a sign-in even if a provider still knows the person.
	force bool
	// login is the method that was tried, username what was typed, failure
	// why it did not work.
	login, username string
	failure         error
	// unproven is why a login that looks at the request found nobody.
	unproven error
}

// signInPage shows who wants what and the ways to sign in. It begins nothing:
// that takes a click (SPEC F25, F31).
func (s *Server) signInPage(w http.ResponseWriter, r *http.Request, p signInPage) error {
	page := pages.SignIn{Action: s.base + signInPath, Method: p.login, Username: p.username}
	for _, m := range s.logins {
		if !m.info.Ambient {
			page.Methods = append(page.Methods, pageMethod(m.info))
		}
	}
	if len(page.Methods) == 0 {
		return s.unprovenError(p)
	}
	var err error
	if page.Token, err = s.sealPending(w, r, keys.PurposeSignIn, &pending{Query: p.query, Force: p.force}); err != nil {
		return oauth.Unavailable(err)
	}
	if p.request != nil {
		program := s.program(*p.request)
		page.Unasked = p.request.client.Trusted && !p.request.prompts(promptConsent)
		page.Program, page.Resource, page.Scopes = &program, pageResource(p.request.resource), pageScopes(p.request.resource, p.request.scope)
	}
	status := http.StatusOK
	var throttled *login.ThrottledError
	switch {
	case errors.As(p.failure, &throttled):
		status, page.Problem, page.RetryAfter = http.StatusTooManyRequests, pages.SignInThrottled, throttled.RetryAfter
		w.Header().Set("Retry-After", retryAfter(throttled.RetryAfter))
	case p.failure != nil:
		status, page.Problem = http.StatusForbidden, pages.SignInRejected
	default:
		e := oauth.Event{Kind: oauth.EventRequest, Reason: "sign_in_page", Status: status}
		if p.request != nil {
			e.ClientID, e.ClientName, e.Resource = p.request.client.ID, p.request.client.Name, p.request.resource.Audience()
		}
		s.observe(r, e)
	}
	s.site.Write(w, r, status, page)
	return nil
}

// unprovenError says that only a proxy in front of this server signs people in,
// and that this request did not come by it.
func (s *Server) unprovenError(p signInPage) error {
	page := problem(pages.ProblemProxy, http.StatusForbidden,
		"people are signed in here by a proxy in front of this server, and this request shows nobody").because(p.unproven)
	if p.request != nil {
		page.back = &redirectError{oauth.Errorf(oauth.CodeAccessDenied, "nobody is signed in"), *p.request}
	}
	return page
}

func retryAfter(d time.Duration) string {
	return fmt.Sprint(max(1, int((d+time.Second-1)/time.Second)))
}

// serveSignIn takes what a person chose or typed on the sign-in page.
func (s *Server) serveSignIn(w http.ResponseWriter, r *http.Request) {
	form, err := s.postedForm(w, r)
	if err != nil {
		s.refuse(w, r, authorizationRequest{}, pageErrorOf(err))
		return
	}
	p, err := s.openPending(r, keys.PurposeSignIn, form.get("flow"))
	if err != nil {
		s.refusePending(w, r, p, err)
		return
	}
	m, ok := s.login(form.get("login"))
	if !ok || m.info.Ambient {
		s.refusePending(w, r, p, oauth.Errorf(oauth.CodeInvalidRequest, "this way to sign in does not exist here"))
		return
	}
	req, err := s.pendingRequest(r.Context(), p)
	if err != nil {
		s.refuse(w, r, authorizationRequest{}, err)
		return
	}
	s.beginSignIn(w, r, attempt{p, req, m}, form)
}

// attempt is a sign-in under way.
type attempt struct {
	pending
	request *authorizationRequest // nil for the account page
	method  method
}

// beginSignIn asks the method, and goes where it says.
func (s *Server) beginSignIn(w http.ResponseWriter, r *http.Request, a attempt, form params) {
	lr := s.loginRequest(r, a.method)
	lr.State = newState()
	a.Force = a.Force || a.request != nil && a.request.prompts(promptLogin, promptSelectAccount)
	lr.Force = a.Force
	s.knownDevice(r, a.method, &lr)
	lr.Form = map[string]string{}
	for _, f := range a.method.info.Fields {
		lr.Form[f.Name] = form.get("field_" + f.Name)
	}
	step, err := a.method.Begin(r.Context(), lr)
	var throttled *login.ThrottledError
	switch {
	case errors.Is(err, login.ErrRejected), errors.As(err, &throttled):
		s.signInFailed(w, r, a, err, form)
	case err != nil:
		s.providerFailed(w, r, a, err)
	case step.Identity != nil:
		s.signedIn(w, r, a, *step.Identity)
	default:
		s.goUpstream(w, r, a, step, lr.State)
	}
}

func (s *Server) signInFailed(w http.ResponseWriter, r *http.Request, a attempt, failure error, form params) {
	e := oauth.Event{Kind: oauth.EventSignIn, Login: a.method.info.ID, Err: failure, Code: oauth.CodeAccessDenied, Status: http.StatusForbidden, Reason: "rejected"}
	if !errors.Is(failure, login.ErrRejected) {
		e.Reason, e.Status = "throttled", http.StatusTooManyRequests
	}
	s.observe(r, e)
	page := signInPage{query: a.Query, request: a.request, force: a.Force, login: a.method.info.ID, username: form.get("field_username"), failure: failure}
	if err := s.signInPage(w, r, page); err != nil {
		s.refusePending(w, r, a.pending, err)
	}
}

// goUpstream sends the browser to a provider. Only here, after the click, does
// it get the cookie without which it can't come back (SPEC F31).
func (s *Server) goUpstream(w http.ResponseWriter, r *http.Request, a attempt, step login.Step, state string) {
	p := pending{Query: a.Query, Force: a.Force, Login: a.method.info.ID, Save: step.Save}
	sealed, err := s.sealPending(w, r, keys.PurposeUpstream, &p)
	if err != nil {
		s.providerFailed(w, r, a, err)
		return
	}
	s.forgetOldSignIns(w, r)
	if err := s.setCookie(w, cookieUpstream+state, sealed, pendingLifetime); err != nil {
		s.refusePending(w, r, a.pending, problem(pages.ProblemTooLong, http.StatusBadRequest, "the request is too long for a sign-in at a provider").because(err))
		return
	}
	s.observe(r, oauth.Event{Kind: oauth.EventRequest, Reason: "sign_in_redirect", Login: a.method.info.ID, Status: http.StatusSeeOther})
	redirect(w, r, step.Redirect)
}

// stateFormat is what newState makes. What else comes back never was ours.
var stateFormat = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// serveCallback takes the browser back from a provider.
func (s *Server) serveCallback(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		pageHeaders(w) // looking must not use up the answer
		s.observe(r, oauth.Event{Kind: oauth.EventRequest, Reason: "sign_in_callback", Status: http.StatusOK})
		return
	}
	m, _ := s.login(r.URL.Path[len(s.base+callbackPath):]) // there is no other route
	query, err := url.ParseQuery(r.URL.RawQuery)
	state := query.Get("state")
	if err != nil || len(query["state"]) != 1 || !stateFormat.MatchString(state) {
		s.refusePending(w, r, pending{}, problem(pages.ProblemForeignForm, http.StatusBadRequest, "the state of the answer is missing or not one of this server"))
		return
	}
	sealed := s.cookie(r, cookieUpstream+state)
	s.clearCookie(w, r, cookieUpstream+state)
	if sealed == "" {
		s.refusePending(w, r, pending{}, problem(pages.ProblemBrowser, http.StatusBadRequest,
			"this browser has not begun this sign-in, or it has finished it already"))
		return
	}
	p, err := s.openPending(r, keys.PurposeUpstream, sealed)
	if err != nil {
		s.refusePending(w, r, p, err)
		return
	}
	if p.Login != m.info.ID {
		// Mix-up: the answer of one provider at the door of another (SPEC O23).
		s.refusePending(w, r, p, problem(pages.ProblemForeignForm, http.StatusBadRequest, "the answer comes from another provider than the one that was asked"))
		return
	}
	req, err := s.pendingRequest(r.Context(), p)
	if err != nil {
		s.refuse(w, r, authorizationRequest{}, err)
		return
	}
	s.finishSignIn(w, r, attempt{p, req, m}, query)
}

// finishSignIn asks the method who came back, and takes the answer once only.
func (s *Server) finishSignIn(w http.ResponseWriter, r *http.Request, a attempt, query url.Values) {
	lr := s.loginRequest(r, a.method)
	lr.State, lr.Query, lr.Saved = query.Get("state"), query, a.Save
	step, err := a.method.Finish(r.Context(), lr)
	switch {
	case errors.Is(err, login.ErrDenied) && query.Get("error") != "" && a.request != nil:
		s.signInEvent(r, a, err)
		s.deny(w, r, *a.request, login.Person{Login: a.method.info.ID}, oauth.Errorf(oauth.CodeAccessDenied, "the sign-in was cancelled or refused").WithCause(err))
		return
	case err == nil && step.Identity == nil:
		err = fmt.Errorf("login %s finished without an identity", a.method.info.ID)
	case err == nil:
		// After the method, so that only people who signed in cause a write.
		_, err = s.deps.Store.Use(r.Context(), s.now(), "sign_in/"+a.ID, time.Unix(a.Expires, 0).Add(revocationMargin))
		if isUsed(err) {
			s.refusePending(w, r, a.pending, problem(pages.ProblemUsed, http.StatusBadRequest, "this sign-in was finished before"))
			return
		}
	}
	if err != nil {
		s.providerFailed(w, r, a, err)
		return
	}
	s.signedIn(w, r, a, *step.Identity)
}

// signedIn gives the browser a session and leads it back to where it was.
func (s *Server) signedIn(w http.ResponseWriter, r *http.Request, a attempt, id login.Identity) {
	person, err := a.method.person(id)
	if err == nil {
		person, err = s.recheck(r.Context(), person) // as every page will
	}
	if err == nil {
		err = s.startSession(w, r, session{Person: person, Proved: s.proved(a, id).UnixMilli(), Forced: a.Force})
	}
	if err == nil {
		err = s.rememberDevice(w, a.method, id.Subject)
	}
	if err != nil {
		s.providerFailed(w, r, a, err)
		return
	}
	s.observe(r, oauth.Event{Kind: oauth.EventSignIn, Subject: person.Subject, Login: person.Login, Status: http.StatusSeeOther})
	target := s.base + accountPath
	if a.request != nil {
		target = s.authorizeURL(a.request.without(promptLogin, promptSelectAccount))
	}
	pageHeaders(w)
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

// providerFailed ends an attempt that did not work: a page says why and offers
// to try again, or to go back to the client with the error.
func (s *Server) providerFailed(w http.ResponseWriter, r *http.Request, a attempt, failure error) {
	s.signInEvent(r, a, failure)
	page := problem(pages.ProblemProvider, http.StatusServiceUnavailable, "the way to sign in does not work at the moment")
	page.cause = oauth.Unavailable(failure)
	if errors.Is(failure, login.ErrDenied) {
		page = problem(pages.ProblemDenied, http.StatusForbidden, "the sign-in was not accepted")
		page.cause = oauth.Errorf(oauth.CodeAccessDenied, "the sign-in was not accepted").WithCause(failure).WithStatus(http.StatusForbidden)
	}
	if a.request != nil {
		page.back = &redirectError{page.cause, *a.request}
	}
	page.restart = s.restartURL(a.pending)
	s.errorPage(w, r, page)
}

func (s *Server) signInEvent(r *http.Request, a attempt, failure error) {
	e := oauth.Event{
		Kind: oauth.EventSignIn, Login: a.method.info.ID, Err: failure,
		Code: oauth.CodeTemporarilyUnavailable, Status: http.StatusServiceUnavailable, Reason: pages.ProblemProvider,
	}
	if errors.Is(failure, login.ErrDenied) {
		e.Code, e.Status, e.Reason = oauth.CodeAccessDenied, http.StatusForbidden, pages.ProblemDenied
	}
	s.observe(r, e)
}
