package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// The keys of assertions sign what the gateway tells the server behind it, and
// nothing else: VerifyKey does not know them, so that no assertion is ever an
// access token, and no key of access tokens signs an assertion. Each is derived
// from a sealing key. Every node with the ring has the same ones, and they are
// published, take effect, rotate and go as sealing keys do.

// addAssertionKeys makes the keys of assertions that are in use at now, are about
// to be, or were a short while ago, and publishes them.
func (r *Ring) addAssertionKeys(public jwk.Set, now time.Time) error {
	for i, s := range r.data.Seal {
		if i > r.sealing && now.After(r.data.Seal[i-1].Active.Add(dropMargin)) {
			break // the next key took over, and what this one signed is long over
		}
		k, err := assertionKey(s.Secret)
		if err != nil {
			return err
		}
		if i == r.sealing {
			r.assertion = k
		}
		if err := publish(public, k.sign); err != nil {
			return err
		}
	}
	return nil
}

// assertionKey derives the ES256 key of a sealing key.
func assertionKey(secret []byte) (signingKey, error) {
	raw, err := deriveES256(secret, "assertion key ES256")
	if err != nil {
		return signingKey{}, err
	}
	d, err := encodeSigningKey(raw, string(jwa.ES256), time.Time{}, time.Time{})
	if err != nil {
		return signingKey{}, err
	}
	return parseSigningKey(d, oauth.AssertionType)
}

// deriveES256 derives a private key on P-256. A random scalar is out of range
// once in 2^32; then the next one is taken.
func deriveES256(secret []byte, label string) (*ecdsa.PrivateKey, error) {
	for i := range 8 {
		scalar, err := derive(secret, fmt.Sprintf("%s %d", label, i), 32)
		if err != nil {
			return nil, err
		}
		if k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			return k, nil
		}
	}
	return nil, errors.New("keys: no ES256 key can be derived from this secret")
}

// SignAssertion returns the claims as a compact JWS with typ mcp-assertion+jwt,
// signed with ES256 whatever algorithm access tokens have.
func (r *Ring) SignAssertion(claims *oauth.AssertionClaims) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("keys: encoding claims: %w", err)
	}
	return r.assertion.compact(payload)
}
