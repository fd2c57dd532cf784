package clients_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// inspectorTimeout bounds one run of the Inspector.
const inspectorTimeout = time.Minute

// inspect runs the Inspector's command line, and opens the URL that it wants
// opened.
func inspect(t *testing.T, g *gatewaytest.Gateway, home string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), inspectorTimeout)
	defer cancel()
	cmd := nodeCommand(ctx, t, home, module("@modelcontextprotocol", "inspector", "clients", "launcher", "build", "index.js"),
		append([]string{"--cli"}, args...)...)
	cmd.Env = append(cmd.Env,
		"MCP_AUTO_OPEN_ENABLED=true", "BROWSER=true", // sign in without a terminal; the browser is the test
		"MCP_INSPECTOR_SECRET_STORE=file", // in home, not in the machine's keychain
	)
	return run(t, cmd, g.URL)
}

// inspected returns the result that the Inspector printed.
func inspected(t *testing.T, r ran) map[string]any {
	t.Helper()
	var out struct {
		Result map[string]any `json:"result"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || r.code != 0 || out.Result == nil {
		t.Fatalf("the Inspector ended with %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	return out.Result
}

// TestInspectorToken: the Inspector with a bearer token of /dev/token.
func TestInspectorToken(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g := gatewaytest.Start(t, gatewaytest.Options{})
	token := gatewaytest.Send(t, http.MethodGet, g.URL+"/dev/token?sub=carol", "").Text(t, "access_token")
	for _, path := range []string{"/mcp", "/sse"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			r := inspect(t, g, t.TempDir(), g.URL+path, "--stored-auth-only", "--format", "json", "--method", "tools/list",
				"--header", "Authorization: Bearer "+token)
			tools, _ := inspected(t, r)["tools"].([]any)
			var names []string
			for _, tool := range tools {
				tool, _ := tool.(map[string]any)
				names = append(names, fmt.Sprint(tool["name"]))
			}
			slices.Sort(names)
			if want := []string{"add_numbers", "get_user_profile", "get_weather", "hello", "list_files"}; !slices.Equal(names, want) {
				t.Errorf("tools: %v, want %v", names, want)
			}
		})
	}
	if r := inspect(t, g, t.TempDir(), g.URL+"/mcp", "--stored-auth-only", "--format", "json", "--method", "tools/list"); r.code == 0 || r.opened {
		t.Errorf("without a token: ended with %d\n%s", r.code, r.stdout)
	}
}

// TestInspectorSignIn: the Inspector registers, signs in through a browser and
// calls a tool; run again, it uses the tokens that it kept.
func TestInspectorSignIn(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g := gatewaytest.Start(t, gatewaytest.Options{})
	home := t.TempDir()
	for i, era := range []string{"legacy", "modern"} {
		r := inspect(t, g, home, g.URL+"/mcp", "--format", "json", "--protocol-era", era,
			"--callback-url", fmt.Sprintf("http://127.0.0.1:%d/oauth/callback", gatewaytest.FreePort(t)),
			"--method", "tools/call", "--tool-name", "hello", "--tool-arg", "name=Inspector")
		said, _ := inspected(t, r)["structuredContent"].(map[string]any)
		if said["greeting"] != "Hello, Inspector!" {
			t.Errorf("%s: %s", era, r.stdout)
		}
		if first := i == 0; r.opened != first {
			t.Errorf("%s: signed in: %t, want %t\n%s", era, r.opened, first, r.stderr)
		}
	}
}
