package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
func load(ctx caddy.Context, path string) (*Module, error) {
	raw, err := json.Marshal(map[string]string{"path": path})
	if err != nil {
		return nil, err
	}
	m, err := ctx.LoadModuleByID("mcp_auth.stores.embedded", raw)
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

func TestModuleIsAStore(t *testing.T) {
	ctx, _ := newContext(t)
	m, err := load(ctx, newPath(t))
	must(t, err)
	var _ store.Store = m
	works(t, m, "a")
	must(t, m.Ping(t.Context()))
}

// TestReload wants the new configuration to share the open file with the old
// one, and the file to be closed with the last of them.
func TestReload(t *testing.T) {
	path := newPath(t)
	first, endFirst := newContext(t)
	a, err := load(first, path)
	must(t, err)
	works(t, a, "before")

	second, endSecond := newContext(t)
	b, err := load(second, filepath.Join(filepath.Dir(path), ".", "x", "..", filepath.Base(path)))
	must(t, err)
	if a.Store != b.Store {
		t.Fatal("the reload opened the file a second time")
	}
	endFirst()
	works(t, b, "after")
	endSecond()
	if err := b.CreateGrant(t.Context(), testNow, testGrant("late")); !errors.Is(err, ErrClosed) {
		t.Fatalf("CreateGrant after the last Cleanup: %v", err)
	}
	if _, there := pool.References(path); there {
		t.Fatal("the pool still holds the file")
	}
	s := openTest(t, path) // the lock is free, and everything is there
	for _, id := range []string{"before", "after"} {
		_, err := s.Grant(t.Context(), testNow, id)
		must(t, err)
	}
}

// TestRejectedReload wants a configuration that fails to leave the running one
// as it is: Caddy calls Cleanup also for what Provision did not acquire.
func TestRejectedReload(t *testing.T) {
	path := newPath(t)
	running, _ := newContext(t)
	a, err := load(running, path)
	must(t, err)

	bad := filepath.Join(t.TempDir(), "bad.db")
	must(t, os.WriteFile(bad, []byte("junk"), 0o600))
	for _, wrong := range []string{bad, "{env.EMBEDDED_TEST_NOT_SET}/db"} {
		ctx, end := newContext(t)
		if _, err := load(ctx, wrong); err == nil {
			t.Fatalf("%s was accepted", wrong)
		}
		end()
		works(t, a, "after "+wrong)
	}

	// The store was fine, but something else in the configuration was not.
	ctx, end := newContext(t)
	b, err := load(ctx, path)
	must(t, err)
	end()
	works(t, a, "after the second")
	must(t, b.Cleanup()) // once more must not take the running one's share
	must(t, new(Module).Cleanup())
	works(t, a, "after more cleanups")
	if n, _ := pool.References(path); n != 1 {
		t.Fatalf("%d references, want 1", n)
	}
}

// TestFailedOpenIsForgotten wants a second try to look at the file again.
func TestFailedOpenIsForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	must(t, os.WriteFile(path, []byte("junk"), 0o600))
	ctx, _ := newContext(t)
	if _, err := load(ctx, path); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("load: %v", err)
	}
	must(t, os.Remove(path))
	m, err := load(ctx, path)
	must(t, err)
	works(t, m, "a")
}

func TestPath(t *testing.T) {
	t.Setenv("EMBEDDED_TEST_DIR", "/var/lib/test")
	abs, err := filepath.Abs("relative.db")
	must(t, err)
	for in, want := range map[string]string{
		"":                           filepath.Join(caddy.AppDataDir(), "mcp_auth", "mcp_auth.db"),
		"/a/../b.db":                 "/b.db",
		"relative.db":                abs,
		"{env.EMBEDDED_TEST_DIR}/db": "/var/lib/test/db",
	} {
		if got, err := (&Module{Path: in}).resolve(); err != nil || got != want {
			t.Errorf("resolve(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestCaddyfile(t *testing.T) {
	for in, want := range map[string]string{
		"embedded":                            `{}`,
		"embedded /data/a.db":                 `{"path":"/data/a.db"}`,
		"embedded {\n path /data/a.db\n}":     `{"path":"/data/a.db"}`,
		"embedded {\n path {env.DIR}/a.db\n}": `{"path":"{env.DIR}/a.db"}`,
		"embedded {\n}":                       `{}`,
	} {
		var m Module
		if err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		} else if got, _ := json.Marshal(&m); string(got) != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"embedded a b":                          "wrong argument count",
		"embedded a {\n path b\n}":              "given twice",
		"embedded {\n path a\n path b\n}":       "given twice",
		"embedded {\n path\n}":                  "wrong argument count",
		"embedded {\n path a b\n}":              "wrong argument count",
		"embedded {\n path \"\"\n}":             "path is empty",
		"embedded \"\"":                         "path is empty",
		"embedded {\n file a\n}":                `unrecognized option "file"`,
		"embedded {\n path a {\n nested\n }\n}": "unrecognized option",
	} {
		err := new(Module).UnmarshalCaddyfile(caddyfile.NewTestDispenser(in))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q: %v, want %q with file and line", in, err, want)
		}
	}
}

// TestUnknownJSON wants a typing error in JSON to be refused.
func TestUnknownJSON(t *testing.T) {
	ctx, _ := newContext(t)
	for _, raw := range []string{`{"pth":"x"}`, `{"Store":{}}`} {
		if _, err := ctx.LoadModuleByID("mcp_auth.stores.embedded", json.RawMessage(raw)); err == nil {
			t.Errorf("%s was accepted", raw)
		}
	}
}
