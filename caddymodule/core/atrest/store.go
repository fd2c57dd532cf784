package atrest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Store is a store.Store that seals what goes to another one and opens what
// comes from it. Where the manager has no secret it seals nothing, and still
// opens what other nodes have sealed.
//
// Records, Restore and Reseal are about the sealed form: they are for copying a
// store and for the Resealer.
type Store struct {
	// inner has every method of the contract; one that is new there does not
	// compile until somebody has decided what of it is sealed.
	inner   store.Store
	keys    *keys.Manager
	damaged func(error)
}

// Option is something about a Store that may stay as it is.
type Option func(*Store)

// OnDamage has f called with what no caller gets as an error, because others would
// be held up by it: an entry of the feed that does not open. The error names nobody.
// The feed passes each entry once, so f is called once for it by whoever follows the
// feed; f may be called by many at once. Default: nobody is told.
func OnDamage(f func(error)) Option { return func(s *Store) { s.damaged = f } }

// New returns a Store over inner. The manager's ring is the one that inner keeps.
func New(inner store.Store, ring *keys.Manager, options ...Option) *Store {
	s := &Store{inner: inner, keys: ring, damaged: func(error) {}}
	for _, o := range options {
		o(s)
	}
	return s
}

// CreateGrant implements [store.Store].
func (s *Store) CreateGrant(ctx context.Context, now time.Time, g store.Grant) error {
	sealed, err := s.sealGrant(g)
	if err != nil {
		return err
	}
	return s.inner.CreateGrant(ctx, now, sealed)
}

// Grant implements [store.Store].
func (s *Store) Grant(ctx context.Context, now time.Time, id string) (store.Grant, error) {
	g, err := s.inner.Grant(ctx, now, id)
	return s.opened(ctx, now, g, err)
}

// RotateGrant implements [store.Store].
func (s *Store) RotateGrant(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
	from, err := s.sealText(keys.PurposeUsedFrom, r.ID, r.UsedFrom)
	if err != nil {
		return store.Grant{}, err
	}
	r.UsedFrom = from
	g, err := s.inner.RotateGrant(ctx, now, r)
	return s.opened(ctx, now, g, err)
}

// opened opens what a method of the inner store returned: a grant, if there is
// no error or one that comes with it.
func (s *Store) opened(ctx context.Context, now time.Time, g store.Grant, err error) (store.Grant, error) {
	if err != nil && !errors.Is(err, store.ErrRevoked) && !errors.Is(err, store.ErrConflict) {
		return store.Grant{}, err
	}
	g, failed := s.openGrant(ctx, now, g)
	switch {
	case errors.Is(failed, errKeyGone):
		return store.Grant{}, store.ErrNotFound
	case failed != nil:
		return store.Grant{}, failed
	}
	return g, err
}

// RevokeGrant implements [store.Store].
func (s *Store) RevokeGrant(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
	r, err := s.sealRevocation(r)
	if err != nil {
		return false, err
	}
	return s.inner.RevokeGrant(ctx, now, r)
}

// Grants implements [store.Store]. It looks for every name that the person may
// have in the inner store: in the clear first and the newest last, the way that
// the Resealer moves grants, so that it misses none that moves meanwhile.
func (s *Store) Grants(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
	names := s.keys.Ring().PersonNames(subject)
	slices.Reverse(names)
	byID := map[string]store.Grant{}
	for _, name := range append([]string{subject}, names...) {
		grants, err := s.inner.Grants(ctx, now, name, limit)
		if err != nil {
			return nil, err
		}
		for _, g := range grants {
			// Somebody whose subject is another's hash gets nothing of the other's.
			if (g.Sealed == "") != (name == subject) {
				continue
			}
			if g, err = s.openGrant(ctx, now, g); errors.Is(err, errKeyGone) {
				continue
			} else if err != nil {
				return nil, err
			}
			if g.User.Subject != subject {
				return nil, fmt.Errorf("atrest: grant %q is kept under another person than its own", g.ID)
			}
			byID[g.ID] = g
		}
	}
	out := make([]store.Grant, 0, len(byID))
	for _, g := range byID {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b store.Grant) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return out[:min(len(out), max(limit, 0))], nil
}

// TouchGrants implements [store.Store].
func (s *Store) TouchGrants(ctx context.Context, now time.Time, uses []store.GrantUse) error {
	sealed := make([]store.GrantUse, len(uses))
	for i, u := range uses {
		from, err := s.sealText(keys.PurposeUsedFrom, u.GrantID, u.From)
		if err != nil {
			return err
		}
		u.From = from
		sealed[i] = u
	}
	return s.inner.TouchGrants(ctx, now, sealed)
}

// Announce implements [store.Store].
func (s *Store) Announce(ctx context.Context, now time.Time, r store.Revocation) error {
	r, err := s.sealRevocation(r)
	if err != nil {
		return err
	}
	return s.inner.Announce(ctx, now, r)
}

// Client implements [store.Store]. A client whose key is gone counts as deleted. It
// is there, so it is not "not found": that would mean that the client was never
// changed, and its first registration would count again, with redirect URIs that
// it has given up since, or although it was deleted. Nor is it an outage, which
// would never end. A client that is deleted registers again.
func (s *Store) Client(ctx context.Context, key string) (store.ClientRecord, error) {
	rec, err := s.inner.Client(ctx, key)
	if err != nil {
		return store.ClientRecord{}, err
	}
	// Without a caller's now: the ring is read for its keys, whatever the time.
	metadata, err := s.openText(ctx, time.Now(), keys.PurposeMetadata, rec.Key, rec.Metadata)
	switch {
	case errors.Is(err, errKeyGone):
		rec.Metadata, rec.Deleted = "", true
		return rec, nil
	case err != nil:
		return store.ClientRecord{}, err
	}
	rec.Metadata = metadata
	return rec, nil
}

// PutClient implements [store.Store].
func (s *Store) PutClient(ctx context.Context, now time.Time, rec store.ClientRecord) error {
	metadata, err := s.sealText(keys.PurposeMetadata, rec.Key, rec.Metadata)
	if err != nil {
		return err
	}
	rec.Metadata = metadata
	return s.inner.PutClient(ctx, now, rec)
}

// Revocations implements [store.Store]. Nothing about one entry withholds another.
// An entry about a person that does not open comes with the subject that is kept:
// it ends nobody's sessions, but for somebody who is really called so and was
// announced in the clear. Damage is told to whom OnDamage names. Nobody is told of
// an entry whose key is gone: the sessions that it ends were sealed with it too.
//
// If it is not known yet whether an entry opens, because the ring can't be read, it
// returns the others with the error, and the cursor that it was given.
func (s *Store) Revocations(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
	entries, cursor, err := s.inner.Revocations(ctx, now, after)
	if err != nil {
		return nil, "", err
	}
	var outage error
	out := entries[:0]
	for _, r := range entries {
		subject, err := s.openText(ctx, now, keys.PurposePerson, "", r.Subject)
		switch {
		case errors.Is(err, errDamaged):
			s.damaged(fmt.Errorf("a person's revocation of %s, reason %q, has no effect: %w", r.Before.UTC().Format(time.RFC3339), r.Reason, err))
		case errors.Is(err, errKeyGone):
		case err != nil:
			outage = err
			continue
		default:
			r.Subject = subject
		}
		out = append(out, r)
	}
	if outage != nil {
		return out, after, fmt.Errorf("atrest: reading who was signed out: %w", outage)
	}
	return out, cursor, nil
}

// Interface guard.
var _ store.Store = (*Store)(nil)
