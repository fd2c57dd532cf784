package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// minServer is the oldest PostgreSQL that has what the statements use, as in
// server_version_num.
const minServer = 130000

// ErrClosed says that the store was closed.
var ErrClosed = errors.New("postgres: the store is closed")

// Store keeps the state in a PostgreSQL database. It implements [store.Store];
// make one with [Open] and end it with [Store.Close].
type Store struct {
	pool     *pgxpool.Pool
	sql      statements
	options  Options
	channel  string
	password string
	listener *listener
	logger   *zap.Logger
	renewed  atomic.Pointer[time.Time] // when connections to a read-only server were given up
}

// Open connects to the database and brings its layout up to date. It waits for
// a server that doesn't answer, and fails at once where waiting won't help, such
// as for a wrong password.
func Open(ctx context.Context, o Options, logger *zap.Logger) (*Store, error) {
	return openWith(ctx, o, logger, layouts)
}

// openWith is Open for a program that knows these layouts.
func openWith(ctx context.Context, o Options, logger *zap.Logger, known []layout) (*Store, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	config, err := o.poolConfig()
	if err != nil {
		return nil, err
	}
	s := &Store{
		sql: newStatements(o.Schema), options: o, channel: o.Schema + "_feed",
		password: config.ConnConfig.Password, logger: logger,
	}
	ctx, cancel := context.WithTimeout(ctx, o.Wait)
	defer cancel()
	place := placeOf(config.ConnConfig)
	pooled := false
	var why error
	err = store.Connect(ctx, func(ctx context.Context) (err error) {
		pooled, err = s.prepare(ctx, config.ConnConfig, known)
		deadline, _ := ctx.Deadline() // dialling may notice before the context does
		if err == nil || why == nil || ctx.Err() == nil && time.Now().Before(deadline) {
			why = err // that the time is over says less than what was before
		}
		return why
	}, func(err error, wait time.Duration) {
		logger.Warn("PostgreSQL can't be used yet, trying again", zap.String("server", place), zap.Duration("in", wait), zap.Error(s.scrub(err)))
	})
	if err != nil {
		return nil, fmt.Errorf("postgres: %s: %w%s", place, s.scrub(err), advice(err))
	}
	if pooled && config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		// What was prepared on one of the pooler's connections is not there on others.
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if pooled {
		logger.Info("a connection pooler is between here and PostgreSQL: revocations of other nodes are polled for, LISTEN is not used", zap.String("server", place))
	}
	if s.pool, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
		return nil, fmt.Errorf("postgres: %s: %w", place, s.scrub(err))
	}
	s.listener = newListener(s, config.ConnConfig, !pooled)
	return s, nil
}

// placeOf names the server and the database.
func placeOf(c *pgx.ConnConfig) string {
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/" + c.Database
}

// prepare looks at the server and brings the layout up to date. It reports
// whether a pooler is in between.
func (s *Store) prepare(ctx context.Context, config *pgx.ConnConfig, known []layout) (pooled bool, err error) {
	c := config.Copy()
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return false, refused(err)
	}
	defer func() { _ = conn.Close(ctx) }() // what counts was committed
	var pid uint32
	var encoding, strings, commit, fsync string
	var version int
	var standby bool
	const look = `SELECT pg_backend_pid(), current_setting('server_encoding'), current_setting('standard_conforming_strings'),
		current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('fsync')`
	if err := conn.QueryRow(ctx, look).Scan(&pid, &encoding, &strings, &version, &standby, &commit, &fsync); err != nil {
		return false, refused(err)
	}
	switch {
	case version < minServer:
		return false, fmt.Errorf("%w: PostgreSQL %d is too old, want %d or newer", store.ErrRefused, version/10000, minServer/10000)
	case encoding != "UTF8":
		return false, fmt.Errorf("%w: the database's encoding is %s, want UTF8: create it with ENCODING 'UTF8'", store.ErrRefused, encoding)
	case strings != "on":
		return false, fmt.Errorf("%w: standard_conforming_strings is %s, want on", store.ErrRefused, strings)
	case standby: // it may be promoted while we wait
		return false, errors.New("the server is a standby, which can't be written to; name the primary, or all servers with target_session_attrs=read-write")
	}
	// A pooler answers with a process id of its own making.
	pooled = pid != conn.PgConn().PID()
	if err := s.migrate(ctx, conn, known); err != nil {
		return pooled, refused(err)
	}
	s.warnOfLoss(commit, fsync, placeOf(config))
	return pooled, nil
}

// warnOfLoss says so if the server answers before the disk has what it was given.
// That what is done stays done is what the rules of the store build on.
func (s *Store) warnOfLoss(commit, fsync, place string) {
	var setting, loss string
	switch {
	case fsync == "off":
		setting, loss = "fsync", "a crash of the server's machine can lose what was done before, and damage the database"
	case commit == "off":
		setting, loss = "synchronous_commit", "a crash of the server can lose what was done in the second before"
	default:
		return
	}
	s.logger.Warn("PostgreSQL is set not to wait for its disk: "+loss+". Revoked grants and used codes would be good again; set "+setting+" to on",
		zap.String("server", place), zap.String("fsync", fsync), zap.String("synchronous_commit", commit))
}

// refused marks errors that waiting won't mend.
func refused(err error) error {
	if err == nil || errors.Is(err, store.ErrRefused) {
		return err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w: %w", store.ErrRefused, err)
	}
	switch code := codeOf(err); {
	case strings.HasPrefix(code, "28"), // who we are is not accepted
		strings.HasPrefix(code, "42"), // not allowed, or a statement that this server doesn't take
		code == "3D000":               // no such database
		return fmt.Errorf("%w: %w", store.ErrRefused, err)
	}
	return err
}

// codeOf returns the SQLSTATE of an error, or nothing.
func codeOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// advice says what to do about an error of Open.
func advice(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return " (name the certificate of its authority as sslrootcert in the dsn)"
	}
	switch code := codeOf(err); {
	case strings.HasPrefix(code, "28"):
		return " (check user and password in the dsn, and the server's pg_hba.conf)"
	case code == "3D000":
		return " (create the database, or name another one in the dsn)"
	case code == "42501":
		return " (grant the user CREATE on the database, or make the schema for it with CREATE SCHEMA … AUTHORIZATION)"
	case errors.Is(err, store.ErrRefused):
		return ""
	}
	return " (check that the server runs and can be reached from here, and host and port in the dsn)"
}

// Close ends the listener and closes all connections. Steps that are underway
// are waited for. Afterwards every method fails.
func (s *Store) Close() {
	s.listener.close()
	s.pool.Close()
}

// scrubbedError is an error without the password.
type scrubbedError struct {
	text string
	err  error
}

// Error implements error.
func (e *scrubbedError) Error() string { return e.text }

// Is lets what matters of the hidden error through.
func (e *scrubbedError) Is(target error) bool {
	return (target == store.ErrRefused || target == context.Canceled || target == context.DeadlineExceeded) && errors.Is(e.err, target)
}

// scrub takes the password out of an error. The driver leaves it out; this is
// for the day that it doesn't.
func (s *Store) scrub(err error) error {
	if err == nil || s.password == "" || !strings.Contains(err.Error(), s.password) {
		return err
	}
	return &scrubbedError{strings.ReplaceAll(err.Error(), s.password, "xxxxx"), err}
}
