package policy

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// scripted is an expression that does what its text says.
type scripted string

func (s scripted) Eval(context.Context, *Caller, *mcp.Message) (bool, error) {
	if strings.Contains(string(s), "fail") {
		return true, errors.New("no such key")
	}
	return strings.Contains(string(s), "true"), nil
}

func (s scripted) NeedsArguments() bool { return strings.Contains(string(s), "arguments") }

func env() Env {
	return Env{
		Scopes:  oauth.Scope{"read", "write", "refund"},
		Compile: func(s string) (Expression, error) { return scripted(s), nil },
		Now:     func() time.Time { return now },
	}
}

func build(t testing.TB, cfg Config) *Policy {
	t.Helper()
	p, err := New(cfg, env())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func allow(r Rule) Rule { r.Action = ActionAllow; return r }
func deny(r Rule) Rule  { r.Action = ActionDeny; return r }
func tool(names ...string) Rule {
	return Rule{Tools: names}
}
func uris(globs ...string) Rule { return Rule{ResourceURIs: globs} }
func scopes(s ...string) Condition {
	return Condition{Scopes: s}
}

func callTool(name string) mcp.Message {
	return mcp.Message{Kind: mcp.Request, Method: mcp.MethodCallTool, Name: name}
}

func read(uris ...string) mcp.Message {
	return mcp.Message{Kind: mcp.Request, Method: mcp.MethodReadResource, URIs: uris}
}

func method(name string) mcp.Message { return mcp.Message{Kind: mcp.Request, Method: name} }

// tickets is the policy of issue's example.
var tickets = Config{
	Hierarchy: [][]string{{"tickets:admin", "tickets:refund", "tickets:read"}},
	Rules: []Rule{
		{Tools: []string{"search_*"}, Require: []Condition{scopes("tickets:read")}},
		{Tools: []string{"refund"}, Require: []Condition{scopes("tickets:refund"), {Groups: []string{"leads"}}}},
		deny(tool("delete_*")),
		{ResourceURIs: []string{"file:///hr/*"}, Require: []Condition{{Groups: []string{"hr"}}}},
		allow(Rule{Methods: []string{"completion/complete"}}),
	},
	Default: ActionDeny,
}

func TestJudge(t *testing.T) {
	p := build(t, tickets)
	reader := Caller{Scopes: oauth.Scope{"tickets:read"}}
	lead := Caller{Scopes: oauth.Scope{"tickets:read"}, Groups: []string{"leads"}}
	admin := Caller{Scopes: oauth.Scope{"tickets:admin"}, Groups: []string{"leads", "hr"}}
	for name, test := range map[string]struct {
		caller Caller
		m      mcp.Message
		want   Outcome
		rule   string
		scopes string
	}{
		"scope held":              {reader, callTool("search_all"), Allowed, "tool search_*", "tickets:read"},
		"glob is whole":           {reader, callTool("my_search_all"), Denied, "default", ""},
		"case counts":             {reader, callTool("Search_all"), Denied, "default", ""},
		"hierarchy":               {admin, callTool("refund"), Allowed, "tool refund", "tickets:refund"},
		"step up":                 {lead, callTool("refund"), StepUp, "tool refund", "tickets:refund"},
		"group first, no scope":   {reader, callTool("refund"), Denied, "tool refund", ""},
		"denied":                  {admin, callTool("delete_all"), Denied, "tool delete_*", ""},
		"resource":                {admin, read("file:///hr/x"), Allowed, "resource_uri file:///hr/*", ""},
		"resource, not in group":  {lead, read("file:///hr/x"), Denied, "resource_uri file:///hr/*", ""},
		"other resource":          {admin, read("file:///x"), Denied, "default", ""},
		"method":                  {reader, method("completion/complete"), Allowed, "method completion/complete", ""},
		"completion of a secret":  {reader, mcp.Message{Kind: mcp.Request, Method: mcp.MethodComplete, URIs: []string{"file:///hr/{x}"}}, Denied, "resource_uri file:///hr/*", ""},
		"completion that may be":  {reader, mcp.Message{Kind: mcp.Request, Method: mcp.MethodComplete, URIs: []string{"file:///{x}"}}, Denied, "resource_uri file:///hr/*", ""},
		"protocol":                {Caller{}, method("tools/list"), Allowed, "protocol", ""},
		"notification":            {Caller{}, method("notifications/cancelled"), Allowed, "protocol", ""},
		"response":                {Caller{}, mcp.Message{Kind: mcp.Response}, Allowed, "protocol", ""},
		"unknown method":          {admin, method("tasks/get"), Denied, "default", ""},
		"a call as notification":  {reader, mcp.Message{Kind: mcp.Notification, Method: mcp.MethodCallTool, Name: "delete_all"}, Denied, "tool delete_*", ""},
		"listen to nothing":       {Caller{}, method(mcp.MethodSubscriptionsListen), Allowed, "protocol", ""},
		"listen, one is denied":   {admin, mcp.Message{Kind: mcp.Request, Method: mcp.MethodSubscriptionsListen, URIs: []string{"file:///hr/a", "file:///b"}}, Denied, "default", ""},
		"listen, all are allowed": {admin, mcp.Message{Kind: mcp.Request, Method: mcp.MethodSubscriptionsListen, URIs: []string{"file:///hr/a", "file:///hr/b"}}, Allowed, "resource_uri file:///hr/*", ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := p.Judge(t.Context(), &test.caller, &test.m)
			if v.Outcome != test.want || v.Rule != test.rule || v.Scopes.String() != test.scopes {
				t.Errorf("%+v", v)
			}
			if (v.Reason == "") != (v.Outcome == Allowed) {
				t.Errorf("the reason is %q", v.Reason)
			}
			for _, name := range []string{"leads", "hr", "tickets"} {
				if strings.Contains(v.Reason, name) {
					t.Errorf("the reason tells of the configuration: %q", v.Reason)
				}
			}
			e := p.Explain(t.Context(), &test.caller, &test.m)
			decided := 0
			for _, s := range e.Steps {
				if s.Decides {
					decided++
				}
			}
			if e.Verdict.Outcome != v.Outcome || decided != 1 {
				t.Errorf("explained as %+v", e)
			}
		})
	}
}

