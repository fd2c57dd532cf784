package atrest

import (
	"context"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// What has nothing personal, or is about the sealed form, goes straight through.

// Use implements [store.Store].
func (s *Store) Use(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
	return s.inner.Use(ctx, now, key, until)
}

// Await implements [store.Store].
func (s *Store) Await(ctx context.Context, after string) error { return s.inner.Await(ctx, after) }

// KeyRing implements [store.Store].
func (s *Store) KeyRing(ctx context.Context) ([]byte, uint64, error) { return s.inner.KeyRing(ctx) }

// SwapKeyRing implements [store.Store].
func (s *Store) SwapKeyRing(ctx context.Context, version uint64, ring []byte) (uint64, error) {
	return s.inner.SwapKeyRing(ctx, version, ring)
}

// Records implements [store.Store], with the records as they are kept.
func (s *Store) Records(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
	return s.inner.Records(ctx, after, limit)
}

// Restore implements [store.Store], with the records as they are kept.
func (s *Store) Restore(ctx context.Context, records []store.Record) error {
	return s.inner.Restore(ctx, records)
}

// Reseal implements [store.Store], with the records as they are kept.
func (s *Store) Reseal(ctx context.Context, old, next store.Record) error {
	return s.inner.Reseal(ctx, old, next)
}

// Now implements [store.Store].
func (s *Store) Now(ctx context.Context) (time.Time, error) { return s.inner.Now(ctx) }

// Sweep implements [store.Store].
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	return s.inner.Sweep(ctx, now)
}

// Ping implements [store.Store].
func (s *Store) Ping(ctx context.Context) error { return s.inner.Ping(ctx) }
