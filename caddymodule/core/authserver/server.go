package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// storeBudget is how long all calls of one request to a store.Bounded may take
// together, so that an outage is answered within two seconds.
const storeBudget = 1500 * time.Millisecond

// Server answers the endpoints of one issuer. It is safe for concurrent use.
type Server struct {
	cfg     Config
	deps    Deps
	base    string // path of the issuer, empty for most
	local   bool   // the issuer is on a loopback host
	logins  []method
	site    *pages.Site
	clients map[string]Client
	routes  map[string]route
	below   []string // prefixes under which nobody else may answer
	docs    docs

	documents *documents // nil if they are off

	registrations   *throttle
	changes         *throttle // of registrations
	secretFailures  *limiter  // by network and client
	inactiveAnswers *limiter  // by network and client
	codeFailures    *limiter  // by grant id
	secrets         *clientSecrets
	opaque          []opaqueTokens
	personal        *personalMemory
}

// Route says where an endpoint is and which methods it answers.
type Route struct {
	// Path is below the issuer's origin.
	Path string
	// Methods are in the order of the Allow header. OPTIONS is answered too
	// where the endpoint allows other origins.
	Methods []string
}

type route struct {
	Route
	audience audience
	serve    http.HandlerFunc
}

// audience is who reads an endpoint's answers.
type audience int

const (
	programs audience = iota // JSON, for callers outside of browsers
	scripts                  // JSON, also for scripts of every origin, without credentials
	people                   // HTML
)

// New checks the configuration and returns the server.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := errors.Join(cfg.Check(), cfg.checkResources()); err != nil {
		return nil, err
	}
	if err := cfg.place(); err != nil {
		return nil, err
	}
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, err // check has parsed it before
	}
	logins, err := newMethods(deps.Logins, cfg)
	if err != nil {
		return nil, err
	}
	if unattended := logins[0].info.Unattended || cfg.Development; unattended && !oauth.IsLoopbackHost(issuer.Host) && !cfg.AllowUnattended {
		return nil, fmt.Errorf("login auto and development mode let everyone in without asking, and the issuer %s can be reached by others: "+
			"configure another login, or set insecure_auto_approve if you really mean it", cfg.Issuer)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &Server{cfg: cfg, deps: deps, base: issuer.Path, local: oauth.IsLoopbackHost(issuer.Host), logins: logins, clients: map[string]Client{}}
	s.secretFailures = newLimiter(10, time.Minute)
	s.inactiveAnswers = newLimiter(maxInactive, time.Minute)
	s.codeFailures = newLimiter(3, maxCodeLifetime)
	s.registrations = newThrottle(cfg.Registration.Rate)
	s.changes = newWideThrottle(changesRate, siteBits)
	if !cfg.Documents.Off && deps.Fetch != nil {
		s.documents = newDocuments(s)
	}
	if s.secrets, err = newClientSecrets(cfg.Clients); err != nil {
		return nil, err
	}
	s.personal, s.opaque = newPersonalMemory(), []opaqueTokens{personalKind{s}}
	for _, c := range cfg.Clients {
		s.clients[c.ID] = c
	}
	if cfg.Logo.Data != nil {
		cfg.Brand.LogoURL = s.base + logoPath
	}
	s.site, err = pages.NewSite(pages.SiteConfig{
		Issuer: cfg.Issuer, Home: s.base + "/oauth/", Account: s.base + accountPath, Version: version(), Brand: cfg.Brand,
	})
	if err != nil {
		return nil, err
	}
	if s.docs, err = newDocs(s); err != nil {
		return nil, err
	}
	s.mount()
	return s, nil
}

// mount builds the table of routes. The documentation in openapi.json and the
// test that compares the two follow it.
func (s *Server) mount() {
	get, post := []string{"GET", "HEAD"}, []string{"POST"}
	s.routes = map[string]route{}
	s.below = []string{
		s.base + "/oauth", oauth.WellKnownServer, oauth.WellKnownOpenID,
		s.base + oauth.WellKnownServer, s.base + oauth.WellKnownOpenID,
	}
	add := func(path string, methods []string, who audience, h http.HandlerFunc) {
		s.routes[path] = route{Route: Route{path, methods}, audience: who, serve: h}
	}
	for _, path := range s.metadataPaths() {
		add(path, get, scripts, s.noted(path, s.serveMetadata))
	}
	oauthRoot := s.base + "/oauth"
	add(oauthRoot+"/jwks.json", get, scripts, s.noted(oauthRoot+"/jwks.json", s.serveJWKS))
	add(s.base+authorizePath, []string{"GET", "HEAD", "POST"}, people, s.serveAuthorize)
	s.mountPeople(add)
	add(s.base+tokenPath, post, scripts, s.serveToken)
	add(s.base+revokePath, post, scripts, s.serveRevoke)
	if s.introspects() {
		add(s.base+introspectPath, post, programs, s.serveIntrospect)
	}
	add(oauthRoot+"/health", get, programs, s.serveHealth)
	s.docs.mount(s.site, oauthRoot, func(path string, h http.HandlerFunc) { add(path, get, people, s.noted(path, h)) })
	if !s.cfg.Registration.Off {
		add(oauthRoot+"/register", post, scripts, s.serveRegister)
		if !s.cfg.Registration.NoManagement {
			add(s.base+managePath, []string{"GET", "HEAD", "PUT", "DELETE"}, scripts, s.serveClient)
		}
	}
	if s.cfg.RootPaths && s.base == "" {
		for _, name := range []string{"/authorize", "/token", "/register"} {
			if r, ok := s.routes[oauthRoot+name]; ok {
				add(name, r.Methods, r.audience, r.serve)
			}
		}
	}
	if s.cfg.Development {
		add(s.base+"/dev/token", []string{"GET", "HEAD", "POST"}, programs, s.serveDevToken)
	}
}

