package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the size of a sealing key in bytes.
const KeySize = 32

// ErrInvalid says that a value was not sealed by these keys for this purpose,
// or was changed since. It never says which.
var ErrInvalid = errors.New("seal: not a valid sealed value")

// ErrExpired says that the value was genuine but its time is over.
var ErrExpired = errors.New("seal: expired")

// Purpose separates what sealed values are good for. A value sealed for one
// purpose does not open for another, because each has its own key.
type Purpose string

const (
	version   = 1
	idSize    = 4
	expSize   = 8
	headSize  = 1 + idSize
	nonceSize = chacha20poly1305.NonceSizeX
	// defaultLimit bounds what Open looks at: values that clients carry.
	defaultLimit = 8 << 10
)

// Overhead is by how many bytes a sealed value is longer than its text, before
// base64url makes four characters of three bytes.
const Overhead = headSize + nonceSize + expSize + chacha20poly1305.Overhead

// encoding is strict so that one value has one spelling only.
var encoding = base64.RawURLEncoding.Strict()

// Sealer seals with its newest key and opens with every key it was given. It
// is safe for concurrent use, and what it opens never changes.
//
// The format is version | key id | nonce | XChaCha20-Poly1305(expiry | text),
// in unpadded base64url. The nonce is random; 24 bytes make repetition
// impossible in practice. Purpose, key id and owner are authenticated.
type Sealer struct {
	limit    int // of what is opened, in characters
	keys     []key
	byID     map[[idSize]byte]int
	purposes map[Purpose]int // index in key.derived
}

type key struct {
	id      [idSize]byte
	secret  []byte
	derived []derived // for each purpose
}

// derived is what a key is for one purpose. It is made when it is first needed: a
// ring keeps its sealing keys for ever, and most of them open nothing any more.
// Two who make it at once make the same.
type derived struct {
	aead   atomic.Pointer[cipher.AEAD]
	tagKey atomic.Pointer[[]byte]
}

// New returns a Sealer for the purposes given. Secrets have KeySize bytes, the
// first one seals; all of them open.
func New(purposes []Purpose, secrets ...[]byte) (*Sealer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("seal: no key")
	}
	s := &Sealer{limit: defaultLimit, byID: map[[idSize]byte]int{}, purposes: map[Purpose]int{}}
	for i, p := range purposes {
		s.purposes[p] = i
	}
	for i, secret := range secrets {
		if len(secret) != KeySize {
			return nil, fmt.Errorf("seal: key %d has %d bytes, not %d", i, len(secret), KeySize)
		}
		sum := sha256.Sum256(append([]byte("mcp_auth seal key id\x00"), secret...))
		k := key{[idSize]byte(sum[:idSize]), secret, make([]derived, len(purposes))}
		if _, dup := s.byID[k.id]; dup {
			return nil, fmt.Errorf("seal: key %d repeats another", i)
		}
		s.byID[k.id] = i
		s.keys = append(s.keys, k)
	}
	return s, nil
}

// WithLimit returns a Sealer with the same keys that opens values of up to n
// characters. Seal has no limit.
func (s *Sealer) WithLimit(n int) *Sealer {
	c := *s
	c.limit = n
	return &c
}

// cipher returns the cipher of a key for a purpose.
func (s *Sealer) cipher(i int, p Purpose) (cipher.AEAD, error) {
	at, ok := s.purposes[p]
	if !ok {
		return nil, fmt.Errorf("seal: unknown purpose %q", p)
	}
	of := &s.keys[i].derived[at].aead
	if aead := of.Load(); aead != nil {
		return *aead, nil
	}
	aead, err := newCipher(s.keys[i].secret, p)
	if err != nil {
		return nil, err
	}
	of.Store(&aead)
	return aead, nil
}

func newCipher(secret []byte, p Purpose) (cipher.AEAD, error) {
	sub, err := hkdf.Key(sha256.New, secret, nil, "mcp_auth seal "+string(p), chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("seal: deriving the key for %s: %w", p, err)
	}
	aead, err := chacha20poly1305.NewX(sub)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return aead, nil
}

// Seal returns the text as an opaque value that Open accepts for the same
// purpose until expires; the zero time never expires. Sealing the same text
// twice gives two different values.
func (s *Sealer) Seal(p Purpose, text []byte, expires time.Time) (string, error) {
	return s.seal(p, "", text, expires)
}

