package redis

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
)

// load loads the module as the host does; end is when Caddy lets go of the
// configuration.
func load(t *testing.T, config map[string]any) (m *Module, end func(), err error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	raw, err := json.Marshal(config)
	must(t, err)
	loaded, err := ctx.LoadModuleByID("mcp_auth.stores.redis", raw)
	if err != nil {
		return nil, cancel, err
	}
	return loaded.(*Module), cancel, nil
}

// TestReload wants the new configuration to share the connections of the old
// one, and a rejected one to leave them alone.
func TestReload(t *testing.T) {
	server := backends.StartRedis(t)
	t.Setenv("REDIS_TEST_ADDRESS", server.Addr)
	config := map[string]any{"addresses": []string{"{env.REDIS_TEST_ADDRESS}"}}
	a, endA, err := load(t, config)
	must(t, err)
	var _ store.Store = a
	b, endB, err := load(t, map[string]any{"addresses": []string{server.Addr}, "wait": "5s"})
	must(t, err)
	if a.Store != b.Store {
		t.Error("the reload opened connections of its own")
	}
	other, endOther, err := load(t, map[string]any{"addresses": []string{server.Addr}, "prefix": "other"})
	must(t, err)
	if a.Store == other.Store {
		t.Error("two states share a store")
	}
	endOther()
	if _, _, err := load(t, map[string]any{"addresses": []string{server.Addr}, "database": 99}); err == nil {
		t.Error("database 99 was accepted")
	}
	endA()
	must(t, a.Cleanup()) // once more must not take the running one's share
	must(t, new(Module).Cleanup())
	must(t, b.CreateGrant(t.Context(), testNow, testGrant("a")))
	endB()
	outage(t, b.CreateGrant(t.Context(), testNow, testGrant("b")))
}

// TestReloadCertificates renews the files of a configuration that stays the same,
// and wants a reload to connect with what is in them now; one that finds them as
// they were shares the connections, and one that can't read them is rejected.
func TestReloadCertificates(t *testing.T) {
	server := backends.StartRedisTLS(t)
	other := backends.StartRedisTLS(t) // its authority does not vouch for server
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	install := func(from string) {
		t.Helper()
		text, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(ca, text, 0o600))
	}
	reload := func() (*Module, error) {
		m, end, err := load(t, map[string]any{"addresses": []string{server.Addr}, "tls_ca": ca})
		t.Cleanup(end)
		return m, err
	}
	install(server.CAFile)
	first, err := reload()
	must(t, err)
	same, err := reload()
	must(t, err)
	if same.Store != first.Store {
		t.Error("the reload opened connections of its own")
	}
	install(other.CAFile)
	if _, err := reload(); err == nil || !strings.Contains(err.Error(), "is tls_ca the certificate authority of the server") {
		t.Errorf("with another authority: %v", err)
	}
	text, err := os.ReadFile(server.CAFile)
	must(t, err)
	must(t, os.WriteFile(ca, append(text, '\n'), 0o600))
	renewed, err := reload()
	must(t, err)
	if renewed.Store == first.Store {
		t.Error("the reload goes on with the old certificates")
	}
	must(t, os.Remove(ca))
	if _, err := reload(); err == nil || !strings.Contains(err.Error(), "tls_ca") {
		t.Errorf("without the file: %v", err)
	}
	must(t, first.Ping(t.Context())) // what is rejected leaves the running one alone
}

// TestFingerprint wants each file of TLS to count.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := Options{CA: filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	seen := make(map[string]bool)
	for _, change := range []string{"", o.CA, o.Cert, o.Key} {
		for _, file := range []string{o.CA, o.Cert, o.Key} {
			text := "old"
			if file == change {
				text = "new"
			}
			must(t, os.WriteFile(file, []byte(text), 0o600))
		}
		name, err := o.fingerprint()
		must(t, err)
		if seen[name] {
			t.Errorf("a change of %q is not seen", change)
		}
		seen[name] = true
	}
}

