package policy_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func quote(tb testing.TB, s string) string {
	tb.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// audited returns the lines of the audit log of what a token did, once there are n.
func (r *rig) audited(tb testing.TB, token string, n int) []map[string]any {
	tb.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		tb.Fatal(err)
	}
	var claims struct {
		ID string `json:"jti"`
	}
	decode(tb, string(payload), &claims)
	var lines []map[string]any
	eventually(tb, 5*time.Second, "the lines of the audit log", func() bool {
		lines = nil
		for text := range strings.Lines(r.Logs()) {
			if strings.Contains(text, "mcp_auth.audit") && strings.Contains(text, claims.ID) {
				var line map[string]any
				at := strings.IndexByte(text, '{')
				if at < 0 || json.Unmarshal([]byte(text[at:]), &line) != nil {
					continue
				}
				lines = append(lines, line)
			}
		}
		return len(lines) >= n
	})
	if len(lines) != n {
		tb.Errorf("%d lines, want %d", len(lines), n)
	}
	return lines
}

// TestAuditCalls: what each outcome leaves, and that no more is told than a rule names.
func TestAuditCalls(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	const secret = "MARKER-9f8e7d"
	with := func(name string) string {
		return rpc(`"`+secret+`"`, "tools/call", `"name":"`+name+`","arguments":{"amount":7,"note":"`+secret+`"},"_meta":{"x":"`+secret+`"}`)
	}
	wantStatus(t, c.post(with("audited")), http.StatusOK)
	c.post(with("refund"))
	c.post(with("delete_x"))
	c.post(with("audited"), "Mcp-Name", "other")
	c.post(`{"jsonrpc":"2.0","id":1,"method":"ping","` + secret + `":1,"` + secret + `":2}`)
	c.post(with("audited")+secret, "Content-Encoding", "gzip")
	r.up.take()
	for i, want := range []map[string]string{
		{"event": "call", "outcome": "allowed", "rule": "tool audited", "tool": "audited", "method": "tools/call"},
		{"event": "step_up", "outcome": "step_up", "rule": "tool refund", "tool": "refund", "required_scope": "tickets:refund tickets:pay"},
		{"event": "denial", "outcome": "denied", "rule": "tool delete_*", "tool": "delete_x"},
		{"event": "denial", "outcome": "malformed"},
		{"event": "denial", "outcome": "malformed"},
		{"event": "denial", "outcome": "malformed"},
	} {
		line := r.audited(t, c.token, 6)[i]
		for name, value := range want {
			if line[name] != value {
				t.Errorf("line %d: %s is %v, want %s", i, name, line[name], value)
			}
		}
		for _, name := range []string{"jti", "duration", "size", "subject", "client_id", "request_id", "remote_ip"} {
			if line[name] == nil {
				t.Errorf("line %d has no %s: %v", i, name, line)
			}
		}
		arguments, _ := line["arguments"].(map[string]any)
		if i == 0 && (len(arguments) != 1 || arguments["amount"] != "7") || i > 0 && len(arguments) > 0 {
			t.Errorf("line %d has the arguments %v", i, line["arguments"])
		}
	}
	if logs := r.Logs(); strings.Contains(logs, secret) || strings.Contains(logs, c.token) {
		for text := range strings.Lines(logs) {
			if strings.Contains(text, secret) || strings.Contains(text, c.token) {
				t.Errorf("a secret: %.2000s", text)
			}
		}
	}
}

// TestDryRun: everything passes, and the log says what would not have.
func TestDryRun(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/dry", "tickets:read")
	for _, body := range []string{tool("search_x"), tool("refund"), tool("delete_x"), rpc("1", "unknown", "")} {
		r.wantPassed(t, c.post(body))
	}
	// Nobody can judge it, and it passes all the same.
	r.wantPassed(t, c.post(tool("search_x"), "Mcp-Name", "other"))
	rules := members("tool_search_* tool_refund tool_delete_* default -")
	for i, line := range r.audited(t, c.token, 5) {
		want := []string{"allowed", "would_deny", "would_deny", "would_deny", "would_deny"}[i]
		rule, _ := line["rule"].(string)
		if line["outcome"] != want || rules[i] != "-" && strings.ReplaceAll(rule, " ", "_") != rules[i] || i > 0 && line["cause"] == nil {
			t.Errorf("line %d: %v", i, line)
		}
	}
}
