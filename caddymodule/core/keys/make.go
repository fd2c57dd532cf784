package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
)

// Algorithms are the signing algorithms that can be configured, the default
// first. HS256 has no public key: nobody but this server can check its tokens.
var Algorithms = []string{"ES256", "RS256", "EdDSA", "HS256"}

// MinSecret is how many bytes a secret must have at least.
const MinSecret = 32

const rsaBits = 2048

// newSigningKey makes a random key.
func newSigningKey(alg string, created, active time.Time) (signingData, error) {
	var raw any
	var err error
	switch alg {
	case "ES256":
		raw, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, raw, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		raw, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case "HS256":
		raw = random(sha256.Size)
	default:
		return signingData{}, fmt.Errorf("keys: unknown algorithm %q", alg)
	}
	if err != nil {
		return signingData{}, fmt.Errorf("keys: generating a signing key: %w", err)
	}
	return encodeSigningKey(raw, alg, created, active)
}

func encodeSigningKey(raw any, alg string, created, active time.Time) (signingData, error) {
	k, err := jwk.FromRaw(raw)
	if err != nil {
		return signingData{}, fmt.Errorf("keys: encoding a signing key: %w", err)
	}
	kid, err := keyID(k, raw)
	if err != nil {
		return signingData{}, err
	}
	if err := errors.Join(k.Set(jwk.KeyIDKey, kid), k.Set(jwk.AlgorithmKey, jwa.SignatureAlgorithm(alg))); err != nil {
		return signingData{}, fmt.Errorf("keys: encoding a signing key: %w", err)
	}
	encoded, err := json.Marshal(k)
	if err != nil {
		return signingData{}, fmt.Errorf("keys: encoding a signing key: %w", err)
	}
	return signingData{Key: encoded, Created: created, Active: active}, nil
}

// keyID names a key: its RFC 7638 thumbprint or, for a symmetric key, whose
// thumbprint would be a hash of the secret itself, something derived from it.
func keyID(k jwk.Key, raw any) (string, error) {
	if secret, ok := raw.([]byte); ok {
		id, err := derive(secret, "key id", 16)
		return base64.RawURLEncoding.EncodeToString(id), err
	}
	id, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("keys: thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(id[:16]), nil
}

// newRingData makes a random ring.
func newRingData(alg string, now time.Time) (ringData, error) {
	signing, err := newSigningKey(alg, now, now)
	if err != nil {
		return ringData{}, err
	}
	return ringData{
		ID:      base64.RawURLEncoding.EncodeToString(random(16)),
		Seal:    []sealData{{Secret: random(seal.KeySize), Created: now, Active: now}},
		Signing: []signingData{signing},
	}, nil
}

// deriveRingData makes the ring that always belongs to this secret and
// algorithm. RS256 keys can't be derived.
func deriveRingData(secret []byte, alg string) (ringData, error) {
	id, err1 := derive(secret, "ring id", 16)
	sealing, err2 := derive(secret, "sealing key", seal.KeySize)
	raw, err3 := deriveSigningKey(secret, alg)
	if err := errors.Join(err1, err2, err3); err != nil {
		return ringData{}, err
	}
	signing, err := encodeSigningKey(raw, alg, time.Time{}, time.Time{})
	if err != nil {
		return ringData{}, err
	}
	return ringData{
		ID:      base64.RawURLEncoding.EncodeToString(id),
		Seal:    []sealData{{Secret: sealing}},
		Signing: []signingData{signing},
	}, nil
}

func deriveSigningKey(secret []byte, alg string) (any, error) {
	switch alg {
	case "EdDSA":
		seed, err := derive(secret, "signing key EdDSA", ed25519.SeedSize)
		if err != nil {
			return nil, err
		}
		return ed25519.NewKeyFromSeed(seed), nil
	case "HS256":
		return derive(secret, "signing key HS256", sha256.Size)
	case "ES256":
		return deriveES256(secret, "signing key ES256")
	}
	return nil, fmt.Errorf("keys: a key for %s can't be derived from a secret; use ES256, EdDSA or HS256, or keep the ring in the store", alg)
}

func derive(secret []byte, label string, size int) ([]byte, error) {
	out, err := hkdf.Key(sha256.New, secret, nil, "mcp_auth "+label, size)
	if err != nil {
		return nil, fmt.Errorf("keys: deriving the %s: %w", label, err)
	}
	return out, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}
