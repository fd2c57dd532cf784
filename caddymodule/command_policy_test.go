package caddymodule_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const explained = `{
	mcp_auth {
		issuer http://localhost
		login auto
	}
}
:80 {
	mcp_auth {
		resource http://localhost/mcp
		scopes tickets:read
		hierarchy tickets:admin tickets:refund tickets:read
		tool pay require expression ` + "`{http.mcp.arguments.amount} <= 100 && {http.mcp.claims.sub} == \"alice\" && {http.mcp.name} == \"pay\"`" + `
		tool refund {
			require scope tickets:refund
			require group leads
		}
		tool template require expression ` + "`{http.mcp.arguments.text} == \"{\" + \"env.HOME}\"`" + `
		resource_uri file:///hr/* require group hr
		tool broken require expression {http.mcp.arguments.amount} < 100
		tool nested require expression {http.mcp.arguments.a.b} == 9007199254740993
		tool ban {
			when group banned
			deny
		}
		tool ban {
			when email *@evil.com
			deny
		}
		tool ban allow
		tool mine require expression {http.mcp.arguments.user} == {http.auth.user.id}
		tool fresh require expression "{http.mcp.claims.auth_time} > 0"
		tool there {
			when expression {http.request.host} == "evil.example"
			deny
		}
		tool there allow
		default deny
	}
}
`

// TestExplain: the command says what the gateway would do, and by which line.
func TestExplain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(explained), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		flags   []string
		allowed bool
		want    []string
	}{
		"allowed":           {[]string{"--tool", "refund", "--group", "leads", "--scope", "tickets:admin"}, true, []string{":13: tool refund: decides", "require group leads: yes", "Allowed."}},
		"step up":           {[]string{"--tool", "refund", "--group", "leads"}, false, []string{"require scope tickets:refund: no", `insufficient_scope, scope="tickets:refund"`}},
		"group":             {[]string{"--tool", "refund"}, false, []string{"require group leads: unknown", "whatever the scopes"}},
		"no groups":         {[]string{"--tool", "refund", "--group", ""}, false, []string{"require group leads: no"}},
		"when group":        {[]string{"--tool", "ban"}, false, []string{"when    group banned: unknown", "whatever the scopes"}},
		"when no group":     {[]string{"--tool", "ban", "--group", "", "--email", "a@b.example"}, true, []string{"Allowed."}},
		"when email":        {[]string{"--tool", "ban", "--group", ""}, false, []string{"when    email *@evil.com: unknown"}},
		"what clients get":  {[]string{"--tool", "refund", "--group", "leads", "--client", "x"}, false, []string{"Not looked at: whether the client can get them"}},
		"default":           {[]string{"--tool", "x"}, false, []string{"default: decides"}},
		"protocol":          {[]string{"--method", "tools/list"}, true, []string{"protocol: decides"}},
		"resource":          {[]string{"--uri", "file:///%68r/x"}, false, []string{"resource_uri file:///hr/*", "require group hr: unknown"}},
		"arguments":         {[]string{"--tool", "pay", "--user", "alice", "--arguments", `{"amount": 100}`}, true, []string{"Allowed."}},
		"other arguments":   {[]string{"--tool", "pay", "--user", "alice", "--arguments", `{"amount": 100.5}`}, false, []string{": no"}},
		"not expanded":      {[]string{"--tool", "template", "--arguments", `{"text": "{env.HOME}"}`}, true, []string{"Allowed."}},
		"no argument":       {[]string{"--tool", "broken"}, false, []string{": unknown ("}},
		"exact number":      {[]string{"--tool", "nested", "--arguments", `{"a": {"b": 9007199254740993}}`}, true, nil},
		"number beside it":  {[]string{"--tool", "nested", "--arguments", `{"a": {"b": 9007199254740992}}`}, false, nil},
		"name with a dot":   {[]string{"--tool", "nested", "--arguments", `{"a.b": 9007199254740993}`}, false, nil},
		"twin":              {[]string{"--tool", "pay", "--user", "alice", "--arguments", `{"amount": 1, "Amount": 1000000}`}, false, []string{": unknown (", "more than one spelling"}},
		"twin alone":        {[]string{"--tool", "pay", "--user", "alice", "--arguments", `{"AMOUNT": 1}`}, false, []string{"more than one spelling"}},
		"nested twin":       {[]string{"--tool", "nested", "--arguments", `{"a": {"b": 9007199254740993, "B": 1}}`}, false, []string{"more than one spelling"}},
		"twin beside it":    {[]string{"--tool", "nested", "--arguments", `{"a": {"b": 9007199254740993}, "c": 1, "C": 2}`}, true, nil},
		"own":               {[]string{"--tool", "mine", "--user", "alice", "--arguments", `{"user": "alice"}`}, true, nil},
		"another's":         {[]string{"--tool", "mine", "--user", "alice", "--arguments", `{"user": "bob"}`}, false, []string{": no"}},
		"whose is unknown":  {[]string{"--tool", "mine", "--arguments", `{"user": ""}`}, false, []string{"don't say what {http.auth.user.id} is"}},
		"age":               {[]string{"--tool", "fresh", "--auth-age", "1m"}, true, nil},
		"no age":            {[]string{"--tool", "fresh"}, false, []string{": unknown ("}},
		"of the request":    {[]string{"--tool", "there", "--user", "alice"}, false, []string{"don't say what {http.request.host} is"}},
		"nothing":           {nil, false, []string{"say what is called"}},
		"two things":        {[]string{"--tool", "a", "--uri", "b"}, false, []string{"say what is called"}},
		"no object":         {[]string{"--tool", "a", "--arguments", "5"}, false, []string{"not a JSON object"}},
		"unknown resource":  {[]string{"--tool", "a", "--resource", "http://x"}, false, []string{"--resource must name"}},
		"malformed address": {[]string{"--tool", "a", "--remote-ip", "x"}, false, []string{"--remote-ip"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := runCommand(t, "mcp-policy", "", append([]string{"explain", "--config", file, "--adapter", "caddyfile"}, test.flags...)...)
			if (err == nil) != test.allowed {
				t.Errorf("%v\n%s", err, out)
			}
			if err != nil {
				out += err.Error()
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
		})
	}
}

// TestExplainOfDocs: the page about rules shows what the command says.
func TestExplainOfDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string) string {
		_, rest, _ := strings.Cut(string(page), "```"+kind+"\n")
		text, _, ok := strings.Cut(rest, "```")
		if !ok {
			t.Fatalf("the page has no %s", kind)
		}
		return text
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("Caddyfile", []byte(block("caddyfile")), 0o600); err != nil {
		t.Fatal(err)
	}
	line, want, _ := strings.Cut(block("console"), "\n")
	args, ok := strings.CutPrefix(line, "$ caddy mcp-policy ")
	if !ok {
		t.Fatal(line)
	}
	if out, _, err := runCommand(t, "mcp-policy", "", strings.Fields(args)...); err == nil || out != want {
		t.Errorf("%v, and it says:\n%s", err, out)
	}
}

// TestExpressionOnMatcher: Caddy's matchers replace placeholders in what they get,
// which must not be what a client said.
func TestExpressionOnMatcher(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	config := strings.Replace(explained, `{http.mcp.arguments.amount} < 100`, "`path({http.mcp.name})`", 1)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := runCommand(t, "mcp-policy", "", "explain", "--config", file, "--adapter", "caddyfile", "--tool", "x")
	if err == nil || !strings.Contains(err.Error(), "path() must not be given") || !strings.Contains(err.Error(), ":19") {
		t.Error(err)
	}
}