// TestRulesOfOneTarget: logs and explanations tell rules apart that have one target.
func TestRulesOfOneTarget(t *testing.T) {
	p := build(t, Config{Rules: []Rule{
		deny(Rule{Tools: []string{"x"}, When: []Condition{{Users: []string{"mallory"}}}}),
		deny(Rule{Tools: []string{"x"}, When: []Condition{{Users: []string{"bob"}}}}),
		deny(tool("x")),
	}})
	for user, want := range map[string]struct {
		rule  string
		index int
	}{"mallory": {"tool x", 0}, "bob": {"tool x (2)", 1}, "alice": {"tool x (3)", 2}} {
		m := callTool("x")
		e := p.Explain(t.Context(), &Caller{Subject: user}, &m)
		if e.Verdict.Rule != want.rule {
			t.Errorf("%s: decided by %s", user, e.Verdict.Rule)
		}
		for _, s := range e.Steps {
			if s.Decides != (s.Index == want.index) {
				t.Errorf("%s: %+v", user, s)
			}
		}
	}
}

// TestConditions: each condition as requirement, and as the when of rules that deny
// and that allow. What is unknown helps nobody.
func TestConditions(t *testing.T) {
	verified := Caller{Email: "Alice@Example.com", EmailVerified: true}
	for name, test := range map[string]struct {
		condition Condition
		caller    Caller
		want      Result
	}{
		"one of the scopes, for when": {scopes("read", "write"), Caller{Scopes: oauth.Scope{"write"}}, Yes},
		"scope":                       {scopes("read"), Caller{Scopes: oauth.Scope{"write"}}, No},
		"group":                       {Condition{Groups: []string{"a", "b"}}, Caller{Groups: []string{"b"}}, Yes},
		"no group":                    {Condition{Groups: []string{"a"}}, Caller{Groups: []string{"b"}}, No},
		"groups unknown":              {Condition{Groups: []string{"a"}}, Caller{GroupsUnknown: true}, Unknown},
		"group known of unknown ones": {Condition{Groups: []string{"a"}}, Caller{Groups: []string{"a"}, GroupsUnknown: true}, Yes},
		"group in another case":       {Condition{Groups: []string{"Admins"}}, Caller{Groups: []string{"admins"}}, Unknown},
		"user":                        {Condition{Users: []string{"u"}}, Caller{Subject: "u"}, Yes},
		"user in another case":        {Condition{Users: []string{"u"}}, Caller{Subject: "U"}, No},
		"no user":                     {Condition{Users: []string{"u"}}, Caller{}, Unknown},
		"email":                       {Condition{Emails: []string{"*@example.com"}}, verified, Yes},
		"no email":                    {Condition{Emails: []string{"*@evil.com"}}, Caller{EmailVerified: true}, Unknown},
		"email not verified":          {Condition{Emails: []string{"*@example.com"}}, Caller{Email: "a@example.com"}, Unknown},
		"other email not verified":    {Condition{Emails: []string{"*@example.com"}}, Caller{Email: "a@example.org"}, No},
		"email with two @":            {Condition{Emails: []string{"*@example.com"}}, Caller{Email: "a@b@example.com", EmailVerified: true}, Unknown},
		"email beyond ASCII":          {Condition{Emails: []string{"*@example.com"}}, Caller{Email: "ä@example.com", EmailVerified: true}, Unknown},
		"email of another domain":     {Condition{Emails: []string{"*@example.com"}}, Caller{Email: "a@example.com.org", EmailVerified: true}, No},
		"client":                      {Condition{Clients: []string{"cli-*"}}, Caller{ClientID: "cli-1"}, Yes},
		"client by host":              {Condition{Clients: []string{"claude.ai"}}, Caller{ClientID: "https://Claude.ai:443/oauth/mcp"}, Yes},
		"client by another host":      {Condition{Clients: []string{"*.claude.ai"}}, Caller{ClientID: "https://evil.example/x.claude.ai"}, No},
		"client with the host behind": {Condition{Clients: []string{"claude.ai"}}, Caller{ClientID: "https://claude.ai@evil.example/"}, No},
		"client by backslash":         {Condition{Clients: []string{"*claude.ai"}}, Caller{ClientID: `https://evil.example\.claude.ai/`}, No},
		"client by URL":               {Condition{Clients: []string{"https://claude.ai/*"}}, Caller{ClientID: "https://claude.ai/x"}, Yes},
		"no client":                   {Condition{Clients: []string{"*"}}, Caller{}, Unknown},
		"login":                       {Condition{Logins: []string{"oidc"}}, Caller{Login: "oidc"}, Yes},
		"no login":                    {Condition{Logins: []string{"oidc"}}, Caller{}, Unknown},
		"age":                         {Condition{MaxAge: Duration(time.Hour)}, Caller{AuthTime: now.Add(-time.Hour)}, Yes},
		"too old":                     {Condition{MaxAge: Duration(time.Hour)}, Caller{AuthTime: now.Add(-61 * time.Minute)}, No},
		"age unknown":                 {Condition{MaxAge: Duration(time.Hour)}, Caller{}, Unknown},
		"age from the future":         {Condition{MaxAge: Duration(time.Hour)}, Caller{AuthTime: now.Add(time.Hour)}, Unknown},
		"address":                     {Condition{RemoteIPs: []string{"10.0.0.0/8"}}, Caller{Remote: netip.MustParseAddr("::ffff:10.1.2.3")}, Yes},
		"single address":              {Condition{RemoteIPs: []string{"2001:db8::1"}}, Caller{Remote: netip.MustParseAddr("2001:db8::1")}, Yes},
		"other address":               {Condition{RemoteIPs: []string{"10.0.0.0/8"}}, Caller{Remote: netip.MustParseAddr("11.0.0.1")}, No},
		"address unknown":             {Condition{RemoteIPs: []string{"0.0.0.0/0"}}, Caller{}, Unknown},
		"expression":                  {Condition{Expression: "true"}, Caller{}, Yes},
		"expression false":            {Condition{Expression: "false"}, Caller{}, No},
		"expression fails":            {Condition{Expression: "fail"}, Caller{}, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			m := callTool("x")
			judge := func(rules ...Rule) Outcome {
				p := build(t, Config{Rules: rules, Default: ActionAllow})
				return p.Judge(t.Context(), &test.caller, &m).Outcome
			}
			c := []Condition{test.condition}
			required := judge(Rule{Tools: []string{"x"}, Require: c})
			if (required == Allowed) != (test.want == Yes) && len(test.condition.Scopes) < 2 {
				t.Errorf("required: %v", required)
			}
			if got := judge(deny(Rule{Tools: []string{"x"}, When: c})); (got == Denied) != (test.want != No) {
				t.Errorf("when it is denied: %v", got)
			}
			if got := judge(allow(Rule{Tools: []string{"x"}, When: c}), deny(tool("*"))); (got == Allowed) != (test.want == Yes) {
				t.Errorf("when it is allowed, and denied otherwise: %v", got)
			}
			// A requirement that may not apply must not hide a stricter rule, nor be
			// skipped for a laxer one.
			needs := Rule{Tools: []string{"x"}, When: c, Require: []Condition{{Users: []string{"nobody"}}}}
			if got := judge(needs, allow(tool("*"))); (got == Allowed) != (test.want == No) {
				t.Errorf("when it is required, and allowed otherwise: %v", got)
			}
			e := build(t, Config{Rules: []Rule{deny(Rule{Tools: []string{"x"}, When: c})}}).Explain(t.Context(), &test.caller, &m)
			if e.Steps[0].When[0].Result != test.want || e.Steps[0].When[0].Condition != test.condition.String() {
				t.Errorf("explained as %+v", e.Steps[0])
			}
		})
	}
}

