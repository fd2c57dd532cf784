package atrest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	// pageSize is how many records one step looks at, at most.
	pageSize = 500
	// writers is how many of them are written at once: a store that makes several
	// writes durable together then has several.
	writers = 8
	// settle is how long other nodes may take to know of a new key or of a new
	// configuration. A walk that began later finds all that they kept before.
	settle = 10 * time.Minute
)

// Resealer brings what is kept in a store to the form in which it is kept now:
// sealed, with the key that seals now. It goes through all records, a page at a
// time, when that key is a new one and again when every node must know it; then
// it notes in the key ring that it is done. Any number of nodes may do this at
// once. One Resealer is for one goroutine.
type Resealer struct {
	store *Store
	key   string    // id of the key that seals
	since time.Time // when it was first seen
	walk  walk
	clean bool // the last walk found all of it done, or did it
}

// walk is one way through all records.
type walk struct {
	on      bool
	began   time.Time
	cursor  string
	dirty   bool  // a record changed meanwhile: the next walk looks at it again
	damaged int   // how many records do not open
	first   error // of the damaged ones
}

// NewResealer returns a Resealer of what s keeps.
func NewResealer(s *Store) *Resealer { return &Resealer{store: s} }

// Done reports whether all that is kept is known to be sealed with the key that
// seals now. It is false for ever where there is no secret.
func (w *Resealer) Done() bool { return w.store.keys.SealsData() && w.store.keys.Ring().Resealed() }

// Step does a bounded amount of work. It reports whether there is nothing to do
// for now; call it again in a while then, and soon otherwise. After an error the
// next step repeats the work of this one. An error about damaged records comes
// at the end of each walk; they stay as they are.
func (w *Resealer) Step(ctx context.Context, now time.Time) (idle bool, err error) {
	ring := w.store.keys.Ring()
	if !w.store.keys.SealsData() || ring.Resealed() {
		return true, nil
	}
	if key := ring.Data.KeyID(); key != w.key {
		*w = Resealer{store: w.store, key: key, since: now}
	}
	if !w.walk.on {
		if w.clean && now.Before(w.since.Add(settle)) {
			return true, nil
		}
		w.walk = walk{on: true, began: now}
	}
	page, next, err := w.store.inner.Records(ctx, w.walk.cursor, pageSize)
	if err != nil {
		return true, fmt.Errorf("atrest: reading records: %w", err)
	}
	if err := w.page(ctx, now, page); err != nil {
		return true, err
	}
	if w.walk.cursor = next; next != "" {
		return false, nil
	}
	return w.end(ctx, now)
}

// end ends the walk.
func (w *Resealer) end(ctx context.Context, now time.Time) (idle bool, err error) {
	done := w.walk
	w.walk, w.clean = walk{}, !done.dirty
	if w.clean && !done.began.Before(w.since.Add(settle)) {
		if err := w.store.keys.MarkResealed(ctx, now, w.key); err != nil {
			return true, err
		}
	}
	if done.damaged > 0 {
		return true, fmt.Errorf("atrest: %d records can't be sealed anew, the first: %w", done.damaged, done.first)
	}
	return w.clean, nil
}

// page seals anew what needs it.
func (w *Resealer) page(ctx context.Context, now time.Time, records []store.Record) error {
	todo, errs := make(chan store.Record), make([]error, writers)
	var mu sync.Mutex // for what the writers find out
	var done sync.WaitGroup
	for i := range writers {
		done.Go(func() {
			for r := range todo {
				if errs[i] != nil {
					continue
				}
				verdict, err := w.reseal(ctx, now, r)
				errs[i] = err
				mu.Lock()
				w.walk.note(verdict)
				mu.Unlock()
			}
		})
	}
	for _, r := range records {
		if w.store.outdated(r) {
			todo <- r
		}
	}
	close(todo)
	done.Wait()
	return errors.Join(errs...)
}

// note takes down what became of a record: nothing if all is well.
func (w *walk) note(verdict error) {
	switch {
	case verdict == nil:
	case errors.Is(verdict, store.ErrConflict):
		w.dirty = true
	default:
		w.damaged++
		if w.first == nil {
			w.first = verdict
		}
	}
}

// reseal keeps a record in its new form. The verdict is about the record, the
// error about the store.
func (w *Resealer) reseal(ctx context.Context, now time.Time, old store.Record) (verdict, err error) {
	next, err := w.store.renewed(ctx, now, old)
	switch {
	case errors.Is(err, errKeyGone):
		return nil, nil // nothing will open it any more, and the sweeper takes it
	case errors.Is(err, errDamaged), errors.Is(err, errUnfit):
		return err, nil
	case err != nil:
		return nil, err
	}
	err = w.store.inner.Reseal(ctx, old, next)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case errors.Is(err, store.ErrConflict):
		return err, nil
	case err != nil:
		return nil, fmt.Errorf("atrest: keeping a record anew: %w", err)
	}
	return nil, nil
}

// outdated reports whether a record as it is kept has another form than it would
// get now.
func (s *Store) outdated(r store.Record) bool {
	switch {
	case r.Grant != nil:
		return !s.current(r.Grant.Sealed) || s.outdatedText(r.Grant.UsedFrom)
	case r.Client != nil:
		return s.outdatedText(r.Client.Metadata)
	}
	return false
}

func (s *Store) outdatedText(text string) bool {
	sealed, ok := strings.CutPrefix(text, prefix)
	return text != "" && (!ok || !s.current(sealed))
}

// current reports whether a value was sealed with the key that seals now.
func (s *Store) current(value string) bool {
	data := s.keys.Ring().Data
	id, _ := data.KeyOf(value)
	return id == data.KeyID()
}

// renewed returns a record in the form that it would get now.
func (s *Store) renewed(ctx context.Context, now time.Time, old store.Record) (store.Record, error) {
	if old.Grant != nil {
		g, err := s.openGrant(ctx, now, old.Grant.Grant)
		if err == nil {
			g, err = s.sealGrant(g)
		}
		return store.Record{Grant: &store.GrantRecord{Grant: g, Keep: old.Grant.Keep}}, err
	}
	c := *old.Client
	text, err := s.openText(ctx, now, keys.PurposeMetadata, c.Key, c.Metadata)
	if err == nil {
		c.Metadata, err = s.sealText(keys.PurposeMetadata, c.Key, text)
	}
	return store.Record{Client: &c}, err
}
