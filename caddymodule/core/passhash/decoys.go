package passhash

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// defaultHash is compared with where there is no hash at all: it has the cost of
// what `caddy hash-password --algorithm argon2id` makes.
const defaultHash = "$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"

// Decoys are hashes for names that nobody has, so that an attempt under one
// costs what an attempt under a known one does.
type Decoys struct {
	fakes []Hash            // one for each hash
	key   [sha256.Size]byte // chooses among them
}

// NewDecoys returns the decoys of all hashes that there are. The purpose keeps
// one set's choices apart from another's.
func NewDecoys(purpose string, hashes []Hash) (*Decoys, error) {
	d := new(Decoys)
	all := sha256.New()
	all.Write([]byte("mcp_auth " + purpose + " decoys\x00"))
	for _, h := range hashes {
		d.fakes = append(d.fakes, h.Fake())
		all.Write([]byte(h.text))
	}
	if len(d.fakes) == 0 {
		h, err := Parse(defaultHash)
		if err != nil {
			return nil, fmt.Errorf("the default hash: %w", err)
		}
		d.fakes = []Hash{h.Fake()}
	}
	all.Sum(d.key[:0])
	return d, nil
}

// For returns the decoy that the name chooses: always the same one, until the
// hashes change.
func (d *Decoys) For(name string) Hash {
	mac := hmac.New(sha256.New, d.key[:])
	mac.Write([]byte(name))
	n := binary.BigEndian.Uint64(mac.Sum(nil)) % uint64(len(d.fakes))
	return d.fakes[n]
}
