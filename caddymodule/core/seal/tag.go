package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
)

// TagSize is the size of what Tag returns, in bytes.
const TagSize = idSize + sha256.Size

// Tag returns a message authentication code of the message under the newest
// key, preceded by the key's id. The same message gives the same tag for as
// long as the key is the newest.
func (s *Sealer) Tag(p Purpose, msg []byte) ([]byte, error) {
	mac, err := s.mac(0, p, msg)
	if err != nil {
		return nil, err
	}
	return append(s.keys[0].id[:], mac...), nil
}

// CheckTag reports in constant time whether a tag was made by Tag for this
// message and purpose, under any of the keys.
func (s *Sealer) CheckTag(p Purpose, msg, tag []byte) bool {
	if len(tag) != TagSize {
		return false
	}
	i, ok := s.byID[[idSize]byte(tag[:idSize])]
	if !ok {
		return false
	}
	mac, err := s.mac(i, p, msg)
	return err == nil && hmac.Equal(mac, tag[idSize:])
}

// Companion returns a secret that belongs to a sealed value: always the same
// one, derived under the key that sealed the value, so that it needs no
// storage. It returns ErrInvalid where no key of the sealer made the value; it
// does not check the rest, which is Open's work.
func (s *Sealer) Companion(p Purpose, value string) ([]byte, error) {
	raw, err := s.decode(value)
	if err != nil || len(raw) < headSize {
		return nil, ErrInvalid
	}
	i, ok := s.byID[[idSize]byte(raw[1:headSize])]
	if !ok {
		return nil, ErrInvalid
	}
	return s.mac(i, p, []byte(value))
}

func (s *Sealer) mac(i int, p Purpose, msg []byte) ([]byte, error) {
	key, err := s.tagKey(i, p)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, key)
	h.Write(msg)
	return h.Sum(nil), nil
}

// tagKey returns the key of tags that belongs to a key and a purpose.
func (s *Sealer) tagKey(i int, p Purpose) ([]byte, error) {
	at, ok := s.purposes[p]
	if !ok {
		return nil, fmt.Errorf("seal: unknown purpose %q", p)
	}
	of := &s.keys[i].derived[at].tagKey
	if key := of.Load(); key != nil {
		return *key, nil
	}
	key, err := newTagKey(s.keys[i].secret, p)
	if err != nil {
		return nil, err
	}
	of.Store(&key)
	return key, nil
}

func newTagKey(secret []byte, p Purpose) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "mcp_auth tag "+string(p), sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("seal: deriving the key for %s: %w", p, err)
	}
	return key, nil
}
