package authserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// This file implements the authorization endpoint's request: OAuth 2.1 §4.1.1,
// PKCE (RFC 7636, S256 only), resource indicators (RFC 8707) and the issuer in
// the response (RFC 9207). Left out: request objects (RFC 9101), pushed
// requests (RFC 9126), response modes other than query.

// maxState bounds the state that is echoed, in bytes.
const maxState = 4 << 10

// authorizationRequest is a request that passed every check.
type authorizationRequest struct {
	client      Client
	redirectURI string
	state       string
	challenge   string
	resource    Resource
	scope       oauth.Scope
	prompt      []string // what this server knows of it
}

// The values of prompt that mean something here (OpenID Connect Core §3.1.2.1).
const (
	promptNone          = "none"
	promptLogin         = "login"
	promptConsent       = "consent"
	promptSelectAccount = "select_account"
)

func (q authorizationRequest) prompts(values ...string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return slices.Contains(q.prompt, v) })
}

// with returns the request with a value of prompt added.
func (q authorizationRequest) with(prompt string) authorizationRequest {
	q = q.without(prompt)
	q.prompt = append(q.prompt, prompt)
	return q
}

// without returns the request without some values of prompt.
func (q authorizationRequest) without(prompts ...string) authorizationRequest {
	q.prompt = slices.DeleteFunc(slices.Clone(q.prompt), func(v string) bool { return slices.Contains(prompts, v) })
	return q
}

// query is the request as a client could have sent it. Checking it again gives
// the same request.
func (q authorizationRequest) query() string {
	v := url.Values{
		"response_type": {"code"}, "client_id": {q.client.ID}, "redirect_uri": {q.redirectURI},
		"code_challenge": {q.challenge}, "code_challenge_method": {oauth.MethodS256},
		"resource": {q.resource.Audience()}, "scope": {q.scope.String()},
	}
	if q.state != "" {
		v.Set("state", q.state)
	}
	if len(q.prompt) > 0 {
		v.Set("prompt", strings.Join(q.prompt, " "))
	}
	return v.Encode()
}

const authorizePath = "/oauth/authorize" // below the issuer

// authorizeURL is where a browser on this server goes on with a request.
func (s *Server) authorizeURL(q authorizationRequest) string {
	return s.base + authorizePath + "?" + q.query()
}

// pendingRequest is the authorization request behind what a browser sent back,
// checked against the configuration of now; nil for the account page.
func (s *Server) pendingRequest(ctx context.Context, p pending) (*authorizationRequest, error) {
	if p.Query == "" {
		return nil, nil //nolint:nilnil // the account page has no request
	}
	values, err := parseParams(p.Query)
	if err != nil {
		return nil, err
	}
	req, err := s.checkedRequest(ctx, values)
	return &req, err
}

func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	pageHeaders(w)
	req, err := s.authorizeRequest(w, r)
	if err != nil {
		s.refuse(w, r, req, err)
		return
	}
	s.flow(w, r, req)
}

// authorizeRequest reads the request and checks it.
func (s *Server) authorizeRequest(w http.ResponseWriter, r *http.Request) (authorizationRequest, error) {
	p, err := authorizeParams(w, r)
	if err != nil {
		return authorizationRequest{}, pageError{cause: asOAuthError(err)}
	}
	return s.checkedRequest(r.Context(), p)
}

// checkedRequest checks the parameters, those first that prove the redirect
// URI: they decide who may see an error.
func (s *Server) checkedRequest(ctx context.Context, p params) (authorizationRequest, error) {
	var req authorizationRequest
	if name := p.repeated("client_id", "redirect_uri"); name != "" {
		return req, pageError{cause: oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s occurs twice", name)}
	}
	id := p.get("client_id")
	if id == "" {
		return req, pageError{cause: oauth.Errorf(oauth.CodeInvalidRequest, "the parameter client_id is missing")}
	}
	var err error
	if req.client, err = s.client(ctx, id); err != nil {
		return req, clientError(err, p.get("redirect_uri"))
	}
	req.redirectURI, err = req.client.redirectURI(p.get("redirect_uri"), s.cfg.Registration.redirects())
	if err != nil {
		return req, pageError{cause: oauth.Errorf(oauth.CodeInvalidRequest, "%s", err.Error())}
	}
	// From here on errors go back to the client.
	if len(p["state"]) == 1 && len(p.get("state")) <= maxState {
		req.state = p.get("state")
	}
	if e := s.checkAuthorize(&req, p); e != nil {
		return req, redirectError{e, req}
	}
	return req, nil
}

// clientError is what a person sees when the client of a request can't be
// resolved. The redirect URI is not proven: it only tells which advice could
// help.
func clientError(err error, redirectURI string) pageError {
	switch {
	case errors.Is(err, errUnknownClient):
		return pageError{unknownClient: true, looksLike: clients.ByRedirectURI(redirectURI), cause: oauth.Errorf(oauth.CodeInvalidClient, "no program is registered under this client_id").
			WithCause(err).WithStatus(http.StatusBadRequest)}
	case errors.Is(err, errDocument):
		// One text for a host that fails, one that is not allowed, and a document
		// that is no good: nobody learns here what this server can reach (SPEC O53).
		return problem(pages.ProblemDocument, http.StatusBadRequest, "the program's client metadata document can't be used").because(err)
	}
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		return pageError{cause: e}
	}
	return pageError{cause: oauth.Unavailable(err)}
}

