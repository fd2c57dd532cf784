package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	keyRing    = "SELECT ring, version FROM mcp_auth.key_ring"
	newKeyRing = "INSERT INTO mcp_auth.key_ring (version, ring) VALUES (1, $1) ON CONFLICT (one) DO NOTHING"
	swapRing   = "UPDATE mcp_auth.key_ring SET version = version + 1, ring = $1 WHERE version = $2"
)

// KeyRing implements [store.Store].
func (s *Store) KeyRing(ctx context.Context) ([]byte, uint64, error) {
	var ring []byte
	var version int64
	err := s.read(ctx, "reading the key ring", func(ctx context.Context) error {
		err := s.pool.QueryRow(ctx, s.sql.in(keyRing)).Scan(&ring, &version)
		if errors.Is(err, pgx.ErrNoRows) {
			return store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return ring, uint64(version), nil
}

// SwapKeyRing implements [store.Store].
func (s *Store) SwapKeyRing(ctx context.Context, version uint64, ring []byte) (uint64, error) {
	if ring == nil {
		ring = []byte{} // not NULL
	}
	err := s.write(ctx, "changing the key ring", func(ctx context.Context) (err error) {
		var n int64
		if version == 0 {
			n, err = s.exec(ctx, newKeyRing, ring)
		} else {
			n, err = s.exec(ctx, swapRing, ring, int64(version))
		}
		if err == nil && n == 0 {
			return store.ErrConflict
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return version + 1, nil
}
