package store

import (
	"context"
	"time"
)

// OpAwait is the name of the one call that is meant to take long.
const OpAwait = "await"

// opPing is the name of the one call that is about no record.
const opPing = "ping"

// Around makes one call of a store, or does something else in its place. op is the
// name of the method in lower case words joined by underscores, such as
// create_grant. What it returns is the error that the caller of the store gets.
type Around func(ctx context.Context, op string, call func(context.Context) error) error

// intercepted is a store whose calls all go through one function.
type intercepted struct {
	Store
	do Around
}

// Intercept returns a store whose calls all go through around.
func Intercept(s Store, around Around) Store { return &intercepted{s, around} }

// CreateGrant implements [Store].
func (i *intercepted) CreateGrant(ctx context.Context, now time.Time, g Grant) error {
	return i.do(ctx, "create_grant", func(ctx context.Context) error { return i.Store.CreateGrant(ctx, now, g) })
}

// Grant implements [Store].
func (i *intercepted) Grant(ctx context.Context, now time.Time, id string) (g Grant, err error) {
	err = i.do(ctx, "grant", func(ctx context.Context) (err error) {
		g, err = i.Store.Grant(ctx, now, id)
		return err
	})
	return g, err
}

// RotateGrant implements [Store].
func (i *intercepted) RotateGrant(ctx context.Context, now time.Time, r Rotation) (g Grant, err error) {
	err = i.do(ctx, "rotate_grant", func(ctx context.Context) (err error) {
		g, err = i.Store.RotateGrant(ctx, now, r)
		return err
	})
	return g, err
}

// RevokeGrant implements [Store].
func (i *intercepted) RevokeGrant(ctx context.Context, now time.Time, r Revocation) (done bool, err error) {
	err = i.do(ctx, "revoke_grant", func(ctx context.Context) (err error) {
		done, err = i.Store.RevokeGrant(ctx, now, r)
		return err
	})
	return done, err
}

// Grants implements [Store].
func (i *intercepted) Grants(ctx context.Context, now time.Time, subject string, limit int) (all []Grant, err error) {
	err = i.do(ctx, "grants", func(ctx context.Context) (err error) {
		all, err = i.Store.Grants(ctx, now, subject, limit)
		return err
	})
	return all, err
}

// TouchGrants implements [Store].
func (i *intercepted) TouchGrants(ctx context.Context, now time.Time, uses []GrantUse) error {
	return i.do(ctx, "touch_grants", func(ctx context.Context) error { return i.Store.TouchGrants(ctx, now, uses) })
}

// Use implements [Store].
func (i *intercepted) Use(ctx context.Context, now time.Time, key string, until time.Time) (first time.Time, err error) {
	err = i.do(ctx, "use", func(ctx context.Context) (err error) {
		first, err = i.Store.Use(ctx, now, key, until)
		return err
	})
	return first, err
}

// Announce implements [Store].
func (i *intercepted) Announce(ctx context.Context, now time.Time, r Revocation) error {
	return i.do(ctx, "announce", func(ctx context.Context) error { return i.Store.Announce(ctx, now, r) })
}

// Client implements [Store].
func (i *intercepted) Client(ctx context.Context, key string) (rec ClientRecord, err error) {
	err = i.do(ctx, "client", func(ctx context.Context) (err error) {
		rec, err = i.Store.Client(ctx, key)
		return err
	})
	return rec, err
}

// PutClient implements [Store].
func (i *intercepted) PutClient(ctx context.Context, now time.Time, rec ClientRecord) error {
	return i.do(ctx, "put_client", func(ctx context.Context) error { return i.Store.PutClient(ctx, now, rec) })
}

// Revocations implements [Store].
func (i *intercepted) Revocations(ctx context.Context, now time.Time, after string) (all []Revocation, next string, err error) {
	err = i.do(ctx, "revocations", func(ctx context.Context) (err error) {
		all, next, err = i.Store.Revocations(ctx, now, after)
		return err
	})
	return all, next, err
}

// KeyRing implements [Store].
func (i *intercepted) KeyRing(ctx context.Context) (ring []byte, version uint64, err error) {
	err = i.do(ctx, "key_ring", func(ctx context.Context) (err error) {
		ring, version, err = i.Store.KeyRing(ctx)
		return err
	})
	return ring, version, err
}

// SwapKeyRing implements [Store].
func (i *intercepted) SwapKeyRing(ctx context.Context, version uint64, ring []byte) (next uint64, err error) {
	err = i.do(ctx, "swap_key_ring", func(ctx context.Context) (err error) {
		next, err = i.Store.SwapKeyRing(ctx, version, ring)
		return err
	})
	return next, err
}

// Records implements [Store].
func (i *intercepted) Records(ctx context.Context, after string, limit int) (all []Record, next string, err error) {
	err = i.do(ctx, "records", func(ctx context.Context) (err error) {
		all, next, err = i.Store.Records(ctx, after, limit)
		return err
	})
	return all, next, err
}

// Restore implements [Store].
func (i *intercepted) Restore(ctx context.Context, records []Record) error {
	return i.do(ctx, "restore", func(ctx context.Context) error { return i.Store.Restore(ctx, records) })
}

// Reseal implements [Store].
func (i *intercepted) Reseal(ctx context.Context, old, next Record) error {
	return i.do(ctx, "reseal", func(ctx context.Context) error { return i.Store.Reseal(ctx, old, next) })
}

// Now implements [Store].
func (i *intercepted) Now(ctx context.Context) (now time.Time, err error) {
	err = i.do(ctx, "now", func(ctx context.Context) (err error) {
		now, err = i.Store.Now(ctx)
		return err
	})
	return now, err
}

// Sweep implements [Store].
func (i *intercepted) Sweep(ctx context.Context, now time.Time) (n int, err error) {
	err = i.do(ctx, "sweep", func(ctx context.Context) (err error) {
		n, err = i.Store.Sweep(ctx, now)
		return err
	})
	return n, err
}

// Await implements [Store].
func (i *intercepted) Await(ctx context.Context, after string) error {
	return i.do(ctx, OpAwait, func(ctx context.Context) error { return i.Store.Await(ctx, after) })
}

// Ping implements [Store].
func (i *intercepted) Ping(ctx context.Context) error {
	return i.do(ctx, opPing, i.Store.Ping)
}

// Interface guard.
var _ Store = (*intercepted)(nil)
