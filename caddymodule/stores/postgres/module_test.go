package postgres

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// newContext stands for one configuration; end is when Caddy lets go of it.
func newContext(t *testing.T) (ctx caddy.Context, end func()) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return ctx, cancel
}

// load loads the module as the host does.
func load(t *testing.T, ctx caddy.Context, fields map[string]any) (*Module, error) {
	t.Helper()
	raw, err := json.Marshal(fields)
	must(t, err)
	m, err := ctx.LoadModuleByID("mcp_auth.stores.postgres", raw)
	if err != nil {
		return nil, err
	}
	return m.(*Module), nil
}

// works makes sure that a loaded module can write and read.
func works(t *testing.T, m *Module, id string) {
	t.Helper()
	must(t, m.CreateGrant(t.Context(), testNow, testGrant(id)))
	_, err := m.Grant(t.Context(), testNow, id)
	must(t, err)
}

// TestReload wants configurations to share connections, a rejected one to leave
// the running one alone, and the last to close.
func TestReload(t *testing.T) {
	o := options(t)
	t.Setenv("POSTGRES_TEST_DSN", o.DSN)
	fields := map[string]any{"dsn": "{env.POSTGRES_TEST_DSN}", "schema": o.Schema, "timeout": "10s"}
	first, endFirst := newContext(t)
	a, err := load(t, first, fields)
	must(t, err)
	var _ store.Store = a
	works(t, a, "before")

	second, endSecond := newContext(t)
	fields["dsn"] = o.DSN // another spelling of the same
	b, err := load(t, second, fields)
	must(t, err)
	if a.Store != b.Store {
		t.Fatal("the reload connected a second time")
	}

	// Of another place; of a wrong one; and right, but something else is not.
	for _, wrong := range []map[string]any{
		{"dsn": "{env.POSTGRES_TEST_NOT_SET}"},
		{"dsn": "postgres://u:" + secret + "@" + deadAddr(t) + "/db", "wait": "1ms"},
	} {
		ctx, end := newContext(t)
		if _, err := load(t, ctx, wrong); err == nil || strings.Contains(err.Error(), secret) {
			t.Fatalf("%v: %v", wrong, err)
		}
		end()
	}
	third, endThird := newContext(t)
	c, err := load(t, third, fields)
	must(t, err)
	endThird()
	must(t, c.Cleanup()) // once more must not take the running one's share
	must(t, new(Module).Cleanup())

	endFirst()
	works(t, b, "after")
	key := *b.key
	endSecond()
	if err := b.Ping(t.Context()); err == nil {
		t.Fatal("the connections are still open")
	}
	if _, there := pool.References(key); there {
		t.Fatal("the pool still holds the store")
	}
}

func TestCaddyfile(t *testing.T) {
	for in, want := range map[string]string{
		"postgres":                            `{}`,
		"postgres {env.DATABASE_URL}":         `{"dsn":"{env.DATABASE_URL}"}`,
		"postgres {\n dsn postgres://h/db\n}": `{"dsn":"postgres://h/db"}`,
		"postgres \"host=h dbname=db\" {\n}":  `{"dsn":"host=h dbname=db"}`,
		"postgres postgres://h/db {\n schema a\n max_conns 32\n wait 1m\n timeout 3s\n}": `{"dsn":"postgres://h/db","schema":"a","max_conns":32,"wait":60000000000,"timeout":3000000000}`,
	} {
		var m Module
		if err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		} else if got, _ := json.Marshal(&m); string(got) != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	const dsn = "postgres://u:" + secret + "@h/db"
	for in, want := range map[string]string{
		"postgres " + dsn + " b":                      "dsn takes one value",
		"postgres " + dsn + " {\n dsn " + dsn + "\n}": "dsn is given twice",
		"postgres {\n dsn " + dsn + " x\n}":           "dsn takes one value",
		"postgres {\n wait 1s\n wait 2s\n}":           "wait is given twice",
		"postgres {\n dsn\n}":                         "dsn needs a value",
		"postgres \"\"":                               "dsn is empty",
		"postgres {\n max_conns many\n}":              `max_conns is "many"`,
		"postgres {\n max_conns 0\n}":                 `max_conns is "0"`,
		"postgres {\n wait soon\n}":                   `wait is "soon"`,
		"postgres {\n timeout 0s\n}":                  `timeout is "0s"`,
		"postgres {\n url " + dsn + "\n}":             `unrecognized option "url"`,
		"postgres {\n schema a {\n nested\n }\n}":     "unrecognized option",
	} {
		err := new(Module).UnmarshalCaddyfile(caddyfile.NewTestDispenser(in))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v, want %q with file and line", in, err, want)
		}
	}
}

// TestUnknownJSON wants a typing error in JSON to be refused.
func TestUnknownJSON(t *testing.T) {
	ctx, _ := newContext(t)
	for _, fields := range []map[string]any{{"dns": "x"}, {"Store": map[string]any{}}, {}} {
		if _, err := load(t, ctx, fields); err == nil {
			t.Errorf("%v was accepted", fields)
		}
	}
}

// TestFilePlaceholder wants a password to come from a file of its own.
func TestFilePlaceholder(t *testing.T) {
	t.Setenv("POSTGRES_TEST_PASSWORD", secret)
	m := Module{DSN: "postgres://u:{env.POSTGRES_TEST_PASSWORD}@h/db", Timeout: caddy.Duration(time.Second)}
	o, err := m.resolve()
	must(t, err)
	if o.DSN != "postgres://u:"+secret+"@h/db" || o.Timeout != time.Second {
		t.Errorf("resolved to %+v", o)
	}
}
