package caddymodule_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestToldUpstream loads what can be told to the server behind the gateway. An
// error says which option and which placeholder, and never what a value is.
func TestToldUpstream(t *testing.T) {
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("TOLD_KEY", "hunter2")
	t.Setenv("TOLD_EMPTY", "")
	t.Setenv("TOLD_LINES", "hunter2\r\nX-Mcp-User: root")
	for name, tt := range map[string]struct{ lines, reason string }{
		"defaults":               {"assertion", ""},
		"everything":             {"assertion X-Who {\nlifetime 1s\naudience x\n}\nidentity_claim a.b X-Mcp-A\nupstream_header Authorization \"Bearer {env.TOLD_KEY}\"", ""},
		"a file":                 {"upstream_header X-Api-Key {file." + file("key", "hunter2\r\n") + "}", ""},
		"two headers":            {"identity_header email X-MCP-user", "identity header user and identity header email are both told in the header X-Mcp-User"},
		"claim as header":        {"identity_claim department x-mcp-groups", "identity header groups and identity claim department"},
		"two claims":             {"identity_claim a X-A\nidentity_claim b x-a", "identity claim a and identity claim b"},
		"assertion as header":    {"assertion X-Mcp-User", "identity header user and assertion"},
		"credential as header":   {"upstream_header X-Mcp-User hunter2", "identity header user and upstream header X-Mcp-User"},
		"credential, assertion":  {"assertion\nupstream_header x-mcp-assertion hunter2", "assertion and upstream header x-mcp-assertion"},
		"two spellings":          {"upstream_header X-Api-Key a\nupstream_header x-api-key b", "are both told"},
		"header of HTTP":         {"upstream_header Connection close", `"Connection" is not a header name`},
		"header of MCP":          {"upstream_header Mcp-Session-Id 1", `"Mcp-Session-Id" is not a header name`},
		"parameter of MCP":       {"identity_claim tenant Mcp-Param-Tenant", `"Mcp-Param-Tenant" is not a header name`},
		"header of the proxy":    {"identity_claim ip X-Forwarded-For", `"X-Forwarded-For" is not a header name`},
		"claim to Authorization": {"identity_claim key Authorization", `"Authorization" is not a header name`},
		"header with underscore": {"upstream_header api_key hunter2", `"api_key" is not a header name`},
		"header of nothing":      {`upstream_header "" hunter2`, `"" is not a header name`},
		"too long":               {"assertion {\nlifetime 61s\n}", "a lifetime of 1m1s is not between 1s and 1m0s"},
		"off":                    {"assertion {\nlifetime off\n}", "a lifetime of"},
		"unknown variable":       {"upstream_header Authorization \"Bearer {env.TOLD_NOWHERE}\"", "upstream header Authorization: the placeholder {env.TOLD_NOWHERE} has no value"},
		"empty variable":         {"upstream_header Authorization \"hunter2 {env.TOLD_EMPTY}\"", "the placeholder {env.TOLD_EMPTY} has no value"},
		"no file":                {"upstream_header Authorization {file./nowhere/key}", "the placeholder {file./nowhere/key} has no value"},
		"empty file":             {"upstream_header Authorization {file." + file("empty", "\n") + "}", "has no value"},
		"of the request":         {"upstream_header Authorization {http.auth.user.id}", "it has a placeholder that does not exist"},
		"nothing":                {`upstream_header Authorization ""`, "it has no value"},
		"a line break":           {"upstream_header Authorization {env.TOLD_LINES}", "its value has a line break"},
		"a line break in a file": {"upstream_header Authorization {file." + file("lines", "hunter2\nhunter3\n") + "}", "its value has a line break"},
	} {
		t.Run(name, func(t *testing.T) {
			err := load(t, `{
	admin off
	persist_config off
	storage file_system `+t.TempDir()+`
	mcp_auth {
		issuer http://localhost:8080
		store memory
		development
		login auto
	}
}
http://localhost:8080 {
	mcp_auth {
		`+tt.lines+`
	}
}`)
			if (err == nil) != (tt.reason == "") || err != nil && !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("error %v, want %q", err, tt.reason)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the value: %v", err)
			}
		})
	}
}

// TestAssertionNeedsTheApp: who has no key ring can't sign.
func TestAssertionNeedsTheApp(t *testing.T) {
	err := load(t, `{
	admin off
	persist_config off
}
http://localhost:8080 {
	mcp_auth {
		resource http://localhost:8080/mcp
		trust https://idp.example.com
		assertion
	}
}`)
	if err == nil || !strings.Contains(err.Error(), "assertion needs the global option mcp_auth") {
		t.Errorf("error %v", err)
	}
}

// load provisions a configuration, and ends it.
func load(t *testing.T, text string) error {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	var cfg caddy.Config
	if err := json.Unmarshal(adapted, &cfg); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&cfg)
}
