package authserver

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file checks how a client of the configuration authenticates and what it
// may do. Errors repeat no secret.

// check reports what is wrong, the redirect URIs excepted.
func (c Client) check() error {
	if err := c.checkAuthMethod(); err != nil {
		return err
	}
	for _, name := range c.GrantTypes {
		if !slices.ContainsFunc(grants, func(g grant) bool { return g.name == name }) {
			return fmt.Errorf("the grant type %s does not exist here", name)
		}
	}
	alone := slices.Contains(c.GrantTypes, oauth.GrantClientCredentials)
	printable := strings.IndexFunc(c.ID, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
	switch {
	case alone && !c.confidential():
		return fmt.Errorf("%s needs a client that authenticates: give it a secret or keys", oauth.GrantClientCredentials)
	case alone && (len(c.ID) > maxSubject || !printable):
		return fmt.Errorf("with %s the client_id names a user: it may have up to %d characters of printable ASCII without space", oauth.GrantClientCredentials, maxSubject)
	case c.Introspects && !c.confidential():
		return errors.New("asking about tokens needs a client that authenticates: give it a secret or keys")
	}
	return nil
}

// redirects reports whether the client sends people here.
func (c Client) redirects() bool { return slices.Contains(c.GrantTypes, oauth.GrantAuthorizationCode) }

// checkAuthMethod wants what the method needs, once, and nothing else.
func (c Client) checkAuthMethod() error {
	secrets, keys := 0, 0
	for _, secret := range []string{c.Secret, c.SecretHash} {
		if secret != "" {
			secrets++
		}
	}
	for _, has := range []bool{len(c.JWKS) > 0, c.JWKSURI != ""} {
		if has {
			keys++
		}
	}
	wantSecrets, wantKeys := 0, 0
	switch c.AuthMethod {
	case oauth.AuthMethodNone:
	case oauth.AuthMethodPost, oauth.AuthMethodBasic:
		wantSecrets = 1
	case oauth.AuthMethodPrivateKeyJWT:
		wantKeys = 1
	default:
		return fmt.Errorf("the auth method %q does not exist here: use none, client_secret_basic, client_secret_post or private_key_jwt", c.AuthMethod)
	}
	if secrets != wantSecrets || keys != wantKeys {
		return fmt.Errorf("%s needs %s", c.AuthMethod, map[string]string{
			oauth.AuthMethodNone:          "neither a secret nor keys",
			oauth.AuthMethodPost:          "a secret or its hash, one of the two, and no keys",
			oauth.AuthMethodBasic:         "a secret or its hash, one of the two, and no keys",
			oauth.AuthMethodPrivateKeyJWT: "jwks or jwks_uri, one of the two, and no secret",
		}[c.AuthMethod])
	}
	return c.checkCredentials()
}

// checkCredentials looks at what the client will be checked with.
func (c Client) checkCredentials() error {
	if c.SecretHash != "" {
		if _, err := parseSecretHash(c.SecretHash); err != nil {
			return err
		}
	}
	if len(c.JWKS) > 0 {
		set, err := jose.ParseSet(c.JWKS)
		if err != nil {
			return fmt.Errorf("jwks: %w", err)
		}
		if set.Len() == 0 {
			return fmt.Errorf("jwks has no public key for signatures: %s", strings.Join(jose.Algorithms(), ", "))
		}
	}
	if c.JWKSURI != "" {
		if err := fetch.New(fetch.Options{AllowPrivate: true}).Check(c.JWKSURI); err != nil {
			return fmt.Errorf("jwks_uri: %w", err)
		}
	}
	return nil
}

// anyClient reports whether a client of the configuration is of a kind.
func (s *Server) anyClient(is func(Client) bool) bool {
	for _, c := range s.clients {
		if is(c) {
			return true
		}
	}
	return false
}
