package authserver

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	maxDevLifetime = 24 * time.Hour
	devClientID    = "dev-token"
)

// serveDevToken mints an access token for whoever asks. It exists in
// development mode only. Parameters, all optional, in the query or a form:
// sub (default "dev"), resource (default the first one), aud (default the
// resource's), scope (default the resource's for basic use), expires_in in seconds
// (default the configured lifetime, at most a day), name, email, which counts as
// verified, and groups with spaces between them.
//
// Web pages can't use it: no other origin may read the answer, and a browser
// that says a page sent the request is refused. Neither can other machines.
func (s *Server) serveDevToken(w http.ResponseWriter, r *http.Request) {
	e := oauth.Event{Kind: oauth.EventDevToken, ClientID: devClientID, Status: http.StatusOK}
	resp, err := s.devToken(w, r, &e)
	if err != nil {
		e.Err = err
		e.Code, e.Status = s.writeError(w, err)
		s.observe(r, e)
		return
	}
	s.observe(r, e)
	noStore(w)
	writeJSON(w, http.StatusOK, resp)
}

func (s *Server) devToken(w http.ResponseWriter, r *http.Request, e *oauth.Event) (*oauth.TokenResponse, error) {
	if r.Header.Get("Origin") != "" || foreignNavigation(r) || !s.localEnough(r) {
		return nil, oauth.Errorf(oauth.CodeAccessDenied, "development tokens are for programs on this machine, not for web pages or other machines").
			WithStatus(http.StatusForbidden)
	}
	p, err := devParams(w, r)
	if err != nil {
		return nil, err
	}
	audience, scope, err := s.devTarget(p)
	if err != nil {
		return nil, err
	}
	lifetime, err := devLifetime(p.get("expires_in"), s.cfg.Lifetimes.AccessToken)
	if err != nil {
		return nil, err
	}
	g := store.Grant{
		ID:         "dev-" + newJWTID(),
		ClientID:   devClientID,
		ClientName: "Development token",
		User: store.User{
			Subject: p.get("sub"), Name: p.get("name"), Email: p.get("email"), EmailVerified: true,
			Groups: strings.Fields(p.get("groups")), Login: s.logins[0].info.ID,
		},
		Resource: audience,
		AuthTime: s.now(),
		NotAfter: s.now().Add(lifetime),
	}
	if g.User.Subject == "" {
		g.User.Subject = "dev"
	}
	e.Subject, e.Resource, e.Scope, e.GrantID = g.User.Subject, g.Resource, scope.String(), g.ID
	return s.signToken(redeemed{grant: g, scope: scope}, g.NotAfter)
}

// devTarget returns audience and scope of a development token. A resource must
// be one of this server; aud and scope are taken as they are, so that a test
// can see a wrong one refused.
func (s *Server) devTarget(p params) (string, oauth.Scope, error) {
	res := s.cfg.Resources[0]
	if raw := p.get("resource"); raw != "" {
		var err *oauth.Error
		if res, err = s.resource(raw); err != nil {
			return "", nil, err
		}
	}
	scope, ok := oauth.ParseScope(p.get("scope"))
	if !ok {
		return "", nil, oauth.Errorf(oauth.CodeInvalidScope, "scope has a character that RFC 6749 section 3.3 does not allow")
	}
	if len(scope) == 0 {
		scope = res.Scopes
	}
	if aud := p.get("aud"); aud != "" {
		return aud, scope, nil
	}
	return res.Audience(), scope, nil
}

func devParams(w http.ResponseWriter, r *http.Request) (params, error) {
	raw := r.URL.RawQuery
	if r.Method == http.MethodPost && isForm(r) {
		body, err := readBody(w, r)
		if err != nil {
			return nil, err
		}
		if len(body) > 0 {
			raw = string(body)
		}
	}
	return parseParams(raw)
}

func devLifetime(asked string, def time.Duration) (time.Duration, error) {
	if asked == "" {
		return def, nil
	}
	seconds, err := strconv.Atoi(asked)
	if err != nil || seconds < 1 || seconds > int(maxDevLifetime/time.Second) {
		return 0, oauth.Errorf(oauth.CodeInvalidRequest, "expires_in must be 1 to %d seconds", int(maxDevLifetime/time.Second))
	}
	return time.Duration(seconds) * time.Second, nil
}

// foreignNavigation reports whether a browser says that another site is behind
// the request (Fetch Metadata).
func foreignNavigation(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "cross-site" || site == "same-site"
}
