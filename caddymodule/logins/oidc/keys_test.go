package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TestUnknownKeyFlood: tokens with invented key ids don't make this server
// hammer the provider (SPEC O25).
func TestUnknownKeyFlood(t *testing.T) {
	r := newRogue(t)
	l := r.login()
	r.accepted(l)
	r.now = r.now.Add(keyTimes.gap)
	for i := range 50 {
		r.kid = fmt.Sprintf("k-%d", i+2)
		r.refused(l, "ID token")
	}
	if n := r.count("/jwks"); n != 2 {
		t.Errorf("the keys were fetched %d times, want once more", n)
	}
	r.kid = "k1"
	r.accepted(l) // nothing was lost
}

// TestUnknownKeyCrowd is the flood at one moment.
func TestUnknownKeyCrowd(t *testing.T) {
	r := newRogue(t)
	l := r.login()
	r.accepted(l)
	r.now = r.now.Add(keyTimes.gap)
	p, err := l.provider.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.kid = "unknown"
	token := r.idToken("nonce")
	var crowd sync.WaitGroup
	for range 32 {
		crowd.Go(func() {
			if _, err := l.verify(t.Context(), p.doc, token, testAccess); err == nil {
				t.Error("verified")
			}
		})
	}
	crowd.Wait()
	if n := r.count("/jwks"); n != 2 {
		t.Errorf("the keys were fetched %d times, want once more", n)
	}
}

// TestKeyRotation: new keys work without a restart, and a withdrawn one stops
// working (OpenID Connect Core §10.1.1).
func TestKeyRotation(t *testing.T) {
	r := newRogue(t)
	l := r.login()
	r.accepted(l)
	r.now = r.now.Add(keyTimes.gap)
	r.keys = keysOf(publicKey(otherKey().Public(), "k2", "RS256"))
	r.key, r.kid = otherKey(), "k2"
	r.accepted(l)
	r.key, r.kid = rsaKey(), "k1"
	r.refused(l, "ID token")

	// A set without key ids, and a key that was replaced under its name.
	for _, kid := range []string{"", "same"} {
		r := newRogue(t)
		r.kid, r.keys = kid, keysOf(publicKey(rsaKey().Public(), kid, ""))
		l := r.login()
		r.accepted(l)
		r.now = r.now.Add(keyTimes.gap)
		r.key, r.keys = otherKey(), keysOf(publicKey(otherKey().Public(), kid, ""))
		r.accepted(l)
	}
}

// TestWithdrawnKey: a key that the provider has taken back is good for an hour
// at most, and not longer because the key set can't be had.
func TestWithdrawnKey(t *testing.T) {
	r := newRogue(t)
	l := r.login()
	r.accepted(l)
	r.keys = keysOf(publicKey(otherKey().Public(), "k2", "RS256"))
	r.now = r.now.Add(time.Hour)
	r.refused(l, "ID token")

	r = newRogue(t)
	l = r.login()
	r.accepted(l)
	r.serve["/jwks"] = http.NotFound
	r.now = r.now.Add(time.Hour)
	r.down(l, "404")
}