// mountPeople adds what the pages of a sign-in post to and come back to.
func (s *Server) mountPeople(add func(string, []string, audience, http.HandlerFunc)) {
	add(s.base+accountPath, []string{"GET", "HEAD", "POST"}, people, s.serveAccount)
	if s.cfg.Logo.Data != nil {
		add(s.base+logoPath, []string{"GET", "HEAD"}, people, s.noted(s.base+logoPath, s.serveLogo))
	}
	if s.documents != nil {
		add(s.base+clientLogoPath, []string{"GET", "HEAD"}, people, s.noted(s.base+clientLogoPath, s.serveClientLogo))
	}
	if s.unattended() {
		return // nobody signs in or is asked
	}
	add(s.base+signInPath, []string{"POST"}, people, s.serveSignIn)
	add(s.base+consentPath, []string{"POST"}, people, s.serveConsent)
	for _, m := range s.logins {
		if m.redirects() {
			add(s.base+callbackPath+m.info.ID, []string{"GET", "HEAD"}, people, s.serveCallback)
		}
	}
}

// noted writes an event for an endpoint that has none of its own.
func (s *Server) noted(path string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h(w, r)
		s.observe(r, oauth.Event{Kind: oauth.EventRequest, Reason: path})
	}
}

// Routes lists every route, in no order.
func (s *Server) Routes() []Route {
	all := make([]Route, 0, len(s.routes))
	for _, r := range s.routes {
		all = append(all, r.Route)
	}
	return all
}

// Owns reports whether the path belongs to the authorization server: one of
// its routes, or a place where nobody else may answer (its own prefix, and the
// well-known names of its metadata).
func (s *Server) Owns(path string) bool {
	if _, ok := s.routes[path]; ok {
		return true
	}
	for _, prefix := range s.below {
		if rest, below := strings.CutPrefix(path, prefix); below && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// Redirects reports whether answers at the path send browsers on, with codes
// or states in the URL that a log of answers must not show.
func (s *Server) Redirects(path string) bool {
	switch {
	case strings.HasSuffix(path, "/authorize"), path == s.base+signInPath, path == s.base+consentPath, path == s.base+accountPath:
		return true
	}
	return strings.HasPrefix(path, s.base+callbackPath)
}

// ServeHTTP answers a request for a path that the server owns; others get 404.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	rt, ok := s.routes[r.URL.Path]
	if !ok {
		if strings.Contains(r.URL.Path, "/.well-known/") {
			allowOrigins(h, []string{"GET", "HEAD"})
		}
		s.observe(r, oauth.Event{Kind: oauth.EventRequest, Code: "not_found", Status: http.StatusNotFound})
		s.notFound(w, r)
		return
	}
	if rt.audience == scripts {
		allowOrigins(h, rt.Methods)
	}
	err := s.acceptable(rt, r)
	if err != nil && err.Status == http.StatusMethodNotAllowed {
		h.Set("Allow", strings.Join(rt.Methods, ", "))
	}
	switch {
	case err == nil && r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case err == nil:
		rt.serve(w, r.WithContext(store.WithBudget(r.Context(), storeBudget)))
	default:
		s.observe(r, oauth.Event{Kind: oauth.EventRequest, Reason: rt.Path, Err: err, Code: err.Code, Status: err.Status})
		s.refuseRequest(w, r, rt, err)
	}
}

func (s *Server) refuseRequest(w http.ResponseWriter, r *http.Request, rt route, err *oauth.Error) {
	if rt.audience == people {
		s.errorPage(w, r, pageError{cause: err})
		return
	}
	s.writeError(w, err)
}

// acceptable checks what does not depend on the endpoint's own parameters.
func (s *Server) acceptable(rt route, r *http.Request) *oauth.Error {
	switch {
	case s.local && !oauth.IsLoopbackHost(r.Host):
		// DNS rebinding: a web page's own name that resolves to this machine.
		return oauth.Errorf(oauth.CodeAccessDenied, "this server answers to localhost only").WithStatus(http.StatusForbidden)
	case r.Method == http.MethodOptions && rt.audience == scripts:
		return nil
	case !slices.Contains(rt.Methods, r.Method):
		return oauth.Errorf(oauth.CodeInvalidRequest, "this endpoint answers %s only", strings.Join(rt.Methods, ", ")).
			WithStatus(http.StatusMethodNotAllowed)
	case len(r.RequestURI) > maxURL:
		return oauth.Errorf(oauth.CodeInvalidRequest, "the URL is longer than %d bytes", maxURL).
			WithStatus(http.StatusRequestURITooLong)
	}
	return nil
}

// url returns an absolute URL below the issuer. It never looks at the request.
func (s *Server) url(path string) string { return s.cfg.Issuer + path }

func (s *Server) now() time.Time { return s.deps.Now() }

// observe completes an event with the request's Meta and hands it on.
func (s *Server) observe(r *http.Request, e oauth.Event) { s.tell(r.Context(), e, nil) }

// tell is observe for a step whose failure, if it has one, is not in the event yet.
func (s *Server) tell(ctx context.Context, e oauth.Event, failure error) {
	if failure != nil {
		cause := asOAuthError(failure)
		e.Err, e.Code, e.Status = failure, cause.Code, cause.Status
	}
	e.Meta = oauth.MetaFrom(ctx)
	s.deps.Observer.Observe(ctx, e)
}
