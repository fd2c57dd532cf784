package postgres

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// The layouts of versions to come: one that only adds, and one that does not.
var (
	adding  = slices.Concat(layouts, []layout{{sql: "ALTER TABLE mcp_auth.grants ADD COLUMN note text NOT NULL DEFAULT 'none'", serves: 1}})
	cutting = slices.Concat(adding, []layout{{sql: "ALTER TABLE mcp_auth.grants DROP COLUMN body", serves: 3}})
)

func openLayouts(t *testing.T, o Options, known []layout) (*Store, error) {
	t.Helper()
	s, err := openWith(t.Context(), o, zap.NewNop(), known)
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

// TestMigrateTogether has many nodes that all find an empty database, and then
// one of the version before.
func TestMigrateTogether(t *testing.T) {
	o := options(t)
	for round, known := range [][]layout{layouts, adding} {
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				s, err := openLayouts(t, o, known)
				if err == nil {
					err = s.CreateGrant(t.Context(), testNow, testGrant(string(rune('a'+8*round+i))))
				}
				errs[i] = err
			})
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		if at := query[int](t, o, "SELECT layout FROM mcp_auth.layout"); at != round+1 {
			t.Fatalf("layout %d, want %d", at, round+1)
		}
	}
	if n := query[int](t, o, "SELECT count(*) FROM mcp_auth.grants"); n != 16 {
		t.Fatalf("%d grants, want 16", n)
	}
}

// TestMigrateBesideRunning has a node go on, and one start, of the version
// before, while a newer one changes the layout.
func TestMigrateBesideRunning(t *testing.T) {
	o := options(t)
	old := openTest(t, o)
	must(t, old.CreateGrant(t.Context(), testNow, testGrant("before")))
	stop, done := make(chan struct{}), make(chan error, 1)
	steps := 0
	go func() {
		var errs []error
		for from := uint64(0); len(errs) == 0; from++ {
			r := store.Rotation{ID: "before", From: from, Expires: testNow.Add(2 * time.Hour)}
			_, err := old.RotateGrant(context.Background(), testNow, r)
			errs, steps = appendError(errs, err), steps+1
			select {
			case <-stop:
				done <- errors.Join(errs...)
				return
			default:
			}
		}
		done <- errors.Join(errs...)
	}()
	newer, err := openLayouts(t, o, adding)
	must(t, err)
	_, err = newer.Grant(t.Context(), testNow, "before")
	must(t, err)
	again := openTest(t, o) // of the version before, as after a crash
	must(t, again.CreateGrant(t.Context(), testNow, testGrant("after")))
	close(stop)
	must(t, <-done)
	t.Logf("%d steps of the old node", steps)
	if note := query[string](t, o, "SELECT note FROM mcp_auth.grants WHERE id = 'after'"); note != "none" {
		t.Fatalf("the new column is %q in what the old node wrote", note)
	}
	if at := query[int](t, o, "SELECT layout FROM mcp_auth.layout"); at != 2 {
		t.Fatalf("the old node brought the layout to %d", at)
	}
}

func appendError(errs []error, err error) []error {
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}

// TestNewerLayout wants a layout that no longer serves this version to be refused
// and left alone.
func TestNewerLayout(t *testing.T) {
	o := options(t)
	_, err := openLayouts(t, o, cutting)
	must(t, err)
	for _, known := range [][]layout{layouts, adding} {
		_, err := openLayouts(t, o, known)
		fails(t, err, "written by a newer version", "layout 3", "run the newer version")
		if !errors.Is(err, store.ErrRefused) {
			t.Errorf("it would be tried again: %v", err)
		}
	}
	if at := query[int](t, o, "SELECT layout FROM mcp_auth.layout"); at != 3 {
		t.Fatalf("layout %d, want 3", at)
	}
}

// TestFailedMigration wants all of a migration that fails to be undone.
func TestFailedMigration(t *testing.T) {
	o := options(t)
	broken := slices.Concat(adding, []layout{{sql: "ALTER TABLE mcp_auth.nonsense ADD COLUMN a int", serves: 1}})
	_, err := openLayouts(t, o, broken)
	fails(t, err, "making layout 3", "42P01")
	if there := query[bool](t, o, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", o.Schema); there {
		t.Fatal("something is left")
	}
	_, err = openLayouts(t, o, adding)
	must(t, err)
}

// TestPreparedSchema has a user who may not make schemas, in one that somebody
// made for them.
func TestPreparedSchema(t *testing.T) {
	p, o := backends.SharedPostgres(t), options(t)
	user := "r" + o.Schema
	p.Exec(t, "CREATE USER "+user+" PASSWORD '"+secret+"'; CREATE SCHEMA "+o.Schema+" AUTHORIZATION "+user)
	t.Cleanup(func() { p.Exec(t, "DROP OWNED BY "+user+"; DROP USER "+user) })
	o.DSN = "postgres://" + user + ":" + secret + "@" + p.Addr + "/postgres?sslmode=disable"
	s := openTest(t, o)
	must(t, s.CreateGrant(t.Context(), testNow, testGrant("a")))
	must(t, s.Ping(t.Context()))
	query[int](t, o, "WITH gone AS (DELETE FROM mcp_auth.layout) SELECT 1")
	_, err := openLayouts(t, o, layouts)
	fails(t, err, "layout is empty", "restore a backup")
}
