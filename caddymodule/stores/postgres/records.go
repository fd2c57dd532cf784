package postgres

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// walk lists the tables that Records reads, in this order, and how. A cursor of
// Records is a table's place here and the key of the last record, in base64url.
var walk = []struct {
	statement string
	read      func(row pgx.CollectableRow) (placed, error)
}{
	{"SELECT " + clientColumns + " FROM mcp_auth.clients WHERE key > $1 ORDER BY key LIMIT $2", readClient},
	{"SELECT seq, until, body FROM mcp_auth.revocations WHERE seq > $1::text::bigint ORDER BY seq LIMIT $2", readEntry},
	{"SELECT " + grantColumns + " FROM mcp_auth.grants WHERE id > $1 ORDER BY id LIMIT $2", readGrant},
	{"SELECT hash, first, until FROM mcp_auth.used WHERE hash > $1 ORDER BY hash LIMIT $2", readUse},
}

// walkEntries is the place of the feed in walk, whose keys are numbers.
const walkEntries = 1

// placed is a record and its key.
type placed struct {
	record store.Record
	key    string
}

// Records implements [store.Store].
func (s *Store) Records(ctx context.Context, after string, limit int) ([]store.Record, string, error) {
	at, key, err := parsePlace(after)
	if err != nil {
		return nil, "", err
	}
	var out []store.Record
	next := ""
	for limit = max(limit, 1); at < len(walk); at, key = at+1, "" {
		page, err := s.page(ctx, at, key, limit-len(out)+1) // one more tells whether there are more
		if err != nil {
			return nil, "", err
		}
		for _, p := range page {
			if len(out) == limit {
				return out, next, nil
			}
			out, next = append(out, p.record), place(at, p.key)
		}
	}
	return out, "", nil
}

// page reads the records of one table after a key.
func (s *Store) page(ctx context.Context, at int, key string, limit int) ([]placed, error) {
	if at == walkEntries && key == "" {
		key = "0"
	}
	var out []placed
	err := s.step(ctx, bulkFactor*s.options.Timeout, "reading records", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.sql.in(walk[at].statement), key, limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, walk[at].read)
		return err
	})
	return out, err
}

// place is a cursor of Records.
func place(table int, key string) string {
	return strconv.Itoa(table) + base64.RawURLEncoding.EncodeToString([]byte(key))
}

func parsePlace(cursor string) (table int, key string, err error) {
	if cursor == "" {
		return 0, "", nil
	}
	table = int(cursor[0]) - '0'
	raw, err := base64.RawURLEncoding.DecodeString(cursor[1:])
	if err != nil || table < 0 || table >= len(walk) || checkText(string(raw)) != nil {
		return 0, "", fmt.Errorf("postgres: %q is no cursor of this store's records", cursor)
	}
	if _, err := strconv.ParseInt(string(raw), 10, 64); table == walkEntries && err != nil {
		return 0, "", fmt.Errorf("postgres: %q is no cursor of this store's records", cursor)
	}
	return table, string(raw), nil
}

func readClient(row pgx.CollectableRow) (placed, error) {
	c, err := scanClient(row)
	return placed{store.Record{Client: &c}, c.Key}, err
}

func readEntry(row pgx.CollectableRow) (placed, error) {
	var e entry
	var seq int64
	if err := row.Scan(&seq, &e.until, &e.body); err != nil {
		return placed{}, err
	}
	r, err := e.revocation()
	return placed{store.Record{Revocation: &r}, strconv.FormatInt(seq, 10)}, err
}

func readGrant(row pgx.CollectableRow) (placed, error) {
	g, err := scanGrant(row)
	return placed{store.Record{Grant: &g}, g.ID}, err
}

func readUse(row pgx.CollectableRow) (placed, error) {
	var u store.UseRecord
	err := row.Scan(&u.Hash, &u.First, &u.Until)
	u.First, u.Until = u.First.UTC(), u.Until.UTC()
	return placed{store.Record{Use: &u}, u.Hash}, err
}

// Restore implements [store.Store]. All of it is one transaction, sent in one go.
func (s *Store) Restore(ctx context.Context, records []store.Record) error {
	var batch pgx.Batch
	for _, r := range records {
		if err := r.Check(); err != nil {
			return err
		}
		statement, args, err := s.restore(r)
		if err != nil {
			return err
		}
		batch.Queue(s.sql.in(statement), args...)
	}
	if batch.Len() == 0 {
		return ctx.Err()
	}
	err := s.bulk(ctx, "restoring records", func(ctx context.Context) error {
		return s.transaction(ctx, func(tx pgx.Tx) error { return tx.SendBatch(ctx, &batch).Close() })
	})
	if err == nil {
		s.listener.wake()
	}
	return err
}

// restore returns the statement that keeps a record, one that Check found right.
func (s *Store) restore(r store.Record) (statement string, args []any, err error) {
	switch {
	case r.Grant != nil:
		args, err = grantArgs(*r.Grant)
		return replaceGrant, args, err
	case r.Client != nil:
		args, err = clientArgs(*r.Client)
		return replaceClient, args, err
	case r.Use != nil:
		return replaceUse, []any{r.Use.Hash, moment(r.Use.First), moment(r.Use.Until)}, checkText(r.Use.Hash)
	default:
		e, err := newEntry(*r.Revocation)
		return appendFeed, []any{newMark(), e.until, e.body, s.channel}, err
	}
}

// Reseal implements [store.Store].
func (s *Store) Reseal(ctx context.Context, old, next store.Record) error {
	if err := store.CheckReseal(old, next); err != nil {
		return err
	}
	statement, args, err := s.restore(next)
	if err != nil {
		return err
	}
	return s.write(ctx, "resealing a record", func(ctx context.Context) error {
		return s.transaction(ctx, func(tx pgx.Tx) error {
			same, err := s.lockSame(ctx, tx, old)
			switch {
			case errors.Is(err, pgx.ErrNoRows):
				return store.ErrNotFound
			case err != nil:
				return err
			case !same:
				return store.ErrConflict
			}
			_, err = tx.Exec(ctx, s.sql.in(statement), args...)
			return err
		})
	})
}

// lockSame locks a grant or a client and reports whether it is as it was.
func (s *Store) lockSame(ctx context.Context, tx pgx.Tx, old store.Record) (bool, error) {
	if old.Grant != nil {
		g, err := scanGrant(tx.QueryRow(ctx, s.sql.in(lockGrant), old.Grant.ID))
		return g.Same(*old.Grant), err
	}
	c, err := scanClient(tx.QueryRow(ctx, s.sql.in(oneClient+" FOR UPDATE"), old.Client.Key))
	return c.Same(*old.Client), err
}

// Now implements [store.Store]: the server's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := s.read(ctx, "reading the clock", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	})
	return now.UTC(), err
}
