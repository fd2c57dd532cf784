package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
)

// ErrSecret says that the stored ring does not open with the configured
// secret. Nothing was changed.
var ErrSecret = errors.New("the key ring does not open with the configured secret")

// stored is the ring's outer form: exactly one of the two is set.
type stored struct {
	Ring    *ringData `json:"ring,omitempty"`
	Wrapped string    `json:"wrapped,omitempty"`
}

const purposeRing seal.Purpose = "key_ring"

// maxRing bounds the wrapped form of a ring, in characters. Sealing keys are
// kept for ever, at about 200 characters each.
const maxRing = 16 << 20

// encode returns the ring as it goes to the store: wrapped if there is a
// secret, else in the clear (the store's own permissions protect it).
func (o *Options) encode(d ringData) ([]byte, error) {
	if len(o.Secret) == 0 {
		return marshal(stored{Ring: &d})
	}
	text, err := marshal(d)
	if err != nil {
		return nil, err
	}
	w, err := wrapper(o.Secret)
	if err != nil {
		return nil, err
	}
	wrapped, err := w.Seal(purposeRing, text, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("keys: wrapping the ring: %w", err)
	}
	return marshal(stored{Wrapped: wrapped})
}

// kind tells how a ring is stored.
type kind int

const (
	absent kind = iota
	plain
	wrapped
	wrappedBefore // under a previous secret
)

// decode reads a stored ring, and tells how it was stored, so that the manager
// can wrap a ring that an operator gave a secret, or another one, later.
func (o *Options) decode(raw []byte) (d ringData, is kind, err error) {
	var s stored
	if err := json.Unmarshal(raw, &s); err != nil {
		return d, plain, fmt.Errorf("keys: the stored key ring is damaged: %w", err)
	}
	switch {
	case s.Ring != nil:
		return *s.Ring, plain, s.Ring.check()
	case s.Wrapped == "":
		return d, plain, errors.New("keys: the stored key ring is damaged")
	case len(o.Secret) == 0:
		return d, wrapped, fmt.Errorf("keys: %w: it is wrapped, but no secret is configured", ErrSecret)
	}
	text, is, err := o.unwrap(s.Wrapped)
	if err != nil {
		return d, is, err
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, is, fmt.Errorf("keys: the stored key ring is damaged: %w", err)
	}
	return d, is, d.check()
}

// unwrap opens a wrapped ring with the secret or with a previous one.
func (o *Options) unwrap(value string) ([]byte, kind, error) {
	is := wrapped
	for _, secret := range slices.Concat([][]byte{o.Secret}, o.Previous) {
		w, err := wrapper(secret)
		if err != nil {
			return nil, is, err
		}
		if text, err := w.Open(purposeRing, value, time.Time{}); err == nil {
			return text, is, nil
		}
		is = wrappedBefore
	}
	return nil, is, fmt.Errorf("keys: %w", ErrSecret)
}

func wrapper(secret []byte) (*seal.Sealer, error) {
	key, err := derive(secret, "ring wrapping key", seal.KeySize)
	if err != nil {
		return nil, err
	}
	w, err := seal.New([]seal.Purpose{purposeRing}, key)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return w.WithLimit(maxRing), nil
}

func marshal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("keys: encoding the ring: %w", err)
	}
	return b, nil
}
