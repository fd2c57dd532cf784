package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	// attempts is how often a step is tried at most.
	attempts = 10
	// bulkFactor is how much longer work on many records may take.
	bulkFactor = 10
	// readOnly is the SQLSTATE of a server that must not be written to, and renewEvery
	// how often connections are made anew because of it, at most.
	readOnly   = "25006"
	renewEvery = 5 * time.Second
	// begin starts a transaction. A node that vanishes in the midst of one must not
	// hold its locks for as long as TCP keeps the connection.
	begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '10s'"
)

// statements are written for the schema mcp_auth; newStatements makes them fit.
type statements struct{ replacer *strings.Replacer }

func newStatements(schema string) statements {
	return statements{strings.NewReplacer("mcp_auth.", schema+".")}
}

// in returns a statement for the store's schema. Schema names need no quotes.
func (s statements) in(text string) string { return s.replacer.Replace(text) }

// read runs fn, which changes nothing, and once more if the connection turned
// out to be dead.
func (s *Store) read(ctx context.Context, what string, fn func(ctx context.Context) error) error {
	return s.step(ctx, s.options.Timeout, what, func(ctx context.Context) error {
		err := fn(ctx)
		if lost(err) {
			s.pool.Reset() // the others are no better: idle ones are not used again
			return &againError{err}
		}
		return s.demoted(err)
	})
}

// write runs fn, which is one statement or one transaction. It is repeated only
// if it is certain that the first did nothing.
func (s *Store) write(ctx context.Context, what string, fn func(ctx context.Context) error) error {
	return s.step(ctx, s.options.Timeout, what, s.noting(fn))
}

// bulk is write for work on many records.
func (s *Store) bulk(ctx context.Context, what string, fn func(ctx context.Context) error) error {
	return s.step(ctx, bulkFactor*s.options.Timeout, what, s.noting(fn))
}

// noting makes fn tell the pool of a lost connection.
func (s *Store) noting(fn func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		err := fn(ctx)
		if lost(err) {
			s.pool.Reset()
		}
		return s.demoted(err)
	}
}

// demoted lets a step that a read-only server refused, and so did not do, be
// tried again. After a failover the old server may live on and answer, and
// the address lead to another: connections are made anew. If that does not help
// the address still leads there, so it is done every few seconds at most.
func (s *Store) demoted(err error) error {
	if codeOf(err) != readOnly {
		return err
	}
	now, last := time.Now(), s.renewed.Load()
	if (last == nil || now.Sub(*last) >= renewEvery) && s.renewed.CompareAndSwap(last, &now) {
		s.pool.Reset()
		s.listener.doubt()
	}
	return &againError{err}
}

// againError says that a step may be repeated.
type againError struct{ error }

// Unwrap returns the cause.
func (e *againError) Unwrap() error { return e.error }

// SafeToRetry is what pgconn.SafeToRetry asks.
func (*againError) SafeToRetry() bool { return true }

// step runs fn within a time limit, again while that is safe and may help.
func (s *Store) step(ctx context.Context, limit time.Duration, what string, fn func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	callers := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for try := 1; ; try++ {
		err := fn(ctx)
		if err == nil || isVerdict(err) {
			return err
		}
		clash := isClash(codeOf(err))
		if try == attempts || ctx.Err() != nil || (!clash && !pgconn.SafeToRetry(err)) || (!clash && try > 2) {
			if ended := callers.Err(); ended != nil && !errors.Is(err, ended) { // some only say what it did to the connection
				err = fmt.Errorf("%w: %w", ended, err)
			}
			return fmt.Errorf("postgres: %s: %w", what, s.scrub(err))
		}
		if clash {
			pause(ctx, rand.N(time.Duration(try)*5*time.Millisecond)) //nolint:gosec // who waits longer is no secret
		}
	}
}

// isClash reports whether a step did nothing, because of what others did at the
// same time.
func isClash(code string) bool {
	switch code {
	case "40001", "40P01", // serialization failure, deadlock
		"26000": // a pooler forgot what was prepared
		return true
	}
	return false
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// lost reports whether the connection is gone: the server ends, or went away.
func lost(err error) bool {
	if err == nil || errors.Is(err, pgx.ErrNoRows) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || isVerdict(err) {
		return false
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false // there was none
	}
	code := codeOf(err)
	return code == "" && !errors.Is(err, errText) || strings.HasPrefix(code, "57P")
}

// isVerdict reports whether an error is one that callers act upon.
func isVerdict(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) ||
		errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrRevoked) || errors.Is(err, errUnchanged)
}

// errUnchanged ends a transaction that has nothing to do.
var errUnchanged = errors.New("postgres: nothing to do")

// transaction runs fn in a transaction. An error of the commit leaves open
// whether it happened: it is never repeated.
func (s *Store) transaction(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: begin}, fn)
}

// exec runs one statement and returns how many rows it changed.
func (s *Store) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	tag, err := s.pool.Exec(ctx, s.sql.in(statement), args...)
	return tag.RowsAffected(), err
}

// errText says that a string can't be stored.
var errText = errors.New("postgres: a string is not valid UTF-8, or has a NUL")

// checkText refuses strings that the database would refuse or change.
func checkText(texts ...string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
			return errText
		}
	}
	return nil
}
