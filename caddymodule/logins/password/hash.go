package password

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
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

// hash is a password hash that was checked when it was loaded.
type hash struct {
	text     string
	comparer caddyauth.Comparer
	longest  int  // of a password, in bytes; 0 for no limit
	weak     bool // cheap to guess for someone who has the hash
	decoy    string
}

var (
	bcryptForm = regexp.MustCompile(`^(\$2[aby]\$([0-9]{2})\$)[./A-Za-z0-9]{53}$`)
	argon2Form = regexp.MustCompile(`^(\$argon2id\$v=19\$m=([0-9]{1,10}),t=([0-9]{1,10}),p=([0-9]{1,3})\$)([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)
)

// errNoHash says what to write instead. Nothing in this file repeats a hash:
// what stands in its place may be a password.
var errNoHash = errors.New("this is no bcrypt or argon2id hash; make one with: caddy hash-password --algorithm argon2id")

// parseHash reads a hash as `caddy hash-password` prints it. The errors do not
// repeat it.
func parseHash(text string) (hash, error) {
	switch {
	case strings.HasPrefix(text, "$2"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2(text)
	case text == "":
		return hash{}, errors.New("the hash is missing; make one with: caddy hash-password --algorithm argon2id")
	default:
		return hash{}, errNoHash
	}
}

func parseBcrypt(text string) (hash, error) {
	m := bcryptForm.FindStringSubmatch(text)
	if m == nil {
		return hash{}, errors.New("the bcrypt hash is damaged, or not of version 2a, 2b or 2y: copy all of what caddy hash-password printed")
	}
	cost, err := strconv.Atoi(m[2])
	if err != nil || cost < 4 || cost > maxBcryptCost {
		return hash{}, fmt.Errorf("the bcrypt hash has cost %s: 4 to %d are supported", m[2], maxBcryptCost)
	}
	return hash{
		text: text, comparer: caddyauth.BcryptHash{}, longest: bcryptLimit, weak: cost < weakBcryptCost,
		// 26 characters each, all of them in bcrypt's alphabet too.
		decoy: m[1] + (rand.Text() + rand.Text() + rand.Text())[:53],
	}, nil
}

func parseArgon2(text string) (hash, error) {
	m := argon2Form.FindStringSubmatch(text)
	if m == nil {
		return hash{}, errors.New("the argon2id hash is damaged, or not of version 19: copy all of what caddy hash-password printed")
	}
	var n [3]uint64 // memory in KiB, passes, lanes
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(m[2+i], 10, 32); err != nil {
			return hash{}, errors.New("the argon2id hash has a parameter that is out of range")
		}
	}
	memory, passes, lanes := n[0], n[1], n[2]
	switch {
	case passes < 1 || lanes < 1 || lanes > 255 || memory < 8*lanes: // RFC 9106 section 3.1
		return hash{}, errors.New("the argon2id hash has parameters that RFC 9106 does not allow")
	case memory > maxArgon2Memory:
		return hash{}, fmt.Errorf("the argon2id hash takes %d MiB of memory: at most %d MiB are supported", memory>>10, maxArgon2Memory>>10)
	case memory*passes > maxArgon2Work:
		return hash{}, fmt.Errorf("the argon2id hash goes %d times over %d MiB of memory: at most %d MiB in all are supported",
			passes, memory>>10, maxArgon2Work>>10)
	}
	return checkArgon2(text, m, memory*passes < weakArgon2Work)
}

// checkArgon2 looks at salt and key. An empty key would match any password.
func checkArgon2(text string, m []string, weak bool) (hash, error) {
	salt, err := base64.RawStdEncoding.Strict().DecodeString(m[5])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return hash{}, errors.New("the argon2id hash has a damaged salt: 8 to 64 bytes are supported")
	}
	_, key, err := caddyauth.DecodeHash([]byte(text))
	if err != nil || len(key) < 16 || len(key) > 64 {
		return hash{}, errors.New("the argon2id hash has a damaged key: 16 to 64 bytes are supported")
	}
	return hash{
		text: text, comparer: caddyauth.Argon2idHash{}, weak: weak,
		decoy: m[1] + random(len(salt)) + "$" + random(len(key)),
	}, nil
}

// random returns n random bytes as they stand in an argon2id hash.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawStdEncoding.EncodeToString(b)
}

// fake returns a hash that costs as much and that no password has.
func (h hash) fake() hash {
	h.text = h.decoy
	return h
}

// matches computes the hash of the password and compares. bcrypt ignores what
// is beyond 72 bytes, and `caddy hash-password` therefore refuses such a
// password: it is wrong, after the same work.
func (h hash) matches(password string) (bool, error) {
	same, err := h.comparer.Compare([]byte(h.text), []byte(password))
	if err != nil {
		return false, errors.New("a hash that was checked can't be compared") // the cause might repeat it
	}
	return same && (h.longest == 0 || len(password) <= h.longest), nil
}

// tag identifies the hash without telling it: it changes with the password, and
// with nothing else.
func (h hash) tag() string {
	sum := sha256.Sum256([]byte("mcp_auth password version\x00" + h.text))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
