package authserver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file implements token introspection, RFC 7662, for resource servers that
// are not behind this gateway: clients of the configuration with Introspects.
// Left out: signed answers (RFC 9701), and username, which is not for programs.

const introspectPath = "/oauth/introspect" // below the issuer

// maxInactive is how many tokens of no use a resource server may ask about in a
// minute. Above it, it is told to wait when it asks about such a one, so that
// nobody scans; good tokens are answered all the same, so that nobody keeps it
// from its work by calling it with bad ones.
const maxInactive = 600

// introspection is the answer of RFC 7662 §2.2. What is not active has nothing
// else to say.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Issuer    string `json:"iss,omitempty"`
	JWTID     string `json:"jti,omitempty"`
}

// errInactive is why a token is not active, for the log. It is no error of the
// request.
var errInactive = errors.New("the token is not active for this client")

func (s *Server) serveIntrospect(w http.ResponseWriter, r *http.Request) {
	e := oauth.Event{Kind: oauth.EventIntrospect, Status: http.StatusOK}
	answer, err := s.introspectRequest(w, r, &e)
	if err != nil {
		e.Err = err
		challengeClient(w, r, err)
		e.Code, e.Status = s.writeError(w, err)
		s.observe(r, e)
		return
	}
	s.observe(r, e)
	noStore(w)
	writeJSON(w, http.StatusOK, answer)
}

// introspectRequest answers one request, and notes in e what the log may know.
func (s *Server) introspectRequest(w http.ResponseWriter, r *http.Request, e *oauth.Event) (*introspection, error) {
	p, err := formParams(w, r)
	if err != nil {
		return nil, err
	}
	client, err := s.authenticate(r, p.aboutToken())
	e.ClientID, e.ClientName = client.ID, client.Name
	switch {
	case err != nil:
		return nil, err
	case !client.confidential():
		return nil, notAuthenticated(errors.New("a public client asked about a token"))
	case !client.Introspects:
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "the client may not ask about tokens: the operator can allow it").WithStatus(http.StatusForbidden)
	case p.get("token") == "":
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter token is missing")
	}
	answer, err := s.introspect(r.Context(), client, p.get("token"))
	if errors.Is(err, errInactive) {
		e.Reason = "inactive"
		return s.inactive(r.Context(), client)
	}
	if err != nil {
		return nil, oauth.Unavailable(err)
	}
	e.Subject, e.Scope = answer.Subject, answer.Scope
	return answer, nil
}

// inactive is the one answer for what is unknown, expired, revoked or none of
// the client's business (RFC 7662 §2.2, §4).
func (s *Server) inactive(ctx context.Context, c Client) (*introspection, error) {
	asker := oauth.Network(oauth.MetaFrom(ctx).RemoteIP) + " " + oauth.ClientKey(c.ID)
	if s.inactiveAnswers.exhausted(asker) {
		return nil, oauth.Errorf(oauth.CodeTemporarilyUnavailable, "too many tokens that are not active, ask again in a minute").
			WithStatus(http.StatusTooManyRequests)
	}
	s.inactiveAnswers.count(asker)
	return new(introspection), nil
}

// introspect finds out what a token is good for. It returns errInactive, or an
// outage.
func (s *Server) introspect(ctx context.Context, c Client, raw string) (*introspection, error) {
	if token, err := s.openRefresh(raw); err == nil {
		return s.introspectRefresh(ctx, c, token)
	}
	claims, err := s.openAccessToken(raw)
	if err != nil {
		claims, err = s.opaqueClaims(ctx, raw)
	}
	if err != nil {
		return nil, err
	}
	now := s.now()
	current := now.Before(time.Unix(claims.Expires, 0)) && !time.Unix(claims.IssuedAt, 0).After(now.Add(accessLeeway))
	if !current || s.ended(claims) || !c.reaches(claims.Audience) {
		return nil, errInactive
	}
	return &introspection{
		Active: true, Scope: claims.Scope, ClientID: claims.ClientID, TokenType: "Bearer", Expires: claims.Expires,
		IssuedAt: claims.IssuedAt, Subject: claims.Subject, Audience: claims.Audience, Issuer: claims.Issuer, JWTID: claims.JWTID,
	}, nil
}

// opaqueClaims asks the kind of tokens that recognizes this one.
func (s *Server) opaqueClaims(ctx context.Context, raw string) (oauth.AccessTokenClaims, error) {
	for _, kind := range s.opaque {
		if kind.recognizes(raw) {
			return kind.claims(ctx, raw)
		}
	}
	return oauth.AccessTokenClaims{}, errInactive
}

// introspectRefresh tells of a refresh token whether it could be redeemed now.
// Its audience is this server, and it has no token_type: a resource server that
// is called with one must not take it for an access token (SPEC G28).
func (s *Server) introspectRefresh(ctx context.Context, c Client, token refreshData) (*introspection, error) {
	now := s.now()
	g, err := s.deps.Store.Grant(ctx, now, token.grantID)
	switch {
	case errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrRevoked):
		return nil, errInactive
	case err != nil:
		return nil, err
	case !c.reaches(g.Resource), s.checkAge(g, now) != nil, !s.redeemable(g, token.generation, now), s.deps.Revoked.Revoked(g.ID),
		!s.documentStands(g):
		return nil, errInactive
	}
	switch err := s.stillClient(ctx, g.ClientID); {
	case errors.Is(err, errUnknownClient) || errors.Is(err, errDocument):
		return nil, errInactive
	case err != nil:
		return nil, err
	}
	if _, err := s.entitledTo(ctx, g); err != nil {
		if asOAuthError(err).Code == oauth.CodeInvalidGrant {
			return nil, errInactive
		}
		return nil, err
	}
	expires := g.RotatedAt.Add(s.cfg.Lifetimes.RefreshIdle)
	if expires.After(g.NotAfter) {
		expires = g.NotAfter
	}
	return &introspection{
		Active: true, Scope: g.Scope, ClientID: g.ClientID, Expires: expires.Unix(), IssuedAt: g.RotatedAt.Unix(),
		Subject: g.User.Subject, Audience: s.cfg.Issuer, Issuer: s.cfg.Issuer,
	}, nil
}

// introspects reports whether some client may ask about tokens.
func (s *Server) introspects() bool {
	return s.anyClient(func(c Client) bool { return c.Introspects })
}
