package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Defaults of [Options].
const (
	defaultSchema   = "mcp_auth"
	defaultMaxConns = 16
	defaultWait     = store.ConnectTimeout
	defaultTimeout  = 1500 * time.Millisecond
)

// connLifetime is how long a connection is used unless the DSN has a
// pool_max_conn_lifetime: a name may lead to another server by now, and one that
// was demoted answers reads as if nothing had happened. It is up to a fifth longer,
// so that not all connections are made anew at once.
const connLifetime = 5 * time.Minute

// connectTimeout bounds one attempt to connect unless the DSN has a
// connect_timeout.
const connectTimeout = 5 * time.Second

// Options say which database a [Store] is in and how it is used. Zero values
// stand for the defaults. Two stores of equal options can share connections, as
// long as the files that the DSN names stay the same.
type Options struct {
	// DSN is the address of the database, as a URL or as key=value. It is secret.
	DSN string
	// Schema holds the tables. Default: mcp_auth.
	Schema string
	// MaxConns is how many connections are open at most, one more for listening
	// not counted. Default: 16, or what the DSN says as pool_max_conns.
	MaxConns int
	// Wait is how long Open waits for a server that doesn't answer. Default: 30s.
	Wait time.Duration
	// Timeout bounds one step, and work on many records ten times as long.
	// Default: 1.5s.
	Timeout time.Duration
}

// schemaName are names that need no quotes. They leave room for the suffix of
// the channel's name in the 63 bytes that PostgreSQL takes.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,49}$`)

// complete fills in the defaults and checks the rest.
func (o Options) complete() (Options, error) {
	if o.DSN == "" {
		return o, errors.New("postgres: dsn is missing, such as postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	if o.Schema == "" {
		o.Schema = defaultSchema
	}
	if !schemaName.MatchString(o.Schema) || strings.HasPrefix(o.Schema, "pg_") {
		return o, fmt.Errorf("postgres: schema %q must have only a to z, 0 to 9 and _, at most 50 of them, and not begin with a digit or pg_", o.Schema)
	}
	if o.MaxConns < 0 || o.MaxConns > 10_000 {
		return o, fmt.Errorf("postgres: max_conns is %d, want 1 to 10000", o.MaxConns)
	}
	if o.Wait < 0 || o.Timeout < 0 {
		return o, errors.New("postgres: wait and timeout must not be negative")
	}
	if o.Wait == 0 {
		o.Wait = defaultWait
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return o, nil
}

// poolConfig reads the DSN.
func (o Options) poolConfig() (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, dsnError(o.DSN, err)
	}
	switch {
	case o.MaxConns > 0:
		c.MaxConns = int32(o.MaxConns)
	case !strings.Contains(o.DSN, "pool_max_conns"):
		c.MaxConns = defaultMaxConns
	}
	if !strings.Contains(o.DSN, "pool_max_conn_lifetime") {
		c.MaxConnLifetime = connLifetime
	}
	if c.MaxConnLifetimeJitter == 0 {
		c.MaxConnLifetimeJitter = c.MaxConnLifetime / 5
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = connectTimeout
	}
	params := c.ConnConfig.RuntimeParams
	// A step may be sent as text: one form of it, whatever the role's settings.
	params["timezone"], params["datestyle"] = "UTC", "ISO"
	if params["application_name"] == "" {
		params["application_name"] = "caddy-mcp-auth"
	}
	return c, nil
}

// dsnError says what is wrong with a DSN without quoting it. What the parser
// says has parts of it, and which of them is the password is in doubt just when
// it can't be read.
func dsnError(dsn string, err error) error {
	const shape = "postgres: the dsn can't be used: want postgres://user:password@host:5432/database?sslmode=verify-full, " +
		"with the special characters of the password percent-encoded, or key=value pairs (the dsn is not shown, as it holds a password)"
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("postgres: the dsn can't be used: reading a file that it names: %w", file)
	}
	u, parseErr := url.Parse(dsn)
	if parseErr != nil || u.User == nil || u.Host == "" {
		return errors.New(shape)
	}
	// The URL is sound, so it is known which part is secret: all that is not the
	// name of a parameter that the parser complains about.
	for name := range u.Query() {
		if strings.Contains(err.Error(), name) && regexp.MustCompile(`^[a-z_]+$`).MatchString(name) && !strings.Contains(name, "pass") {
			return fmt.Errorf("%s; look at %s", shape, name)
		}
	}
	return errors.New(shape)
}
