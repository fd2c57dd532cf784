package resource

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/maypok86/otter/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file validates JWT access tokens by RFC 9068 §4 and the advice of
// RFC 8725. Left out: encrypted tokens, the JSON serialisation, critical
// header extensions, and keys that a token names itself (jku, x5u, jwk, x5c).

const (
	// Leeway is how far the clocks of this server and of another node that
	// signed a token may differ.
	Leeway = time.Minute

	// maxToken bounds the length of a token that is looked at, in bytes.
	maxToken = 8 << 10

	// CacheSize is how many verified tokens are remembered.
	CacheSize = 20_000
)

// Keys returns the algorithm and key of a key id: a public key, or the bytes
// of a symmetric one.
type Keys func(kid string) (alg string, key any, ok bool)

// Token is a verified access token.
type Token struct {
	oauth.AccessTokenClaims
	// Scopes is the parsed scope claim.
	Scopes oauth.Scope
	kid    string
}

// ExpiresAt is when the token ends, leeway included.
func (t *Token) ExpiresAt() time.Time { return time.Unix(t.Expires, 0).Add(Leeway) }

// Cache remembers verified tokens until they expire, in bounded memory. What
// was refused never enters it. It may outlive a configuration, because a hit
// is checked again for everything that can change.
type Cache struct {
	tokens *otter.Cache[[sha256.Size]byte, *Token]
}

// NewCache returns a cache of CacheSize tokens.
func NewCache() *Cache {
	return &Cache{otter.Must(&otter.Options[[sha256.Size]byte, *Token]{
		MaximumSize: CacheSize,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[[sha256.Size]byte, *Token]) time.Duration {
			return max(time.Until(e.Value.ExpiresAt()), time.Millisecond)
		}),
	})}
}

// Verifier checks access tokens of one issuer. It is safe for concurrent use.
type Verifier struct {
	Issuer string
	Keys   Keys
	Cache  *Cache
	Now    func() time.Time
}

// Verify returns the token if it is genuine, of this issuer, for a resource of
// it, and current. It says nothing of the audience and of revocation, which
// differ by call. The error is for the log.
func (v *Verifier) Verify(raw string) (*Token, error) {
	if len(raw) > maxToken {
		return nil, errors.New("the token is too long")
	}
	sum := sha256.Sum256([]byte(raw))
	t, hit := v.Cache.tokens.GetIfPresent(sum)
	if !hit {
		var err error
		if t, err = v.parse(raw); err != nil {
			return nil, err
		}
	}
	if _, _, ok := v.Keys(t.kid); !ok {
		return nil, errors.New("the token's key was retired")
	}
	if err := v.checkTime(t); err != nil {
		return nil, err
	}
	if !hit {
		v.Cache.tokens.Set(sum, t)
	}
	return t, nil
}

// header is the JOSE header, as far as it may matter. Members are read with
// their exact names, and once.
type header struct {
	Algorithm string   `json:"alg"`
	KeyID     string   `json:"kid"`
	Type      string   `json:"typ"`
	Critical  []string `json:"crit"`
	Encoded   *bool    `json:"b64"`
}

// parse checks everything about a token that never changes.
func (v *Verifier) parse(raw string) (*Token, error) {
	head, err := readHeader(raw)
	if err != nil {
		return nil, err
	}
	alg, key, ok := v.Keys(head.KeyID)
	if !ok || alg != head.Algorithm {
		return nil, errors.New("the token names no key of this server")
	}
	payload, err := jws.Verify([]byte(raw), jws.WithKey(jwa.SignatureAlgorithm(alg), key), jws.WithCompact())
	if err != nil {
		return nil, errors.New("the signature is wrong")
	}
	t := &Token{kid: head.KeyID}
	if err := json.Unmarshal(payload, &t.AccessTokenClaims); err != nil {
		return nil, fmt.Errorf("the claims are malformed: %w", err)
	}
	switch {
	case t.Issuer != v.Issuer:
		return nil, errors.New("the token is of another issuer")
	case t.Audience == "" || t.Subject == "" || t.ClientID == "" || t.GrantID == "" || t.Expires == 0 || t.IssuedAt == 0:
		return nil, errors.New("the token lacks a claim")
	}
	if t.Scopes, ok = oauth.ParseScope(t.Scope); !ok {
		return nil, errors.New("the scope is malformed")
	}
	return t, nil
}

// readHeader takes a compact JWS apart as far as its header, and refuses what
// RFC 9068 §4 and RFC 7515 §4.1.11 want refused before any key is looked up.
func readHeader(raw string) (header, error) {
	var h header
	parts := strings.SplitN(raw, ".", 4)
	if len(parts) != 3 {
		return h, errors.New("the token is not a compact JWS")
	}
	var texts [3][]byte
	for i, part := range parts {
		// One spelling only (RFC 7515 §2); the signature check is laxer.
		text, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") {
			return h, errors.New("the token is not strict base64url")
		}
		texts[i] = text
	}
	if err := json.Unmarshal(texts[0], &h); err != nil {
		return h, fmt.Errorf("the header is malformed: %w", err)
	}
	typ := strings.TrimPrefix(strings.ToLower(h.Type), "application/")
	switch {
	case typ != oauth.AccessTokenType:
		return h, errors.New("the token is not an access token")
	case len(h.Critical) > 0 || h.Encoded != nil:
		return h, errors.New("the header demands an extension")
	}
	return h, nil
}

func (v *Verifier) checkTime(t *Token) error {
	now := v.Now()
	switch {
	case !now.Before(t.ExpiresAt()):
		return errors.New("the token has expired")
	case time.Unix(max(t.IssuedAt, t.NotBefore), 0).After(now.Add(Leeway)):
		return errors.New("the token is not valid yet")
	}
	return nil
}
