package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// This file implements private_key_jwt: RFC 7523 §2.2 and §3, as its successor
// draft-ietf-oauth-rfc7523bis tightens it (one audience, the issuer). Left out:
// assertions as authorization grants (RFC 7523 §2.1), those that somebody else
// issues for a client, shared secrets, and encrypted assertions.

const (
	// assertionType is the client_assertion_type (RFC 7523 §2.2).
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// assertionTyp is the typ header of rfc7523bis. Most clients send JWT or none.
	assertionTyp = "client-authentication+jwt"

	maxAssertion = 8 << 10 // bytes
	maxJWTID     = 256     // bytes
	// maxAssertionLife is how long an assertion may live, and assertionLeeway how
	// far a client's clock may be off.
	maxAssertionLife = 10 * time.Minute
	assertionLeeway  = time.Minute
)

// KeyFinder finds public keys at an address; *jose.Remote is one.
type KeyFinder interface {
	// Keys returns the keys that a token with this key id and algorithm may be
	// signed with. It returns jose.ErrNoKey if there is none, which is a verdict
	// about the token; anything else is an outage.
	Keys(ctx context.Context, rawURL, kid, alg string) ([]jose.Key, error)
}

// assertionClaims are the claims of an assertion, read with their exact names,
// and once.
type assertionClaims struct {
	Issuer    string         `json:"iss"`
	Subject   string         `json:"sub"`
	Audience  jsontext.Value `json:"aud"`
	JWTID     string         `json:"jti"`
	Expires   *float64       `json:"exp"`
	IssuedAt  *float64       `json:"iat"`
	NotBefore *float64       `json:"nbf"`
}

// readAssertion finds out whose assertion it is said to be.
func readAssertion(p params) (credentials, error) {
	cred := credentials{assertion: p.get("client_assertion"), method: oauth.AuthMethodPrivateKeyJWT}
	if cred.assertion == "" || p.get("client_assertion_type") != assertionType {
		return cred, oauth.Errorf(oauth.CodeInvalidClient, "client_assertion goes together with a client_assertion_type, which must be %s", assertionType)
	}
	_, claims, err := parseAssertion(cred.assertion)
	if err != nil {
		return cred, notAuthenticated(err)
	}
	// The client need not name itself beside its assertion (RFC 7521 §4.2).
	if named := p.get("client_id"); named != "" && named != claims.Subject {
		return cred, notAuthenticated(errors.New("client_id differs from the subject of the assertion"))
	}
	cred.id = claims.Subject
	return cred, nil
}

// parseAssertion takes an assertion apart. Nothing about it has been checked but
// its form.
func parseAssertion(raw string) (jose.Header, assertionClaims, error) {
	var c assertionClaims
	if len(raw) > maxAssertion {
		return jose.Header{}, c, errors.New("the assertion is too long")
	}
	t, err := jose.ReadCompact(raw)
	if err != nil {
		return t.Header, c, fmt.Errorf("the assertion is malformed: %w", err)
	}
	if !t.Header.HasType("", "jwt", assertionTyp) {
		return t.Header, c, errors.New("the assertion is another kind of token by its typ")
	}
	if err := json.Unmarshal(t.Unverified, &c); err != nil {
		return t.Header, c, fmt.Errorf("the claims of the assertion are malformed: %w", err)
	}
	return t.Header, c, nil
}

// verifyAssertion implements private_key_jwt. Using the jti up is the last step:
// what was refused before leaves no trace.
//
// Everybody can be a client with keys. So that nobody has this server fetch and
// store by that alone, nothing is done for a client that nobody vouches for and
// that presents nothing of ours: the endpoint then has nothing to do for it.
func (s *Server) verifyAssertion(ctx context.Context, c Client, cred credentials) error {
	if c.Origin != ClientConfigured && (c.idle || !s.carriesOurs(cred.form)) {
		return nil
	}
	head, claims, err := parseAssertion(cred.assertion)
	if err != nil {
		return notAuthenticated(err)
	}
	now := s.now()
	if err := s.checkAssertion(c, claims, now); err != nil {
		return notAuthenticated(err)
	}
	keys, err := s.assertionKeys(ctx, c, head)
	switch {
	case errors.Is(err, jose.ErrNoKey):
		return notAuthenticated(err)
	case err != nil:
		return oauth.Unavailable(err)
	}
	if _, err := jose.VerifyAny(cred.assertion, keys); err != nil {
		return notAuthenticated(err)
	}
	_, err = s.deps.Store.Use(ctx, now, assertionKey(c.ID, claims.JWTID), claims.end().Add(revocationMargin))
	switch {
	case errors.Is(err, store.ErrExists):
		return notAuthenticated(errors.New("the assertion was used before"))
	case err != nil:
		return oauth.Unavailable(err)
	}
	return nil
}

