package postgres

import (
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func init() {
	caddy.RegisterModule(new(Module))
}

// pool holds the open stores by their [poolKey], so that a configuration reload
// shares the connections of the running configuration.
var pool = caddy.NewUsagePool()

// Module keeps grants, revocations, what was used up and the key ring in a
// PostgreSQL database (13 or newer), which several nodes can share.
//
// The tables are made at the first start, and brought up to date by the first
// node of a newer version; nodes of the version before go on beside it.
type Module struct {
	// DSN is the address of the database, as a URL such as
	// `postgres://mcp:{file./run/secrets/db}@db.example.com:5432/mcp?sslmode=verify-full` or as
	// key=value pairs. All parameters of pgx and of libpq are known, several hosts and
	// `target_session_attrs=read-write` too. Global placeholders such as
	// `{env.DATABASE_URL}` and `{file.…}` are replaced; keep the password out of the
	// configuration with one. Files that it names, such as `sslrootcert`, `sslcert`,
	// `sslkey` and `passfile`, are read again when the configuration is reloaded
	// (`caddy reload --force` if nothing else changed). Required.
	DSN string `json:"dsn,omitempty"`

	// Schema is the database schema with the tables. Global placeholders are replaced.
	// Default: `mcp_auth`.
	Schema string `json:"schema,omitempty"`

	// MaxConns is how many connections one node opens at most, such as 32; one more
	// listens for revocations. Default: 16, or `pool_max_conns` of the DSN.
	MaxConns int `json:"max_conns,omitempty"`

	// Wait is how long a start waits for a server that does not answer yet, such as
	// `1m`. Default: `30s`.
	Wait caddy.Duration `json:"wait,omitempty"`

	// Timeout is how long one step may take, waiting for a connection included, before
	// it counts as an outage, such as `3s`. Default: `1500ms`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	*Store `json:"-"`
	key    *poolKey // in the pool; nil unless this module holds a reference
}

// shared is an open store in the pool.
type shared struct{ *Store }

// Destruct implements [caddy.Destructor].
func (s shared) Destruct() error {
	s.Close()
	return nil
}

// CaddyModule returns the Caddy module information.
func (*Module) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth.stores.postgres",
		New: func() caddy.Module { return new(Module) },
	}
}

// Provision connects to the database, or shares the connections of the
// configuration before.
func (m *Module) Provision(ctx caddy.Context) error {
	o, err := m.resolve()
	if err != nil {
		return err
	}
	logger, key := ctx.Logger(), o.key()
	value, loaded, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		s, err := Open(ctx, o, logger)
		if err != nil {
			return nil, err
		}
		return shared{s}, nil
	})
	if err != nil {
		return err // nothing was acquired: Cleanup has nothing to release
	}
	m.Store, m.key = value.(shared).Store, &key
	c := m.pool.Config().ConnConfig
	logger.Info("store is open", zap.String("server", placeOf(c)), zap.String("schema", o.Schema), zap.Bool("shared", loaded))
	return nil
}

// resolve replaces placeholders and fills in the defaults. Errors name the
// placeholder and never what is around it.
func (m *Module) resolve() (Options, error) {
	o := Options{MaxConns: m.MaxConns, Wait: time.Duration(m.Wait), Timeout: time.Duration(m.Timeout)}
	replacer := caddy.NewReplacer()
	for _, field := range []struct {
		name, value string
		into        *string
	}{{"dsn", m.DSN, &o.DSN}, {"schema", m.Schema, &o.Schema}} {
		var err error
		if *field.into, err = replacer.ReplaceOrErr(field.value, true, true); err != nil {
			return o, fmt.Errorf("postgres: %s: %w", field.name, err)
		}
	}
	return o.complete()
}

// Cleanup releases what Provision acquired; Caddy calls it also when Provision
// failed. The last one to release the connections closes them.
func (m *Module) Cleanup() error {
	if m.key == nil {
		return nil
	}
	key := *m.key
	m.key = nil
	_, err := pool.Delete(key)
	return err
}

// UnmarshalCaddyfile reads the module's name and options. Syntax:
//
//	postgres [<dsn>] {
//		dsn       <dsn>
//		schema    <name>
//		max_conns <number>
//		wait      <duration>
//		timeout   <duration>
//	}
//
// The dsn may be given in one of the two places. Errors don't quote it.
func (m *Module) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	seen := map[string]bool{}
	if d.NextArg() {
		seen["dsn"] = true
		if err := m.parse(d, "dsn"); err != nil {
			return err
		}
	}
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("%s is given twice", option)
		}
		seen[option] = true
		switch option {
		case "dsn", "schema", "max_conns", "wait", "timeout":
			if !d.NextArg() {
				return d.Errf("%s needs a value", option)
			}
		default:
			return d.Errf("unrecognized option %q of the postgres store (known: dsn, max_conns, schema, timeout, wait)", option)
		}
		if err := m.parse(d, option); err != nil {
			return err
		}
	}
	return nil
}

// parse reads the argument under the cursor, the last one of its line.
func (m *Module) parse(d *caddyfile.Dispenser, option string) (err error) {
	text := d.Val()
	if text == "" {
		return d.Errf("%s is empty", option)
	}
	switch option {
	case "dsn":
		m.DSN = text
	case "schema":
		m.Schema = text
	case "max_conns":
		if m.MaxConns, err = strconv.Atoi(text); err != nil || m.MaxConns < 1 {
			return d.Errf("max_conns is %q, want a number from 1", text)
		}
	case "wait":
		err = parseDuration(d, option, &m.Wait)
	case "timeout":
		err = parseDuration(d, option, &m.Timeout)
	}
	if err != nil {
		return err
	}
	if d.NextArg() {
		return d.Errf("%s takes one value; put it in quotes if it has spaces", option)
	}
	return nil
}

func parseDuration(d *caddyfile.Dispenser, option string, into *caddy.Duration) error {
	v, err := caddy.ParseDuration(d.Val())
	if err != nil || v <= 0 {
		return d.Errf("%s is %q, want a duration such as 10s", option, d.Val())
	}
	*into = caddy.Duration(v)
	return nil
}

// Interface guards.
var (
	_ caddy.Module          = (*Module)(nil)
	_ caddy.Provisioner     = (*Module)(nil)
	_ caddy.CleanerUpper    = (*Module)(nil)
	_ caddy.Destructor      = shared{}
	_ caddyfile.Unmarshaler = (*Module)(nil)
	_ store.Store           = (*Module)(nil)
)
