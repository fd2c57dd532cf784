package authserver

import (
	"context"
	"net/http"
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file implements the token endpoint, OAuth 2.1 §3.2: the request is read
// once, the client is authenticated once, then the grant type redeems.

// grant is one grant type: a function from an authenticated request to a token
// response.
type grant struct {
	name   string // the grant_type value
	redeem func(*Server, context.Context, tokenRequest) (redeemed, error)
	// offered reports whether a client can have it here.
	offered func(*Server) bool
}

// grants lists the grant types, in the order of the metadata document. A new
// one is a file grant_<name>.go and a line here.
var grants = []grant{
	{oauth.GrantAuthorizationCode, (*Server).redeemCode, always},
	{oauth.GrantRefreshToken, (*Server).redeemRefresh, always},
	{oauth.GrantClientCredentials, (*Server).redeemClient, (*Server).actsAlone},
}

// grantTypesOffered lists the grant types that work here.
func (s *Server) grantTypesOffered() []string {
	var names []string
	for _, g := range grants {
		if g.offered(s) {
			names = append(names, g.name)
		}
	}
	return names
}

const tokenPath = "/oauth/token" // below the issuer

// tokenRequest is a token request whose client is authenticated.
type tokenRequest struct {
	client Client
	params params
}

// redeemed is what a grant type hands out.
type redeemed struct {
	grant store.Grant
	// scope is that of the access token, never more than the grant's.
	scope oauth.Scope
	// refresh says whether a refresh token of the grant's generation goes out.
	refresh bool
	// again says that the refresh token was redeemed before, within the grace window.
	again bool
}

// reasonRepeated is the reason of an oauth.EventToken for what was handed out before.
const reasonRepeated = "repeated"

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	e := oauth.Event{Kind: oauth.EventToken}
	resp, err := s.tokenRequest(w, r, &e)
	if err != nil {
		e.Err = err
		challengeClient(w, r, err)
		e.Code, e.Status = s.writeError(w, err)
		s.observe(r, e)
		return
	}
	e.Status = http.StatusOK
	s.observe(r, e)
	noStore(w)
	writeJSON(w, http.StatusOK, resp)
}

// tokenRequest answers one request and notes in e what the log may know.
func (s *Server) tokenRequest(w http.ResponseWriter, r *http.Request, e *oauth.Event) (*oauth.TokenResponse, error) {
	p, err := formParams(w, r)
	if err != nil {
		return nil, err
	}
	g, err := s.grantType(p)
	if err != nil {
		return nil, err
	}
	e.GrantType = g.name
	client, err := s.authenticate(r, p)
	e.ClientID, e.ClientName = client.ID, client.Name
	if err != nil {
		return nil, err
	}
	// What became of a document since is judged with the grant (checkDocument).
	if !slices.Contains(client.GrantTypes, g.name) && (client.Origin != ClientDocument || g.name != oauth.GrantRefreshToken) {
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "the client is not registered for this grant type")
	}
	out, err := g.redeem(s, r.Context(), tokenRequest{client, p})
	e.GrantID, e.Subject, e.Login, e.Resource = out.grant.ID, out.grant.User.Subject, out.grant.User.Login, out.grant.Resource
	if err != nil {
		return nil, err
	}
	e.Scope = out.scope.String()
	if out.again {
		e.Reason = reasonRepeated
	}
	return s.tokenResponse(out)
}

func (s *Server) grantType(p params) (grant, error) {
	name := p.get("grant_type")
	if name == "" {
		return grant{}, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter grant_type is missing")
	}
	for _, g := range grants {
		if g.name == name && g.offered(s) {
			return g, nil
		}
	}
	return grant{}, oauth.Errorf(oauth.CodeUnsupportedGrantType, "this grant_type is not supported here")
}

// checkTarget refuses a resource parameter that names another resource than
// the grant's; none means the grant's (RFC 8707 §2.2).
func (s *Server) checkTarget(p params, audience string) error {
	for _, raw := range p.all("resource") {
		res, err := s.resource(raw)
		if err != nil {
			return err
		}
		if res.Audience() != audience {
			return oauth.Errorf(oauth.CodeInvalidTarget, "the grant is for another resource")
		}
	}
	return nil
}

// configured returns the resource of a grant, or an error if the configuration
// no longer protects it.
func (s *Server) configured(audience string) (Resource, error) {
	for _, res := range s.cfg.Resources {
		if res.Audience() == audience {
			return res, nil
		}
	}
	return Resource{}, oauth.Errorf(oauth.CodeInvalidGrant, "the resource of this grant is no longer served here")
}
