package embedded

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// use is a used key as it is stored.
type use struct {
	First time.Time `json:"first"`
	Until time.Time `json:"until"`
}

// Use implements [store.Store].
func (s *Store) Use(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
	if !until.After(now) {
		return s.used(ctx, now, key)
	}
	return write(ctx, s, func(tx *bbolt.Tx) (time.Time, error) {
		k := useKey(key)
		old, found, err := getUse(tx, k)
		switch {
		case err != nil:
			return time.Time{}, err
		case found && old.Until.After(now):
			return old.First, store.ErrExists
		}
		var from []byte
		if found {
			from = dueKey(old.Until, k)
		}
		return now, putUse(tx, k, from, use{First: now, Until: until})
	})
}

// used looks for a mark that counts.
func (s *Store) used(ctx context.Context, now time.Time, key string) (time.Time, error) {
	var mark use
	var found bool
	err := s.read(ctx, func(tx *bbolt.Tx) (err error) {
		mark, found, err = getUse(tx, useKey(key))
		return err
	})
	switch {
	case err != nil:
		return time.Time{}, err
	case found && mark.Until.After(now):
		return mark.First, store.ErrExists
	}
	return now, nil
}

// useKey is what a key is stored under. All have one length, so that none is
// too long; and the file does not say what was used.
func useKey(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

// getUse returns what is stored about a key, over or not, and whether there is
// something.
func getUse(tx *bbolt.Tx, key []byte) (use, bool, error) {
	v, err := get(tx, bucketUsed, key)
	if err != nil || v == nil {
		return use{}, false, err
	}
	u, err := decode[use](v)
	return u, true, err
}

// putUse marks a key. Its index entry, nil if there was none, moves from where
// it was.
func putUse(tx *bbolt.Tx, key, from []byte, u use) error {
	u.First, u.Until = u.First.UTC(), u.Until.UTC()
	v, err := encode(u)
	if err != nil {
		return err
	}
	if err := moveIndex(tx, bucketUsedDue, from, dueKey(u.Until, key)); err != nil {
		return err
	}
	return put(tx, bucketUsed, key, v)
}

// use checks one used key.
func (c *content) use(isBucket bool, key, value []byte) error {
	u, err := checkRecord[use](isBucket, bucketUsed, key, value)
	if err != nil {
		return err
	}
	if len(key) != sha256.Size {
		return fmt.Errorf("%w: used key of %d bytes", errDamaged, len(key))
	}
	c.add(&c.used, dueKey(u.Until, key))
	return nil
}
