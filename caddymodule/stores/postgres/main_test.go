package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// schemas numbers the schemas of tests.
var schemas atomic.Int64

// options are those of an empty schema on the server that the tests share. It is
// cheaper than an empty database. Steps and connecting may take long on a busy
// machine, and connections are what costs most.
func options(t testing.TB) Options {
	t.Helper()
	p := backends.SharedPostgres(t)
	schema := fmt.Sprint("s", schemas.Add(1))
	t.Cleanup(func() { p.Exec(t, "DROP SCHEMA IF EXISTS "+schema+" CASCADE") })
	return Options{DSN: p.URL("postgres").String() + "&connect_timeout=30", Schema: schema, MaxConns: 8, Timeout: patience}
}

// openTest opens a store that the test closes at its end.
func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o, zap.NewNop())
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// emptied returns a store that holds nothing, as if its schema were new: its feed is
// another one. For the many parts of a suite, as new connections, tables and
// statements cost more than most of them.
func emptied(t testing.TB, s *Store) *Store {
	t.Helper()
	_, err := s.exec(t.Context(), `WITH g AS (DELETE FROM mcp_auth.grants), u AS (DELETE FROM mcp_auth.used),
		c AS (DELETE FROM mcp_auth.clients), r AS (DELETE FROM mcp_auth.revocations), k AS (DELETE FROM mcp_auth.key_ring)
		UPDATE mcp_auth.feed SET id = gen_random_uuid()::text, last = 0, mark = ''`)
	must(t, err)
	return s
}

// logs returns a logger and what it was given.
func logs() (*zap.Logger, *observer.ObservedLogs) {
	core, seen := observer.New(zap.DebugLevel)
	return zap.New(core), seen
}

// query runs a statement for the schema mcp_auth beside the store and returns
// its one value.
func query[T any](t testing.TB, o Options, statement string, args ...any) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, o.DSN)
	must(t, err)
	defer conn.Close(ctx)
	o, err = o.complete()
	must(t, err)
	var v T
	must(t, conn.QueryRow(ctx, newStatements(o.Schema).in(statement), args...).Scan(&v))
	return v
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// fails fails the test unless err has all of the texts.
func fails(t testing.TB, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Fatalf("got error %v, want one with %q", err, text)
		}
	}
}

// testNow is when the tests of this package happen.
var testNow = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func testGrant(id string) store.Grant {
	return store.Grant{
		ID: id, ClientID: "https://client.example.com/metadata.json", RedirectURI: "http://127.0.0.1:33418/callback",
		User:     store.User{Subject: "user-1", Name: "Ada", Email: "ada@example.com"},
		Resource: "https://mcp.example.com/mcp", Scope: "files:read files:write",
		AuthTime: testNow, Created: testNow, RotatedAt: testNow, UsedAt: testNow,
		Expires: testNow.Add(time.Hour), NotAfter: testNow.Add(24 * time.Hour),
	}
}

func testRevocation(id string) store.Revocation {
	return store.Revocation{GrantID: id, Reason: "user", Until: testNow.Add(time.Hour)}
}

func testEnd(session string) store.Revocation {
	return store.Revocation{Session: session, Reason: "sign_out", Until: testNow.Add(time.Hour)}
}