// TestURIDodges: another spelling of a URI that a rule is about never gets more.
func TestURIDodges(t *testing.T) {
	guarded := []string{
		"file:///hr/x", "file:///public/../hr/x", "file:///%68r/x", "file:///%2568r/x", "FILE:///hr/x", "file://localhost/hr/x", "file:/hr/x",
		"file:///hr/x?y", "file:///hr/x#y", "file:///./hr/x", "file:////hr/x", "file:///public//../hr/x", `file:///public\..\hr\x`,
		"file:///public/%2e%2e/hr/x", "file:///public/%2e%2e%2fhr/x", "file:///public/..%5chr/x", "file:hr/x", " file:///hr/x", "file:///h\tr/x",
		"file:///../hr/x", "file:///public/x%00/../../hr/x", "file:///hr//x", "file:///%25252525252568r/x", "file:///hr/x/",
	}
	rules := map[string]Config{
		"denied among allowed": {Rules: []Rule{deny(uris("file:///hr/*")), allow(uris("file:///public/*"))}, Default: ActionAllow},
		"needs a group":        {Rules: []Rule{{ResourceURIs: []string{"file:///hr/*"}, Require: []Condition{{Groups: []string{"hr"}}}}}, Default: ActionAllow},
		"one file":             {Rules: []Rule{deny(uris("file:///hr/x"))}, Default: ActionAllow},
		"not among allowed":    {Rules: []Rule{allow(uris("file:///public/*"))}},
		"by suffix":            {Rules: []Rule{allow(uris("*/y", "*#y", "file:///public/*"))}},
	}
	for name, cfg := range rules {
		p := build(t, cfg)
		for _, uri := range guarded {
			m := read(uri)
			if v := p.Judge(t.Context(), &Caller{}, &m); v.Outcome != Denied && (name != "by suffix" || uri != "file:///hr/x#y") {
				t.Errorf("%s: %q is let pass by %s", name, uri, v.Rule)
			}
		}
	}
	// And the plain use of rules goes on working.
	p := build(t, Config{Rules: []Rule{allow(uris("file:///public/*", "note://MyNote", "db://t/users?limit=*", "file:///my%20docs/*", "https://h.example/*", "git://r/a:b"))}})
	for _, uri := range []string{
		"file:///public/a/b.txt", "file:///public/", "file:///public/a%20b", "note://MyNote", "db://t/users?limit=10", "file:///my%20docs/x",
		"https://h.example/x?y=z", "https://h.example/x#y", "file:///public/ä", "file:///public/a+b", "git://r/a:b", "file:///public/a/../b",
	} {
		m := read(uri)
		if v := p.Judge(t.Context(), &Caller{}, &m); v.Outcome != Allowed {
			t.Errorf("%q is refused: %+v", uri, v)
		}
	}
}

