package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	// copyPage is how many records are read and written at a time: at most some
	// 20 MB, if all are grants of the greatest length.
	copyPage = 200
	// copyReport is after how many records there is a line about the progress.
	copyReport = 10_000
	// comparedFrom is how much longer a record must be of use to be compared: a
	// server that removes what is over may do so while the others are counted.
	comparedFrom = 10 * time.Minute
)

// storeCopy copies one store into another. Records are copied as they are kept,
// sealed ones without being opened.
type storeCopy struct {
	source   store.Store
	from, to *storeEnd
	progress io.Writer
	seed     maphash.Seed
	// ring is nil where servers derive theirs from the secret.
	ring []byte
}

// run copies everything and returns how much of each kind that was. The key
// ring comes last: a store that has one is complete.
func (c *storeCopy) run(ctx caddy.Context) (tallies, error) {
	c.seed = maphash.MakeSeed()
	if err := c.readRing(ctx); err != nil {
		return tallies{}, err
	}
	done, err := c.fill(ctx)
	if err != nil {
		return tallies{}, err
	}
	// What was written must be there when the store is opened again.
	target, closeTarget, err := c.to.open(ctx)
	if err != nil {
		return tallies{}, err
	}
	defer closeTarget()
	if err := c.compare(ctx, target); err != nil {
		return tallies{}, err
	}
	if c.ring == nil {
		return done, nil
	}
	switch _, err := target.SwapKeyRing(ctx, 0, c.ring); {
	case errors.Is(err, store.ErrConflict):
		return tallies{}, fmt.Errorf("the %s store (%s) has got a key ring of its own meanwhile: a server uses it; stop it, and begin with an empty store", c.to.name, c.to.flag)
	case err != nil:
		return tallies{}, fmt.Errorf("writing the key ring: %w: all else is copied; repeat the command", err)
	}
	return done, nil
}

// readRing reads the source's key ring. Without one it needs records: there are
// some if servers derive their ring.
func (c *storeCopy) readRing(ctx context.Context) error {
	ring, _, err := c.source.KeyRing(ctx)
	if err == nil {
		c.ring = ring
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("reading the key ring: %w", err)
	}
	some, _, err := c.source.Records(ctx, "", 1)
	if err != nil {
		return fmt.Errorf("reading records: %w", err)
	}
	if len(some) == 0 {
		return fmt.Errorf("the %s store (%s) has no key ring and no records: no server has used it, so there is nothing to copy; is it the right one?", c.from.name, c.from.flag)
	}
	fmt.Fprintf(c.progress, "The %s store (%s) has records, but no key ring: right for servers with 'secret … derive'; "+
		"else it is a copy that was interrupted, and should be repeated\n", c.from.name, c.from.flag)
	return nil
}

// fill copies all records that are still of use.
func (c *storeCopy) fill(ctx caddy.Context) (tallies, error) {
	target, closeTarget, err := c.to.open(ctx)
	if err != nil {
		return tallies{}, err
	}
	defer closeTarget()
	if err := c.checkTarget(ctx, target); err != nil {
		return tallies{}, err
	}
	now, err := c.source.Now(ctx)
	if err != nil {
		return tallies{}, fmt.Errorf("asking for the time: %w", err)
	}
	var done tallies
	total := 0
	err = walkStore(ctx, c.source, func(records []store.Record) error {
		useful := records[:0]
		for _, r := range records {
			if kind, due := kindOf(r); due.IsZero() || due.After(now) {
				useful = append(useful, r)
				done.add(kind, c.hash(r))
			}
		}
		if err := target.Restore(ctx, useful); err != nil {
			return fmt.Errorf("writing to the %s store (%s): %w: repeat the command when that is mended", c.to.name, c.to.flag, err)
		}
		if before := total; before/copyReport < (total+len(useful))/copyReport {
			fmt.Fprintf(c.progress, "%d records copied so far\n", before+len(useful))
		}
		total += len(useful)
		return nil
	})
	return done, err
}

// checkTarget refuses a store that a server has used.
func (c *storeCopy) checkTarget(ctx context.Context, target store.Store) error {
	switch _, _, err := target.KeyRing(ctx); {
	case err == nil:
		return fmt.Errorf("the %s store (%s) has a key ring already: it is complete or in use, and nothing was changed; copy into an empty store", c.to.name, c.to.flag)
	case !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("reading the key ring of the %s store (%s): %w", c.to.name, c.to.flag, err)
	}
	some, _, err := target.Records(ctx, "", 1)
	if err != nil {
		return fmt.Errorf("reading the %s store (%s): %w", c.to.name, c.to.flag, err)
	}
	if len(some) > 0 {
		if err := c.checkRest(ctx, target); err != nil {
			return err
		}
		fmt.Fprintf(c.progress, "The %s store has records, but no key ring: taken for a copy that was interrupted, and repeated\n", c.to.name)
	}
	return nil
}

