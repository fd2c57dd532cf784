package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// walk lists the buckets that Records reads, and how. A cursor of Records is a
// bucket's name and the key of the last record, in base64url.
var walk = []struct {
	bucket []byte
	read   func(key, sealed []byte) (store.Record, error)
}{
	{bucketClients, readClient},
	{bucketGrants, readGrant},
	{bucketRevoked, readEntry},
	{bucketUsed, readUse},
}

// Records implements [store.Store].
func (s *Store) Records(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
	var out []store.Record
	next, limit := "", max(limit, 1)
	at, key, err := parsePlace(after)
	if err != nil {
		return nil, "", err
	}
	err = s.read(ctx, func(tx *bbolt.Tx) error {
		for i, w := range walk[at:] {
			c := tx.Bucket(w.bucket).Cursor()
			k, v := c.First()
			if i == 0 && after != "" {
				if k, v = c.Seek(key); slices.Equal(k, key) {
					k, v = c.Next()
				}
			}
			for ; k != nil; k, v = c.Next() {
				if len(out) == limit {
					return nil
				}
				r, err := w.read(k, v)
				if err != nil {
					return err
				}
				out, next = append(out, r), place(at+i, k)
			}
		}
		next = ""
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// place is a cursor of Records.
func place(bucket int, key []byte) string {
	return string(rune('0'+bucket)) + base64.RawURLEncoding.EncodeToString(key)
}

func parsePlace(cursor string) (bucket int, key []byte, err error) {
	if cursor == "" {
		return 0, nil, nil
	}
	bucket = int(cursor[0]) - '0'
	key, err = base64.RawURLEncoding.DecodeString(cursor[1:])
	if err != nil || bucket < 0 || bucket >= len(walk) {
		return 0, nil, fmt.Errorf("embedded: %q is no cursor of this store's records", cursor)
	}
	return bucket, key, nil
}

func readClient(key, sealed []byte) (store.Record, error) {
	c, err := open[store.ClientRecord](bucketClients, key, sealed)
	return store.Record{Client: &c}, err
}

func readGrant(key, sealed []byte) (store.Record, error) {
	r, err := open[record](bucketGrants, key, sealed)
	return store.Record{Grant: &store.GrantRecord{Grant: r.Grant, Keep: r.Keep}}, err
}

func readEntry(key, sealed []byte) (store.Record, error) {
	r, err := openEntry(key, sealed)
	return store.Record{Revocation: &r}, err
}

func readUse(key, sealed []byte) (store.Record, error) {
	u, err := open[use](bucketUsed, key, sealed)
	hash := base64.RawURLEncoding.EncodeToString(key)
	return store.Record{Use: &store.UseRecord{Hash: hash, First: u.First, Until: u.Until}}, err
}

// open checks and reads a value.
func open[T any](bucket, key, sealed []byte) (T, error) {
	v, err := unseal(bucket, key, sealed)
	if err != nil {
		var zero T
		return zero, err
	}
	return decode[T](v)
}

// Restore implements [store.Store]. All of it is one commit.
func (s *Store) Restore(ctx context.Context, records []store.Record) error {
	taken := make([]store.Record, len(records)) // the caller may be gone when they are written
	for i, r := range records {
		if err := r.Check(); err != nil {
			return fmt.Errorf("embedded: %w", err)
		}
		taken[i] = r.Clone()
	}
	return s.w.do(ctx, func(tx *bbolt.Tx) error {
		for _, r := range taken {
			if err := restore(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func restore(tx *bbolt.Tx, r store.Record) error {
	switch {
	case r.Grant != nil:
		if r.Grant.ID == "" || len(r.Grant.ID) > maxID {
			return fmt.Errorf("a grant's id of %d bytes can't be stored", len(r.Grant.ID))
		}
		old, _, err := getRecord(tx, r.Grant.ID)
		if err != nil {
			return err
		}
		return putRecord(tx, old, record{Grant: r.Grant.Grant, Keep: r.Grant.Keep})
	case r.Client != nil:
		old, _, err := getClient(tx, r.Client.Key)
		if err != nil {
			return err
		}
		return putClient(tx, old, *r.Client)
	case r.Revocation != nil:
		return appendRevocation(tx, *r.Revocation)
	default:
		return restoreUse(tx, *r.Use)
	}
}

func restoreUse(tx *bbolt.Tx, u store.UseRecord) error {
	key, err := base64.RawURLEncoding.DecodeString(u.Hash)
	if err != nil || len(key) != sha256.Size {
		return fmt.Errorf("%q is no hash of a used key", u.Hash)
	}
	old, found, err := getUse(tx, key)
	if err != nil {
		return err
	}
	var from []byte
	if found {
		from = dueKey(old.Until, key)
	}
	return putUse(tx, key, from, use{First: u.First, Until: u.Until})
}

// Reseal implements [store.Store].
func (s *Store) Reseal(ctx context.Context, old, next store.Record) error {
	if err := store.CheckReseal(old, next); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	old, next = old.Clone(), next.Clone() // the caller may be gone when it is written
	return s.w.do(ctx, func(tx *bbolt.Tx) error {
		if old.Client != nil {
			return resealClient(tx, *old.Client, *next.Client)
		}
		return resealGrant(tx, *old.Grant, *next.Grant)
	})
}

func resealGrant(tx *bbolt.Tx, old, next store.GrantRecord) error {
	r, found, err := getRecord(tx, old.ID)
	switch {
	case err != nil:
		return err
	case !found:
		return store.ErrNotFound
	case !(store.GrantRecord{Grant: r.Grant, Keep: r.Keep}).Same(old):
		return store.ErrConflict
	}
	return putRecord(tx, r, record{Grant: next.Grant, Keep: next.Keep})
}

func resealClient(tx *bbolt.Tx, old, next store.ClientRecord) error {
	c, found, err := getClient(tx, old.Key)
	switch {
	case err != nil:
		return err
	case !found:
		return store.ErrNotFound
	case !c.Same(old):
		return store.ErrConflict
	}
	return putClient(tx, c, next)
}

// Await implements [store.Store].
func (s *Store) Await(ctx context.Context, after string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	committed := s.w.nextCommit() // before the look, so that none goes unnoticed
	for {
		behind := false
		err := s.read(ctx, func(tx *bbolt.Tx) error {
			id, last, err := feedState(tx)
			behind = err == nil && position(after, id, last) < last
			return err
		})
		if err != nil || behind {
			return err
		}
		select {
		case <-committed:
			committed = s.w.nextCommit()
		case <-s.w.stopped:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Now implements [store.Store]: one machine has one clock.
func (*Store) Now(ctx context.Context) (time.Time, error) {
	return time.Now(), ctx.Err()
}
