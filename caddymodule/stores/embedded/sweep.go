package embedded

import (
	"bytes"
	"time"

	"go.etcd.io/bbolt"
)

// sweep says how to remove one kind of record.
type sweep struct {
	index, records []byte
	// before does what else there is to do when a record goes; may be nil.
	before func(tx *bbolt.Tx, id []byte) error
}

// sweeps lists every kind that ends.
var sweeps = []sweep{
	{index: bucketGrantsDue, records: bucketGrants, before: leavePerson},
	{index: bucketUsedDue, records: bucketUsed},
	{index: bucketRevokedDue, records: bucketRevoked},
}

// run removes up to limit records whose time has come, and their index
// entries.
func (s sweep) run(tx *bbolt.Tx, now time.Time, limit int) (int, error) {
	var over [][]byte
	c := tx.Bucket(s.index).Cursor()
	for k, v := c.First(); k != nil && len(over) < limit; k, v = c.Next() {
		if _, err := unseal(s.index, k, v); err != nil {
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
		if err := s.remove(tx, k); err != nil {
			return 0, err
		}
	}
	return len(over), nil
}

// remove removes the record that an index key leads to.
func (s sweep) remove(tx *bbolt.Tx, key []byte) error {
	_, id, err := splitDueKey(key)
	if err != nil {
		return err
	}
	if s.before != nil {
		if err := s.before(tx, id); err != nil {
			return err
		}
	}
	if err := tx.Bucket(s.records).Delete(id); err != nil {
		return err
	}
	return tx.Bucket(s.index).Delete(key)
}

// leavePerson takes a grant out of the index of persons.
func leavePerson(tx *bbolt.Tx, id []byte) error {
	r, found, err := getRecord(tx, string(id))
	if err != nil || !found {
		return err
	}
	return moveIndex(tx, bucketPersons, r.personKey(), nil)
}

// isOver reports whether an index key is there and its time has come.
func isOver(key []byte, now time.Time) (bool, error) {
	if key == nil {
		return false, nil
	}
	at, _, err := splitDueKey(key)
	return err == nil && !at.After(now), err
}
