package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	// appendFeed gives an entry the next number. The row of the feed stays locked
	// until the commit, which is what makes the numbers appear in their order.
	appendFeed = `WITH next AS (
			UPDATE mcp_auth.feed SET last = last + 1, mark = $1 RETURNING last
		), entry AS (
			INSERT INTO mcp_auth.revocations (seq, mark, until, body)
			SELECT last, $1::text, $2::timestamptz, $3::text FROM next RETURNING seq
		)
		SELECT pg_notify($4, '') FROM entry`
	// readFeed joins the feed's one row to the entries after the cursor; the row
	// comes without an entry if there are none. Cursors that are not of this feed
	// begin at 0.
	readFeed = `SELECT f.id, f.last, f.mark, r.until, r.body
		FROM mcp_auth.feed f
		CROSS JOIN LATERAL (SELECT CASE WHEN f.id = $1 AND ((f.last = $2 AND f.mark = $3)
			OR EXISTS (SELECT FROM mcp_auth.revocations k WHERE k.seq = $2 AND k.mark = $3)) THEN $2::bigint ELSE 0 END) AS c (seq)
		LEFT JOIN mcp_auth.revocations r ON r.seq > c.seq AND r.until > $4
		ORDER BY r.seq`
	feedState = "SELECT id, last, mark FROM mcp_auth.feed"
)

// cursor is a place in the feed. The mark is the entry's own, so that a number
// that was given twice, by a database that was taken back to an older state, is
// not mistaken for the first.
type cursor struct {
	id   string
	seq  int64
	mark string
}

// String is the form in which callers have it.
func (c cursor) String() string {
	return c.id + "." + strconv.FormatInt(c.seq, 10) + "." + c.mark
}

// parseCursor reads a cursor; what is none is the beginning.
func parseCursor(text string) cursor {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || checkText(parts...) != nil {
		return cursor{}
	}
	seq, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return cursor{}
	}
	c := cursor{parts[0], seq, parts[2]}
	if c.String() != text { // one spelling of each
		return cursor{}
	}
	return c
}

// entry is a revocation as it is stored.
type entry struct {
	until time.Time
	body  string
}

func newEntry(r store.Revocation) (entry, error) {
	if err := checkText(r.GrantID, r.Session, r.Subject, r.Client, r.Token, r.Reason); err != nil {
		return entry{}, err
	}
	until := moment(r.Until)
	r.Before, r.Until = r.Before.UTC(), time.Time{}
	body, err := json.Marshal(r)
	if err != nil {
		return entry{}, fmt.Errorf("postgres: encoding a revocation: %w", err)
	}
	return entry{until, string(body)}, nil
}

func (e entry) revocation() (store.Revocation, error) {
	var r store.Revocation
	if err := json.Unmarshal([]byte(e.body), &r); err != nil {
		return r, fmt.Errorf("postgres: an entry of the feed is damaged: %w", err)
	}
	r.Until = e.until.UTC()
	return r, nil
}

// newMark returns a mark that no other entry has.
func newMark() string { return rand.Text() }

// execer is the pool or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// appendEntry appends to the feed and tells who listens.
func (s *Store) appendEntry(ctx context.Context, x execer, e entry) error {
	_, err := x.Exec(ctx, s.sql.in(appendFeed), newMark(), e.until, e.body, s.channel)
	return err
}

// Announce implements [store.Store].
func (s *Store) Announce(ctx context.Context, _ time.Time, r store.Revocation) error {
	if err := r.CheckAnnounced(); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	e, err := newEntry(r)
	if err != nil {
		return err
	}
	err = s.write(ctx, "announcing a revocation", func(ctx context.Context) error { return s.appendEntry(ctx, s.pool, e) })
	if err == nil {
		s.listener.wake()
	}
	return err
}

// Revocations implements [store.Store].
func (s *Store) Revocations(ctx context.Context, now time.Time, after string) ([]store.Revocation, string, error) {
	from := parseCursor(after)
	var out []store.Revocation
	var next cursor
	err := s.read(ctx, "reading the feed", func(ctx context.Context) error {
		out = nil
		rows, err := s.pool.Query(ctx, s.sql.in(readFeed), from.id, from.seq, from.mark, moment(now))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var until *time.Time
			var body *string
			if err := rows.Scan(&next.id, &next.seq, &next.mark, &until, &body); err != nil {
				return err
			}
			if body == nil {
				continue // no entry
			}
			r, err := entry{orZero(until), *body}.revocation()
			if err != nil {
				return err
			}
			out = append(out, r)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, "", err
	}
	if next == (cursor{}) {
		return nil, "", fmt.Errorf("postgres: the table %s.feed is empty: restore it from a backup", s.options.Schema)
	}
	return out, next.String(), nil
}

// Await implements [store.Store].
func (s *Store) Await(ctx context.Context, after string) error {
	grown := s.listener.grown() // before the look, so that nothing goes unnoticed
	var last cursor
	err := s.read(ctx, "reading the feed's end", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.sql.in(feedState)).Scan(&last.id, &last.seq, &last.mark)
	})
	if err != nil || (last.String() != after && (last.seq > 0 || after != "")) {
		return err
	}
	select {
	case <-grown:
		return nil
	case <-s.listener.ended:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
