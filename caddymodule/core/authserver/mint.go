package authserver

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// tokenResponse signs the access token for what was redeemed, and adds the
// refresh token of the grant's generation. It writes nothing.
func (s *Server) tokenResponse(out redeemed) (*oauth.TokenResponse, error) {
	expires := s.now().Add(s.cfg.Lifetimes.AccessToken)
	if expires.After(out.grant.NotAfter) {
		expires = out.grant.NotAfter
	}
	resp, err := s.signToken(out, expires)
	if err != nil || !out.refresh {
		return resp, err
	}
	if resp.RefreshToken, err = s.refreshToken(out.grant.ID, out.grant.Generation); err != nil {
		return nil, oauth.Unavailable(err)
	}
	return resp, nil
}

// signToken signs the access token (RFC 9068) and wraps it in a response.
func (s *Server) signToken(out redeemed, expires time.Time) (*oauth.TokenResponse, error) {
	g, now := out.grant, s.now()
	token, err := s.deps.Keys.Ring().Sign(now, oauth.AccessTokenClaims{
		Issuer:     s.cfg.Issuer,
		Subject:    g.User.Subject,
		Audience:   g.Resource,
		ClientID:   g.ClientID,
		Scope:      out.scope.String(),
		JWTID:      newJWTID(),
		IssuedAt:   now.Unix(),
		Expires:    expires.Unix(),
		AuthTime:   g.AuthTime.Unix(),
		GrantID:    g.ID,
		Name:       g.User.Name,
		Email:      g.User.Email,
		ClientName: g.ClientName,
	})
	if err != nil {
		return nil, oauth.Unavailable(err)
	}
	return &oauth.TokenResponse{
		AccessToken: token,
		TokenType:   "Bearer",
		ExpiresIn:   expires.Unix() - now.Unix(),
		Scope:       out.scope.String(),
	}, nil
}

func newJWTID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}
