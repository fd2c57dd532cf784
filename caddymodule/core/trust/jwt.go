package trust

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// verified is a token that was checked before, with the key that signed it.
type verified struct {
	access   *resource.Token
	kid, alg string
	by       jose.Key
}

// verifyJWT checks a token by RFC 9068 §4, with the options that make up for
// providers that are older than it. A token is checked once; after that only
// what changes: the time, and whether its key is still published.
func (i *Issuer) verifyJWT(ctx context.Context, raw string) (*resource.Token, error) {
	sum := resource.Sum(raw)
	if v, ok := i.known.GetIfPresent(sum); ok {
		return i.again(ctx, v)
	}
	read, err := jose.ReadCompact(raw)
	if err != nil {
		return nil, err
	}
	h := read.Header
	switch {
	case h.HasType(oauth.AccessTokenType):
	case i.cfg.PlainJWT && h.HasType("jwt", ""):
	default:
		return nil, fmt.Errorf("its type is %q, not %s", h.Type, oauth.AccessTokenType)
	}
	if !slices.Contains(i.cfg.Algorithms, h.Algorithm) {
		return nil, errors.New("its algorithm is not one that is accepted")
	}
	keys, err := i.keys(ctx, h.KeyID, h.Algorithm)
	if err != nil {
		return nil, err
	}
	payload, by, err := jose.VerifyBy(raw, keys)
	if err != nil {
		return nil, err
	}
	c, err := parseClaims(payload)
	if err != nil {
		return nil, err
	}
	if iss := c.text("iss"); iss != i.cfg.Issuer {
		return nil, errors.New("it is of another issuer")
	}
	a, err := i.access(c)
	if err != nil {
		return nil, err
	}
	i.known.Set(sum, &verified{access: a, kid: h.KeyID, alg: h.Algorithm, by: by})
	return a, nil
}

// again checks a token that is remembered.
func (i *Issuer) again(ctx context.Context, v *verified) (*resource.Token, error) {
	keys, err := i.keys(ctx, v.kid, v.alg)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(keys, v.by.Equal) {
		return nil, errors.New("its key was withdrawn")
	}
	return v.access, i.checkTime(v.access)
}

// keys finds the provider's keys. That they can't be had is no verdict.
func (i *Issuer) keys(ctx context.Context, kid, alg string) ([]jose.Key, error) {
	at := i.cfg.JWKSURL
	if at == "" {
		m, err := i.where.find(ctx)
		if err != nil {
			return nil, err
		}
		if at = m.JWKSURI; at == "" {
			return nil, fmt.Errorf("%w: the metadata names no jwks_uri", resource.ErrUnavailable)
		}
	}
	keys, err := i.remote.Keys(ctx, at, kid, alg)
	if err != nil && !errors.Is(err, jose.ErrNoKey) {
		return nil, fmt.Errorf("%w: %w", resource.ErrUnavailable, err)
	}
	return keys, err
}
