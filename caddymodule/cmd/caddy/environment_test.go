package main

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// variables look names up in a map.
type variables map[string]string

func (v variables) lookup(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

// defaultVars are what the Caddyfile gets when nothing is set.
var defaultVars = variables{
	"BIND": "127.0.0.1", "ISSUER": "http://localhost:8080", "LOG_LEVEL": "ERROR",
	"AUDIENCE":   "http://localhost:8080/mcp http://localhost:8080/sse",
	"SERVER_URL": "http://localhost:8080, http://127.0.0.1:8080",
}

// TestDemoEnvironment has a line for every variable and every rule of
// precedence. What is not wanted explicitly stays at its default.
func TestDemoEnvironment(t *testing.T) {
	moved := variables{
		"ISSUER": "http://localhost:9001", "AUDIENCE": "http://localhost:9001/mcp http://localhost:9001/sse",
		"SERVER_URL": "http://localhost:9001, http://127.0.0.1:9001",
	}
	for _, tt := range []struct {
		name            string
		set, want       variables
		address         string
		signing, client string
	}{
		{name: "nothing"},
		{name: "empty is unset", set: variables{
			"SERVER_URL": "", "BASE_URL": "", "ISSUER": "", "AUDIENCE": "", "JWT_SECRET_KEY": "", "JWT_ALGORITHM": "",
			"JWT_ACCESS_TOKEN_EXPIRE_MINUTES": "", "CLIENT_SECRET": "", "LOG_LEVEL": "", "DEBUG": "",
		}},
		{name: "SERVER_URL", set: variables{"SERVER_URL": "http://localhost:9001"}, want: moved, address: "127.0.0.1:9001"},
		{name: "a trailing slash", set: variables{"SERVER_URL": "http://localhost:9001/"}, want: moved, address: "127.0.0.1:9001"},
		{name: "BASE_URL", set: variables{"BASE_URL": "http://localhost:9001"}, want: moved, address: "127.0.0.1:9001"},
		{
			name: "SERVER_URL before BASE_URL", set: variables{"SERVER_URL": "http://localhost:9001", "BASE_URL": "http://localhost:9002"},
			want: moved, address: "127.0.0.1:9001",
		},
		{name: "ISSUER alone is the address", set: variables{"ISSUER": "http://localhost:9001/"}, want: moved, address: "127.0.0.1:9001"},
		{
			name: "ISSUER with SERVER_URL", set: variables{"SERVER_URL": "http://localhost:9001", "ISSUER": "http://localhost:9001/auth"},
			want: variables{"ISSUER": "http://localhost:9001/auth", "AUDIENCE": moved["AUDIENCE"], "SERVER_URL": moved["SERVER_URL"]}, address: "127.0.0.1:9001",
		},
		{
			name: "an address", set: variables{"SERVER_URL": "http://127.0.0.1:9001"}, address: "127.0.0.1:9001", want: variables{
				"ISSUER": "http://127.0.0.1:9001", "AUDIENCE": "http://127.0.0.1:9001/mcp http://127.0.0.1:9001/sse", "SERVER_URL": "http://127.0.0.1:9001",
			},
		},
		{
			name: "an IPv6 address", set: variables{"SERVER_URL": "http://[::1]:9001"}, address: "[::1]:9001", want: variables{
				"BIND": "::1", "ISSUER": "http://[::1]:9001", "AUDIENCE": "http://[::1]:9001/mcp http://[::1]:9001/sse", "SERVER_URL": "http://[::1]:9001",
			},
		},
		{
			name: "no port", set: variables{"SERVER_URL": "http://localhost"}, address: "127.0.0.1:80", want: variables{
				"ISSUER": "http://localhost", "AUDIENCE": "http://localhost/mcp http://localhost/sse", "SERVER_URL": "http://localhost, http://127.0.0.1:80",
			},
		},
		{name: "AUDIENCE", set: variables{"AUDIENCE": "http://localhost:8080/api"}, want: variables{"AUDIENCE": "http://localhost:8080/api"}},
		{name: "JWT_ALGORITHM", set: variables{"JWT_ALGORITHM": "EdDSA"}, want: variables{"JWT_ALGORITHM": "EdDSA"}},
		{name: "JWT_SECRET_KEY", set: variables{"JWT_SECRET_KEY": "s3cret"}, want: variables{"JWT_ALGORITHM": "HS256"}, signing: "s3cret"},
		{
			name: "JWT_SECRET_KEY and JWT_ALGORITHM", set: variables{"JWT_SECRET_KEY": "s3cret", "JWT_ALGORITHM": "ES256"},
			want: variables{"JWT_ALGORITHM": "ES256"}, signing: "s3cret",
		},
		{
			name: "JWT_ACCESS_TOKEN_EXPIRE_MINUTES", set: variables{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES": "5"},
			want: variables{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES": "5"},
		},
		{name: "CLIENT_SECRET", set: variables{"CLIENT_SECRET": "c1ient"}, client: "c1ient"},
		{name: "LOG_LEVEL", set: variables{"LOG_LEVEL": "info"}, want: variables{"LOG_LEVEL": "INFO"}},
		{name: "a name of Python's", set: variables{"LOG_LEVEL": "WARNING"}, want: variables{"LOG_LEVEL": "WARN"}},
		{name: "another one", set: variables{"LOG_LEVEL": "Critical", "DEBUG": "1"}, want: variables{"LOG_LEVEL": "ERROR"}},
		{name: "DEBUG", set: variables{"DEBUG": "true"}, want: variables{"LOG_LEVEL": "DEBUG"}},
		{name: "DEBUG as a number", set: variables{"DEBUG": "1"}, want: variables{"LOG_LEVEL": "DEBUG"}},
		{name: "DEBUG off", set: variables{"DEBUG": "False"}},
		{name: "LOG_LEVEL before DEBUG", set: variables{"DEBUG": "true", "LOG_LEVEL": "warn"}, want: variables{"LOG_LEVEL": "WARN"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := demoEnvironment(tt.set.lookup)
			if err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(defaultVars)
			maps.Copy(want, tt.want)
			if !maps.Equal(got.vars, want) {
				t.Errorf("variables for the Caddyfile: %v\nwant %v", got.vars, want)
			}
			if tt.address == "" {
				tt.address = "127.0.0.1:8080"
			}
			if got.address != tt.address || got.signingSecret != tt.signing || got.clientSecret != tt.client {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestBadEnvironment: a bad value is an error of one line that names the
// variable and shows the value.
func TestBadEnvironment(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"SERVER_URL", "https://localhost:8080", "must be an http URL on localhost"},
		{"SERVER_URL", "http://mcp.example.com", "must be an http URL on localhost"},
		{"SERVER_URL", "http://0.0.0.0:8080", "must be an http URL on localhost"},
		{"SERVER_URL", "localhost:8080", "must be an http URL on localhost"},
		{"SERVER_URL", "http://local host", "must be an http URL on localhost"},
		{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "soon", "not a whole number of minutes"},
		{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "0", "not a whole number of minutes"},
		{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "-5", "not a whole number of minutes"},
		{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "1.5", "not a whole number of minutes"},
		{"LOG_LEVEL", "loud", "is not debug, info, warning or error"},
	} {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			_, err := demoEnvironment(variables{tt.name: tt.value}.lookup)
			if err == nil {
				t.Fatal("no error")
			}
			text := err.Error()
			if !strings.HasPrefix(text, tt.name+"="+tt.value+" ") || !strings.Contains(text, tt.want) || strings.Contains(text, "\n") {
				t.Errorf("got %q, want %s=%s and %q", text, tt.name, tt.value, tt.want)
			}
		})
	}
}

// TestApply: secrets reach the configuration, and nothing else changes.
func TestApply(t *testing.T) {
	var app caddymodule.App
	(&environment{}).apply(&app)
	if text, err := json.Marshal(&app); err != nil || string(text) != "{}" {
		t.Errorf("without secrets the configuration becomes %s (%v)", text, err)
	}
	(&environment{signingSecret: "s", clientSecret: "c"}).apply(&app)
	if !app.Keys.Derive || len(app.Keys.Secret) < 32 || strings.ContainsAny(app.Keys.Secret, "{}") {
		t.Errorf("keys: %+v", app.Keys)
	}
	if longSecret("s") != app.Keys.Secret || longSecret("t") == app.Keys.Secret {
		t.Error("the same secret must make the same keys, and another one others")
	}
	if len(app.Clients) != 1 || app.Clients[0].ID != "demo-client" || app.Clients[0].Secret == "" || app.Clients[0].AuthMethod != "client_secret_post" {
		t.Errorf("clients: %+v", app.Clients)
	}
}

// TestWelcome: what is printed names the addresses that were asked for.
func TestWelcome(t *testing.T) {
	env, err := demoEnvironment(variables{"SERVER_URL": "http://localhost:9001"}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	text := env.welcome()
	for _, want := range []string{
		"The gateway runs at http://localhost:9001,",
		"State is in " + caddy.AppDataDir(),
		"\n  curl -i -X POST http://localhost:9001/mcp\n",
		"$(curl -s http://localhost:9001/dev/token |",
		"\n  npx @modelcontextprotocol/inspector --cli http://localhost:9001/mcp --method tools/list\n",
		"\n  claude mcp add --transport http demo http://localhost:9001/mcp\n",
		"http://localhost:9001/oauth/ and http://localhost:9001/docs",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the welcome has no %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "8080") || strings.Contains(text, "%!") {
		t.Errorf("the welcome is wrong:\n%s", text)
	}
}

// TestReadmeVariables: the README's table has exactly the variables that are
// looked up.
func TestReadmeVariables(t *testing.T) {
	asked := map[string]bool{}
	if _, err := demoEnvironment(func(name string) (string, bool) { asked[name] = true; return "", false }); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(gatewaytest.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## Environment variables of the demo\n")
	if !ok {
		t.Fatal("the README has no section about environment variables")
	}
	table, _, _ := strings.Cut(rest, "\n## ")
	var documented []string
	for line := range strings.Lines(table) {
		if name, isRow := strings.CutPrefix(line, "| `"); isRow {
			name, _, _ = strings.Cut(name, "`")
			documented = append(documented, name)
		}
	}
	slices.Sort(documented)
	if looked := slices.Sorted(maps.Keys(asked)); !slices.Equal(documented, looked) {
		t.Errorf("the README has %q, the demo looks up %q", documented, looked)
	}
}

// TestRootCause: what Caddy wraps around an error is dropped, the error stays.
func TestRootCause(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"provision http: server srv0: provision mcp_auth: the secret is wrong", "the secret is wrong"},
		{"listen tcp: busy", "listen tcp: busy"},
		{"one\ntwo", "one; two"},
	} {
		if got := rootCause(errors.New(tt.in)).Error(); got != tt.want {
			t.Errorf("%q becomes %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestDemoConfig: the root Caddyfile becomes JSON that has the secrets.
func TestDemoConfig(t *testing.T) {
	env, err := demoEnvironment(variables{"JWT_SECRET_KEY": "s", "CLIENT_SECRET": "c"}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	config, err := demoConfig(filepath.Join(gatewaytest.Root(), "Caddyfile"), env)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Apps struct {
			MCPAuth caddymodule.App `json:"mcp_auth"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &got); err != nil {
		t.Fatal(err)
	}
	if app := &got.Apps.MCPAuth; !app.Development || !app.Keys.Derive || len(app.Clients) != 1 || app.InsecureAutoApprove {
		t.Errorf("the configuration is %s", config)
	}
}
