package embedded

import (
	"bytes"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// put stores a value with its checksum.
func put(tx *bbolt.Tx, bucket, key, value []byte) error {
	return tx.Bucket(bucket).Put(key, seal(bucket, key, value))
}

// get returns a value that is checked and good until the transaction ends; nil
// if there is none.
func get(tx *bbolt.Tx, bucket, key []byte) ([]byte, error) {
	sealed := tx.Bucket(bucket).Get(key)
	if sealed == nil {
		return nil, nil
	}
	return unseal(bucket, key, sealed)
}

// getMeta returns a value of the meta bucket, where every key is there.
func getMeta(tx *bbolt.Tx, key []byte) ([]byte, error) {
	v, err := get(tx, bucketMeta, key)
	if err == nil && v == nil {
		err = fmt.Errorf("%w: no %s", errDamaged, key)
	}
	return v, err
}

// getRecord returns a grant's record, expired or not, and whether there is one.
func getRecord(tx *bbolt.Tx, id string) (record, bool, error) {
	v, err := get(tx, bucketGrants, []byte(id))
	if err != nil || v == nil {
		return record{}, false, err
	}
	r, err := decode[record](v)
	return r, true, err
}

// liveRecord returns the record of a grant that has not expired.
func liveRecord(tx *bbolt.Tx, now time.Time, id string) (record, error) {
	r, found, err := getRecord(tx, id)
	if err != nil {
		return record{}, err
	}
	if !found || !r.due().After(now) {
		return record{}, store.ErrNotFound
	}
	return r, nil
}

// putRecord stores a grant's record in the place of old, which is zero if there
// was none, and keeps the indexes in step.
func putRecord(tx *bbolt.Tx, old, next record) error {
	v, err := encodeRecord(next)
	if err != nil {
		return err
	}
	if err := moveIndex(tx, bucketGrantsDue, old.dueKey(), next.dueKey()); err != nil {
		return err
	}
	if err := moveIndex(tx, bucketPersons, old.personKey(), next.personKey()); err != nil {
		return err
	}
	return put(tx, bucketGrants, []byte(next.Grant.ID), v)
}

// moveIndex moves an index entry from one key to another; nil is no entry.
func moveIndex(tx *bbolt.Tx, index, from, to []byte) error {
	if bytes.Equal(from, to) {
		return nil
	}
	if from != nil {
		if err := tx.Bucket(index).Delete(from); err != nil {
			return err
		}
	}
	if to == nil {
		return nil
	}
	return put(tx, index, to, nil)
}

// personsRecord returns the record that an entry of the index of persons leads
// to, expired or not.
func personsRecord(tx *bbolt.Tx, subject string, key, sealed []byte) (record, error) {
	if _, err := unseal(bucketPersons, key, sealed); err != nil {
		return record{}, err
	}
	if len(key) < personLen {
		return record{}, fmt.Errorf("%w: key of %d bytes", errDamaged, len(key))
	}
	r, found, err := getRecord(tx, string(key[personLen:]))
	if err != nil {
		return record{}, err
	}
	// The last line of defence against showing a person what is not theirs.
	if !found || r.Grant.User.Subject != subject || !r.Grant.Revoked.IsZero() {
		return record{}, fmt.Errorf("%w: bucket %s leads to another grant", errDamaged, bucketPersons)
	}
	return r, nil
}

// appendRevocation gives an entry the feed's next number and stores it.
func appendRevocation(tx *bbolt.Tx, r store.Revocation) error {
	_, last, err := feedState(tx)
	if err != nil {
		return err
	}
	r.Before, r.Until = r.Before.UTC(), r.Until.UTC()
	v, err := encode(r, r.GrantID, r.Session, r.Subject, r.Client, r.Token, r.Reason)
	if err != nil {
		return err
	}
	seq := number(last + 1)
	if err := put(tx, bucketMeta, keyFeedSeq, seq); err != nil {
		return err
	}
	if err := put(tx, bucketRevokedDue, dueKey(r.Until, seq), nil); err != nil {
		return err
	}
	return put(tx, bucketRevoked, seq, v)
}

// openEntry reads an entry of the feed.
func openEntry(key, sealed []byte) (store.Revocation, error) {
	v, err := unseal(bucketRevoked, key, sealed)
	if err != nil {
		return store.Revocation{}, err
	}
	return decode[store.Revocation](v)
}

// feedState returns the feed's id and its newest number.
func feedState(tx *bbolt.Tx) (string, uint64, error) {
	id, err := getMeta(tx, keyFeedID)
	if err != nil {
		return "", 0, err
	}
	v, err := getMeta(tx, keyFeedSeq)
	if err != nil {
		return "", 0, err
	}
	last, err := parseNumber(v)
	return string(id), last, err
}

// ringState returns the key ring and its version, 0 if there is none yet. The
// ring is good until the transaction ends.
func ringState(tx *bbolt.Tx) ([]byte, uint64, error) {
	v, err := getMeta(tx, keyRing)
	if err != nil {
		return nil, 0, err
	}
	return splitRing(v)
}

// splitRing takes apart what is stored under keyRing.
func splitRing(v []byte) ([]byte, uint64, error) {
	if len(v) < 8 {
		return nil, 0, fmt.Errorf("%w: key ring of %d bytes", errDamaged, len(v))
	}
	version, err := parseNumber(v[:8])
	return v[8:], version, err
}
