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
// was none, and keeps the index in step.
func putRecord(tx *bbolt.Tx, old, next record) error {
	id := []byte(next.Grant.ID)
	v, err := encodeRecord(next)
	if err != nil {
		return err
	}
	if old.Grant.ID != "" {
		if err := tx.Bucket(bucketGrantsDue).Delete(dueKey(old.due(), id)); err != nil {
			return err
		}
	}
	if err := put(tx, bucketGrantsDue, dueKey(next.due(), id), nil); err != nil {
		return err
	}
	return put(tx, bucketGrants, id, v)
}

// appendRevocation gives an entry the feed's next number and stores it.
func appendRevocation(tx *bbolt.Tx, r store.Revocation) error {
	_, last, err := feedState(tx)
	if err != nil {
		return err
	}
	v, err := encode(r, r.GrantID, r.Reason)
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

// isOver reports whether an index key is there and its time has come.
func isOver(key []byte, now time.Time) (bool, error) {
	if key == nil {
		return false, nil
	}
	at, _, err := splitDueKey(key)
	return err == nil && !at.After(now), err
}

// sweepBucket removes up to limit records whose time has come, and their index
// entries.
func sweepBucket(tx *bbolt.Tx, index, records []byte, now time.Time, limit int) (int, error) {
	var over [][]byte
	c := tx.Bucket(index).Cursor()
	for k, v := c.First(); k != nil && len(over) < limit; k, v = c.Next() {
		if _, err := unseal(index, k, v); err != nil {
			return 0, err
		}
		yes, err := isOver(k, now)
		if err != nil {
			return 0, err
		}
		if !yes {
			break
		}
		over = append(over, bytes.Clone(k))
	}
	for _, k := range over {
		_, id, err := splitDueKey(k)
		if err != nil {
			return 0, err
		}
		if err := tx.Bucket(records).Delete(id); err != nil {
			return 0, err
		}
		if err := tx.Bucket(index).Delete(k); err != nil {
			return 0, err
		}
	}
	return len(over), nil
}
