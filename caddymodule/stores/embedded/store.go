package embedded

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	// sweepLimit is how many records one Sweep removes at most.
	sweepLimit = 500
	// proofAge is how old the last successful commit may be for Ping to take it
	// as proof that the file can be written.
	proofAge = 30 * time.Second
	// probeSize is what Ping writes after a failure: more than a batch of a few
	// grants takes.
	probeSize = 64 << 10
	// maxID is the longest id that fits into the index keys of the database.
	maxID = bbolt.MaxKeySize - personLen
)

// Store keeps the state in one file. It implements [store.Store]; make one with
// [Open] and end it with [Store.Close].
type Store struct {
	file *file
	w    *writer
}

// Open opens the database file at path and creates it, and its folder, if it
// isn't there. A file that is damaged, foreign, too new or in use is refused
// and left as it is.
func Open(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("embedded: %s: %w", path, err)
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	return &Store{file: f, w: startWriter(f)}, nil
}

// Close finishes the writes that were accepted, ends the writer and closes the
// file. Afterwards every method returns [ErrClosed].
func (s *Store) Close() error {
	s.w.stop()
	return s.file.close()
}

// read runs fn in a read transaction.
func (s *Store) read(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.file.view(fn)
}

// write runs fn in a write transaction and returns its result after the
// commit. After an error that is no verdict the result is zero: fn may still
// be running.
func write[T any](ctx context.Context, s *Store, fn func(tx *bbolt.Tx) (T, error)) (T, error) {
	var out T
	err := s.w.do(ctx, func(tx *bbolt.Tx) (err error) {
		out, err = fn(tx)
		return err
	})
	if err != nil && !isVerdict(err) {
		var zero T
		return zero, err
	}
	return out, err
}

// Revocations implements [store.Store].
func (s *Store) Revocations(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
	var out []store.Revocation
	var next string
	err := s.read(ctx, func(tx *bbolt.Tx) error {
		id, last, err := feedState(tx)
		if err != nil {
			return err
		}
		next = id + "." + strconv.FormatUint(last, 10)
		c := tx.Bucket(bucketRevoked).Cursor()
		for k, v := c.Seek(number(position(after, id, last) + 1)); k != nil; k, v = c.Next() {
			r, err := openEntry(k, v)
			if err != nil {
				return err
			}
			if r.Until.After(now) {
				out = append(out, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// position returns the feed number that a cursor stands for: 0, the beginning,
// for one that this feed did not hand out.
func position(cursor, id string, last uint64) uint64 {
	of, num, ok := strings.Cut(cursor, ".")
	if !ok || of != id {
		return 0
	}
	seq, err := strconv.ParseUint(num, 10, 64)
	if err != nil || seq > last {
		return 0
	}
	return seq
}

// Announce implements [store.Store].
func (s *Store) Announce(ctx context.Context, _ time.Time, r store.Revocation) error {
	if err := r.CheckAnnounced(); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	return s.w.do(ctx, func(tx *bbolt.Tx) error { return appendRevocation(tx, r) })
}

// KeyRing implements [store.Store].
func (s *Store) KeyRing(ctx context.Context) ([]byte, uint64, error) {
	var ring []byte
	var version uint64
	err := s.read(ctx, func(tx *bbolt.Tx) (err error) {
		ring, version, err = ringState(tx)
		ring = bytes.Clone(ring)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if version == 0 {
		return nil, 0, store.ErrNotFound
	}
	return ring, version, nil
}

// SwapKeyRing implements [store.Store].
func (s *Store) SwapKeyRing(ctx context.Context, version uint64, ring []byte) (uint64, error) {
	ring = bytes.Clone(ring) // the caller may be gone when it is written
	next, err := write(ctx, s, func(tx *bbolt.Tx) (uint64, error) {
		_, stored, err := ringState(tx)
		if err != nil {
			return 0, err
		}
		if stored != version {
			return 0, store.ErrConflict
		}
		return version + 1, put(tx, bucketMeta, keyRing, append(number(version+1), ring...))
	})
	return next, err
}

// Sweep implements [store.Store]. It writes only if there is something to
// remove.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	some := false
	err := s.read(ctx, func(tx *bbolt.Tx) error {
		for _, sw := range sweeps {
			k, _ := tx.Bucket(sw.index).Cursor().First()
			over, err := isOver(k, now)
			if err != nil {
				return err
			}
			some = some || over
		}
		return nil
	})
	if err != nil || !some {
		return 0, err
	}
	return write(ctx, s, func(tx *bbolt.Tx) (int, error) {
		total := 0
		for _, sw := range sweeps {
			n, err := sw.run(tx, now, sweepLimit-total)
			if err != nil {
				return 0, err
			}
			total += n
		}
		return total, nil
	})
}

// Ping implements [store.Store]. It reads, and makes sure that the file is
// still in its place. That it can write is proven by the last commit, if it is
// at most half a minute old; else Ping makes a small one. After any failed
// commit it makes a big one, as on an almost full disk small ones succeed now
// and then. So a health check costs an fsync now and then, and it is what finds
// out that the disk has healed.
func (s *Store) Ping(ctx context.Context) error {
	err := s.read(ctx, func(tx *bbolt.Tx) error {
		_, _, err := feedState(tx)
		return err
	})
	if err != nil {
		return err
	}
	proven, failures, fresh := s.w.health(proofAge)
	if fresh {
		if err := s.probe(ctx, probeSize); err != nil {
			return err
		}
		s.w.heal(failures)
		return s.probe(ctx, 0) // give the space back
	}
	if !proven {
		return s.probe(ctx, 0)
	}
	if err := s.file.present(); err != nil {
		return fmt.Errorf("embedded: %s: %w", s.file.path, err)
	}
	return nil
}

// probe commits a value that nobody reads.
func (s *Store) probe(ctx context.Context, size int) error {
	return s.w.do(ctx, func(tx *bbolt.Tx) error {
		return put(tx, bucketMeta, keyProbe, make([]byte, size))
	})
}

// Interface guard.
var _ store.Store = (*Store)(nil)