// TestKeysDownAtRotation: whether a key is new can't be told while the key set
// is out of reach. That is an outage, and nobody's fault (SPEC F39).
func TestKeysDownAtRotation(t *testing.T) {
	r := newRogue(t)
	l := r.login()
	r.accepted(l)
	r.now = r.now.Add(keyTimes.gap)
	r.serve["/jwks"] = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", 500) }
	r.kid = "k2"
	for range 3 {
		r.down(l, "500")
	}
	if n := r.count("/jwks"); n != 2 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// TestSymmetricKeyInSet: a shared secret among the public keys is known to
// everybody (SPEC F38, THREATS J1).
func TestSymmetricKeyInSet(t *testing.T) {
	r := newRogue(t)
	secret := []byte("0123456789abcdef0123456789abcdef")
	for _, alg := range []string{"HS256", "", "RS256"} {
		r.keys = keysOf(publicKey(secret, "k1", alg), publicKey(otherKey().Public(), "k2", "RS256"))
		r.forge = func(claims map[string]any) string {
			return sign(t, jose.HS256, jose.JSONWebKey{Key: secret, KeyID: "k1"}, claims)
		}
		r.refused(r.login(), "algorithm")
		r.forge = nil // an honest signature, but no key for it
		r.refused(r.login(), "ID token")
	}
}

// TestPrivateKeyInSet: who published a private key has lost it.
func TestPrivateKeyInSet(t *testing.T) {
	r := newRogue(t)
	r.keys = keysOf(publicKey(rsaKey(), "k1", "RS256"))
	r.refused(r.login(), "ID token")
}

// TestWeakKeys: short RSA keys and curves that don't belong to the algorithm
// (SPEC O24).
func TestWeakKeys(t *testing.T) {
	weak := newRSA(1024)
	r := newRogue(t)
	r.keys = keysOf(publicKey(weak.Public(), "k1", "RS256"))
	r.forge = func(claims map[string]any) string {
		return sign(t, jose.RS256, jose.JSONWebKey{Key: weak, KeyID: "k1"}, claims)
	}
	r.refused(r.login(), "ID token")

	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		alg  string
		key  any
		fits bool
	}{
		{"ES256", &p256.PublicKey, true},
		{"ES256", &p384.PublicKey, false},
		{"ES384", &p256.PublicKey, false},
		{"ES384", &p384.PublicKey, true},
		{"ES512", &p384.PublicKey, false},
		{"RS256", &rsaKey().PublicKey, true},
		{"PS512", &rsaKey().PublicKey, true},
		{"ES256", &rsaKey().PublicKey, false},
		{"RS256", &p256.PublicKey, false},
		{"RS256", &weak.PublicKey, false},
		{"EdDSA", edPublic, true},
		{"RS256", edPublic, false},
		{"EdDSA", ed, false},
		{"RS256", rsaKey(), false},
		{"HS256", []byte("secret"), false},
		{"HS256", &rsaKey().PublicKey, false},
		{"none", &rsaKey().PublicKey, false},
		{"", nil, false},
	} {
		if got := fits(tt.alg, tt.key); got != tt.fits {
			t.Errorf("fits(%s, %T) = %t", tt.alg, tt.key, got)
		}
	}
}

// TestStrangeKeySets: keys of the future don't get in the way of the others,
// and a set has an end (RFC 7517 §5).
func TestStrangeKeySets(t *testing.T) {
	r := newRogue(t)
	strange := []any{
		map[string]any{"kty": "AKP", "alg": "ML-DSA-65", "kid": "k1"},
		map[string]any{},
		7, nil,
		map[string]any{"kty": "RSA", "kid": "k1", "n": "!"},
	}
	r.keys = map[string]any{"keys": append(strange, publicKey(rsaKey().Public(), "k1", "RS256"))}
	r.accepted(r.login())
	r.keys = map[string]any{"keys": strange}
	r.down(r.login(), "none that can be used")
	many := make([]any, maxKeys+1)
	for i := range many {
		many[i] = publicKey(rsaKey().Public(), "k1", "RS256")
	}
	r.keys = map[string]any{"keys": many}
	r.down(r.login(), "101")
}

// FuzzKeys throws key sets at the reader: whatever they hold, only public keys
// that are strong enough ever verify anything (SPEC O24).
func FuzzKeys(f *testing.F) {
	for _, key := range []any{rsaKey().Public(), rsaKey(), []byte("0123456789abcdef0123456789abcdef")} {
		text, err := json.Marshal(keysOf(publicKey(key, "k1", "")))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":""},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[null,1,{"kty":"oct","k":"AA","alg":"RS256"}]}`))
	f.Add([]byte(`{"keys":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := parseKeys(text)
		if err != nil {
			return
		}
		for _, alg := range append(algorithms, "HS256", "none", "") {
			for _, key := range set.candidates(jose.Header{Algorithm: alg}).PublicKeys {
				switch k := key.(type) {
				case *rsa.PublicKey:
					if k.N.BitLen() < minRSABits {
						t.Errorf("%d bits for %s", k.N.BitLen(), alg)
					}
				case *ecdsa.PublicKey, ed25519.PublicKey:
				default:
					t.Errorf("%T for %s", key, alg)
				}
			}
		}
	})
}
