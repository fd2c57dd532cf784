package resource

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/maypok86/otter/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file validates JWT access tokens by RFC 9068 §4 and the advice of
// RFC 8725. Left out is what package jose leaves out.

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
	// ClientKey is oauth.ClientKey of the client, under which it is revoked.
	ClientKey string
	// Memo is what the host has made of the token and wants to have again, for as
	// long as the token is remembered.
	Memo atomic.Value
	// KeyID is of our key that signed it, and empty for tokens of other kinds.
	KeyID string
	// Raw are all claims of a token of another issuer, as JSON has them; nil for
	// ours, whose claims are those above.
	Raw map[string]any
}

// NewToken returns a token of ours with these claims, which have been checked.
func NewToken(claims oauth.AccessTokenClaims) (*Token, error) {
	t := &Token{AccessTokenClaims: claims, ClientKey: oauth.ClientKey(claims.ClientID)}
	var ok bool
	if t.Scopes, ok = oauth.ParseScope(t.Scope); !ok {
		return nil, errors.New("the scope of the token is malformed")
	}
	// A token that says nothing of groups does not say that there are none.
	t.GroupsUnknown = t.GroupsUnknown || t.GroupsOf == ""
	return t, nil
}

// GroupsKnown reports whether the token would name each of some groups if its
// user were in it; of is oauth.GroupsOf of their names. A token can be older than
// the rules of now: then it was not asked about the groups that they name.
func (t *Token) GroupsKnown(of string) bool {
	return !t.GroupsUnknown && (t.Raw != nil || t.GroupsOf == oauth.GroupsOfAll || t.GroupsOf == of)
}

// GroupsOutdated reports whether a client that refreshes this token would get one
// that knows more of the groups: it is of ours and was issued when other groups
// were named. of is as for GroupsKnown.
func (t *Token) GroupsOutdated(of string) bool {
	return t.KeyID != "" && t.GroupsOf != oauth.GroupsOfAll && t.GroupsOf != of
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
			// How long, and not until when: the token's times are of another clock.
			t := e.Value
			return max(time.Duration(t.Expires-t.IssuedAt)*time.Second+Leeway, time.Millisecond)
		}),
	})}
}

// Sum is the hash under which a token is remembered.
func Sum(raw string) [sha256.Size]byte {
	var room [2 << 10]byte // on the stack: nearly every token fits
	return sha256.Sum256(append(room[:0], raw...))
}

// Verifier checks access tokens of one issuer. It is safe for concurrent use.
type Verifier struct {
	Issuer string
	Keys   Keys
	Cache  *Cache
	Now    func() time.Time
}

// Recognizes accepts every token: this kind comes last.
func (*Verifier) Recognizes(string) bool { return true }

var (
	errTooLong = errors.New("the token is too long")
	errNoJWT   = errors.New("the token is not a JWT")
)

// Verify returns the token if it is genuine, of this issuer, for a resource of
// it, and current. It says nothing of the audience and of revocation, which
// differ by call. The error is for the log.
func (v *Verifier) Verify(_ context.Context, raw string) (*Token, error) {
	if len(raw) > maxToken {
		return nil, errTooLong
	}
	if strings.Count(raw, ".") != 2 {
		return nil, errNoJWT // before anything is spent on it
	}
	sum := Sum(raw)
	t, hit := v.Cache.tokens.GetIfPresent(sum)
	if !hit {
		var err error
		if t, err = v.parse(raw); err != nil {
			return nil, err
		}
	}
	if _, _, ok := v.Keys(t.KeyID); !ok {
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

// parse checks everything about a token that never changes.
func (v *Verifier) parse(raw string) (*Token, error) {
	read, err := jose.ReadCompact(raw)
	if err != nil {
		return nil, err
	}
	if !read.Header.HasType(oauth.AccessTokenType) {
		return nil, errors.New("the token is not an access token")
	}
	alg, key, ok := v.Keys(read.Header.KeyID)
	if !ok || alg != read.Header.Algorithm {
		return nil, errors.New("the token names no key of this server")
	}
	payload, err := read.Verify(alg, key)
	if err != nil {
		return nil, err
	}
	var claims oauth.AccessTokenClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, fmt.Errorf("the claims are malformed: %w", err)
	}
	t, err := NewToken(claims)
	switch {
	case err != nil:
		return nil, err
	case t.Issuer != v.Issuer:
		return nil, errors.New("the token is of another issuer")
	case t.Audience == "" || t.Subject == "" || t.ClientID == "" || t.GrantID == "" || t.Expires == 0 || t.IssuedAt == 0:
		return nil, errors.New("the token lacks a claim")
	}
	t.KeyID = read.Header.KeyID
	return t, nil
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

var _ Kind = (*Verifier)(nil)
