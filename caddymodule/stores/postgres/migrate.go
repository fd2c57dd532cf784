package postgres

import (
	"context"
	_ "embed" // the layouts
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

//go:embed migrations/0001_first.sql
var layout1 string

// layout is one step of the schema: what makes it of the one before.
type layout struct {
	// sql are the statements, for the schema mcp_auth.
	sql string
	// serves is the oldest layout whose programs may go on beside this one.
	serves int
}

// layouts are all there were; the number of a layout is its place, from 1. What
// was released is never edited. See doc.go for what a new one may do.
var layouts = []layout{{sql: layout1, serves: 1}}

// migrate brings the schema to the newest of the layouts known. Of several nodes
// one does it, and the others wait for it.
func (s *Store) migrate(ctx context.Context, conn *pgx.Conn, known []layout) error {
	at, serves, err := s.layoutOf(ctx, conn)
	if err != nil {
		return err
	}
	if at >= len(known) {
		return s.checkLayout(at, serves, len(known))
	}
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{BeginQuery: begin}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", lockKey(s.options.Schema)); err != nil {
			return err
		}
		at, serves, err := s.layoutOf(ctx, tx) // somebody may have been here first
		if err != nil {
			return err
		}
		if at >= len(known) {
			return s.checkLayout(at, serves, len(known))
		}
		if at == 0 {
			if err := s.createSchema(ctx, tx); err != nil {
				return err
			}
		}
		for i, l := range known[at:] {
			if _, err := tx.Exec(ctx, s.sql.in(l.sql)); err != nil {
				return fmt.Errorf("making layout %d: %w", at+i+1, err)
			}
		}
		last := known[len(known)-1]
		_, err = tx.Exec(ctx, s.sql.in(`INSERT INTO mcp_auth.layout AS l (layout, serves) VALUES ($1, $2)
			ON CONFLICT (one) DO UPDATE SET layout = excluded.layout, serves = excluded.serves, changed = now()`), len(known), last.serves)
		if err == nil {
			s.logger.Info("the database has a new layout", zap.String("schema", s.options.Schema), zap.Int("from", at), zap.Int("to", len(known)))
		}
		return err
	})
}

// createSchema makes the schema unless it is there, which a user may rely on who
// must not make one.
func (s *Store) createSchema(ctx context.Context, tx pgx.Tx) error {
	var there bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", s.options.Schema).Scan(&there); err != nil || there {
		return err
	}
	_, err := tx.Exec(ctx, "CREATE SCHEMA "+s.options.Schema)
	return err
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// layoutOf returns the schema's layout, 0 if there is none, and the oldest whose
// programs it serves.
func (s *Store) layoutOf(ctx context.Context, q querier) (at, serves int, err error) {
	var there bool
	// Not to_regclass: it goes by a cache that does not learn of others' tables
	// while this transaction waits for its lock.
	const look = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'layout')"
	if err := q.QueryRow(ctx, look, s.options.Schema).Scan(&there); err != nil || !there {
		return 0, 0, err
	}
	err = q.QueryRow(ctx, s.sql.in("SELECT layout, serves FROM mcp_auth.layout")).Scan(&at, &serves)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("%w: the table %s.layout is empty: another program's, or damaged; restore a backup, or name another schema", store.ErrRefused, s.options.Schema)
	}
	return at, serves, err
}

// checkLayout refuses a layout that a newer program made and that this one
// would get wrong.
func (s *Store) checkLayout(at, serves, known int) error {
	switch {
	case known < serves:
		return fmt.Errorf("%w: the schema %s was written by a newer version of this program (layout %d, this one knows %d): "+
			"run the newer version, or restore a backup from before", store.ErrRefused, s.options.Schema, at, known)
	case at > known:
		s.logger.Info("the database has a layout of a newer version, which serves this one too",
			zap.String("schema", s.options.Schema), zap.Int("layout", at), zap.Int("known", known))
	}
	return nil
}

// lockKey is the advisory lock of a schema's migrations.
func lockKey(schema string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("caddy-mcp-auth " + schema)) // never fails
	return int64(h.Sum64())
}
