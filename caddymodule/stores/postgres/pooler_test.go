package postgres

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// pooler passes connections on and makes up the process ids that clients get, as
// PgBouncer does.
func pooler(t *testing.T, server string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(upstream, client)
				_ = upstream.Close()
			}()
			go func() {
				defer client.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := upstream.Read(buf)
					if i := bytes.Index(buf[:n], []byte{'K', 0, 0, 0, 12}); i >= 0 { // BackendKeyData
						copy(buf[i+5:n], []byte{1, 2, 3, 4})
					}
					if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestPooler wants a pooler to be noticed: nothing is prepared, nobody listens,
// and the log says so once.
func TestPooler(t *testing.T) {
	o := options(t)
	u, err := url.Parse(o.DSN)
	must(t, err)
	u.Host = pooler(t, backends.SharedPostgres(t).Addr)
	direct := o
	o.DSN = u.String()
	logger, seen := logs()
	s, err := Open(t.Context(), o, logger)
	must(t, err)
	t.Cleanup(s.Close)
	if mode := s.pool.Config().ConnConfig.DefaultQueryExecMode; mode != pgx.QueryExecModeExec {
		t.Errorf("statements are sent as %v", mode)
	}
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	woken := awaiting(t, s)
	must(t, s.Announce(t.Context(), testNow, testEnd("own"))) // what this node does it knows
	must(t, <-woken)
	_, cursor, err := s.Revocations(t.Context(), testNow, "")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Await(ctx, cursor); err == nil {
		t.Error("Await ended without an entry")
	}
	if n := listeners(t, direct); n != 0 {
		t.Errorf("%d listeners through the pooler", n)
	}
	if n := seen.FilterMessageSnippet("a connection pooler is between").Len(); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}