func TestStepUpScopes(t *testing.T) {
	p := build(t, Config{Rules: []Rule{
		{ResourceURIs: []string{"a:*"}, Require: []Condition{scopes("read", "write")}},
		{ResourceURIs: []string{"b:*"}, Require: []Condition{scopes("refund"), scopes("read")}},
	}})
	m := mcp.Message{Kind: mcp.Request, Method: mcp.MethodSubscriptionsListen, URIs: []string{"a:1", "b:1"}}
	v := p.Judge(t.Context(), &Caller{Scopes: oauth.Scope{"read"}}, &m)
	if v.Outcome != StepUp || v.Scopes.String() != "read write refund" {
		t.Errorf("%+v", v)
	}
	// What the token has for one half is not lost for the other, whichever comes first.
	for _, m.URIs = range [][]string{{"a:1", "b:1"}, {"b:1", "a:1"}} {
		if v = p.Judge(t.Context(), &Caller{Scopes: oauth.Scope{"read", "write"}}, &m); v.Outcome != StepUp ||
			!v.Scopes.ContainsAll(oauth.Scope{"read", "write", "refund"}) {
			t.Errorf("%s: %+v", m.URIs, v)
		}
	}
	m.URIs = []string{"a:1"}
	if v = p.Judge(t.Context(), &Caller{}, &m); v.Scopes.String() != "read write" {
		t.Errorf("a verdict changed the policy: %+v", v)
	}
}

