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
	insertUse = "INSERT INTO mcp_auth.used AS u (hash, first, until) VALUES ($1, $2, $3)"
	// replaceUse marks a key in the place of what is there.
	replaceUse = insertUse + " ON CONFLICT (hash) DO UPDATE SET first = excluded.first, until = excluded.until"
	markUse    = replaceUse + " WHERE u.until <= $2"
	liveUse    = "SELECT first FROM mcp_auth.used WHERE hash = $1 AND until > $2"
)

// Use implements [store.Store].
func (s *Store) Use(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
	if err := checkText(key); err != nil {
		return time.Time{}, err
	}
	hash, first := store.UseHash(key), now
	if !until.After(now) {
		return s.used(ctx, now, hash)
	}
	err := s.write(ctx, "using up a key", func(ctx context.Context) error {
		for range attempts {
			n, err := s.exec(ctx, markUse, hash, moment(now), moment(until))
			if err != nil || n > 0 {
				return err
			}
			err = s.pool.QueryRow(ctx, s.sql.in(liveUse), hash, moment(now)).Scan(&first)
			if err == nil {
				return store.ErrExists
			}
			if !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			// It was swept, or marked by somebody with another clock, in between.
		}
		return fmt.Errorf("the key changed %d times meanwhile", attempts)
	})
	if err != nil && !isVerdict(err) {
		return time.Time{}, err
	}
	return first, err
}

// used looks for a mark that counts.
func (s *Store) used(ctx context.Context, now time.Time, hash string) (first time.Time, err error) {
	err = s.read(ctx, "looking for a used key", func(ctx context.Context) error {
		err := s.pool.QueryRow(ctx, s.sql.in(liveUse), hash, moment(now)).Scan(&first)
		if errors.Is(err, pgx.ErrNoRows) {
			first = now
			return nil
		}
		if err == nil {
			err = store.ErrExists
		}
		return err
	})
	if err != nil && !isVerdict(err) {
		return time.Time{}, err
	}
	return first, err
}
