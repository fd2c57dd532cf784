package readme_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/auto"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/github"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/header"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/oidc"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/password"
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/standard"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/stores/embedded"
)

// logins are the logins that the documents describe.
var logins = map[string]any{
	"auto": auto.Login{}, "github": github.Login{}, "header": header.Login{}, "oidc": oidc.Login{}, "password": password.Login{},
}

// TestCaddyfiles starts every Caddyfile of the documents, and compares those
// that show a file with the file. It must be formatted as `caddy fmt` does.
func TestCaddyfiles(t *testing.T) {
	t.Parallel()
	for _, b := range blocksIn(t, "caddyfile") {
		t.Run(b.document+" "+b.heading, func(t *testing.T) {
			t.Parallel()
			if formatted := string(caddyfile.Format([]byte(b.text))); formatted != b.text {
				t.Errorf("caddy fmt would write\n%s", formatted)
			}
			if b.file != "" && b.text != readFile(t, b.file) {
				t.Errorf("the block is not the text of %s", b.file)
			}
			starts(t, b.whole())
		})
	}
}

// whole returns a Caddyfile. A block that does not begin with a brace is
// options of the global option, here in the place where they belong.
func (b block) whole() string {
	if strings.HasPrefix(b.text, "{") {
		return b.text
	}
	return string(caddyfile.Format([]byte(
		"{\nmcp_auth {\nissuer https://mcp.example.com\n" + b.text + "}\n}\n\nmcp.example.com {\nmcp_auth\nreverse_proxy 127.0.0.1:9000\n}\n")))
}

// TestJSON reads every JSON block. Whole configurations must have no field that
// we don't know, and be accepted by Caddy.
func TestJSON(t *testing.T) {
	t.Parallel()
	whole := 0
	for _, b := range blocksIn(t, "json") {
		var top map[string]json.RawMessage
		if err := json.Unmarshal([]byte(b.text), &top); err != nil {
			t.Fatalf("%s, below %q: %v", b.document, b.heading, err)
		}
		if top["apps"] == nil {
			continue
		}
		whole++
		var config struct {
			Apps struct {
				MCPAuth json.RawMessage `json:"mcp_auth"`
				HTTP    struct {
					Servers map[string]struct {
						Routes []struct {
							Handle []json.RawMessage `json:"handle"`
						} `json:"routes"`
					} `json:"servers"`
				} `json:"http"`
			} `json:"apps"`
		}
		if err := json.Unmarshal([]byte(b.text), &config); err != nil {
			t.Fatal(err)
		}
		var app caddymodule.App
		strict(t, config.Apps.MCPAuth, &app)
		for _, raw := range app.LoginsRaw {
			strictGuest(t, raw, logins)
		}
		if app.StoreRaw != nil {
			known := maps.Clone(stores)
			known["embedded"] = embedded.Module{} // documented in the README
			strictGuest(t, app.StoreRaw, known)
		}
		strict(t, config.Apps.HTTP.Servers["srv0"].Routes[0].Handle[0], &struct {
			Module string `json:"handler"`
			caddymodule.Handler
		}{})
		startsJSON(t, []byte(b.text), environment(t, b.text))
	}
	if whole == 0 {
		t.Error("no JSON block is a whole configuration")
	}
}

// strictGuest reads a login or a store as its module does.
func strictGuest(t *testing.T, raw json.RawMessage, guests map[string]any) {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	var name string
	if err := json.Unmarshal(fields["module"], &name); err != nil || guests[name] == nil {
		t.Fatalf("no known module: %s", raw)
	}
	delete(fields, "module")
	rest, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	strict(t, rest, reflect.New(reflect.TypeOf(guests[name])).Interface())
}

// strict decodes and refuses unknown fields.
func strict(t *testing.T, raw []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Error(err)
	}
}

// etc is where the documents keep files.
const etc = "/etc/caddy/"

// starts adapts a Caddyfile and has Caddy start it, with the files and
// variables that it names.
func starts(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	for _, b := range blocksIn(t, "json") {
		if strings.Contains(b.text, `"users": [`) && !strings.Contains(b.text, `"apps"`) {
			write(t, filepath.Join(dir, "users.json"), b.text)
		}
	}
	write(t, filepath.Join(dir, "logo.svg"), `<svg xmlns="http://www.w3.org/2000/svg"/>`)
	startsJSON(t, adapt(t, strings.ReplaceAll(text, etc, dir+"/")), environment(t, text))
}

