package authserver

import (
	"context"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// brokenClients is a store whose records of clients fail.
type brokenClients struct {
	store.Store
	read, write, announce error
	before                func() // happens once, before the next record is written
}

func (b *brokenClients) Client(ctx context.Context, key string) (store.ClientRecord, error) {
	if b.read != nil {
		return store.ClientRecord{}, b.read
	}
	return b.Store.Client(ctx, key)
}

func (b *brokenClients) PutClient(ctx context.Context, now time.Time, rec store.ClientRecord) error {
	if happens := b.before; happens != nil {
		b.before = nil
		happens()
	}
	if b.write != nil {
		return b.write
	}
	return b.Store.PutClient(ctx, now, rec)
}

func (b *brokenClients) Announce(ctx context.Context, now time.Time, r store.Revocation) error {
	if b.announce != nil {
		return b.announce
	}
	return b.Store.Announce(ctx, now, r)
}

type countingStore struct {
	store.Store
	writes int
}

func (c *countingStore) Use(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
	c.writes++
	return c.Store.Use(ctx, now, key, until)
}

func (c *countingStore) PutClient(ctx context.Context, now time.Time, rec store.ClientRecord) error {
	c.writes++
	return c.Store.PutClient(ctx, now, rec)
}

func (c *countingStore) Announce(ctx context.Context, now time.Time, r store.Revocation) error {
	c.writes++
	return c.Store.Announce(ctx, now, r)
}
