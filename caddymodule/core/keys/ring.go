package keys

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
)

// The purposes of sealed values. Each is a key of its own, so that no value
// can be passed off as another.
const (
	PurposeClient       seal.Purpose = "client"
	PurposeClientSecret seal.Purpose = "client_secret"
	PurposeCode         seal.Purpose = "code"
	PurposeRefresh      seal.Purpose = "refresh"
	PurposeSession      seal.Purpose = "session"      // cookie of a signed-in browser
	PurposeSignIn       seal.Purpose = "sign_in"      // form of the sign-in page
	PurposeUpstream     seal.Purpose = "upstream"     // cookie of a sign-in at a provider
	PurposeConsent      seal.Purpose = "consent"      // form of the consent page
	PurposeAccount      seal.Purpose = "account"      // forms of the account page
	PurposeDevice       seal.Purpose = "device"       // cookie of a browser that somebody signed in with
	PurposeRegistration seal.Purpose = "registration" // token that manages a dynamic client
	PurposeLogo         seal.Purpose = "logo"         // address of a client's logo
)

var purposes = []seal.Purpose{
	PurposeClient, PurposeClientSecret, PurposeCode, PurposeRefresh,
	PurposeSession, PurposeSignIn, PurposeUpstream, PurposeConsent, PurposeAccount, PurposeDevice,
	PurposeRegistration, PurposeLogo,
}

// Ring is a snapshot of all keys. It never changes and is safe for concurrent
// use.
type Ring struct {
	// ID stays the same for the life of the ring, through every rotation.
	ID string
	// Sealer seals and opens with the ring's sealing keys.
	Sealer *seal.Sealer
	// Data seals what is kept in the store, with the same keys, and opens it with
	// retired ones too for as long as something may be sealed with them.
	Data *seal.Sealer

	indexes [][]byte     // keys of PersonNames, the current one first
	signing []signingKey // newest first
	// assertion signs assertions, and is in none of the others.
	assertion signingKey
	byKid     map[string]signingKey
	jwks      [2][]byte // without the keys of assertions, and with them
	data      ringData
	sealing   int // index in data.Seal of the key that seals
}

// ringData is the ring as it is stored.
type ringData struct {
	ID      string        `json:"id"`
	Seal    []sealData    `json:"seal"`    // newest first
	Signing []signingData `json:"signing"` // newest first
	// Retired are the sealing keys of each retirement, newest first, which open
	// what is kept in the store and nothing else, until all of it is sealed anew.
	Retired [][]sealData `json:"retired,omitempty"`
	// Resealed is the id of the sealing key with which all of it is sealed.
	Resealed string `json:"resealed,omitempty"`
}

func (d *ringData) check() error {
	if d.ID == "" || len(d.Signing) == 0 || len(d.Seal) == 0 {
		return errors.New("keys: the key ring is incomplete")
	}
	return nil
}

type sealData struct {
	Secret  []byte    `json:"secret"`
	Created time.Time `json:"created"`
	// Active is when the key begins to seal. It opens from the start, so that
	// no node meets a value whose key it has not seen yet.
	Active time.Time `json:"active"`
}

type signingData struct {
	Key     json.RawMessage `json:"key"` // private JWK with kid and alg
	Created time.Time       `json:"created"`
	// Active is when the key begins to sign; it is published before.
	Active time.Time `json:"active"`
	// Drop is when no token signed by the key can be alive any more. Zero for
	// a key without a successor.
	Drop time.Time `json:"drop,omitzero"`
}

type signingKey struct {
	kid    string
	alg    jwa.SignatureAlgorithm
	sign   jwk.Key
	raw    any        // sign, as the standard library has it
	signer jws.Signer // of alg
	header string     // the protected header of its tokens, encoded, and a dot
	verify any        // raw public key, or the raw symmetric key
	active time.Time
}