// checkAssertion checks the claims (RFC 7523 §3).
func (s *Server) checkAssertion(c Client, claims assertionClaims, now time.Time) error {
	switch {
	case claims.Issuer != c.ID || claims.Subject != c.ID:
		return errors.New("issuer and subject of the assertion are not both the client")
	case claims.JWTID == "" || len(claims.JWTID) > maxJWTID:
		return fmt.Errorf("the assertion needs a jti of at most %d bytes", maxJWTID)
	}
	if err := s.checkAssertionAudience(claims.Audience); err != nil {
		return err
	}
	return claims.checkTime(now)
}

// checkAssertionAudience accepts the issuer as the only audience, so that nobody
// else to whom a client sends an assertion can use it here. One trailing slash is
// what URL types of some languages add.
func (s *Server) checkAssertionAudience(aud jsontext.Value) error {
	var all []string
	var one string
	if json.Unmarshal(aud, &one) == nil {
		all = []string{one}
	} else if err := json.Unmarshal(aud, &all); err != nil {
		return errors.New("the audience of the assertion is missing or malformed")
	}
	lenient := s.cfg.LenientAssertionAudience
	if len(all) == 0 || len(all) > 1 && !lenient {
		return errors.New("the assertion must have one audience, the issuer")
	}
	for _, a := range all {
		switch {
		case a == s.cfg.Issuer, a == s.cfg.Issuer+"/", lenient && a == s.url(tokenPath):
		default:
			return errors.New("the audience of the assertion is not the issuer")
		}
	}
	return nil
}

// checkTime applies exp, iat and nbf. Without a bound an assertion that leaked
// would be good for as long as its client likes.
func (c assertionClaims) checkTime(now time.Time) error {
	for _, t := range []*float64{c.Expires, c.IssuedAt, c.NotBefore} {
		if t != nil && !(*t > 0 && *t < 1<<40) {
			return errors.New("the assertion has a time that is none")
		}
	}
	if c.Expires == nil {
		return errors.New("the assertion has no exp")
	}
	expires := moment(*c.Expires)
	switch {
	case !now.Before(c.end()):
		return errors.New("the assertion has expired")
	case expires.After(now.Add(maxAssertionLife + assertionLeeway)),
		c.IssuedAt != nil && expires.After(moment(*c.IssuedAt).Add(maxAssertionLife)):
		return fmt.Errorf("the assertion lives longer than %s", maxAssertionLife)
	case c.IssuedAt != nil && moment(*c.IssuedAt).After(now.Add(assertionLeeway)),
		c.NotBefore != nil && moment(*c.NotBefore).After(now.Add(assertionLeeway)):
		return errors.New("the assertion is not valid yet")
	}
	return nil
}

// end is when an assertion is over, leeway included.
func (c assertionClaims) end() time.Time { return moment(*c.Expires).Add(assertionLeeway) }

// moment reads a NumericDate (RFC 7519 §2), to the second.
func moment(seconds float64) time.Time { return time.Unix(int64(seconds), 0) }

// assertionKey marks an assertion as used: by its client, because others may have
// the same jti.
func assertionKey(clientID, jti string) string {
	sum := sha256.Sum256([]byte(oauth.ClientKey(clientID) + jti)) // the key has a fixed length
	return "assertion " + base64.RawURLEncoding.EncodeToString(sum[:])
}

// assertionKeys returns the client's keys that fit the header. An address that
// the operator wrote may be anywhere; others are fetched with care (SPEC E11).
func (s *Server) assertionKeys(ctx context.Context, c Client, head jose.Header) ([]jose.Key, error) {
	if c.JWKSURI == "" {
		set, err := jose.ParseSet(c.JWKS)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", jose.ErrNoKey, err)
		}
		found := set.Find(head.KeyID, head.Algorithm)
		if len(found) == 0 {
			return nil, jose.ErrNoKey
		}
		return found, nil
	}
	finder := s.deps.ClientKeys
	if c.Origin == ClientConfigured {
		finder = s.deps.ConfiguredKeys
	}
	if finder == nil {
		return nil, fmt.Errorf("%w: jwks_uri is not fetched here", jose.ErrNoKey)
	}
	return finder.Keys(ctx, c.JWKSURI, head.KeyID, head.Algorithm)
}

// carriesOurs reports whether a request presents a code or a token that this
// server gave out, whatever became of it since.
func (s *Server) carriesOurs(form params) bool {
	if _, err := s.openCode(form.get("code"), s.now()); err == nil || errors.Is(err, errCodeExpired) {
		return true
	}
	for _, name := range []string{"refresh_token", "token"} {
		if _, err := s.openRefresh(form.get(name)); err == nil {
			return true
		}
	}
	_, err := s.openAccessToken(form.get("token"))
	return err == nil
}

// takesAssertions reports whether some client can have keys: one that registers,
// one with a metadata document, or one of the configuration does.
func (s *Server) takesAssertions() bool {
	return (!s.cfg.Registration.Off || s.documents != nil) && s.deps.ClientKeys != nil || s.anyClient(func(c Client) bool { return c.AuthMethod == oauth.AuthMethodPrivateKeyJWT })
}
