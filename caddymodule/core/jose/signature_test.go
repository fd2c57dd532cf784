package jose

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// TestVerifyAgreesWithALibrary checks signatures, good and spoiled in every way
// that a length or a bit can be, both here and by the library that signs ours.
func TestVerifyAgreesWithALibrary(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	hmac, err := jws.Sign([]byte(`{"a":1}`), jws.WithKey(jwa.HS256, secret))
	if err != nil {
		t.Fatal(err)
	}
	tokens, keys := map[string]string{"HS256": string(hmac)}, map[string]any{"HS256": secret}
	for _, alg := range Algorithms() {
		if alg != "Ed25519" { // which the library does not know
			tokens[alg], keys[alg] = sign(t, alg, `{"a":1}`), signers()[alg].Public()
		}
	}
	for alg, raw := range tokens {
		head, signature := raw[:strings.LastIndexByte(raw, '.')+1], decoded(t, raw)
		variants := [][]byte{signature, nil, signature[1:], signature[:len(signature)-1], slices.Concat(signature, []byte{0}), slices.Concat([]byte{0}, signature)}
		for i := 0; i < len(signature); i += max(len(signature)/3, 1) {
			spoiled := slices.Clone(signature)
			spoiled[i] ^= 1
			variants = append(variants, spoiled, make([]byte, i))
		}
		if h := len(signature) / 2; h > 0 {
			variants = append(variants, slices.Concat(signature[h:], signature[:h]))
		}
		for i, variant := range variants {
			text := head + b64(string(variant))
			for by, key := range keys {
				_, err := verify(text, alg, key)
				_, want := jws.Verify([]byte(text), jws.WithKey(jwa.SignatureAlgorithm(alg), key), jws.WithCompact())
				if (err == nil) != (want == nil) || (err == nil) != (i == 0 && (by == alg || signers()[by] != nil && signers()[alg] == signers()[by])) {
					t.Errorf("%s, key of %s, variant %d: %v; the library: %v", alg, by, i, err, want)
				}
			}
		}
	}
}

func decoded(t *testing.T, raw string) []byte {
	t.Helper()
	signature, err := base64.RawURLEncoding.DecodeString(raw[strings.LastIndexByte(raw, '.')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// TestSaltOfPSS: a salt is as long as the hash (RFC 7518 §3.5), although the
// standard library takes every length unless it is told.
func TestSaltOfPSS(t *testing.T) {
	key, _ := signers()["PS256"].(*rsa.PrivateKey)
	text := b64(`{"alg":"PS256"}`) + "." + b64(`{"a":1}`)
	digest := sha256.Sum256([]byte(text))
	for salt, want := range map[int]bool{
		rsa.PSSSaltLengthAuto: false, // as long as fits
		1:                     false,
		sha256.Size - 1:       false,
		sha256.Size:           true,
		sha256.Size + 1:       false,
	} {
		signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verify(text+"."+b64(string(signature)), "PS256", key.Public()); (err == nil) != want {
			t.Errorf("a salt of %d bytes: %v", salt, err)
		}
	}
}

// TestKeysOfNoUse: whoever hands over no key, an empty one or one of another kind
// gets nothing signed, and no panic.
func TestKeysOfNoUse(t *testing.T) {
	for _, alg := range append(Algorithms(), "HS256", "none", "") {
		for _, key := range []any{nil, []byte(nil), []byte{}, "", crypto.Signer(nil), signers()["ES256"]} {
			if signedBy(canonical(alg), key, []byte("e30.e30"), nil) {
				t.Errorf("%q: signed by %T", alg, key)
			}
		}
	}
}

// TestAllocsOfAVerification: the library makes some 300 of it.
func TestAllocsOfAVerification(t *testing.T) {
	for alg, most := range map[string]float64{"ES256": 32, "RS256": 20, "EdDSA": 10} {
		raw, key := sign(t, alg, `{"a":1}`, "kid", "k", "typ", "at+jwt"), signers()[alg].Public()
		if n := testing.AllocsPerRun(100, func() {
			if _, err := verify(raw, alg, key); err != nil {
				t.Fatal(err)
			}
		}); n > most {
			t.Errorf("%s: %v allocations, want up to %v", alg, n, most)
		} else {
			t.Logf("%s: %v allocations", alg, n)
		}
	}
}