// newRing builds the snapshot from stored data, as of now.
func newRing(d ringData, now time.Time) (*Ring, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	r := &Ring{ID: d.ID, byKid: map[string]signingKey{}, data: d, sealing: sealingKey(d, now)}
	secrets := [][]byte{d.Seal[r.sealing].Secret}
	for i, s := range d.Seal {
		if i != r.sealing {
			secrets = append(secrets, s.Secret)
		}
	}
	var err error
	if r.Sealer, err = seal.New(purposes, secrets...); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err := r.addData(secrets); err != nil {
		return nil, err
	}
	public := jwk.NewSet()
	for _, s := range d.Signing {
		k, err := parseSigningKey(s, oauth.AccessTokenType)
		if err != nil {
			return nil, err
		}
		if _, dup := r.byKid[k.kid]; dup {
			return nil, errors.New("keys: two signing keys share a key id")
		}
		r.byKid[k.kid] = k
		r.signing = append(r.signing, k)
		if err := publish(public, k.sign); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(r.signing, func(a, b signingKey) int { return b.active.Compare(a.active) })
	for i := range r.jwks {
		if i == withAssertions {
			if err := r.addAssertionKeys(public, now); err != nil {
				return nil, err
			}
		}
		if r.jwks[i], err = json.Marshal(public); err != nil {
			return nil, fmt.Errorf("keys: encoding the JWK set: %w", err)
		}
	}
	return r, nil
}

// withAssertions is the index in Ring.jwks of the set that has the keys of
// assertions too.
const withAssertions = 1

// sealingKey returns the index of the newest sealing key that is active, or of
// the oldest one if the clock says that none is yet.
func sealingKey(d ringData, now time.Time) int {
	for i, s := range d.Seal {
		if !s.Active.After(now) {
			return i
		}
	}
	return len(d.Seal) - 1
}

// parseSigningKey reads a stored key, for tokens of one type.
func parseSigningKey(d signingData, typ string) (signingKey, error) {
	k, err := jwk.ParseKey(d.Key)
	if err != nil {
		return signingKey{}, fmt.Errorf("keys: reading a signing key: %w", err)
	}
	var alg jwa.SignatureAlgorithm
	if err := alg.Accept(k.Algorithm()); err != nil || !slices.Contains(Algorithms, string(alg)) || k.KeyID() == "" {
		return signingKey{}, errors.New("keys: a signing key lacks its key id or has an unknown algorithm")
	}
	out := signingKey{kid: k.KeyID(), alg: alg, sign: k, active: d.Active}
	if err := out.prepare(typ); err != nil {
		return signingKey{}, fmt.Errorf("keys: reading a signing key: %w", err)
	}
	pub, err := k.PublicKey()
	if err != nil {
		return signingKey{}, fmt.Errorf("keys: public half: %w", err)
	}
	if err := pub.Raw(&out.verify); err != nil {
		return signingKey{}, fmt.Errorf("keys: public half: %w", err)
	}
	return out, nil
}

// prepare makes what is the same for every token: turning a JWK into a key and
// encoding the header each time costs as much as half a signature.
func (k *signingKey) prepare(typ string) error {
	if err := k.sign.Raw(&k.raw); err != nil {
		return err
	}
	var err error
	if k.signer, err = jws.NewSigner(k.alg); err != nil {
		return err
	}
	header, err := json.Marshal(map[string]string{
		jws.AlgorithmKey: string(k.alg), jws.KeyIDKey: k.kid, jws.TypeKey: typ,
	})
	k.header = base64.RawURLEncoding.EncodeToString(header) + "."
	return err
}

// publish adds the public half of a key to the JWK set. Symmetric keys have
// none and are never published.
func publish(set jwk.Set, k jwk.Key) error {
	if k.KeyType() == jwa.OctetSeq {
		return nil
	}
	pub, err := k.PublicKey()
	if err != nil {
		return fmt.Errorf("keys: public half: %w", err)
	}
	if err := errors.Join(pub.Set(jwk.KeyUsageKey, jwk.ForSignature), set.AddKey(pub)); err != nil {
		return fmt.Errorf("keys: publishing a key: %w", err)
	}
	return nil
}

// JWKS returns the JWK set document (RFC 7517 §5): public keys only, each with
// kid, alg and use. They are those of access tokens, none if their algorithm is
// symmetric, and after them those of assertions, where there are any.
func (r *Ring) JWKS(assertions bool) []byte {
	if assertions {
		return r.jwks[withAssertions]
	}
	return r.jwks[0]
}

// Sign returns the claims as a compact JWS with typ at+jwt (RFC 9068 §2.1),
// signed by the key that is active at now.
func (r *Ring) Sign(now time.Time, claims oauth.AccessTokenClaims) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("keys: encoding claims: %w", err)
	}
	k := r.current(now)
	return k.compact(payload)
}

// compact returns a payload as a compact JWS. The signature is jwx's; the parts are
// joined here (RFC 7515 §7.1).
func (k *signingKey) compact(payload []byte) (string, error) {
	const longest = 344 // characters of a signature: RS256
	token := make([]byte, 0, len(k.header)+base64.RawURLEncoding.EncodedLen(len(payload))+1+longest)
	token = base64.RawURLEncoding.AppendEncode(append(token, k.header...), payload)
	signature, err := k.signer.Sign(token, k.raw)
	if err != nil {
		return "", fmt.Errorf("keys: signing: %w", err)
	}
	return string(base64.RawURLEncoding.AppendEncode(append(token, '.'), signature)), nil
}

// current returns the newest key that is active, or the oldest key there is if
// the clock says that none is yet.
func (r *Ring) current(now time.Time) signingKey {
	for _, k := range r.signing {
		if !k.active.After(now) {
			return k
		}
	}
	return r.signing[len(r.signing)-1]
}

// VerifyKey returns the algorithm and the key that verify tokens with this key
// id: a public key, or the bytes of a symmetric one. The algorithm is the
// ring's, never the token's.
func (r *Ring) VerifyKey(kid string) (alg string, key any, ok bool) {
	k, ok := r.byKid[kid]
	return string(k.alg), k.verify, ok
}

// Algorithm returns the name of the algorithm that signs at now.
func (r *Ring) Algorithm(now time.Time) string { return string(r.current(now).alg) }

// KeyInfo describes a signing key without its secret half.
type KeyInfo struct {
	KeyID     string    `json:"kid"`
	Algorithm string    `json:"alg"`
	Created   time.Time `json:"created"`
	Active    time.Time `json:"active"`
	Drop      time.Time `json:"drop,omitzero"`
}

// Describe lists the signing keys, newest first, for the operator.
func (r *Ring) Describe() []KeyInfo {
	infos := make([]KeyInfo, 0, len(r.data.Signing))
	for _, d := range r.data.Signing {
		k, err := parseSigningKey(d, oauth.AccessTokenType)
		if err != nil {
			continue // newRing refused such a key
		}
		infos = append(infos, KeyInfo{k.kid, string(k.alg), d.Created, d.Active, d.Drop})
	}
	slices.SortStableFunc(infos, func(a, b KeyInfo) int { return b.Active.Compare(a.Active) })
	return infos
}