func authorizeParams(w http.ResponseWriter, r *http.Request) (params, error) {
	if r.Method != http.MethodPost {
		return parseParams(r.URL.RawQuery)
	}
	if !isForm(r) {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "a POST request must be application/x-www-form-urlencoded")
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	return parseParams(string(body))
}

// authorizeNames are the parameters that must not repeat.
var authorizeNames = []string{
	"response_type", "response_mode", "request", "request_uri", "state",
	"code_challenge", "code_challenge_method", "scope", "prompt", "nonce",
}

// checkAuthorize checks everything behind the redirect URI, and fills in the
// request.
func (s *Server) checkAuthorize(req *authorizationRequest, p params) *oauth.Error {
	if name := p.repeated(authorizeNames...); name != "" {
		return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s occurs twice", name)
	}
	if len(p.get("state")) > maxState {
		return oauth.Errorf(oauth.CodeInvalidRequest, "state is longer than %d bytes", maxState)
	}
	for _, check := range []func(*authorizationRequest, params) *oauth.Error{
		checkResponseType, checkPKCE, s.checkResource, s.checkScope, checkPrompt,
	} {
		if err := check(req, p); err != nil {
			return err
		}
	}
	return nil
}

// checkResponseType: only the code flow, answered in the query.
func checkResponseType(_ *authorizationRequest, p params) *oauth.Error {
	switch rt := p.get("response_type"); {
	case rt == "":
		return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter response_type is missing")
	case rt != "code":
		return oauth.Errorf(oauth.CodeUnsupportedResponseType, "response_type must be code")
	case p.get("response_mode") != "" && p.get("response_mode") != "query":
		return oauth.Errorf(oauth.CodeInvalidRequest, "response_mode must be query")
	case p.get("request") != "":
		return oauth.Errorf(oauth.CodeRequestNotSupported, "request objects are not supported")
	case p.get("request_uri") != "":
		return oauth.Errorf(oauth.CodeRequestURINotSupported, "request_uri is not supported")
	}
	return nil
}

// checkPKCE: a challenge from every client, S256 only (OAuth 2.1 §7.5.2). A
// missing method would mean plain (RFC 7636 §4.3).
func checkPKCE(req *authorizationRequest, p params) *oauth.Error {
	req.challenge = p.get("code_challenge")
	switch {
	case req.challenge == "":
		return oauth.Errorf(oauth.CodeInvalidRequest, "code_challenge is missing: PKCE is required (RFC 7636)")
	case p.get("code_challenge_method") != oauth.MethodS256:
		return oauth.Errorf(oauth.CodeInvalidRequest, "code_challenge_method must be S256")
	case !oauth.ValidCodeChallenge(req.challenge):
		return oauth.Errorf(oauth.CodeInvalidRequest, "code_challenge is not the base64url form of a SHA-256 hash")
	}
	return nil
}

// checkResource finds the resource that the client wants.
func (s *Server) checkResource(req *authorizationRequest, p params) (err *oauth.Error) {
	req.resource, err = s.wantedResource(req.client, p)
	return err
}

