package embedded

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Client implements [store.Store].
func (s *Store) Client(ctx context.Context, key string) (store.ClientRecord, error) {
	var rec store.ClientRecord
	var found bool
	err := s.read(ctx, func(tx *bbolt.Tx) (err error) {
		rec, found, err = getClient(tx, key)
		return err
	})
	switch {
	case err != nil:
		return store.ClientRecord{}, err
	case !found:
		return store.ClientRecord{}, store.ErrNotFound
	}
	return rec, nil
}

// PutClient implements [store.Store]. A version that comes too late writes
// nothing.
func (s *Store) PutClient(ctx context.Context, _ time.Time, rec store.ClientRecord) error {
	if rec.Key == "" || len(rec.Key) > bbolt.MaxKeySize {
		return fmt.Errorf("embedded: a client's key of %d bytes can't be stored", len(rec.Key))
	}
	return s.w.do(ctx, func(tx *bbolt.Tx) error {
		old, _, err := getClient(tx, rec.Key)
		switch {
		case err != nil:
			return err
		case old.Deleted || rec.Version != old.Version+1:
			return store.ErrConflict
		}
		return putClient(tx, old, rec)
	})
}

// getClient returns a client's record, and whether there is one.
func getClient(tx *bbolt.Tx, key string) (store.ClientRecord, bool, error) {
	v, err := get(tx, bucketClients, []byte(key))
	if err != nil || v == nil {
		return store.ClientRecord{}, false, err
	}
	rec, err := decode[store.ClientRecord](v)
	return rec, true, err
}

// putClient stores a client's record in the place of old, which is zero if there
// was none, and counts its versions.
func putClient(tx *bbolt.Tx, old, rec store.ClientRecord) error {
	rec.Changed = rec.Changed.UTC() // JSON would drop the seconds of an odd time zone
	v, err := encode(rec, rec.Key, rec.Metadata)
	if err != nil {
		return err
	}
	counted, err := getMeta(tx, keyClientPuts)
	if err != nil {
		return err
	}
	puts, err := parseNumber(counted)
	if err != nil {
		return err
	}
	if err := put(tx, bucketMeta, keyClientPuts, number(puts-old.Version+rec.Version)); err != nil {
		return err
	}
	return put(tx, bucketClients, []byte(rec.Key), v)
}

// client checks one client's record.
func (c *content) client(isBucket bool, key, value []byte) error {
	rec, err := checkRecord[store.ClientRecord](isBucket, bucketClients, key, value)
	if err != nil {
		return err
	}
	if rec.Key != string(key) {
		return fmt.Errorf("%w: client under another's key", errDamaged)
	}
	c.clientVersions += rec.Version
	return nil
}
