package readme_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

const (
	auditFile   = "docs/audit.md"
	auditLogger = "http.handlers.mcp_auth.audit"
)

// auditLine is a line of the audit log.
type auditLine map[string]any

func (l auditLine) text(name string) string {
	s, _ := l[name].(string)
	return s
}

// checkAuditLine holds a line against the schema: its event is one, with the
// message that the schema gives, and its fields are those that the event may have.
func checkAuditLine(t *testing.T, line auditLine) {
	t.Helper()
	event := line.text("event")
	known := false
	for _, row := range rows(t, auditFile, "What is written") {
		known = known || code(row[0])[0] == event && code(row[2])[0] == line.text("msg")
	}
	if !known {
		t.Errorf("%s does not know the event of %v", auditFile, line)
	}
	may := []string{"level", "ts", "logger", "msg"}
	for _, row := range rows(t, auditFile, "Fields") {
		if row[1] == "all" || slices.Contains(code(row[1]), event) {
			may = append(may, code(row[0])[0])
		}
	}
	for name := range line {
		if !slices.Contains(may, name) {
			t.Errorf("%s does not say that a %s has the field %s: %v", auditFile, event, name, line)
		}
	}
	for _, must := range []string{"event", "outcome", "request_id", "remote_ip", "duration"} {
		if line[must] == nil {
			t.Errorf("a %s without %s: %v", event, must, line)
		}
	}
	outcomes := rows(t, auditFile, "Outcomes")
	if !slices.ContainsFunc(outcomes, func(row []string) bool { return code(row[0])[0] == line.text("outcome") }) {
		t.Errorf("%s does not know the outcome of %v", auditFile, line)
	}
}

// TestAuditLog starts the Caddyfile of docs/audit.md, takes a person and programs
// through everything, and reads the file: each step is there, with fields that the
// schema has, and in no other log.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	blocks, _ := parse(t, auditFile)
	text := strings.NewReplacer(
		"https://mcp.example.com", "{URL}", "\nmcp.example.com {", "\n{URL} {", "127.0.0.1:9000", "{UPSTREAM}",
		"audit.log", "{DIR}/audit.log", "\t\taudit\n", "\t\taudit\n\t\tmax_body 4KiB\n\t\tpersonal_access_tokens\n",
	).Replace(blocks[0].text)
	before, rest, _ := strings.Cut(text, "$argon2id")
	_, rest, _ = strings.Cut(rest, "\n")
	g := start(t, gatewaytest.Options{Caddyfile: loopbackOnly(before + hashOf(t, "alice") + "\n" + rest)})
	c := gatewaytest.Register(t, g.URL)
	b := gatewaytest.NewBrowser(t)
	b.Open(c.AuthorizeURL()).SignIn("alice", "a wrong one")
	page := b.Open(c.AuthorizeURL()).SignIn("alice", passwordOf("alice"))
	r := c.Redeem(t, page.Allow().Result().Get("code"))
	access, refresh := r.Text(t, "access_token"), r.Text(t, "refresh_token")
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	gatewaytest.Call(t, g.URL, access, "Traceparent", traceparent)
	gatewaytest.Call(t, g.URL, "")
	gatewaytest.PostJSON(t, g.URL+"/mcp", strings.Repeat(" ", 5<<10), "Authorization", "Bearer "+access)
	if r := c.Refresh(t, refresh); r.Status != http.StatusOK {
		t.Fatalf("refreshing: %s", r.Body)
	}
	takeBack(t, b.Open(g.URL+"/oauth/account"))
	c.Refresh(t, refresh)
	b.Open(g.URL+"/oauth/account").Click("do", "sign_out")
	g.Stop() // so that the log is complete
	if strings.Contains(g.Logs(), auditLogger) {
		t.Error("the audit log is in the default log too")
	}
	raw, err := os.ReadFile(filepath.Join(g.Dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for text := range strings.Lines(string(raw)) {
		var line auditLine
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.text("logger") != auditLogger {
			t.Fatalf("%v: %s", err, text)
		}
		checkAuditLine(t, line)
		got = append(got, line.text("event")+" "+line.text("outcome"))
		if (line.text("trace_id") != "") != (line.text("event") == "call" && line.text("outcome") == "allowed") {
			t.Errorf("trace id: %s", text)
		}
		for _, secret := range []string{access, refresh, "a wrong one", passwordOf("alice"), traceparent} {
			if strings.Contains(text, secret) {
				t.Errorf("a secret: %s", text)
			}
		}
	}
	want := []string{
		"sign_in denied", "sign_in allowed", "consent allowed", "token allowed", "call allowed", "call unauthorized", "denial malformed",
		"refresh allowed", "revocation allowed", "refresh denied", "sign_out allowed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the audit log has %q, want %q", got, want)
	}
}

// TestAuditSamples: the lines that the page shows are such lines.
func TestAuditSamples(t *testing.T) {
	blocks, _ := parse(t, auditFile)
	samples := 0
	for _, b := range blocks {
		var line auditLine
		if b.lang == "json" && json.Unmarshal([]byte(b.text), &line) == nil && line["logger"] != nil {
			samples++
			checkAuditLine(t, line)
		}
	}
	if samples == 0 {
		t.Error("the page shows no line")
	}
}
