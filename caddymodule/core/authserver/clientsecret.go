package authserver

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

// This file compares client secrets. One of the configuration may be written as
// it is, as the SHA-256 of a random secret, or as a hash of a password, which is
// expensive to compute: so a right one is remembered, and a wrong one costs the
// same for a client that exists and for one that does not.

const (
	// maxSecret bounds a secret that is looked at, in bytes.
	maxSecret = 4 << 10
	// rememberSecrets is how long a right secret is not hashed again, and
	// rememberedSecrets how many there are at most.
	rememberSecrets   = time.Hour
	rememberedSecrets = 10_000
	// rememberClients is how long a client that was right has room to compute its
	// hash in, since it was right the last time: much longer than its secret is
	// remembered, because it needs the room only when that is forgotten.
	rememberClients = 30 * 24 * time.Hour
	// maxVainHashes is how many hashes are computed in a minute for wrong secrets of
	// one network, of whatever clients. Many people may share its address.
	maxVainHashes = 100
)

// shaPrefix marks the SHA-256 of a secret, in hexadecimal digits.
const shaPrefix = "sha256:"

// secretHash is a Client.SecretHash that was checked.
type secretHash struct {
	digest []byte // SHA-256, if not nil
	slow   passhash.Hash
}

// parseSecretHash reads a hash. The errors do not repeat it.
func parseSecretHash(text string) (secretHash, error) {
	digits, fast := strings.CutPrefix(text, shaPrefix)
	if !fast {
		h, err := passhash.Parse(text)
		if err != nil {
			return secretHash{}, fmt.Errorf("the hash of its secret: %w", err)
		}
		return secretHash{slow: h}, nil
	}
	digest, err := hex.DecodeString(digits)
	if err != nil || len(digest) != sha256.Size {
		return secretHash{}, errors.New("the hash of its secret: sha256: must have 64 hexadecimal digits after it, as sha256sum prints them")
	}
	return secretHash{digest: digest}, nil
}

// clientSecrets knows the hashes of the configuration.
type clientSecrets struct {
	hashes map[string]secretHash // by client id
	decoys *passhash.Decoys      // nil if no hash is slow
	gate   *passhash.Gate
	// right has the secrets that were right, in a form that is of no use outside of
	// this process.
	right *otter.Cache[[sha256.Size]byte, struct{}]
	key   [sha256.Size]byte
	known *otter.Cache[string, struct{}] // the ids of the clients that were right
	vain  *limiter                       // by network, of hashes that were computed for wrong secrets
}

// newClientSecrets reads the hashes of the configured clients.
func newClientSecrets(clients []Client) (*clientSecrets, error) {
	m := &clientSecrets{
		hashes: map[string]secretHash{}, gate: passhash.NewGate(passhash.Slots()),
		right: otter.Must(&otter.Options[[sha256.Size]byte, struct{}]{
			MaximumSize: rememberedSecrets, ExpiryCalculator: otter.ExpiryWriting[[sha256.Size]byte, struct{}](rememberSecrets),
		}),
		known: otter.Must(&otter.Options[string, struct{}]{
			MaximumSize: rememberedSecrets, ExpiryCalculator: otter.ExpiryWriting[string, struct{}](rememberClients),
		}),
		vain: newLimiter(maxVainHashes, time.Minute),
	}
	_, _ = rand.Read(m.key[:]) // never fails: crypto/rand ends the program instead
	var slow []passhash.Hash
	for _, c := range clients {
		if c.SecretHash == "" {
			continue
		}
		h, err := parseSecretHash(c.SecretHash)
		if err != nil {
			return nil, fmt.Errorf("client %q: %w", c.ID, err)
		}
		m.hashes[c.ID] = h
		if h.digest == nil {
			slow = append(slow, h.slow)
		}
	}
	if len(slow) == 0 {
		return m, nil
	}
	var err error
	m.decoys, err = passhash.NewDecoys("client secret", slow)
	return m, err
}

// matches compares a secret with the hash of a client.
func (m *clientSecrets) matches(ctx context.Context, id, secret string) (bool, error) {
	h, ok := m.hashes[id]
	if !ok || secret == "" || len(secret) > maxSecret {
		return false, nil
	}
	if h.digest != nil {
		sum := sha256.Sum256([]byte(secret))
		return subtle.ConstantTimeCompare(sum[:], h.digest) == 1, nil
	}
	right := m.mark(id, secret)
	_, same := m.right.GetIfPresent(right)
	if !same {
		var err error
		if same, err = m.compute(ctx, id, h.slow, secret); err != nil || !same {
			return false, err
		}
		m.right.Set(right, struct{}{})
	}
	m.known.Set(id, struct{}{})
	return true, nil
}

// pretend does the work of comparing a wrong secret, for a client that has no
// slow hash or does not exist. It fails only where a comparison would.
func (m *clientSecrets) pretend(ctx context.Context, cred credentials) error {
	if m.decoys == nil || cred.secret == "" || len(cred.secret) > maxSecret {
		return nil
	}
	_, err := m.compute(ctx, cred.id, m.decoys.For(cred.id), cred.secret)
	return err
}

// compute computes a hash as soon as there is room. Clients that were right
// before have room when strangers have filled theirs. For a network that had many
// computed in vain it computes none, whatever the client: the answer tells nothing.
func (m *clientSecrets) compute(ctx context.Context, id string, h passhash.Hash, secret string) (bool, error) {
	from := oauth.Network(oauth.MetaFrom(ctx).RemoteIP)
	if m.vain.exhausted(from) {
		return false, errGuessing
	}
	_, known := m.known.GetIfPresent(id)
	leave, err := m.gate.Enter(ctx, known)
	if err != nil {
		return false, fmt.Errorf("comparing a client secret: %w", err)
	}
	defer leave()
	same, err := h.Matches(secret)
	if err != nil {
		return false, fmt.Errorf("comparing a client secret: %w", err)
	}
	if !same {
		m.vain.count(from)
	}
	return same, nil
}

// mark is what is remembered of a right secret.
func (m *clientSecrets) mark(id, secret string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, m.key[:])
	mac.Write([]byte(oauth.ClientKey(id) + secret)) // the key has a fixed length
	return [sha256.Size]byte(mac.Sum(nil))
}

// verifySecret implements client_secret_post and client_secret_basic. A wrong
// secret costs the same whatever kind the right one is of.
func (s *Server) verifySecret(ctx context.Context, c Client, cred credentials) error {
	var same bool
	var err error
	slow := false
	if c.SecretHash != "" {
		slow = s.secrets.hashes[c.ID].digest == nil
		same, err = s.secrets.matches(ctx, c.ID, cred.secret)
	} else {
		var want string
		if want, err = s.clientSecret(c); err == nil {
			same = sameSecret(cred.secret, want)
		}
	}
	if err == nil && !same && !slow {
		err = s.secrets.pretend(ctx, cred)
	}
	switch {
	case err != nil:
		return notCompared(err)
	case !same:
		return notAuthenticated(errors.New("wrong client_secret"))
	}
	return nil
}

// notCompared is the error of a request whose secret could not be compared.
func notCompared(err error) error {
	if errors.Is(err, errGuessing) {
		return errGuessing
	}
	return oauth.Unavailable(err)
}

// sameSecret compares in constant time, whatever the lengths.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
