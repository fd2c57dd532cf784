package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	clientColumns = "key, version, metadata, changed, deleted"
	insertClient  = "INSERT INTO mcp_auth.clients (" + clientColumns + ") VALUES ($1, $2, $3, $4, $5)"
	// replaceClient keeps a client in the place of what is there.
	replaceClient = insertClient + ` ON CONFLICT (key) DO UPDATE SET version = excluded.version, metadata = excluded.metadata,
		changed = excluded.changed, deleted = excluded.deleted`
	newClient  = insertClient + " ON CONFLICT (key) DO NOTHING"
	nextClient = `UPDATE mcp_auth.clients SET version = $2, metadata = $3, changed = $4, deleted = $5
		WHERE key = $1 AND version = $2::bigint - 1 AND NOT deleted`
	oneClient = "SELECT " + clientColumns + " FROM mcp_auth.clients WHERE key = $1"
)

// clientArgs returns the values of clientColumns.
func clientArgs(c store.ClientRecord) ([]any, error) {
	if err := checkText(c.Key, c.Metadata); err != nil {
		return nil, err
	}
	return []any{c.Key, int64(c.Version), c.Metadata, moment(c.Changed), c.Deleted}, nil
}

// scanClient reads clientColumns.
func scanClient(row pgx.Row) (store.ClientRecord, error) {
	var c store.ClientRecord
	var version int64
	err := row.Scan(&c.Key, &version, &c.Metadata, &c.Changed, &c.Deleted)
	c.Version, c.Changed = uint64(version), c.Changed.UTC()
	return c, err
}

// Client implements [store.Store].
func (s *Store) Client(ctx context.Context, key string) (store.ClientRecord, error) {
	if err := checkText(key); err != nil {
		return store.ClientRecord{}, err
	}
	var c store.ClientRecord
	err := s.read(ctx, "reading a client", func(ctx context.Context) (err error) {
		c, err = scanClient(s.pool.QueryRow(ctx, s.sql.in(oneClient), key))
		if errors.Is(err, pgx.ErrNoRows) {
			return store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return store.ClientRecord{}, err
	}
	return c, nil
}

// PutClient implements [store.Store].
func (s *Store) PutClient(ctx context.Context, _ time.Time, rec store.ClientRecord) error {
	args, err := clientArgs(rec)
	if err != nil {
		return err
	}
	statement := nextClient
	if rec.Version == 1 {
		statement = newClient
	}
	return s.write(ctx, "changing a client", func(ctx context.Context) error {
		// No record has a version as high as those that the database can't count on
		// from, and none has 0.
		if rec.Version == 0 || rec.Version > 1<<63-1 {
			return store.ErrConflict
		}
		n, err := s.exec(ctx, statement, args...)
		if err == nil && n == 0 {
			return store.ErrConflict
		}
		return err
	})
}
