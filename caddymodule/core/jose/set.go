package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// This file reads JWK sets (RFC 7517 §5) of public keys. Left out: symmetric
// and encrypted keys, and certificates (x5c, x5t, x5u), which prove nothing
// here.

const (
	// MaxKeys bounds a key set.
	MaxKeys = 32
	// maxCandidates bounds the keys that one token is checked with.
	maxCandidates = 4

	minRSABits = 2048
	maxRSABits = 8192
)

// algorithms are those that are accepted, with the kind of key that each is
// for. All have a public key: what is signed with a shared secret, or not at
// all, proves nothing here (RFC 8725 §3.1, THREATS J1). Ed25519 is what RFC 9864
// §2.2 calls EdDSA with such a key; programs use either name.
var algorithms = map[string]string{
	"ES256": "P-256", "ES384": "P-384", "ES512": "P-521",
	"RS256": "RSA", "PS256": "RSA",
	"EdDSA": "Ed25519", "Ed25519": "Ed25519",
}

// Algorithms returns the names of the algorithms that are accepted, sorted:
// ES256, ES384, ES512, Ed25519, EdDSA, PS256 and RS256.
func Algorithms() []string { return slices.Sorted(maps.Keys(algorithms)) }

// Key is a public key that can verify signatures.
type Key struct {
	// ID is the key id (kid), or empty.
	ID string
	// alg is empty for every algorithm that fits.
	alg string
	// kind is RSA, or the name of the curve.
	kind   string
	public crypto.PublicKey
}

// Fits reports whether the key is for signatures of this algorithm.
func (k Key) Fits(alg string) bool {
	kind, ok := algorithms[alg]
	return ok && k.kind == kind && (k.alg == "" || canonical(k.alg) == canonical(alg))
}

// canonical returns the one name that stands for an algorithm here.
func canonical(alg string) string {
	if alg == "Ed25519" {
		return "EdDSA"
	}
	return alg
}

// Equal reports whether it is the same key, under whatever name.
func (k Key) Equal(other Key) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(other.public)
}

// Set is a set of public keys.
type Set struct {
	keys []Key
}

// Len is the number of keys that can be used.
func (s Set) Len() int { return len(s.keys) }

// Find returns the keys that a token with this header may be signed with. A
// token without a key id may be signed with any that fits, unless those are
// more than anybody would try.
func (s Set) Find(kid, alg string) []Key {
	var found []Key
	for _, k := range s.keys {
		if k.Fits(alg) && (kid == "" || k.ID == kid) {
			found = append(found, k)
		}
	}
	if len(found) > maxCandidates {
		return nil
	}
	return found
}

// member is a JWK as far as it says what it is. Members are read with their
// exact names, and once.
type member struct {
	ID         string         `json:"kid"`
	Use        string         `json:"use"`
	Operations []string       `json:"key_ops"`
	Algorithm  string         `json:"alg"`
	D          jsontext.Value `json:"d"`
	P          jsontext.Value `json:"p"`
	Q          jsontext.Value `json:"q"`
	DP         jsontext.Value `json:"dp"`
	DQ         jsontext.Value `json:"dq"`
	QI         jsontext.Value `json:"qi"`
	Other      jsontext.Value `json:"oth"`
	K          jsontext.Value `json:"k"`
}

// private reports whether there is a member that only secret keys have
// (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
func (m member) private() bool {
	return m.D != nil || m.P != nil || m.Q != nil || m.DP != nil || m.DQ != nil || m.QI != nil || m.Other != nil || m.K != nil
}

// forSignatures reports whether the key is for verifying them, with an
// algorithm that is accepted (RFC 7517 §4.2 to §4.4).
func (m member) forSignatures() bool {
	return (m.Use == "" || m.Use == "sig") &&
		(m.Operations == nil || slices.Contains(m.Operations, "verify")) &&
		(m.Algorithm == "" || algorithms[m.Algorithm] != "")
}

// ParseSet reads a key set, whose length is for the caller to bound. Keys that
// can't be used are left out (RFC 7517 §5): of other kinds, too short, not for
// signatures. A set that shows a secret is refused as a whole: whoever
// publishes it has published others as well.
func ParseSet(raw []byte) (Set, error) {
	var doc struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil || doc.Keys == nil {
		return Set{}, errors.New("the document is not a JWK set")
	}
	if len(doc.Keys) > MaxKeys {
		return Set{}, fmt.Errorf("the set has more than %d keys", MaxKeys)
	}
	var s Set
	for _, text := range doc.Keys {
		var m member
		if err := json.Unmarshal(text, &m); err != nil {
			return Set{}, errors.New("the set has an entry that is not a JWK")
		}
		if m.private() {
			return Set{}, errors.New("the set shows a secret key")
		}
		if k, ok := m.key(text); ok {
			s.keys = append(s.keys, k)
		}
	}
	return s, nil
}

// key returns the key if it can be used.
func (m member) key(text []byte) (Key, bool) {
	if !m.forSignatures() {
		return Key{}, false
	}
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return Key{}, false
	}
	var public any
	if err := parsed.Raw(&public); err != nil {
		return Key{}, false
	}
	k := Key{ID: m.ID, alg: m.Algorithm, public: public}
	if k.kind = kindOf(public); k.kind == "" || k.alg != "" && !k.Fits(k.alg) {
		return Key{}, false
	}
	return k, true
}

// kindOf returns the kind of a public key in algorithms, or nothing for one
// that is not good enough. Longer RSA keys only cost time.
func kindOf(public any) string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		if bits >= minRSABits && bits <= maxRSABits && key.E >= 3 && key.E&1 == 1 {
			return "RSA"
		}
	case *ecdsa.PublicKey:
		if _, err := key.ECDH(); err == nil { // the point is on the curve
			return key.Curve.Params().Name
		}
	case ed25519.PublicKey:
		if len(key) == ed25519.PublicKeySize {
			return "Ed25519"
		}
	}
	return ""
}
