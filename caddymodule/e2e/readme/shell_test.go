package readme_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// blockTimeout bounds how long a shell block may run.
const blockTimeout = time.Minute

// TestShell runs every shell block of the README against a gateway of its own,
// and looks for what must come out.
func TestShell(t *testing.T) {
	t.Parallel()
	checks := map[string]func(t *testing.T, g *gatewaytest.Gateway, out string){
		"The flow, step by step": checkWalkthrough,
		"Connecting clients":     contains(`"name":"get_weather"`),
		"Operating it":           checkOperating,
	}
	seen := map[string]int{}
	for _, b := range blocksIn(t, "sh") {
		check := checks[b.heading]
		if check == nil {
			t.Errorf("nothing is expected of the shell block below %q", b.heading)
			continue
		}
		seen[b.heading]++
		t.Run(b.heading, func(t *testing.T) {
			t.Parallel()
			g := gatewaytest.Start(t, gatewaytest.Options{})
			if b.heading == "Operating it" {
				gatewaytest.Register(t, g.URL) // so that there is something to count
			}
			check(t, g, bash(t, g, b.text))
		})
	}
	for heading := range checks {
		if seen[heading] == 0 {
			t.Errorf("there is no shell block below %q", heading)
		}
	}
}

// contains expects a text.
func contains(want string) func(*testing.T, *gatewaytest.Gateway, string) {
	return func(t *testing.T, _ *gatewaytest.Gateway, out string) {
		t.Helper()
		if !strings.Contains(out, want) {
			t.Errorf("got %s\nwant %s in it", out, want)
		}
	}
}

// step is what one step of the walk-through must print: patterns, in order.
// URL stands for the gateway's.
type step []string

// walkthrough are the steps as they are numbered in the README.
var walkthrough = []step{
	{`^HTTP/1.1 401 `, `(?i)^www-authenticate: Bearer resource_metadata="URL/.well-known/oauth-protected-resource/mcp", scope="mcp:tools:read mcp:tools:execute"`},
	{`^{"resource":"URL/mcp","authorization_servers":\["URL"\],.*"scopes_supported":\["mcp:tools:read","mcp:tools:execute"\]`},
	{
		`^{"issuer":"URL","authorization_endpoint":"URL/oauth/authorize","token_endpoint":"URL/oauth/token",.*"registration_endpoint":"URL/oauth/register".*"code_challenge_methods_supported":\["S256"\]`,
		`^URL$`,
	},
	{`^client_id: [\w-]{50,1000}$`},
	{`^Location: http://localhost:9999/callback\?code=[\w-]+&(iss=[^&]*&)?state=xyz`},
	{`^{"access_token":"[\w-]+\.[\w-]+\.[\w-]+","token_type":"Bearer","expires_in":3600,"refresh_token":"[\w-]+","scope":"mcp:tools:read mcp:tools:execute"}$`},
	{`^{"jsonrpc":"2.0","id":1,"result":{.*"protocolVersion":"2025-06-18".*"name":"mockmcp"`, `^{"error":"unauthorized"`},
	{
		`"id":3,"result":{"tools":\[.*"add_numbers".*"get_user_profile".*"get_weather".*"hello".*"list_files"`,
		`"id":4,"result":.*Lisbon`, `"id":5,"result":.*"user":"alice"`,
	},
	{`"id":6,"result":.*\b42\b`},
	{`^201$`, `^http://localhost:9999/callback\?code=\.\.\.&`, `^Bearer$`},
	{`"id":7,"result":.*world`},
}

func checkWalkthrough(t *testing.T, g *gatewaytest.Gateway, out string) {
	t.Helper()
	parts := regexp.MustCompile(`(?m)^== \d+\. .*\n`).Split(out, -1)[1:]
	if len(parts) != len(walkthrough) {
		t.Fatalf("%d steps, want %d:\n%s", len(parts), len(walkthrough), out)
	}
	for i, want := range walkthrough {
		rest := strings.ReplaceAll(parts[i], "\r", "")
		for _, pattern := range want {
			re := regexp.MustCompile(`(?m)` + strings.ReplaceAll(pattern, "URL", regexp.QuoteMeta(g.URL)))
			at := re.FindStringIndex(rest)
			if at == nil {
				t.Errorf("step %d prints\n%s\nwant %s in it", i+1, parts[i], re)
				break
			}
			rest = rest[at[1]:]
		}
	}
	g.Stop() // so that its log is complete
	checkLogs(t, g.Logs(), "register", "authorize", "token", "call", "dev_token")
}

// checkLogs holds the log of a whole flow against the names that the documents
// give: every kind of line, every field. The kinds given must be there.
func checkLogs(t *testing.T, logs string, kindsWanted ...string) {
	t.Helper()
	names := code(section(t, readmeFile, "Operating it"))
	kinds := map[string]bool{}
	for line := range strings.Lines(logs) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		switch entry["logger"] {
		case auditLogger:
			kinds[entry["msg"].(string)] = true
			checkAuditLine(t, entry)
			continue
		case "mcp_auth":
		default:
			continue
		}
		kind, _ := entry["msg"].(string)
		if strings.Contains(kind, " ") {
			continue // a sentence, such as the warnings at the start
		}
		kinds[kind] = true
		for name := range entry {
			if !slices.Contains([]string{"level", "ts", "logger", "msg"}, name) && !slices.Contains(names, name) {
				t.Errorf("the field %s of log lines is not in the README: %s", name, line)
			}
		}
	}
	for _, want := range kindsWanted {
		if !kinds[want] {
			t.Errorf("the log has no line %q", want)
		}
	}
	for kind := range kinds {
		if !slices.Contains(names, kind) {
			t.Errorf("the README does not know log lines of kind %q", kind)
		}
	}
}

// checkOperating expects the two blocks about keys and about health.
func checkOperating(t *testing.T, g *gatewaytest.Gateway, out string) {
	t.Helper()
	if strings.HasPrefix(out, `{"status":`) {
		for _, want := range []string{`{"status":"ok"}`, `caddy_mcp_auth_events_total{code="",kind="register"} 1`} {
			contains(want)(t, g, out)
		}
		return
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d answers, want 4:\n%s", len(lines), out)
	}
	for i, keys := range []int{1, 2, 2} { // the third replaces the second, which was still waiting
		var list []map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &list); err != nil || len(list) != keys {
			t.Errorf("%d keys, want %d (%v): %s", len(list), keys, err, lines[i])
		}
	}
	var retired struct {
		Sealing int `json:"sealing_keys_dropped"`
		Signing []struct {
			KeyID string `json:"kid"`
		} `json:"signing_keys"`
	}
	if err := json.Unmarshal([]byte(lines[3]), &retired); err != nil || retired.Sealing != 3 || len(retired.Signing) != 1 {
		t.Errorf("retiring: %v %s", err, lines[3])
	}
}