// SealFor is Seal for a value that belongs to one owner, such as a record in a
// store, and never expires: only OpenFor with the same owner opens it, so that
// it can't be passed off as another's. The owner is not in the value. A purpose
// goes with Seal or with SealFor, not with both.
func (s *Sealer) SealFor(p Purpose, owner string, text []byte) (string, error) {
	return s.seal(p, owner, text, time.Time{})
}

func (s *Sealer) seal(p Purpose, owner string, text []byte, expires time.Time) (string, error) {
	aead, err := s.cipher(0, p)
	if err != nil {
		return "", err
	}
	out := make([]byte, headSize+nonceSize, headSize+nonceSize+expSize+len(text)+aead.Overhead())
	out[0] = version
	copy(out[1:], s.keys[0].id[:])
	nonce := out[headSize:]
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	plain := make([]byte, expSize, expSize+len(text))
	if !expires.IsZero() {
		binary.BigEndian.PutUint64(plain, uint64(expires.Unix())) //nolint:gosec // expiries lie after 1970
	}
	plain = append(plain, text...)
	out = aead.Seal(out, nonce, plain, authenticated(out[:headSize], owner))
	return encoding.EncodeToString(out), nil
}

// authenticated is what is not in the box and must be the same for opening it.
func authenticated(head []byte, owner string) []byte {
	if owner == "" {
		return head
	}
	return slices.Concat(head, []byte(owner))
}

// Open returns the text of a sealed value. It returns ErrInvalid for anything
// that was not sealed for this purpose by one of the keys, and the text with
// ErrExpired for a genuine value whose expiry is not after now.
func (s *Sealer) Open(p Purpose, value string, now time.Time) ([]byte, error) {
	plain, err := s.open(p, "", value)
	if err != nil {
		return nil, err
	}
	text := plain[expSize:]
	if exp := binary.BigEndian.Uint64(plain); exp != 0 && now.Unix() >= int64(exp) { //nolint:gosec // sealed by us
		return text, ErrExpired
	}
	return text, nil
}

// OpenFor returns the text of a value that SealFor sealed for this owner. It
// returns ErrInvalid for anything else; KeyOf tells whether the key is missing.
func (s *Sealer) OpenFor(p Purpose, owner, value string) ([]byte, error) {
	plain, err := s.open(p, owner, value)
	if err != nil {
		return nil, err
	}
	return plain[expSize:], nil
}

// open returns the expiry and the text.
func (s *Sealer) open(p Purpose, owner, value string) ([]byte, error) {
	raw, err := s.decode(value)
	if err != nil || len(raw) < Overhead || raw[0] != version {
		return nil, ErrInvalid
	}
	i, ok := s.byID[[idSize]byte(raw[1:headSize])]
	if !ok {
		return nil, ErrInvalid
	}
	aead, err := s.cipher(i, p)
	if err != nil {
		return nil, ErrInvalid
	}
	nonce, box := raw[headSize:headSize+nonceSize], raw[headSize+nonceSize:]
	plain, err := aead.Open(nil, nonce, box, authenticated(raw[:headSize], owner))
	if err != nil {
		return nil, ErrInvalid
	}
	return plain, nil
}

// KeyID returns the id of the key that seals, as text.
func (s *Sealer) KeyID() string { return keyName(s.keys[0].id) }

// KeyOf returns the id of the key that sealed a value, and whether that is one
// of the Sealer's. The id is empty for what is no sealed value at all. It says
// nothing about whether the value opens.
func (s *Sealer) KeyOf(value string) (id string, known bool) {
	raw, err := s.decode(value)
	if err != nil || len(raw) < Overhead || raw[0] != version {
		return "", false
	}
	key := [idSize]byte(raw[1:headSize])
	_, known = s.byID[key]
	return keyName(key), known
}

func keyName(id [idSize]byte) string { return hex.EncodeToString(id[:]) }

// decode reads base64url in its one spelling: the decoder of the standard
// library would skip line breaks.
func (s *Sealer) decode(value string) ([]byte, error) {
	if len(value) > s.limit || strings.ContainsAny(value, "\r\n") {
		return nil, ErrInvalid
	}
	raw, err := encoding.DecodeString(value)
	if err != nil {
		return nil, ErrInvalid
	}
	return raw, nil
}
