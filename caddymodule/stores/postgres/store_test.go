package postgres

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store/storetest"
)

func TestStore(t *testing.T) {
	s := openTest(t, options(t))
	open := func(t *testing.T) store.Store { return emptied(t, s) }
	storetest.Run(t, open)
	storetest.RunSwept(t, open)
}

// TestStoreShared has two nodes with connections of their own.
func TestStoreShared(t *testing.T) {
	o := options(t)
	a, b := openTest(t, o), openTest(t, o)
	storetest.RunShared(t, func(t *testing.T) (store.Store, store.Store) { return emptied(t, a), b })
}

func TestStoreDurable(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T) (store.Store, func(*testing.T) store.Store) {
		o := options(t)
		s := openTest(t, o)
		return s, func(t *testing.T) store.Store {
			s.Close()
			s = openTest(t, o)
			return s
		}
	})
}

// TestRefusedText wants strings that PostgreSQL can't keep to be an error that is
// no verdict.
func TestRefusedText(t *testing.T) {
	s, ctx := openTest(t, options(t)), t.Context()
	for _, bad := range []string{"a\x00b", "\xff", "a\xed\xa0\x80"} {
		g := testGrant("a")
		g.ClientName = bad
		groups := testGrant("a")
		groups.User.Groups = []string{"a", bad}
		for name, err := range map[string]error{
			"CreateGrant":  s.CreateGrant(ctx, testNow, testGrant(bad)),
			"name":         s.CreateGrant(ctx, testNow, g),
			"groups":       s.CreateGrant(ctx, testNow, groups),
			"TouchGrants":  s.TouchGrants(ctx, testNow, []store.GrantUse{{GrantID: bad, At: testNow}}),
			"Announce":     s.Announce(ctx, testNow, testEnd(bad)),
			"PutClient":    s.PutClient(ctx, testNow, store.ClientRecord{Key: "a", Version: 1, Metadata: bad}),
			"Grant":        second(s.Grant(ctx, testNow, bad)),
			"Grants":       second(s.Grants(ctx, testNow, bad, 9)),
			"RotateGrant":  second(s.RotateGrant(ctx, testNow, store.Rotation{ID: bad})),
			"RevokeGrant":  second(s.RevokeGrant(ctx, testNow, testRevocation(bad))),
			"Use":          second(s.Use(ctx, testNow, bad, testNow.Add(time.Hour))),
			"Client":       second(s.Client(ctx, bad)),
			"Restore":      s.Restore(ctx, []store.Record{{Use: &store.UseRecord{Hash: bad}}}),
			"Restore feed": s.Restore(ctx, []store.Record{{Revocation: &store.Revocation{Session: bad}}}),
		} {
			if !errors.Is(err, errText) || isVerdict(err) {
				t.Errorf("%s of %q: %v", name, bad, err)
			}
		}
	}
	if _, _, err := s.Records(ctx, "0"+"/w", 1); err == nil {
		t.Error("a cursor that is not UTF-8 is taken")
	}
}

func second[T any](_ T, err error) error { return err }

// TestPlans wants every call to use an index where the tables hold much.
func TestPlans(t *testing.T) {
	o := options(t)
	s := openTest(t, o)
	conn, err := pgx.Connect(t.Context(), o.DSN)
	must(t, err)
	defer conn.Close(t.Context())
	run := func(sql string) string {
		results, err := conn.PgConn().Exec(t.Context(), s.sql.in(sql)).ReadAll()
		must(t, err)
		var text []byte
		for _, row := range results[0].Rows {
			text = append(append(text, row[0]...), '\n')
		}
		return string(text)
	}
	for _, sql := range []string{
		"SET plan_cache_mode = force_generic_plan",
		"INSERT INTO mcp_auth.grants (" + grantColumns + `) SELECT 'g' || i, 'p' || i % 100, now() - i * interval '1 second', 0, now(),
			now() + i * interval '1 second', now(), '', NULL, NULL, repeat('x', 500) FROM generate_series(1, 5000) i`,
		"INSERT INTO mcp_auth.used SELECT 'u' || i, now(), now() + i * interval '1 second' FROM generate_series(1, 5000) i",
		"INSERT INTO mcp_auth.revocations SELECT i, 'm', now() + i * interval '1 second', repeat('x', 200) FROM generate_series(1, 5000) i",
		"ANALYZE mcp_auth.grants, mcp_auth.used, mcp_auth.revocations",
	} {
		run(sql)
	}
	for i, tt := range []struct{ statement, args, want string }{
		{listGrants, "'a', now(), 3", "grants_person"},
		{liveGrant, "'a', now()", "grants_pkey"},
		{rotateGrant, "'a', now(), 1, 2, now(), 'a'", "grants_pkey"},
		{sweep, "now()", "grants_due"},
		{sweep, "now()", "used_until"},
		{sweep, "now()", "revocations_until"},
		{readFeed, "'a', 1, 'm', now()", "revocations_pkey"},
	} {
		run(fmt.Sprintf("PREPARE p%d AS %s", i, tt.statement))
		got := run(fmt.Sprintf("EXPLAIN EXECUTE p%d (%s)", i, tt.args))
		if !strings.Contains(got, tt.want) {
			t.Errorf("the plan of\n%s\nhas no %s:\n%s", tt.statement, tt.want, got)
		}
	}
}

