package readme_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/logins/auto"
	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/standard"
)

// TestCaddyfiles adapts every Caddyfile of the README, lets Caddy provision the
// result, and compares those that show a file with the file.
func TestCaddyfiles(t *testing.T) {
	t.Parallel()
	for i, b := range readme(t, "caddyfile") {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			t.Parallel()
			adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(b.text), map[string]any{"filename": "Caddyfile"})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range warnings {
				t.Error(w)
			}
			if b.file != "" && b.text != readFile(t, b.file) {
				t.Errorf("the block is not the text of %s", b.file)
			}
			validate(t, adapted)
		})
	}
}

// TestJSON reads every JSON block. Whole configurations must have no field that
// we don't know, and be accepted by Caddy.
func TestJSON(t *testing.T) {
	whole := 0
	for _, b := range readme(t, "json") {
		var top map[string]json.RawMessage
		if err := json.Unmarshal([]byte(b.text), &top); err != nil {
			t.Fatalf("below %q: %v", b.heading, err)
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
		strict(t, app.LoginRaw, &struct {
			Module string `json:"module"`
			auto.Login
		}{})
		strict(t, config.Apps.HTTP.Servers["srv0"].Routes[0].Handle[0], &struct {
			Module string `json:"handler"`
			caddymodule.Handler
		}{})
		validate(t, []byte(b.text))
	}
	if whole == 0 {
		t.Error("no JSON block is a whole configuration")
	}
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

// validate has Caddy load and provision a configuration, without starting it.
func validate(t *testing.T, config []byte) {
	t.Helper()
	binary, err := gatewaytest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "caddy.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "validate", "--config", path)
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir, secretVariable)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("caddy validate: %v\n%s", err, out)
	}
}

// secretVariable is the environment variable that the production Caddyfile
// reads.
const secretVariable = "MCP_AUTH_SECRET=0123456789abcdef0123456789abcdef"

// TestOwnServer starts the README's first Caddyfile, on other ports, and takes
// a client through it.
func TestOwnServer(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("http://localhost:8080", "{URL}", "127.0.0.1:9000", "{UPSTREAM}").Replace(readme(t, "caddyfile")[0].text)
	g := start(t, gatewaytest.Options{Caddyfile: text})
	access, _ := gatewaytest.Register(t, g.URL).Tokens(t)
	if r := gatewaytest.Call(t, g.URL, access); r.Status != http.StatusOK {
		t.Errorf("a call with a token: %d %s", r.Status, r.Body)
	}
	for _, path := range []string{"/", "/health", "/mcp", "/mcp/initialize"} {
		if r := gatewaytest.Send(t, http.MethodGet, g.URL+path, ""); r.Status != http.StatusUnauthorized {
			t.Errorf("GET %s without a token: %d", path, r.Status)
		}
	}
	// The place of the state is the one that the README names.
	if _, err := os.Stat(filepath.Join(g.Dir, "caddy", "mcp_auth", "mcp_auth.db")); err != nil {
		t.Error(err)
	}
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
