package policy_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
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
	r.up.Take()
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

// TestAuditHangUp: nobody makes a call off the record by hanging up, or because the
// answer breaks off.
func TestAuditHangUp(t *testing.T) {
	headers := func(w http.ResponseWriter, mediaType string) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(w, ": begin\n\n")
		_ = http.NewResponseController(w).Flush()
	}
	for _, mediaType := range []string{"text/event-stream", "application/json", "text/plain"} {
		for name, tt := range map[string]struct {
			way     func(c client) *gatewaytest.Stream
			outcome string
		}{
			"POST": {func(c client) *gatewaytest.Stream { return c.open(http.MethodPost, tool("search_x")) }, "allowed"},
			"GET":  {func(c client) *gatewaytest.Stream { return c.open(http.MethodGet, "") }, "allowed"},
		} {
			t.Run("the client hangs up, "+name+" "+mediaType, func(t *testing.T) {
				r := use(t, func(w http.ResponseWriter, r *http.Request) {
					headers(w, mediaType)
					<-r.Context().Done()
				})
				c := r.client(t, "/mcp", "tickets:read")
				s := tt.way(c)
				wantStatus(t, gatewaytest.Reply{Status: s.Status}, http.StatusOK)
				s.Close()
				line := r.audited(t, c.token, 1)[0]
				if line["outcome"] != tt.outcome || line["event"] != "call" || line["cause"] != nil || name == "POST" && line["tool"] != "search_x" {
					t.Errorf("the line is %v", line)
				}
			})
		}
		t.Run("the server breaks off, "+mediaType, func(t *testing.T) {
			r := use(t, func(w http.ResponseWriter, _ *http.Request) {
				headers(w, mediaType)
				panic(http.ErrAbortHandler)
			})
			c := r.client(t, "/mcp", "tickets:read")
			if c.open(http.MethodPost, tool("search_x")).Wait() == nil {
				t.Error("the client takes a part for the whole")
			}
			if line := r.audited(t, c.token, 1)[0]; line["outcome"] != "failed" || line["cause"] != "the answer broke off" || line["rule"] != "tool search_*" {
				t.Errorf("the line is %v", line)
			}
		})
	}
	t.Run("an event that can't be filtered", func(t *testing.T) {
		r := use(t, answerEvents("data: {\"result\"\n\n", 1<<20))
		c := r.client(t, "/mcp", "tickets:read")
		_ = c.open(http.MethodPost, rpc("1", "tools/list", "")).Wait() // the gateway breaks it off
		if line := r.audited(t, c.token, 1)[0]; line["outcome"] != "failed" || !strings.Contains(line["cause"].(string), "rewriting an event") {
			t.Errorf("the line is %v", line)
		}
	})
}

// TestAuditTruth: a line says what was sent, and of a dry run that fails, why.
func TestAuditTruth(t *testing.T) {
	t.Run("size", func(t *testing.T) {
		for _, text := range []string{lists[0].text, "no list " + strings.Repeat("x", 5000)} {
			for _, answer := range []http.HandlerFunc{answerJSON(text, "", 1<<20), answerEvents("data: "+strings.TrimSpace(text)+"\n\n", 1<<20)} {
				r := use(t, answer)
				c := r.client(t, "/mcp", "tickets:read")
				s := c.open(http.MethodPost, rpc("1", "tools/list", ""))
				_ = s.Wait() // what can't be read breaks off
				sent := float64(len(s.Text()))
				size, _ := r.audited(t, c.token, 1)[0]["size"].(float64) // left out if it is 0
				if math.Abs(size-sent) > 1 {                             // the last line may have no end
					t.Errorf("%v bytes were sent, and the line says %v", sent, size)
				}
			}
		}
	})
	t.Run("failed", func(t *testing.T) {
		r := use(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		c := r.client(t, "/dry", "tickets:read")
		wantStatus(t, c.post(tool("delete_x")), http.StatusServiceUnavailable)
		line := r.audited(t, c.token, 1)[0]
		cause, _ := line["cause"].(string)
		if line["outcome"] != "failed" || line["rule"] != "tool delete_*" || strings.Contains(cause, "policy") {
			t.Errorf("the line is %v", line)
		}
	})
}