// wantedResource finds the resource that a client's request names (RFC 8707 §2).
// One that names none gets the only one that it may have, if there is only one.
func (s *Server) wantedResource(c Client, p params) (Resource, *oauth.Error) {
	asked := p.all("resource")
	if len(asked) == 0 {
		own := s.resourcesOf(c)
		if len(own) != 1 {
			return Resource{}, oauth.Errorf(oauth.CodeInvalidTarget, "this server protects several resources: name one with the resource parameter (RFC 8707)")
		}
		return own[0], nil
	}
	var wanted Resource
	for i, raw := range asked {
		res, err := s.resource(raw)
		switch {
		case err != nil:
			return res, err
		case i > 0 && res.Audience() != wanted.Audience():
			return res, oauth.Errorf(oauth.CodeInvalidTarget, "ask for one resource at a time")
		case !c.reaches(res.Audience()):
			return res, errTarget
		}
		wanted = res
	}
	return wanted, nil
}

// resource finds a configured resource by what a client wrote. Besides the
// canonical form it takes the spellings that real clients send for a URL that
// a person typed: an added query, a trailing slash, or the bare origin where
// only one resource lives. The token's audience is the configured URI all the
// same.
func (s *Server) resource(raw string) (Resource, *oauth.Error) {
	canonical, err := oauth.CanonicalResource(raw)
	if err != nil {
		return Resource{}, oauth.Errorf(oauth.CodeInvalidTarget, "resource %v", err)
	}
	plain, _, _ := strings.Cut(canonical, "?")
	plain = strings.TrimRight(plain, "/")
	var atOrigin []Resource
	for _, res := range s.cfg.Resources {
		for _, uri := range res.URIs {
			if uri == canonical || uri == plain {
				return res, nil
			}
		}
		if oauth.OriginOf(res.Audience()) == plain {
			atOrigin = append(atOrigin, res)
		}
	}
	if len(atOrigin) == 1 {
		return atOrigin[0], nil
	}
	return Resource{}, oauth.Errorf(oauth.CodeInvalidTarget, "this server does not protect the resource asked for")
}

// checkScope decides what can be granted: what the resource offers of what was
// asked for, or what is for basic use if nothing was (OAuth 2.1 §1.4.1). Unknown names
// beside known ones are dropped, because clients send whole unions.
func (s *Server) checkScope(req *authorizationRequest, p params) *oauth.Error {
	asked, ok := oauth.ParseScope(p.get("scope"))
	if !ok {
		return oauth.Errorf(oauth.CodeInvalidScope, "scope has a character that RFC 6749 section 3.3 does not allow")
	}
	all := s.grantable(req.client, req.resource)
	if len(all) == 0 {
		return oauth.Errorf(oauth.CodeInvalidScope, "this client may have no scope of this resource: ask the operator to register it")
	}
	asked = asked.WithoutIdentity()
	if len(asked) == 0 {
		if req.scope = s.byDefault(req.client, req.resource); len(req.scope) == 0 {
			return oauth.Errorf(oauth.CodeInvalidScope, "this client gets no scope unless it asks for one of %s", all)
		}
		return nil
	}
	if req.scope = asked.Intersect(all); len(req.scope) == 0 {
		return oauth.Errorf(oauth.CodeInvalidScope, "none of these scopes exists here for this client: ask for %s", all)
	}
	return nil
}

// checkPrompt: none excludes every other value (OpenID Connect Core §3.1.2.1);
// unknown values are ignored.
func checkPrompt(req *authorizationRequest, p params) *oauth.Error {
	values := strings.Fields(p.get("prompt"))
	if slices.Contains(values, promptNone) && len(values) > 1 {
		return oauth.Errorf(oauth.CodeInvalidRequest, "prompt none can't be combined with another value")
	}
	for _, known := range []string{promptNone, promptLogin, promptConsent, promptSelectAccount} {
		if slices.Contains(values, known) {
			req.prompt = append(req.prompt, known)
		}
	}
	return nil
}

// redirectTo builds the redirect back to the client: the registered query is
// kept, and code or error, state and iss are added once each. Values are
// encoded here and nowhere else (THREATS R11).
func (s *Server) redirectTo(req authorizationRequest, result url.Values) string {
	if req.state != "" {
		result.Set("state", req.state)
	}
	result.Set("iss", s.cfg.Issuer)
	uri, sep := strings.TrimSuffix(req.redirectURI, "?"), "?"
	if strings.Contains(uri, "?") {
		sep = "&"
	}
	return uri + sep + strings.ReplaceAll(result.Encode(), "+", "%20")
}

func errorValues(e *oauth.Error) url.Values {
	return url.Values{"error": {e.Code}, "error_description": {e.Description}}
}

func isForm(r *http.Request) bool {
	ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(ct), "application/x-www-form-urlencoded")
}