// adapt turns a Caddyfile into JSON, without a warning.
func adapt(t *testing.T, text string) []byte {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Error(w)
	}
	return adapted
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startsJSON has Caddy start a configuration and stop again.
func startsJSON(t *testing.T, config []byte, env []string) {
	t.Helper()
	if serving, logs := run(t, config, env); !serving {
		t.Errorf("it does not start:\n%s", logs)
	}
}

// run runs Caddy, without ports and certificates, until it serves a
// configuration or refuses it.
func run(t *testing.T, config []byte, env []string) (serving bool, logs string) {
	t.Helper()
	binary, err := gatewaytest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "caddy.json")
	write(t, path, harmless(t, config))
	ctx, cancel := context.WithTimeout(t.Context(), blockTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "run", "--config", path)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		logs += lines.Text() + "\n"
		if strings.Contains(lines.Text(), `"serving initial configuration"`) {
			serving = true
			cancel()
		}
	}
	_ = cmd.Wait() // it was interrupted, or ended with an error
	return serving, logs
}

// harmless takes ports, certificates and the admin endpoint out of a
// configuration.
func harmless(t *testing.T, config []byte) string {
	t.Helper()
	var c map[string]any
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	c["admin"] = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
	for name, s := range c["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any) {
		server := s.(map[string]any)
		server["listen"] = []string{"unix/" + name} // a file in Caddy's folder
		server["automatic_https"] = map[string]any{"disable": true}
	}
	out, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// secretVariable is the environment variable that production Caddyfiles read.
const secretVariable = "MCP_AUTH_SECRET=0123456789abcdef0123456789abcdef"

// TestOwnServer starts the README's first Caddyfile, on other ports and with a
// password that is known, and takes a client and a person through it.
func TestOwnServer(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("http://localhost:8080", "{URL}", "127.0.0.1:9000", "{UPSTREAM}").Replace(blocksIn(t, "caddyfile")[0].text)
	hash := regexp.MustCompile(`\$argon2id\S+`).FindString(text)
	g := start(t, gatewaytest.Options{Caddyfile: strings.Replace(text, hash, hashOf(t, "alice"), 1)})
	c := gatewaytest.Register(t, g.URL)
	b := gatewaytest.NewBrowser(t)
	if p := b.Open(c.AuthorizeURL()).SignIn("alice", "a wrong one"); p.Status != http.StatusForbidden {
		t.Errorf("a wrong password: %d", p.Status)
	}
	access := redeemed(t, c, b.Open(c.AuthorizeURL()).SignIn("alice", passwordOf("alice")).Allow())
	if r := gatewaytest.Call(t, g.URL, access); r.Status != http.StatusOK {
		t.Errorf("a call with a token: %d %s", r.Status, r.Body)
	}
	for _, path := range []string{"/", "/health", "/mcp", "/mcp/initialize"} {
		if r := gatewaytest.Send(t, http.MethodGet, g.URL+path, ""); r.Status != http.StatusUnauthorized {
			t.Errorf("GET %s without a token: %d", path, r.Status)
		}
	}
	account := b.Open(g.URL + "/oauth/account")
	takeBack(t, account)
	if r := gatewaytest.Call(t, g.URL, access); r.Status != http.StatusUnauthorized {
		t.Errorf("a call after the person took it back: %d", r.Status)
	}
	account.Click("do", "sign_out")
	// The place of the state is the one that the README names.
	if _, err := os.Stat(filepath.Join(g.Dir, "caddy", "mcp_auth", "mcp_auth.db")); err != nil {
		t.Error(err)
	}
	g.Stop() // so that its log is complete
	checkLogs(t, g.Logs(), "register", "sign_in", "authorize", "token", "revoke", "sign_out")
}

// start is gatewaytest.Start for Caddyfiles that don't name an admin address.
func start(t *testing.T, o gatewaytest.Options) *gatewaytest.Gateway {
	t.Helper()
	admin := fmt.Sprintf("localhost:%d", gatewaytest.FreePort(t))
	o.Env = append(o.Env, "CADDY_ADMIN="+admin, secretVariable)
	g := gatewaytest.Start(t, o)
	g.Admin = admin
	return g
}
