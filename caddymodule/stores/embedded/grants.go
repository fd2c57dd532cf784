package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// CreateGrant implements [store.Store].
func (s *Store) CreateGrant(ctx context.Context, now time.Time, g store.Grant) error {
	if g.ID == "" || len(g.ID) > maxID {
		return fmt.Errorf("embedded: a grant's id of %d bytes can't be stored", len(g.ID))
	}
	// The caller may be gone when it is written, and use its slice again.
	g.User.Groups = slices.Clone(g.User.Groups)
	_, err := write(ctx, s, func(tx *bbolt.Tx) (struct{}, error) {
		old, found, err := getRecord(tx, g.ID)
		switch {
		case err != nil:
			return struct{}{}, err
		case found && old.due().After(now):
			return struct{}{}, store.ErrExists
		}
		return struct{}{}, putRecord(tx, old, record{Grant: g})
	})
	return err
}

// Grant implements [store.Store].
func (s *Store) Grant(ctx context.Context, now time.Time, id string) (store.Grant, error) {
	var r record
	err := s.read(ctx, func(tx *bbolt.Tx) (err error) {
		r, err = liveRecord(tx, now, id)
		return err
	})
	if err != nil {
		return store.Grant{}, err
	}
	if !r.Grant.Revoked.IsZero() {
		return r.Grant, store.ErrRevoked
	}
	return r.Grant, nil
}

// RotateGrant implements [store.Store].
func (s *Store) RotateGrant(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
	return write(ctx, s, func(tx *bbolt.Tx) (store.Grant, error) {
		old, err := liveRecord(tx, now, r.ID)
		switch {
		case err != nil:
			return store.Grant{}, err
		case !old.Grant.Revoked.IsZero():
			return old.Grant, store.ErrRevoked
		case old.Grant.Generation != r.From:
			return old.Grant, store.ErrConflict
		}
		next := old
		next.Grant.Generation++
		next.Grant.RotatedAt = now
		next.Grant.UsedAt, next.Grant.UsedFrom = now, r.UsedFrom
		next.Grant.Expires = r.Expires
		return next.Grant, putRecord(tx, old, next)
	})
}

// RevokeGrant implements [store.Store].
func (s *Store) RevokeGrant(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
	_, err := write(ctx, s, func(tx *bbolt.Tx) (struct{}, error) {
		old, err := liveRecord(tx, now, r.GrantID)
		switch {
		case err != nil:
			return struct{}{}, err
		case !old.Grant.Revoked.IsZero():
			return struct{}{}, errUnchanged
		}
		next := old
		next.Grant.Revoked = now
		next.Keep = r.Until
		return struct{}{}, errors.Join(putRecord(tx, old, next), appendRevocation(tx, r))
	})
	if errors.Is(err, errUnchanged) {
		return false, nil
	}
	return err == nil, err
}

// Grants implements [store.Store].
func (s *Store) Grants(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
	var out []store.Grant
	err := s.read(ctx, func(tx *bbolt.Tx) error {
		person := personPrefix(subject)
		c := tx.Bucket(bucketPersons).Cursor()
		for k, v := c.Seek(person); len(out) < limit && bytes.HasPrefix(k, person); k, v = c.Next() {
			r, err := personsRecord(tx, subject, k, v)
			if err != nil {
				return err
			}
			if r.due().After(now) {
				out = append(out, r.Grant)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// TouchGrants implements [store.Store]. All of it is one write, and none if
// nothing changes.
func (s *Store) TouchGrants(ctx context.Context, now time.Time, uses []store.GrantUse) error {
	uses = slices.Clone(uses) // the caller may be gone when it is written
	err := s.w.do(ctx, func(tx *bbolt.Tx) error {
		result := errUnchanged
		for _, u := range uses {
			changed, err := touchRecord(tx, now, u)
			if err != nil {
				return err
			}
			if changed {
				result = nil
			}
		}
		return result
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// touchRecord notes one use of a grant and reports whether that changed it.
func touchRecord(tx *bbolt.Tx, now time.Time, u store.GrantUse) (bool, error) {
	old, err := liveRecord(tx, now, u.GrantID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case !old.Grant.Revoked.IsZero(), !u.At.After(old.Grant.UsedAt):
		return false, nil
	}
	next := old
	next.Grant.UsedAt, next.Grant.UsedFrom = u.At, u.From
	return true, putRecord(tx, old, next)
}
