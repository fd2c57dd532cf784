package authserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file reads the access tokens of this server when one comes back to it, to
// be revoked or asked about. Calls are checked by package resource.

// accessLeeway is how far the clocks of two nodes may differ, as at the resource.
const accessLeeway = time.Minute

// openAccessToken returns the claims of an access token that this server signed,
// expired or not.
func (s *Server) openAccessToken(raw string) (oauth.AccessTokenClaims, error) {
	var c oauth.AccessTokenClaims
	t, err := jose.ReadCompact(raw)
	if err != nil {
		return c, fmt.Errorf("reading a token: %w", err)
	}
	if !t.Header.HasType(oauth.AccessTokenType) {
		return c, errors.New("the token is not an access token")
	}
	alg, key, ok := s.deps.Keys.Ring().VerifyKey(t.Header.KeyID)
	if !ok || alg != t.Header.Algorithm {
		return c, errors.New("the token names no key of this server")
	}
	payload, err := t.Verify(alg, key)
	if err != nil {
		return c, fmt.Errorf("checking a token: %w", err)
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return c, fmt.Errorf("the claims are malformed: %w", err)
	}
	if c.Issuer != s.cfg.Issuer || c.JWTID == "" {
		return c, errors.New("the token is of another issuer")
	}
	return c, nil
}

// ended reports whether an access token was revoked: itself, with its grant or
// with its client.
func (s *Server) ended(c oauth.AccessTokenClaims) bool {
	return s.deps.Revoked.Ended(Watched{
		GrantID: c.GrantID, Token: c.JWTID, ClientKey: oauth.ClientKey(c.ClientID), Issued: time.Unix(c.IssuedAt, 0),
	})
}

// opaqueTokens are a further kind of access tokens that this server gives out:
// neither JWTs nor refresh tokens.
type opaqueTokens interface {
	// recognizes reports whether a token is of this kind, by its looks alone.
	recognizes(raw string) bool
	// claims returns what a good token stands for. It returns errInactive for one
	// that is unknown, expired or revoked; anything else is an outage.
	claims(ctx context.Context, raw string) (oauth.AccessTokenClaims, error)
}
