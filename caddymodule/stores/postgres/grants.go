package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	insertGrant = "INSERT INTO mcp_auth.grants AS g (" + grantColumns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
	// replaceGrant puts all of it in the place of what is there.
	replaceGrant = insertGrant + ` ON CONFLICT (id) DO UPDATE SET subject = excluded.subject, created = excluded.created,
		generation = excluded.generation, rotated_at = excluded.rotated_at, expires = excluded.expires, used_at = excluded.used_at,
		used_from = excluded.used_from, revoked = excluded.revoked, keep = excluded.keep, body = excluded.body`
	createGrant = replaceGrant + " WHERE g.due <= $12"
	liveGrant   = "SELECT " + grantColumns + " FROM mcp_auth.grants WHERE id = $1 AND due > $2"
	lockGrant   = "SELECT " + grantColumns + " FROM mcp_auth.grants WHERE id = $1 FOR UPDATE"
	rotateGrant = `UPDATE mcp_auth.grants SET generation = $4, rotated_at = $2, expires = $5, used_at = $2, used_from = $6
		WHERE id = $1 AND due > $2 AND revoked IS NULL AND generation = $3 RETURNING ` + grantColumns
	revokeGrant = `UPDATE mcp_auth.grants SET revoked = $2, keep = $3 WHERE id = $1 AND due > $2 AND revoked IS NULL`
	listGrants  = "SELECT " + grantColumns + ` FROM mcp_auth.grants WHERE subject = $1 AND revoked IS NULL AND due > $2
		ORDER BY created DESC, id LIMIT $3`
	// touchGrants takes the rows in the order of their ids, so that no two wait for
	// each other.
	touchGrants = `WITH uses AS MATERIALIZED (
			SELECT * FROM unnest($2::text[], $3::timestamptz[], $4::text[]) AS u (id, at, source)
		), taken AS MATERIALIZED (
			SELECT g.id FROM mcp_auth.grants g JOIN uses u ON u.id = g.id
			WHERE g.due > $1 AND g.revoked IS NULL AND g.used_at < u.at ORDER BY g.id FOR NO KEY UPDATE OF g
		)
		UPDATE mcp_auth.grants g SET used_at = u.at, used_from = u.source FROM uses u, taken t
		WHERE t.id = g.id AND u.id = g.id AND g.due > $1 AND g.revoked IS NULL AND g.used_at < u.at`
)

// CreateGrant implements [store.Store].
func (s *Store) CreateGrant(ctx context.Context, now time.Time, g store.Grant) error {
	args, err := grantArgs(store.GrantRecord{Grant: g})
	if err != nil {
		return err
	}
	args = append(args, moment(now))
	return s.write(ctx, "creating a grant", func(ctx context.Context) error {
		n, err := s.exec(ctx, createGrant, args...)
		if err == nil && n == 0 {
			return store.ErrExists
		}
		return err
	})
}

// Grant implements [store.Store].
func (s *Store) Grant(ctx context.Context, now time.Time, id string) (store.Grant, error) {
	if err := checkText(id); err != nil {
		return store.Grant{}, err
	}
	var g store.GrantRecord
	err := s.read(ctx, "reading a grant", func(ctx context.Context) (err error) {
		g, err = s.live(ctx, now, id)
		return err
	})
	if err == nil && !g.Revoked.IsZero() {
		err = store.ErrRevoked
	}
	return g.Grant, err
}

// live reads a grant that has not expired.
func (s *Store) live(ctx context.Context, now time.Time, id string) (store.GrantRecord, error) {
	g, err := scanGrant(s.pool.QueryRow(ctx, s.sql.in(liveGrant), id, moment(now)))
	if errors.Is(err, pgx.ErrNoRows) {
		err = store.ErrNotFound
	}
	return g, err
}

// RotateGrant implements [store.Store].
func (s *Store) RotateGrant(ctx context.Context, now time.Time, r store.Rotation) (store.Grant, error) {
	if err := checkText(r.ID, r.UsedFrom); err != nil {
		return store.Grant{}, err
	}
	var g store.GrantRecord
	err := s.write(ctx, "rotating a grant", func(ctx context.Context) (err error) {
		g, err = s.rotate(ctx, now, r)
		return err
	})
	if err != nil && !isVerdict(err) {
		return store.Grant{}, err
	}
	return g.Grant, err
}

// rotate is one statement, and another one that says why it did nothing.
func (s *Store) rotate(ctx context.Context, now time.Time, r store.Rotation) (store.GrantRecord, error) {
	for range attempts {
		g, err := scanGrant(s.pool.QueryRow(ctx, s.sql.in(rotateGrant),
			r.ID, moment(now), int64(r.From), int64(r.From+1), moment(r.Expires), r.UsedFrom))
		if !errors.Is(err, pgx.ErrNoRows) {
			return g, err
		}
		g, err = s.live(ctx, now, r.ID)
		switch {
		case err != nil:
			return g, err
		case !g.Revoked.IsZero():
			return g, store.ErrRevoked
		case g.Generation != r.From:
			return g, store.ErrConflict
		}
		// It was put there in between.
	}
	return store.GrantRecord{}, fmt.Errorf("postgres: the grant changed %d times while it was rotated", attempts)
}

// RevokeGrant implements [store.Store].
func (s *Store) RevokeGrant(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
	e, err := newEntry(r)
	if err != nil {
		return false, err
	}
	err = s.write(ctx, "revoking a grant", func(ctx context.Context) error {
		return s.transaction(ctx, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, s.sql.in(revokeGrant), r.GrantID, moment(now), moment(r.Until))
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				// The lock that it waited for is gone, so this sees what others did.
				if _, err := scanGrant(tx.QueryRow(ctx, s.sql.in(liveGrant), r.GrantID, moment(now))); errors.Is(err, pgx.ErrNoRows) {
					return store.ErrNotFound
				} else if err != nil {
					return err
				}
				return errUnchanged
			}
			return s.appendEntry(ctx, tx, e)
		})
	})
	switch {
	case errors.Is(err, errUnchanged):
		return false, nil
	case err != nil:
		return false, err
	}
	s.listener.wake()
	return true, nil
}

// Grants implements [store.Store].
func (s *Store) Grants(ctx context.Context, now time.Time, subject string, limit int) ([]store.Grant, error) {
	if err := checkText(subject); err != nil {
		return nil, err
	}
	var out []store.Grant
	err := s.read(ctx, "listing grants", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.sql.in(listGrants), subject, moment(now), max(limit, 0))
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Grant, error) {
			g, err := scanGrant(row)
			return g.Grant, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// TouchGrants implements [store.Store].
func (s *Store) TouchGrants(ctx context.Context, now time.Time, uses []store.GrantUse) error {
	last := make(map[string]int, len(uses)) // a row is changed once in a statement
	for i, u := range uses {
		if err := checkText(u.GrantID, u.From); err != nil {
			return err
		}
		if j, ok := last[u.GrantID]; !ok || moment(u.At).After(moment(uses[j].At)) {
			last[u.GrantID] = i
		}
	}
	if len(last) == 0 {
		return ctx.Err()
	}
	ids, at, from := make([]string, 0, len(last)), make([]time.Time, 0, len(last)), make([]string, 0, len(last))
	for id, i := range last {
		ids, at, from = append(ids, id), append(at, moment(uses[i].At)), append(from, uses[i].From)
	}
	return s.bulk(ctx, "noting uses of grants", func(ctx context.Context) error {
		_, err := s.exec(ctx, touchGrants, moment(now), ids, at, from)
		return err
	})
}
