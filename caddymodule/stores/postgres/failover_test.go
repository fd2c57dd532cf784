package postgres

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// movingName is an address that leads to one server and later to another, as a
// name or a proxy in front of them does. Connections that are open stay.
type movingName struct {
	addr    string
	target  atomic.Pointer[string]
	dialled atomic.Int64 // how many connections were opened through it
}

func newMovingName(t *testing.T, to string) *movingName {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	m := &movingName{addr: l.Addr().String()}
	m.target.Store(&to)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			m.dialled.Add(1)
			go m.serve(client)
		}
	}()
	return m
}

func (m *movingName) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", *m.target.Load())
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// replaceHost returns a DSN for another address.
func replaceHost(t *testing.T, dsn, host string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	u.Host = host
	return u.String()
}

// demote makes a database read-only, for sessions that are open as well: every
// transaction that begins from now on. Connections stay.
func demote(t *testing.T, p *backends.Postgres) {
	t.Helper()
	p.Exec(t, "ALTER SYSTEM SET default_transaction_read_only = on")
	p.Exec(t, "SELECT pg_reload_conf()")
	conn, err := pgx.Connect(t.Context(), p.URL("postgres").String())
	must(t, err)
	defer conn.Close(t.Context())
	eventually(t, "the server is read-only", func() bool {
		var on string
		must(t, conn.QueryRow(t.Context(), "SHOW default_transaction_read_only").Scan(&on))
		return on == "on"
	})
}

// outageFailover has the old server live on read-only while the address leads to
// the new one: what is pooled there must not be used any more. Neither what
// listens.
func outageFailover(t *testing.T, before *backends.Postgres) {
	after := backends.SharedPostgres(t)
	role := fmt.Sprint("f", schemas.Add(1)) // the same on both
	for _, p := range []*backends.Postgres{before, after} {
		p.Exec(t, "CREATE ROLE "+role+" LOGIN SUPERUSER PASSWORD '"+secret+"'")
	}
	t.Cleanup(func() { after.Exec(t, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	direct := options(t)
	name := newMovingName(t, before.Addr)
	o := Options{DSN: "postgres://" + role + ":" + secret + "@" + name.addr + "/postgres?sslmode=disable", Schema: direct.Schema, Timeout: patience}
	beside := o
	beside.DSN = replaceHost(t, o.DSN, after.Addr)
	openTest(t, beside) // the new server has the layout
	for what, notice := range map[string]func(s *Store) error{
		"a write": func(s *Store) error { return s.CreateGrant(t.Context(), testNow, testGrant("written")) },
		"Ping":    func(s *Store) error { return s.Ping(t.Context()) },
	} {
		t.Run(what, func(t *testing.T) {
			name.target.Store(&before.Addr)
			before.Exec(t, "ALTER SYSTEM RESET default_transaction_read_only")
			before.Exec(t, "SELECT pg_reload_conf()")
			var s *Store
			eventually(t, "the old server takes writes", func() bool {
				s = openTest(t, o)
				return s.Ping(t.Context()) == nil
			})
			woken := awaiting(t, s)
			demote(t, before)
			name.target.Store(&after.Addr)
			must(t, notice(s))
			id := "read " + what
			must(t, openTest(t, beside).CreateGrant(t.Context(), testNow, testGrant(id)))
			_, err := s.Grant(t.Context(), testNow, id) // not an old state of it
			must(t, err)
			eventually(t, "it listens to the new server", func() bool { return listeners(t, beside) == 1 })
			must(t, <-woken) // for what it may have missed
		})
	}
}

// TestReadOnlyNoStorm wants a server that is read-only and stays so to be a
// plain outage: it is not connected to again for every step.
func TestReadOnlyNoStorm(t *testing.T) {
	o := options(t)
	writes := openTest(t, o)
	must(t, writes.CreateGrant(t.Context(), testNow, testGrant("a")))
	name := newMovingName(t, backends.SharedPostgres(t).Addr)
	o.DSN = replaceHost(t, o.DSN, name.addr) + "&default_transaction_read_only=on"
	s := openTest(t, o)
	_, err := s.Grant(t.Context(), testNow, "a")
	must(t, err)
	begin, opened := time.Now(), name.dialled.Load()
	const steps = 20
	for range steps {
		err := s.CreateGrant(t.Context(), testNow, testGrant("b"))
		fails(t, err, "25006", "read-only")
		if isVerdict(err) {
			t.Fatalf("an outage is told as %v", err)
		}
	}
	// One step at a time needs one connection, and one for each time that all are
	// made anew.
	most := 1 + int64(time.Since(begin)/renewEvery)
	if n := name.dialled.Load() - opened; n > most {
		t.Errorf("%d connections for %d steps, want at most %d", n, steps, most)
	}
	_, err = s.Grant(t.Context(), testNow, "a")
	must(t, err)
}
