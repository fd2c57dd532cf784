package embedded

import (
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"runtime/debug"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// checkFile proves that a database can be used, without writing to it. It reads
// with plain reads under a shared lock; the mapped file is not looked at, since
// a page that leads outside of it would end the process.
func checkFile(path string) (err error) {
	var f *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged(path, fmt.Errorf("panic: %v", r))
		}
	}()
	// bbolt takes the lock, the same way on every system, and reads no more than
	// the header when it only opens.
	db, err := bbolt.Open(path, 0, &bbolt.Options{
		ReadOnly: true,
		Timeout:  lockWait,
		OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
			f, err = os.OpenFile(name, flag, mode)
			return f, err
		},
	})
	switch {
	case err == nil:
	case f == nil, errors.Is(err, berrors.ErrTimeout), errors.As(err, new(syscall.Errno)):
		return openError(path, err)
	default: // the system has no complaint, so it is what the file says
		return damaged(path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return openError(path, err)
	}
	p, err := openPages(f, info.Size())
	if err == nil {
		err = checkContent(p)
	}
	if _, ok := errors.AsType[*newerError](err); ok {
		return &pathError{path, "run the newer version, or move the file away to start with an empty one", err}
	}
	if err != nil {
		return damaged(path, err)
	}
	return nil
}

// errForeign says that a sound database is not one of ours.
var errForeign = errors.New("a database of another program")

// newerError says that the file has a layout that this code does not know.
type newerError struct{ schema uint64 }

// Error implements error.
func (e *newerError) Error() string {
	return fmt.Sprintf("written by a newer version of this program (layout %d, this one knows %d)", e.schema, schema)
}

// checkContent visits every page and every record.
func checkContent(p *pages) error {
	c := &content{meta: map[string][]byte{}, seed: maphash.MakeSeed()}
	names := map[string][]byte{}
	err := p.walk(p.root, func(isBucket bool, key, value []byte) error {
		if !isBucket {
			return errForeign
		}
		names[string(key)] = value
		return nil
	})
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return nil // to be laid out
	}
	meta, ok := names[string(bucketMeta)]
	if !ok {
		return errForeign
	}
	if err := p.walkBucket(meta, c.metaEntry); err != nil {
		return fmt.Errorf("bucket meta: %w", err)
	}
	if err := c.checkMeta(); err != nil {
		return err
	}
	checks := c.checks()
	if len(names) != len(checks)+1 {
		return fmt.Errorf("%d buckets, not %d", len(names), len(checks)+1)
	}
	for bucket, fn := range checks {
		value, ok := names[bucket]
		if !ok {
			return fmt.Errorf("bucket %s is missing", bucket)
		}
		if err := p.walkBucket(value, fn); err != nil {
			return fmt.Errorf("bucket %s: %w", bucket, err)
		}
	}
	if !c.agrees() {
		return errors.New("records and index disagree")
	}
	return nil
}

// content collects what the records say about each other.
type content struct {
	meta   map[string][]byte
	layout uint64
	last   uint64 // number of the newest feed entry
	seed   maphash.Seed
	// Each record has one index entry: the two tallies of a pair are equal.
	grants, grantsDue   tally
	persons, personsKey tally // those of grants that are not revoked
	used, usedDue       tally
	revoked, revokedDue tally
	// No client's record is missing, and none is an older one: the versions add
	// up to how often one was put.
	clientVersions, clientPuts uint64
}

// checks returns what to do with each bucket but meta, by its name.
func (c *content) checks() map[string]leaf {
	checks := map[string]leaf{
		string(bucketGrants):     c.grant,
		string(bucketGrantsDue):  c.index(bucketGrantsDue, &c.grantsDue),
		string(bucketRevoked):    c.entry,
		string(bucketRevokedDue): c.index(bucketRevokedDue, &c.revokedDue),
	}
	if c.layout > 1 {
		checks[string(bucketPersons)] = c.index(bucketPersons, &c.personsKey)
		checks[string(bucketUsed)] = c.use
		checks[string(bucketUsedDue)] = c.index(bucketUsedDue, &c.usedDue)
	}
	if c.layout > 2 {
		checks[string(bucketClients)] = c.client
	}
	return checks
}

// agrees reports whether every record has its index entries, no index has more
// than that, and the clients are all there.
func (c *content) agrees() bool {
	return c.grants == c.grantsDue && c.revoked == c.revokedDue && c.used == c.usedDue &&
		(c.layout == 1 || c.persons == c.personsKey) && c.clientVersions == c.clientPuts
}

// tally is a sum over a set of keys that doesn't depend on their order.
type tally struct{ count, sum uint64 }

// add counts an index key.
func (c *content) add(t *tally, key []byte) {
	t.count++
	t.sum += maphash.Bytes(c.seed, key)
}

// metaEntry takes note of one entry of the meta bucket.
func (c *content) metaEntry(isBucket bool, key, value []byte) error {
	if isBucket {
		return errForeign
	}
	c.meta[string(key)] = value
	return nil
}

// checkMeta reads the meta bucket, the schema first.
func (c *content) checkMeta() error {
	sealed, ok := c.meta[string(keySchema)]
	if !ok {
		return errForeign
	}
	v, err := unseal(bucketMeta, keySchema, sealed)
	if err != nil {
		return err
	}
	if c.layout, err = parseLayout(v); err != nil {
		return err
	}
	for _, key := range metaKeys(c.layout) {
		v, err := unseal(bucketMeta, key, c.meta[string(key)])
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		switch string(key) {
		case string(keyFeedSeq):
			c.last, err = parseNumber(v)
		case string(keyClientPuts):
			c.clientPuts, err = parseNumber(v)
		case string(keyRing):
			_, _, err = splitRing(v)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// grant checks one record.
func (c *content) grant(isBucket bool, key, value []byte) error {
	r, err := checkRecord[record](isBucket, bucketGrants, key, value)
	if err != nil {
		return err
	}
	if r.Grant.ID != string(key) {
		return fmt.Errorf("%w: grant under another's key", errDamaged)
	}
	c.add(&c.grants, r.dueKey())
	if k := r.personKey(); k != nil {
		c.add(&c.persons, k)
	}
	return nil
}

// entry checks one entry of the feed.
func (c *content) entry(isBucket bool, key, value []byte) error {
	r, err := checkRecord[store.Revocation](isBucket, bucketRevoked, key, value)
	if err != nil {
		return err
	}
	seq, err := parseNumber(key)
	if err != nil {
		return err
	}
	if seq > c.last {
		return fmt.Errorf("%w: feed entry %d, the newest is %d", errDamaged, seq, c.last)
	}
	c.add(&c.revoked, dueKey(r.Until, key))
	return nil
}

// index returns a check of index entries that counts them in t.
func (c *content) index(bucket []byte, t *tally) leaf {
	return func(isBucket bool, key, value []byte) error {
		if isBucket {
			return errForeign
		}
		if _, err := unseal(bucket, key, value); err != nil {
			return err
		}
		c.add(t, key)
		return nil
	}
}

// checkRecord takes apart the value of one record.
func checkRecord[T any](isBucket bool, bucket, key, value []byte) (T, error) {
	var zero T
	if isBucket {
		return zero, errForeign
	}
	v, err := unseal(bucket, key, value)
	if err != nil {
		return zero, err
	}
	return decode[T](v)
}
