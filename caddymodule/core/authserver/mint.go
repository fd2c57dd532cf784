package authserver

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
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
	claims := s.claims(g, out.scope)
	claims.JWTID, claims.IssuedAt, claims.Expires = newJWTID(), now.Unix(), expires.Unix()
	token, err := s.deps.Keys.Ring().Sign(now, claims)
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

// claims are what a grant says to a resource, until the grant's end.
func (s *Server) claims(g store.Grant, scope oauth.Scope) oauth.AccessTokenClaims {
	c := oauth.AccessTokenClaims{
		Issuer:     s.cfg.Issuer,
		Subject:    g.User.Subject,
		Audience:   g.Resource,
		ClientID:   g.ClientID,
		Scope:      scope.String(),
		IssuedAt:   g.Created.Unix(),
		Expires:    g.NotAfter.Unix(),
		GrantID:    g.ID,
		Name:       g.User.Name,
		Email:      g.User.Email,
		Login:      g.User.Login,
		ClientName: g.ClientName,

		EmailVerified: g.User.Email != "" && g.User.EmailVerified,
	}
	if !g.AuthTime.IsZero() {
		c.AuthTime = g.AuthTime.Unix()
	}
	if res, err := s.configured(g.Resource); err == nil {
		tellGroups(&c, g.User, res)
	}
	return c
}

// tellGroups adds what the resource wants to know of the user's groups, and no
// more: clients can read their tokens. It says what the list is complete for,
// because the token lives on when other groups are named.
func tellGroups(c *oauth.AccessTokenClaims, u store.User, res Resource) {
	if !res.AllGroups && len(res.PolicyGroups) == 0 {
		return
	}
	c.Groups, c.GroupsUnknown, c.GroupsOf = u.Groups, u.GroupsUnknown, oauth.GroupsOfAll
	if res.AllGroups && u.GroupsOf == "" {
		return
	}
	// Of people with many groups, those are kept that some rule of any resource
	// names: these are among them, or the groups are unknown (login.Person).
	c.GroupsOf = oauth.GroupsOf(res.PolicyGroups)
	if !res.AllGroups {
		c.Groups = login.Among(u.Groups, res.PolicyGroups)
	}
}

func newJWTID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}
