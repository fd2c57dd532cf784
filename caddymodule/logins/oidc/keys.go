package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// Limits of a key set.
const (
	maxKeys    = 100
	minRSABits = 2048 // RFC 7518 §3.3
)

// keySet are the provider's public keys.
type keySet struct{ keys []jose.JSONWebKey }

// fetchKeys fetches the key set (OpenID Connect Core §10.1.1).
func (l *Login) fetchKeys(ctx context.Context) (*keySet, error) {
	p, err := l.provider.get(ctx)
	if err != nil {
		return nil, err
	}
	body, _, err := l.get(ctx, p.doc.keysURL, "")
	if err != nil {
		return nil, fmt.Errorf("fetching the provider's keys: %w", err)
	}
	set, err := parseKeys(body)
	if err != nil {
		return nil, fmt.Errorf("reading the provider's keys: %w", bounded(err))
	}
	return set, nil
}

// parseKeys reads a key set. Keys that are not understood or not for signatures
// are left out, as RFC 7517 §5 wants.
func parseKeys(body []byte) (*keySet, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("there are %d, more than %d", len(raw.Keys), maxKeys)
	}
	set := new(keySet)
	for _, text := range raw.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) == nil && (key.Use == "" || key.Use == "sig") {
			set.keys = append(set.keys, key)
		}
	}
	if len(set.keys) == 0 {
		return nil, errors.New("there is none that can be used")
	}
	return set, nil
}

// candidates are the keys that may have signed a token with this header.
func (s *keySet) candidates(h jose.Header) *oidc.StaticKeySet {
	fitting := new(oidc.StaticKeySet)
	for _, key := range s.keys {
		named := h.KeyID == "" || h.KeyID == key.KeyID
		if named && (key.Algorithm == "" || key.Algorithm == h.Algorithm) && fits(h.Algorithm, key.Key) {
			fitting.PublicKeys = append(fitting.PublicKeys, key.Key)
		}
	}
	return fitting
}

// fits reports whether a key is a public key for an algorithm, and a safe one.
// The key decides about that, and not the token (THREATS J1).
func fits(alg string, key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return (strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")) && k.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return alg == oidc.ES256 && k.Curve == elliptic.P256() ||
			alg == oidc.ES384 && k.Curve == elliptic.P384() ||
			alg == oidc.ES512 && k.Curve == elliptic.P521()
	case ed25519.PublicKey:
		return alg == oidc.EdDSA
	}
	return false // a shared secret, or somebody's private key
}

// maxToken bounds an ID token, in bytes.
const maxToken = 64 << 10

// remoteKeys verifies one token. It implements oidc.KeySet.
type remoteKeys struct {
	login      *Login
	algorithms []string
	// outage is why the keys could not be had: the library does not pass it on.
	outage error
}

// VerifySignature implements oidc.KeySet. A key that is not known makes it ask
// the provider again, within limits (OpenID Connect Core §10.1.1).
func (r *remoteKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	header, err := r.header(token)
	if err != nil {
		return nil, err
	}
	set, err := r.login.keys.get(ctx)
	if err != nil {
		r.outage = err
		return nil, err
	}
	payload, failure := set.doc.candidates(header).VerifySignature(ctx, token)
	if failure == nil {
		return payload, nil
	}
	again, err := r.login.keys.newer(ctx, set.serial)
	if err != nil {
		r.outage = err
		return nil, err
	}
	if again.serial == set.serial {
		return nil, failure
	}
	return again.doc.candidates(header).VerifySignature(ctx, token)
}

// header reads the header of a token in the compact form, the only one that a
// JWT has (RFC 7519 §3).
func (r *remoteKeys) header(token string) (jose.Header, error) {
	var accepted []jose.SignatureAlgorithm
	for _, alg := range r.algorithms {
		accepted = append(accepted, jose.SignatureAlgorithm(alg))
	}
	parsed, err := jose.ParseSignedCompact(token, accepted)
	if err != nil {
		return jose.Header{}, err
	}
	header := parsed.Signatures[0].Protected
	if _, critical := header.ExtraHeaders["crit"]; critical {
		return jose.Header{}, errors.New("the token has a crit header, and no extension is understood (RFC 7515 §4.1.11)")
	}
	return header, nil
}

// Interface guards
var _ oidc.KeySet = (*remoteKeys)(nil)