func TestVisible(t *testing.T) {
	cfg := tickets
	cfg.Rules = append([]Rule{
		{Tools: []string{"pay"}, Require: []Condition{{Expression: "arguments false"}}},
		{Tools: []string{"closed"}, Require: []Condition{{Expression: "false"}}},
		allow(Rule{Tools: []string{"open"}, When: []Condition{{Expression: "arguments"}}}),
		deny(Rule{Tools: []string{"shut"}, When: []Condition{{Expression: "arguments"}}}),
		allow(tool("shut")),
		deny(uris("secret://*")), allow(uris("file:///pub/*")),
	}, cfg.Rules...)
	reader := Caller{Scopes: oauth.Scope{"tickets:read"}, Groups: []string{"leads"}}
	stepUp := cfg
	stepUp.ListStepUp = true
	for _, test := range []struct {
		list      mcp.List
		name      string
		want, too bool // too: with list_step_up
	}{
		{mcp.Tools, "search_x", true, true},
		{mcp.Tools, "refund", false, true},
		{mcp.Tools, "delete_x", false, false},
		{mcp.Tools, "other", false, false},
		{mcp.Tools, "pay", true, true},
		{mcp.Tools, "closed", false, false},
		{mcp.Tools, "open", true, true},
		{mcp.Tools, "shut", true, true},
		{mcp.Prompts, "p", false, false},
		{mcp.Resources, "file:///pub/x", true, true},
		{mcp.Resources, "file:///hr/x", false, false},
		{mcp.ResourceTemplates, "file:///{path}", true, true},
		{mcp.ResourceTemplates, "file:///pub/{path}", true, true},
		{mcp.ResourceTemplates, "file:///hr/{path}", false, false},
		{mcp.ResourceTemplates, "secret://{path}", false, false},
		{mcp.ResourceTemplates, "{+any}", true, true},
		{0, "search_x", false, false},
	} {
		if got := build(t, cfg).Visible(t.Context(), &reader, test.list, test.name, nil); got != test.want {
			t.Errorf("%s is visible: %v", test.name, got)
		}
		if got := build(t, stepUp).Visible(t.Context(), &reader, test.list, test.name, nil); got != test.too {
			t.Errorf("%s is visible with list_step_up: %v", test.name, got)
		}
	}
	for scope, want := range map[string]bool{"tickets:refund": true, "tickets:read": false} {
		gets := func(scopes oauth.Scope) bool { return oauth.Scope{scope}.ContainsAll(scopes) }
		if got := build(t, stepUp).Visible(t.Context(), &reader, mcp.Tools, "refund", gets); got != want {
			t.Errorf("a client that could get %s sees refund: %v", scope, got)
		}
		if !build(t, stepUp).Visible(t.Context(), &reader, mcp.Tools, "search_x", gets) {
			t.Error("what needs no more is not shown")
		}
	}
	cfg.DryRun = true
	if !build(t, cfg).Visible(t.Context(), &Caller{}, mcp.Tools, "delete_x", nil) {
		t.Error("a dry run hides something")
	}
}

func TestNeedsBody(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want bool
	}{{Config{}, false}, {Config{Default: ActionAllow}, false}, {Config{Default: ActionDeny}, true}, {tickets, true}} {
		if got := build(t, test.cfg).NeedsBody(); got != test.want {
			t.Errorf("%+v: %v", test.cfg, got)
		}
	}
}

func TestMethodRuleOverProtocol(t *testing.T) {
	p := build(t, Config{Rules: []Rule{
		deny(Rule{Methods: []string{"resources/*"}, When: []Condition{{Logins: []string{"guest"}}}}),
		{Methods: []string{"tools/list"}, Require: []Condition{scopes("read")}},
	}})
	guest, m := Caller{Login: "guest"}, method("resources/list")
	if v := p.Judge(t.Context(), &guest, &m); v.Outcome != Denied {
		t.Errorf("%+v", v)
	}
	if v := p.Judge(t.Context(), &Caller{Login: "oidc"}, &m); v.Rule != "protocol" {
		t.Errorf("%+v", v)
	}
	m = method("tools/list")
	if v := p.Judge(t.Context(), &guest, &m); v.Outcome != StepUp {
		t.Errorf("%+v", v)
	}
}