func TestResolve(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("horse\n"), 0o600))
	t.Setenv("REDIS_TEST_URL", "rediss://gateway:horse@redis.example.com/2")
	for name, tt := range map[string]struct {
		module Module
		want   Options
	}{
		"file":     {Module{Addresses: []string{"a:1"}, Password: "{file." + secret + "}"}, Options{Addresses: []string{"a:1"}, Password: "horse", Prefix: "mcp_auth"}},
		"URL":      {Module{Addresses: []string{"{env.REDIS_TEST_URL}"}, Prefix: "p"}, Options{Addresses: []string{"redis.example.com:6379"}, Username: "gateway", Password: "horse", Database: 2, TLS: true, Prefix: "p"}},
		"URL, own": {Module{Addresses: []string{"redis://[::1]:7"}, Username: "u", Password: "p"}, Options{Addresses: []string{"[::1]:7"}, Username: "u", Password: "p", Prefix: "mcp_auth"}},
		"CA":       {Module{Addresses: []string{"a:1", "b:2"}, MasterName: "m", TLSCA: "f"}, Options{Addresses: []string{"a:1", "b:2"}, MasterName: "m", TLS: true, CA: "f", Prefix: "mcp_auth"}},
	} {
		got, err := tt.module.resolve()
		must(t, err)
		tt.want.Timeout = defaultTimeout
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
	for want, m := range map[string]Module{
		"name the server's address": {},
		"not host:port":             {Addresses: []string{"horse"}},
		"is no URL":                 {Addresses: []string{"http://u:horse@a"}},
		"without parameters":        {Addresses: []string{"redis://u:horse@a?max_retries=horse"}},
		"no good host":              {Addresses: []string{"redis://u:horse@a/horse"}},
		"a URL stands alone":        {Addresses: []string{"redis://u:horse@a", "b:1"}},
		"given twice":               {Addresses: []string{"redis://u:horse@a"}, Password: "horse"},
		"REDIS_TEST_MISSING":        {Addresses: []string{"a:1"}, Password: "{env.REDIS_TEST_MISSING}"},
		"wait is negative":          {Addresses: []string{"a:1"}, Wait: -1},
		"timeout is negative":       {Addresses: []string{"a:1"}, Timeout: -1},
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		err := m.Provision(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "horse") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestSecretsStayHidden wants neither an error nor a log to show a password.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	server := backends.StartRedis(t, aclUser(defaultPrefix)...)
	for _, config := range []map[string]any{
		{"addresses": []string{"redis://gateway:wrong-horse@" + server.Addr}},
		{"addresses": []string{"redis://gateway:wrong-horse@" + server.Addr + "/x"}},
		{"addresses": []string{"redis://gateway:wrong-horse@127.0.0.1:1"}, "wait": "100ms"},
		{"addresses": []string{"redis://gateway:wrong%horse@" + server.Addr}},
	} {
		if _, _, err := load(t, config); err == nil || strings.Contains(err.Error(), "horse") {
			t.Errorf("%v", err)
		}
	}
}

func TestCaddyfile(t *testing.T) {
	for in, want := range map[string]string{
		"redis a:1":                         `{"addresses":["a:1"]}`,
		"redis {\n address a:1 b:2\n}":      `{"addresses":["a:1","b:2"]}`,
		"redis a:1 {\n address b:2\n}":      `{"addresses":["a:1","b:2"]}`,
		"redis a:1 {\n tls\n cluster\n}":    `{"addresses":["a:1"],"cluster":true,"tls":true}`,
		"redis a:1 {\n tls_cert c k\n}":     `{"addresses":["a:1"],"tls_cert":"c","tls_key":"k"}`,
		"redis a:1 {\n wait 1m\n}":          `{"addresses":["a:1"],"wait":60000000000}`,
		"redis a:1 {\n timeout 2s\n}":       `{"addresses":["a:1"],"timeout":2000000000}`,
		"redis a:1 {\n database 3\n}":       `{"addresses":["a:1"],"database":3}`,
		"redis a:1 {\n password {env.P}\n}": `{"addresses":["a:1"],"password":"{env.P}"}`,
	} {
		var m Module
		if err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		} else if got, _ := json.Marshal(&m); string(got) != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"redis":                          "name the Redis server",
		`redis ""`:                       "an address is empty",
		"redis a:1 {\n zzz\n}":           "(known: address, cluster, database,",
		"redis a:1 {\n cluster yes\n}":   "wrong argument count",
		"redis a:1 {\n prefix a b\n}":    "wrong argument count",
		"redis a:1 {\n tls\n tls\n}":     "tls is given twice",
		"redis a:1 {\n tls_cert c\n}":    "wrong argument count",
		"redis a:1 {\n password \"\"\n}": "wrong argument count",
		"redis a:1 {\n address\n}":       "wrong argument count",
		"redis a:1 {\n wait\n}":          "wrong argument count",
		"redis a:1 {\n wait 0s\n}":       "not a duration",
		"redis a:1 {\n timeout x\n}":     "not a duration",
		"redis a:1 {\n database x\n}":    "not a number",
		"redis a:1 {\n database -1\n}":   "not a number",
		"redis a:1 {\n database 1 2\n}":  "wrong argument count",
	} {
		err := new(Module).UnmarshalCaddyfile(caddyfile.NewTestDispenser(in))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q: %v, want %q with file and line", in, err, want)
		}
	}
}

// TestUnknownJSON wants a typing error in JSON to be refused.
func TestUnknownJSON(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	for _, raw := range []string{`{"adresses":["x"]}`, `{"Store":{}}`} {
		if _, err := ctx.LoadModuleByID("mcp_auth.stores.redis", json.RawMessage(raw)); err == nil {
			t.Errorf("%s was accepted", raw)
		}
	}
}
