package postgres

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// secret is a password that must not appear anywhere.
const secret = "hunter2-s3cret"

// deadAddr returns an address where nobody listens.
func deadAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	return l.Addr().String()
}

// TestRefusedAtOnce wants what waiting can't mend to end at once, with what to
// do about it and without the password.
func TestRefusedAtOnce(t *testing.T) {
	p := backends.SharedPostgres(t)
	user := fmt.Sprint("u", schemas.Add(1))
	latin := fmt.Sprint("d", schemas.Add(1))
	p.Exec(t, "CREATE USER "+user+" PASSWORD '"+secret+"'")
	p.Exec(t, "CREATE DATABASE "+latin+" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	t.Cleanup(func() {
		p.Exec(t, "DROP DATABASE "+latin)
		p.Exec(t, "DROP USER "+user)
	})
	dsn := func(name, password, database, params string) string {
		u := p.URL(database)
		u.User = url.UserPassword(name, password)
		u.RawQuery += params
		return u.String()
	}
	for name, tt := range map[string]struct {
		dsn  string
		want []string
	}{
		"password": {dsn(user, secret+"x", "postgres", ""), []string{"28P01", "check user and password"}},
		"user":     {dsn("nobody", secret, "postgres", ""), []string{"28P01", "check user and password"}},
		"database": {dsn(user, secret, "missing", ""), []string{"3D000", "create the database"}},
		"rights":   {dsn(user, secret, "postgres", ""), []string{"42501", "grant the user CREATE"}},
		"encoding": {dsn(p.User, p.Password, latin, ""), []string{"encoding is LATIN1", "ENCODING 'UTF8'"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.DSN, o.Wait = tt.dsn, time.Hour
			logger, seen := logs()
			_, err := Open(t.Context(), o, logger)
			fails(t, err, append(tt.want, p.Addr)...)
			if !errors.Is(err, store.ErrRefused) || isVerdict(err) || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v", err)
			}
			if seen.Len() > 0 {
				t.Errorf("it waited: %v", seen.All())
			}
		})
	}
}

// TestUnreachable wants a start to wait, to say so, and to give up with advice.
func TestUnreachable(t *testing.T) {
	addr := deadAddr(t)
	logger, seen := logs()
	_, err := Open(t.Context(), Options{DSN: "postgres://u:" + secret + "@" + addr + "/db", Wait: 300 * time.Millisecond}, logger)
	fails(t, err, addr+"/db", "gave up after", "connection refused", "check that the server runs")
	if seen.FilterMessageSnippet("trying again").Len() == 0 {
		t.Error("nothing was logged while it waited")
	}
	for _, e := range seen.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, secret) {
			t.Errorf("the password is in the log: %s", text)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the password is in the error: %v", err)
	}
}

// TestDSNErrors wants what is wrong with a DSN to be said without quoting it.
func TestDSNErrors(t *testing.T) {
	for dsn, want := range map[string]string{
		"":                                       "dsn is missing",
		"postgres://u:" + secret + "@h:x5432/db": "special characters of the password",
		"postgres://u:" + secret + "/@h/db":      "special characters of the password",
		"postgres://u:%zz" + secret + "@h/db":    "special characters of the password",
		"host=h password=" + secret + " port=" + secret:                        "special characters of the password",
		"postgres://u:" + secret + "@h/db?sslmode=" + secret:                   "look at sslmode",
		"postgres://u:" + secret + "@h/db?sslmode=verify-ca&sslrootcert=/no/x": "/no/x",
		secret + ": not a dsn": "special characters of the password",
	} {
		_, err := Open(t.Context(), Options{DSN: dsn}, zap.NewNop())
		fails(t, err, want)
		for ; err != nil; err = errors.Unwrap(err) {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the password is in %v", err)
			}
		}
	}
}

// TestOptions wants defaults, and nonsense to be refused.
func TestOptions(t *testing.T) {
	const dsn = "postgres://h/db"
	o, err := Options{DSN: dsn}.complete()
	must(t, err)
	if want := (Options{DSN: dsn, Schema: "mcp_auth", Wait: store.ConnectTimeout, Timeout: 1500 * time.Millisecond}); o != want {
		t.Errorf("defaults are %+v, want %+v", o, want)
	}
	for want, o := range map[int32]Options{
		16: {DSN: dsn}, 5: {DSN: dsn + "?pool_max_conns=5"}, 7: {DSN: dsn + "?pool_max_conns=5", MaxConns: 7},
	} {
		c, err := o.poolConfig()
		must(t, err)
		if c.MaxConns != want {
			t.Errorf("%+v: %d connections, want %d", o, c.MaxConns, want)
		}
	}
	for want, o := range map[string]Options{
		`schema "a b"`:         {DSN: dsn, Schema: "a b"},
		`schema "1a"`:          {DSN: dsn, Schema: "1a"},
		`schema "A"`:           {DSN: dsn, Schema: "A"},
		`schema "pg_x"`:        {DSN: dsn, Schema: "pg_x"},
		`schema "a\";--"`:      {DSN: dsn, Schema: `a";--`},
		"must not be negative": {DSN: dsn, Wait: -1},
		"max_conns is -1":      {DSN: dsn, MaxConns: -1},
	} {
		_, err := o.complete()
		fails(t, err, want)
	}
}

// TestScrub wants the password out of an error that the driver put it into.
func TestScrub(t *testing.T) {
	s := &Store{password: secret}
	err := s.scrub(fmt.Errorf("connecting as u:%s: %w", secret, store.ErrRefused))
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err.Error()), secret) || !errors.Is(err, store.ErrRefused) || errors.Is(err, store.ErrExists) {
		t.Errorf("got %v", err)
	}
}

// TestWarnOfLoss wants a start to warn of a server that may forget what it was
// told, and not of others.
func TestWarnOfLoss(t *testing.T) {
	const line = "not to wait for its disk"
	o := options(t)
	logger, seen := logs()
	s, err := Open(t.Context(), o, logger) // the tests' server: fsync=off
	must(t, err)
	t.Cleanup(s.Close)
	if lines := seen.FilterMessageSnippet(line); lines.Len() != 1 || lines.FilterMessageSnippet("set fsync to on").Len() != 1 {
		t.Errorf("of fsync=off it says %v", seen.All())
	}
	for _, tt := range []struct{ commit, fsync, want string }{
		{"off", "on", "set synchronous_commit to on"},
		{"off", "off", "set fsync to on"},
		{"on", "on", ""},
		{"local", "on", ""},
		{"remote_write", "on", ""},
		{"remote_apply", "on", ""},
	} {
		logger, seen := logs()
		(&Store{logger: logger}).warnOfLoss(tt.commit, tt.fsync, "h:5432/db")
		if n := seen.FilterMessageSnippet(tt.want).Len(); tt.want == "" && seen.Len() > 0 || tt.want != "" && n != 1 {
			t.Errorf("%+v: %v", tt, seen.All())
		}
	}
	// What the address sets for its connections counts.
	o.DSN += "&synchronous_commit=off"
	logger, seen = logs()
	s, err = Open(t.Context(), o, logger)
	must(t, err)
	t.Cleanup(s.Close)
	if lines := seen.FilterMessageSnippet(line).All(); len(lines) != 1 || lines[0].ContextMap()["synchronous_commit"] != "off" {
		t.Errorf("of synchronous_commit=off it says %v", lines)
	}
}
