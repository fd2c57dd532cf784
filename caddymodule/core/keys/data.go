package keys

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/seal"
)

// The purposes of what is sealed in the store. They belong to Ring.Data, and
// every value to the record that it is in.
const (
	PurposeGrant    seal.Purpose = "stored_grant"     // who and what client a grant is about
	PurposeUsedFrom seal.Purpose = "stored_used_from" // address from which a grant was used
	PurposePerson   seal.Purpose = "stored_person"    // subject in the feed of revocations
	PurposeMetadata seal.Purpose = "stored_metadata"  // metadata of a client that was changed
)

var dataPurposes = []seal.Purpose{PurposeGrant, PurposeUsedFrom, PurposePerson, PurposeMetadata}

// MaxSealed bounds what Ring.Data opens, in characters.
const MaxSealed = 1 << 20

// addData makes what seals and opens records; secrets are those of the Sealer.
func (r *Ring) addData(secrets [][]byte) error {
	generations := append([][]sealData{r.data.Seal}, r.data.Retired...)
	for i, generation := range generations {
		if len(generation) == 0 {
			continue
		}
		// The oldest key stays until it is retired, through every rotation, so it
		// gives names that last as long.
		index, err := derive(generation[len(generation)-1].Secret, "names of persons", sha256.Size)
		if err != nil {
			return err
		}
		r.indexes = append(r.indexes, index)
		if i == 0 {
			continue
		}
		for _, s := range generation {
			secrets = append(secrets, s.Secret)
		}
	}
	data, err := seal.New(dataPurposes, secrets...)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	r.Data = data.WithLimit(MaxSealed)
	return nil
}

// PersonNames returns what stands for a person in a sealed store: a keyed hash
// of the subject, from which nobody without the ring can tell who it is. The
// first is the name for new records; under the others, of keys that were retired,
// older ones may still be found. Names stay the same through every rotation.
func (r *Ring) PersonNames(subject string) []string {
	names := make([]string, len(r.indexes))
	for i, key := range r.indexes {
		names[i] = personName(key, subject)
	}
	return names
}

// PersonName returns the first of PersonNames.
func (r *Ring) PersonName(subject string) string { return personName(r.indexes[0], subject) }

func personName(key []byte, subject string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(subject))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Resealed reports whether all that is kept in the store is known to be sealed
// with the key that seals now.
func (r *Ring) Resealed() bool { return r.data.Resealed == r.Data.KeyID() }

// SealsData reports whether what is kept in the store has to be sealed: whether
// there is a secret. Without one, whoever reads the store reads the keys too.
func (m *Manager) SealsData() bool { return len(m.opts.Secret) > 0 }

// MarkResealed notes in the ring that all that is kept in the store is sealed
// with the key of this id, and drops retired keys. If another key seals by now,
// it changes nothing. A derived ring is not stored, and the note is this
// manager's only.
func (m *Manager) MarkResealed(ctx context.Context, now time.Time, keyID string) error {
	if !m.opts.Derive {
		return m.update(ctx, now, func(d *ringData, _ kind) (bool, error) {
			r, err := newRing(*d, now)
			if err != nil || r.Data.KeyID() != keyID || r.Resealed() {
				return false, err
			}
			d.Resealed, d.Retired = keyID, nil
			return true, nil
		})
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	d := m.Ring().data
	d.Resealed = keyID
	return m.use(d, kept{}, now)
}

// retireData keeps the sealing keys, which are about to go, for what is kept in
// the store. Where that is not sealed there is nothing to keep them for.
func (m *Manager) retireData(d *ringData) {
	if m.SealsData() {
		d.Retired = append([][]sealData{slices.Clone(d.Seal)}, d.Retired...)
	}
}