// TestSweepPassesOver wants a sweeping node to leave alone what another is at,
// and not to wait for it.
func TestSweepPassesOver(t *testing.T) {
	o := options(t)
	s, ctx := openTest(t, o), t.Context()
	for _, id := range []string{"a", "b", "c"} {
		must(t, s.CreateGrant(ctx, testNow, testGrant(id)))
	}
	tx, err := s.pool.Begin(ctx)
	must(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(ctx, s.sql.in("SELECT FROM mcp_auth.grants WHERE id = 'b' FOR UPDATE"))
	must(t, err)
	if n, err := s.Sweep(ctx, testNow.Add(2*time.Hour)); n != 2 || err != nil {
		t.Fatalf("Sweep removed %d, %v; want the 2 that nobody is at", n, err)
	}
	must(t, tx.Rollback(ctx))
	if n, err := s.Sweep(ctx, testNow.Add(2*time.Hour)); n != 1 || err != nil {
		t.Fatalf("Sweep removed %d, %v; want 1", n, err)
	}
}

// TestFeedTakenBack wants cursors of what is gone to begin at the beginning, also
// when their number was given again: a database was restored, or a standby took
// over that had not seen the last of it.
func TestFeedTakenBack(t *testing.T) {
	o := options(t)
	s, ctx := openTest(t, o), t.Context()
	announce := func(names ...string) {
		for _, name := range names {
			must(t, s.Announce(ctx, testNow, testEnd(name)))
		}
	}
	read := func(after string) (names []string, next string) {
		entries, next, err := s.Revocations(ctx, testNow, after)
		must(t, err)
		for _, e := range entries {
			names = append(names, e.Session)
		}
		return names, next
	}
	announce("a", "b", "lost")
	_, ahead := read("")
	query[int](t, o, `WITH gone AS (DELETE FROM mcp_auth.revocations WHERE seq = 3), f AS (UPDATE mcp_auth.feed SET last = 2,
		mark = (SELECT mark FROM mcp_auth.revocations WHERE seq = 2)) SELECT 1`)
	announce("c", "d")
	if names, next := read(ahead); strings.Join(names, "") != "abcd" {
		t.Fatalf("after %s: %q up to %s", ahead, names, next)
	}
	_, end := read("")
	query[int](t, o, `WITH other AS (UPDATE mcp_auth.feed SET id = 'other') SELECT 1`)
	if names, _ := read(end); strings.Join(names, "") != "abcd" {
		t.Fatalf("with a cursor of another feed: %q", names)
	}
}

// TestNow wants the server's clock, and it to move.
func TestNow(t *testing.T) {
	o := options(t)
	s := openTest(t, o)
	before := query[time.Time](t, o, "SELECT clock_timestamp()")
	now, err := s.Now(t.Context())
	must(t, err)
	if after := query[time.Time](t, o, "SELECT clock_timestamp()"); now.Before(before) || now.After(after) {
		t.Fatalf("Now is %v, the server's clock went from %v to %v", now, before, after)
	}
}

// TestPooled has the steps as they go through a pooler, where nothing can be
// prepared, and as simple text.
func TestPooled(t *testing.T) {
	awkward := []string{`'; DROP TABLE grants; --`, `\' OR 1=1 --`, "$1 ?", "Zoë 漢字 🙂", "tab\tnewline\nbell\a", `{"a":"\u0000"}`}
	for _, mode := range []string{"exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			pooled := func(t *testing.T) Options {
				o := options(t)
				o.DSN += "&default_query_exec_mode=" + mode
				return o
			}
			storetest.RunDurable(t, func(t *testing.T) (store.Store, func(*testing.T) store.Store) {
				o := pooled(t)
				s := openTest(t, o)
				return s, func(t *testing.T) store.Store {
					s.Close()
					s = openTest(t, o)
					return s
				}
			})
			s, ctx := openTest(t, pooled(t)), t.Context()
			for _, text := range awkward {
				g := testGrant(text)
				g.User.Subject, g.User.Groups, g.ClientMetadata = text, []string{text}, text
				must(t, s.CreateGrant(ctx, testNow, g))
				must(t, s.TouchGrants(ctx, testNow, []store.GrantUse{{GrantID: text, At: testNow.Add(time.Second), From: text}}))
				g.UsedAt, g.UsedFrom = testNow.Add(time.Second), text
				got, err := s.Grants(ctx, testNow, text, 9)
				must(t, err)
				if len(got) != 1 || !reflect.DeepEqual(got[0], g) {
					t.Errorf("%q: got %+v, want %+v", text, got, g)
				}
			}
			records, _, err := s.Records(ctx, "", 99)
			must(t, err)
			must(t, s.Restore(ctx, records))
			if n, err := s.Sweep(ctx, testNow.Add(2*time.Hour)); n != len(awkward) || err != nil {
				t.Errorf("Sweep: %d, %v", n, err)
			}
		})
	}
}
