package postgres

import (
	"context"
	"time"
)

const (
	// sweep removes up to 500 records of each kind. Those that somebody is at are
	// left for the next time, so that nodes do not wait for each other.
	sweep = `WITH g AS (
			DELETE FROM mcp_auth.grants WHERE id = ANY (ARRAY(
				SELECT id FROM mcp_auth.grants WHERE due <= $1 ORDER BY due LIMIT 500 FOR UPDATE SKIP LOCKED)) RETURNING 1
		), u AS (
			DELETE FROM mcp_auth.used WHERE hash = ANY (ARRAY(
				SELECT hash FROM mcp_auth.used WHERE until <= $1 ORDER BY until LIMIT 500 FOR UPDATE SKIP LOCKED)) RETURNING 1
		), r AS (
			DELETE FROM mcp_auth.revocations WHERE seq = ANY (ARRAY(
				SELECT seq FROM mcp_auth.revocations WHERE until <= $1 ORDER BY until LIMIT 500 FOR UPDATE SKIP LOCKED)) RETURNING 1
		)
		SELECT (SELECT count(*) FROM g) + (SELECT count(*) FROM u) + (SELECT count(*) FROM r)`
	// ping writes if nobody has for ten seconds. A server that must not be written
	// to refuses it in any case.
	ping = `UPDATE mcp_auth.probe SET at = clock_timestamp()
		WHERE at NOT BETWEEN clock_timestamp() - interval '10 seconds' AND clock_timestamp()`
)

// Sweep implements [store.Store].
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	var n int
	err := s.bulk(ctx, "sweeping", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.sql.in(sweep), moment(now)).Scan(&n)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Ping implements [store.Store]. A server that became read-only refuses the
// statement, which gives up the connections to it.
func (s *Store) Ping(ctx context.Context) error {
	return s.write(ctx, "trying to write", func(ctx context.Context) error {
		_, err := s.exec(ctx, ping)
		return err
	})
}
