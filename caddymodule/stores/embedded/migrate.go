package embedded

import (
	"bytes"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// migrate brings a database of an older layout to this one. It is one
// transaction: after a crash or a failure the file is as it was, and the next
// start tries again.
func migrate(db *bbolt.DB) error {
	var from uint64
	err := db.View(func(tx *bbolt.Tx) (err error) {
		from, err = layoutOf(tx)
		return err
	})
	if err != nil || from == schema {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, step := range upgrades[from-1:] {
			if err := step(tx); err != nil {
				return err
			}
		}
		return put(tx, bucketMeta, keySchema, number(schema))
	})
	if err != nil {
		return fmt.Errorf("layout %d can't be brought to layout %d, it stays as it is: %w", from, schema, err)
	}
	return nil
}

// upgrades are the steps from each layout to the next, the one from layout 1
// first.
var upgrades = [schema - 1]func(tx *bbolt.Tx) error{addPersons, addClients, allowSealed}

// layoutOf reads the schema version of a file, and refuses one that this code
// can't use.
func layoutOf(tx *bbolt.Tx) (uint64, error) {
	if tx.Bucket(bucketMeta) == nil {
		return 0, errForeign
	}
	v, err := getMeta(tx, keySchema)
	if err != nil {
		return 0, err
	}
	return parseLayout(v)
}

// parseLayout reads a schema version.
func parseLayout(v []byte) (uint64, error) {
	n, err := parseNumber(v)
	switch {
	case err != nil:
		return 0, err
	case n < 1:
		return 0, fmt.Errorf("%w: layout %d", errDamaged, n)
	case n > schema:
		return 0, &newerError{n}
	}
	return n, nil
}

// addPersons makes layout 2 of layout 1: the index of persons, from the grants
// that are there, and room for used keys.
func addPersons(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketPersons, bucketUsed, bucketUsedDue} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	var keys [][]byte
	err := tx.Bucket(bucketGrants).ForEach(func(key, sealed []byte) error {
		v, err := unseal(bucketGrants, key, sealed)
		if err != nil {
			return err
		}
		r, err := decode[record](v)
		if k := r.personKey(); k != nil {
			keys = append(keys, k)
		}
		return err
	})
	if err != nil {
		return err
	}
	// In order, as the database is slow at filling gaps in one transaction.
	slices.SortFunc(keys, bytes.Compare)
	for _, key := range keys {
		if err := put(tx, bucketPersons, key, nil); err != nil {
			return err
		}
	}
	return nil
}

// addClients makes layout 3 of layout 2: room for clients.
func addClients(tx *bbolt.Tx) error {
	if _, err := tx.CreateBucket(bucketClients); err != nil {
		return err
	}
	return put(tx, bucketMeta, keyClientPuts, number(0))
}

// allowSealed makes layout 4 of layout 3. All stays as it is, but from now on a
// record may be sealed: a program that does not know that would take a hash for
// a subject, and drop the sealed form with its next write.
func allowSealed(*bbolt.Tx) error { return nil }
