package authserver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file implements token revocation, RFC 7009. A refresh token ends its
// grant, with every token of it; an access token ends alone, so that a client
// can get rid of one that leaked and go on with the next. Left out: JSONP
// (§2.3), which nobody should use.
//
// token_type_hint is not looked at: what a token is shows in the token.

const (
	revokePath = "/oauth/revoke" // below the issuer

	// reasonClient is why something ends that its client gave back.
	reasonClient = "client"
)

var errForeignToken = oauth.Errorf(oauth.CodeInvalidGrant, "the token was issued to another client, and was not revoked")

func (s *Server) serveRevoke(w http.ResponseWriter, r *http.Request) {
	e := oauth.Event{Kind: oauth.EventRevoke, Reason: reasonClient, Status: http.StatusOK}
	done, err := s.revokeRequest(w, r, &e)
	noStore(w)
	switch {
	case err != nil:
		e.Err = err
		challengeClient(w, r, err)
		e.Code, e.Status = s.writeError(w, err)
	case !done:
		// Nothing was there to be revoked, which is fine (§2.2).
		e.Kind, e.Reason = oauth.EventRequest, revokePath
		w.WriteHeader(http.StatusOK)
	default:
		w.WriteHeader(http.StatusOK)
	}
	s.observe(r, e)
}

// revokeRequest answers one request, and notes in e what the log may know. It
// reports whether the request ended something.
func (s *Server) revokeRequest(w http.ResponseWriter, r *http.Request, e *oauth.Event) (bool, error) {
	p, err := formParams(w, r)
	if err != nil {
		return false, err
	}
	client, err := s.authenticate(r, p.aboutToken())
	e.ClientID, e.ClientName = client.ID, client.Name
	if err != nil {
		return false, err
	}
	raw := p.get("token")
	if raw == "" {
		return false, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter token is missing")
	}
	if token, err := s.openRefresh(raw); err == nil {
		return s.revokeRefresh(r.Context(), client, token, e)
	}
	if token, err := s.openAccessToken(raw); err == nil {
		return s.revokeAccess(r.Context(), client, token, e)
	}
	for _, kind := range s.opaque {
		if kind.recognizes(raw) {
			return false, oauth.Errorf(oauth.CodeUnsupportedTokenType, "tokens of this kind belong to a person, who can revoke them on the account page")
		}
	}
	return false, nil
}

// revokeRefresh ends the grant of a refresh token. One that was rotated away
// ends it too: whoever has it could as well present it at the token endpoint,
// where its second use ends the grant.
func (s *Server) revokeRefresh(ctx context.Context, c Client, token refreshData, e *oauth.Event) (bool, error) {
	now := s.now()
	g, err := s.deps.Store.Grant(ctx, now, token.grantID)
	gone := errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrRevoked)
	switch {
	case err != nil && !gone:
		return false, oauth.Unavailable(err)
	case g.ID == "":
		return false, nil
	case g.ClientID != c.ID:
		return false, errForeignToken
	case gone, c.idle:
		return false, nil
	}
	e.GrantID, e.Subject, e.Login, e.Resource = g.ID, g.User.Subject, g.User.Login, g.Resource
	done, err := s.endGrant(ctx, now, g, reasonClient)
	if err != nil && !errors.Is(err, store.ErrNotFound) { // it may have been swept since
		return false, oauth.Unavailable(err)
	}
	return done, nil
}

// revokeAccess ends one access token, here at once and everywhere within a
// second.
func (s *Server) revokeAccess(ctx context.Context, c Client, token oauth.AccessTokenClaims, e *oauth.Event) (bool, error) {
	expires := time.Unix(token.Expires, 0)
	switch {
	case token.ClientID != c.ID:
		return false, errForeignToken
	case s.ended(token), !s.now().Before(expires.Add(accessLeeway)):
		return false, nil
	}
	e.GrantID, e.Subject, e.Login, e.Resource, e.TokenID = token.GrantID, token.Subject, token.Login, token.Audience, token.JWTID
	return true, s.end(ctx, store.Revocation{Token: token.JWTID, Reason: reasonClient, Until: expires})
}
