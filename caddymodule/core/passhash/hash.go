package passhash

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Bounds of what one hash may cost. One that a modest machine needs more than a
// few seconds for is a mistake, and would make signing in an outage.
const (
	maxBcryptCost   = 16
	maxArgon2Memory = 1 << 20 // KiB: 1 GiB
	maxArgon2Work   = 4 << 20 // KiB times passes
)

// Below these a stolen hash is cheap to guess; they are warned about. They are
// about the least that OWASP's password storage cheat sheet recommends.
const (
	weakBcryptCost = 10
	weakArgon2Work = 32 << 10 // KiB times passes
)

// bcryptLimit is how many bytes of a password bcrypt looks at.
const bcryptLimit = 72

// Hash is a password hash that was checked when it was parsed.
type Hash struct {
	text    string
	argon2  *argon2Hash // nil for bcrypt
	longest int         // of a password, in bytes; 0 for no limit
	weak    bool
	decoy   string
}

// argon2Hash is an argon2id hash, taken apart.
type argon2Hash struct {
	memory, passes uint32
	lanes          uint8
	salt, key      []byte
}

var (
	bcryptForm = regexp.MustCompile(`^(\$2[aby]\$([0-9]{2})\$)[./A-Za-z0-9]{53}$`)
	argon2Form = regexp.MustCompile(`^(\$argon2id\$v=19\$m=([0-9]{1,10}),t=([0-9]{1,10}),p=([0-9]{1,3})\$)([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)
)

// errNoHash says what to write instead. Nothing in this package repeats a hash:
// what stands in its place may be a password.
var errNoHash = errors.New("this is no bcrypt or argon2id hash; make one with: caddy hash-password --algorithm argon2id")

// Parse reads a hash as `caddy hash-password` prints it. The errors do not
// repeat it.
func Parse(text string) (Hash, error) {
	switch {
	case strings.HasPrefix(text, "$2"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2(text)
	case text == "":
		return Hash{}, errors.New("the hash is missing; make one with: caddy hash-password --algorithm argon2id")
	default:
		return Hash{}, errNoHash
	}
}

func parseBcrypt(text string) (Hash, error) {
	m := bcryptForm.FindStringSubmatch(text)
	if m == nil {
		return Hash{}, errors.New("the bcrypt hash is damaged, or not of version 2a, 2b or 2y: copy all of what caddy hash-password printed")
	}
	cost, err := strconv.Atoi(m[2])
	if err != nil || cost < 4 || cost > maxBcryptCost {
		return Hash{}, fmt.Errorf("the bcrypt hash has cost %s: 4 to %d are supported", m[2], maxBcryptCost)
	}
	return Hash{
		text: text, longest: bcryptLimit, weak: cost < weakBcryptCost,
		// 26 characters each, all of them in bcrypt's alphabet too.
		decoy: m[1] + (rand.Text() + rand.Text() + rand.Text())[:53],
	}, nil
}

func parseArgon2(text string) (Hash, error) {
	m := argon2Form.FindStringSubmatch(text)
	if m == nil {
		return Hash{}, errors.New("the argon2id hash is damaged, or not of version 19: copy all of what caddy hash-password printed")
	}
	var n [3]uint64 // memory in KiB, passes, lanes
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(m[2+i], 10, 32); err != nil {
			return Hash{}, errors.New("the argon2id hash has a parameter that is out of range")
		}
	}
	memory, passes, lanes := n[0], n[1], n[2]
	switch {
	case passes < 1 || lanes < 1 || lanes > 255 || memory < 8*lanes: // RFC 9106 section 3.1
		return Hash{}, errors.New("the argon2id hash has parameters that RFC 9106 does not allow")
	case memory > maxArgon2Memory:
		return Hash{}, fmt.Errorf("the argon2id hash takes %d MiB of memory: at most %d MiB are supported", memory>>10, maxArgon2Memory>>10)
	case memory*passes > maxArgon2Work:
		return Hash{}, fmt.Errorf("the argon2id hash goes %d times over %d MiB of memory: at most %d MiB in all are supported",
			passes, memory>>10, maxArgon2Work>>10)
	}
	// The bounds above fit the types below.
	a := &argon2Hash{memory: uint32(memory), passes: uint32(passes), lanes: uint8(lanes)} //nolint:gosec // bounded above
	var err error
	if a.salt, a.key, err = saltAndKey(m[5], m[6]); err != nil {
		return Hash{}, err
	}
	return Hash{
		text: text, argon2: a, weak: memory*passes < weakArgon2Work,
		decoy: m[1] + random(len(a.salt)) + "$" + random(len(a.key)),
	}, nil
}

// saltAndKey decodes the two. An empty key would match any password.
func saltAndKey(salt, key string) (s, k []byte, err error) {
	enc := base64.RawStdEncoding.Strict()
	if s, err = enc.DecodeString(salt); err != nil || len(s) < 8 || len(s) > 64 {
		return nil, nil, errors.New("the argon2id hash has a damaged salt: 8 to 64 bytes are supported")
	}
	if k, err = enc.DecodeString(key); err != nil || len(k) < 16 || len(k) > 64 {
		return nil, nil, errors.New("the argon2id hash has a damaged key: 16 to 64 bytes are supported")
	}
	return s, k, nil
}

// random returns n random bytes as they stand in an argon2id hash.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawStdEncoding.EncodeToString(b)
}

// Weak reports whether the hash is cheap to guess for someone who has it.
func (h Hash) Weak() bool { return h.weak }

// Text returns the hash as it was written.
func (h Hash) Text() string { return h.text }

// Fake returns a hash that costs as much and that no password has.
func (h Hash) Fake() Hash {
	h.text = h.decoy
	if h.argon2 != nil {
		a := *h.argon2
		a.key = make([]byte, len(a.key))
		_, _ = rand.Read(a.key) // never fails
		h.argon2 = &a
	}
	return h
}

// Matches computes the hash of the password and compares. bcrypt ignores what
// is beyond 72 bytes, and `caddy hash-password` therefore refuses such a
// password: it is wrong, after the same work.
func (h Hash) Matches(password string) (bool, error) {
	if a := h.argon2; a != nil {
		key := argon2.IDKey([]byte(password), a.salt, a.passes, a.memory, a.lanes, uint32(len(a.key))) //nolint:gosec // at most 64
		return subtle.ConstantTimeCompare(key, a.key) == 1, nil
	}
	err := bcrypt.CompareHashAndPassword([]byte(h.text), []byte(password))
	switch {
	case err == nil:
		return len(password) <= h.longest, nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, nil
	}
	return false, errors.New("a hash that was checked can't be compared") // the cause might repeat it
}

// Tag identifies the hash without telling it: it changes with the password, and
// with nothing else.
func (h Hash) Tag() string {
	sum := sha256.Sum256([]byte("mcp_auth password version\x00" + h.text))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