// checkRest wants what is in the target to be what an interrupted copy left, as
// far as it is still of use. It is for a source without a key ring: then no ring
// in the target does not tell that no server has used it, and its newer records
// must not be overwritten.
func (c *storeCopy) checkRest(ctx context.Context, target store.Store) error {
	if c.ring != nil {
		return nil
	}
	known := map[uint64]bool{}
	err := walkStore(ctx, c.source, func(records []store.Record) error {
		for _, r := range records {
			known[c.hash(r)] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	now, err := c.source.Now(ctx) // only now: what is over may be gone from the source
	if err != nil {
		return fmt.Errorf("asking for the time: %w", err)
	}
	return walkStore(ctx, target, func(records []store.Record) error {
		for _, r := range records {
			if _, due := kindOf(r); (due.IsZero() || due.After(now)) && !known[c.hash(r)] {
				return fmt.Errorf("the %s store (%s) has records that are not as in the %s store (%s): one of them was used since an "+
					"interrupted copy, or it is the wrong one; nothing was changed; copy into an empty store", c.to.name, c.to.flag, c.from.name, c.from.flag)
			}
		}
		return nil
	})
}

// compare walks both stores. The feed of the new one may be longer, by what an
// interrupted copy left.
func (c *storeCopy) compare(ctx context.Context, target store.Store) error {
	now, err := c.source.Now(ctx)
	if err != nil {
		return fmt.Errorf("asking for the time: %w", err)
	}
	var counted [2]tallies
	for i, s := range []store.Store{c.source, target} {
		err := walkStore(ctx, s, func(records []store.Record) error {
			for _, r := range records {
				if kind, due := kindOf(r); due.IsZero() || due.After(now.Add(comparedFrom)) {
					counted[i].add(kind, c.hash(r))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	want, got := counted[0], counted[1]
	for kind := range want {
		if got[kind] == want[kind] || kind == kindRevocation && got[kind].count >= want[kind].count {
			continue
		}
		return fmt.Errorf("the stores differ: %d %s in the %s store (%s), %d in the %s store (%s), or others; is one of them in use, "+
			"or was the new one not empty? stop all servers, and repeat the command with an empty store",
			want[kind].count, kindNames[kind], c.from.name, c.from.flag, got[kind].count, c.to.name, c.to.flag)
	}
	return nil
}

// walkStore calls do with all records, a page at a time.
func walkStore(ctx context.Context, s store.Store, do func(records []store.Record) error) error {
	for cursor := ""; ; {
		records, next, err := s.Records(ctx, cursor, copyPage)
		if err != nil {
			return fmt.Errorf("reading records: %w", err)
		}
		if err := do(records); err != nil {
			return err
		}
		if cursor = next; next == "" {
			return nil
		}
	}
}

// Kinds of records, in the order of a summary.
const (
	kindClient = iota
	kindGrant
	kindRevocation
	kindUse
	kinds
)

var kindNames = [kinds]string{"clients", "grants", "revocations", "used keys"}

// kindOf returns what a record is, and when it is of no use any more; zero for
// never.
func kindOf(r store.Record) (kind int, due time.Time) {
	switch {
	case r.Grant != nil:
		return kindGrant, r.Grant.Due()
	case r.Revocation != nil:
		return kindRevocation, r.Revocation.Until
	case r.Use != nil:
		return kindUse, r.Use.Until
	}
	return kindClient, time.Time{}
}

// hash is of what must be alike in both stores. Times are left out, of which a
// store may drop what is below a microsecond.
func (c *storeCopy) hash(r store.Record) uint64 {
	switch {
	case r.Grant != nil:
		g := r.Grant
		return maphash.Comparable(c.seed, [...]any{g.ID, g.ClientID, g.ClientMetadata, g.User.Subject, g.Sealed, g.Generation, g.Revoked.IsZero()})
	case r.Use != nil:
		return maphash.Comparable(c.seed, r.Use.Hash)
	case r.Client != nil:
		return maphash.Comparable(c.seed, [...]any{r.Client.Key, r.Client.Version, r.Client.Metadata, r.Client.Deleted})
	case r.Revocation != nil:
		e := r.Revocation
		return maphash.Comparable(c.seed, [...]any{e.GrantID, e.Session, e.Subject, e.Token, e.Client, e.Reason})
	}
	return 0
}

// tallies are how many records of each kind there are, with a sum of their
// hashes that does not depend on the order.
type tallies [kinds]struct {
	count int
	sum   uint64
}

func (t *tallies) add(kind int, hash uint64) {
	t[kind].count++
	t[kind].sum += hash
}

// String writes a line for each kind.
func (t *tallies) String() string {
	var b strings.Builder
	for kind, name := range kindNames {
		fmt.Fprintf(&b, "  %-12s  %d\n", name, t[kind].count)
	}
	return b.String()
}
