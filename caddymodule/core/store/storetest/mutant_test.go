package storetest_test

import (
	"context"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// The methods of mutant: each calls what is in its place, if anything is.

func (m *mutant) CreateGrant(ctx context.Context, now time.Time, g store.Grant) error {
	if m.create != nil {
		return m.create(ctx, now, g)
	}
	return m.Store.CreateGrant(ctx, now, g)
}

func (m *mutant) Grant(ctx context.Context, now time.Time, id string) (store.Grant, error) {
	if m.grant != nil {
		return m.grant(ctx, now, id)
	}
	g, err := m.Store.Grant(ctx, now, id)
	return m.looks(g), err
}

// looks returns what is made of a grant.
func (m *mutant) looks(g store.Grant) store.Grant {
	if m.look == nil {
		return g
	}
	return m.look(g)
}

func (m *mutant) Grants(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
	if m.grants != nil {
		return m.grants(ctx, now, subject, limit)
	}
	grants, err := m.Store.Grants(ctx, now, subject, limit)
	for i := range grants {
		grants[i] = m.looks(grants[i])
	}
	return grants, err
}

func (m *mutant) TouchGrants(ctx context.Context, now time.Time, uses []store.GrantUse) error {
	if m.touch != nil {
		return m.touch(ctx, now, uses)
	}
	return m.Store.TouchGrants(ctx, now, uses)
}

func (m *mutant) Use(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
	if m.use != nil {
		return m.use(ctx, now, key, until)
	}
	return m.Store.Use(ctx, now, key, until)
}

func (m *mutant) Announce(ctx context.Context, now time.Time, r store.Revocation) error {
	if m.end != nil {
		return m.end(ctx, now, r)
	}
	return m.Store.Announce(ctx, now, r)
}

func (m *mutant) Client(ctx context.Context, key string) (store.ClientRecord, error) {
	if m.client != nil {
		return m.client(ctx, key)
	}
	return m.Store.Client(ctx, key)
}

func (m *mutant) PutClient(ctx context.Context, now time.Time, rec store.ClientRecord) error {
	if m.put != nil {
		return m.put(ctx, now, rec)
	}
	return m.Store.PutClient(ctx, now, rec)
}

func (m *mutant) RotateGrant(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
	if m.rotate != nil {
		return m.rotate(ctx, now, r)
	}
	g, err := m.Store.RotateGrant(ctx, now, r)
	return m.looks(g), err
}

func (m *mutant) RevokeGrant(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
	if m.revoke != nil {
		return m.revoke(ctx, now, r)
	}
	return m.Store.RevokeGrant(ctx, now, r)
}

func (m *mutant) Revocations(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
	if m.revocations != nil {
		return m.revocations(ctx, now, after)
	}
	return m.Store.Revocations(ctx, now, after)
}

func (m *mutant) SwapKeyRing(ctx context.Context, version uint64, ring []byte) (uint64, error) {
	if m.swap != nil {
		return m.swap(ctx, version, ring)
	}
	return m.Store.SwapKeyRing(ctx, version, ring)
}

func (m *mutant) Sweep(ctx context.Context, now time.Time) (int, error) {
	if m.sweep != nil {
		return m.sweep(ctx, now)
	}
	return m.Store.Sweep(ctx, now)
}

func (m *mutant) Await(ctx context.Context, after string) error {
	if m.await != nil {
		return m.await(ctx, after)
	}
	return m.Store.Await(ctx, after)
}

func (m *mutant) Records(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
	if m.records != nil {
		return m.records(ctx, after, limit)
	}
	return m.Store.Records(ctx, after, limit)
}

func (m *mutant) Restore(ctx context.Context, records []store.Record) error {
	if m.restore != nil {
		return m.restore(ctx, records)
	}
	return m.Store.Restore(ctx, records)
}

func (m *mutant) Reseal(ctx context.Context, old, next store.Record) error {
	if m.reseal != nil {
		return m.reseal(ctx, old, next)
	}
	return m.Store.Reseal(ctx, old, next)
}

func (m *mutant) Now(ctx context.Context) (time.Time, error) {
	if m.now != nil {
		return m.now(ctx)
	}
	return m.Store.Now(ctx)
}
