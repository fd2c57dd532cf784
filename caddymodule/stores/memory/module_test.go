package memory

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store/storetest"
)

var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// load loads the module for a configuration of its own; end is when Caddy lets
// go of that.
func load(t *testing.T) (m *Module, end func()) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	v, err := ctx.LoadModuleByID("mcp_auth.stores.memory", json.RawMessage(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	return v.(*Module), cancel
}

func TestModule(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		m, _ := load(t)
		return m
	})
}

// TestReload wants the state to survive a reload and a rejected one, and to be
// gone with the last configuration.
func TestReload(t *testing.T) {
	a, endA := load(t)
	g := store.Grant{ID: "a", Expires: now.Add(time.Hour)}
	if err := a.CreateGrant(t.Context(), now, g); err != nil {
		t.Fatal(err)
	}
	b, endB := load(t)
	endB() // rejected
	if err := errors.Join(b.Cleanup(), new(Module).Cleanup()); err != nil {
		t.Fatal(err)
	}
	c, endC := load(t)
	endA()
	if err := c.CreateGrant(t.Context(), now, g); !errors.Is(err, store.ErrExists) {
		t.Fatalf("CreateGrant after the reload: %v", err)
	}
	endC()
	d, _ := load(t)
	if _, err := d.Grant(t.Context(), now, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Grant after the end: %v", err)
	}
}

func TestCaddyfile(t *testing.T) {
	for in, want := range map[string]string{
		"memory":                "",
		"memory {\n}":           "",
		"memory big":            "wrong argument count",
		"memory {\n size 10\n}": `unrecognized option "size"`,
	} {
		err := new(Module).UnmarshalCaddyfile(caddyfile.NewTestDispenser(in))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}
