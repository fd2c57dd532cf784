package policy

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

func TestCheck(t *testing.T) {
	with := func(c Condition) Config {
		return Config{Rules: []Rule{{Tools: []string{"x"}, Require: []Condition{c}}}}
	}
	for name, test := range map[string]struct {
		cfg  Config
		want string // "" for none
		rule int    // of the mistake, from 0; -1 for none of them
	}{
		"fine":                       {tickets, "", 0},
		"default":                    {Config{Default: "maybe"}, "allow or deny", -1},
		"hierarchy of one":           {Config{Hierarchy: [][]string{{"a"}}}, "two scopes", -1},
		"hierarchy twice":            {Config{Hierarchy: [][]string{{"a", "b", "a"}}}, "twice", -1},
		"hierarchy circle":           {Config{Hierarchy: [][]string{{"a", "b"}, {"b", "c"}, {"c", "a"}}}, "wider than", -1},
		"hierarchy no scope":         {Config{Hierarchy: [][]string{{"a", "b c"}}}, "not a scope", -1},
		"no target":                  {Config{Rules: []Rule{{Action: "deny"}}}, "needs a target", 0},
		"no action":                  {Config{Rules: []Rule{tool("x")}}, "must say what happens", 0},
		"wrong action":               {Config{Rules: []Rule{{Tools: []string{"x"}, Action: "permit"}}}, "allow or deny", 0},
		"deny and require":           {Config{Rules: []Rule{{Tools: []string{"x"}, Action: "deny", Require: []Condition{scopes("read")}}}}, "exclude", 0},
		"empty name":                 {Config{Rules: []Rule{allow(tool(""))}}, "empty", 0},
		"long name":                  {Config{Rules: []Rule{allow(tool(strings.Repeat("x", 513)))}}, "too long", 0},
		"control character":          {Config{Rules: []Rule{allow(tool("a\nb"))}}, "character", 0},
		"dot segment":                {Config{Rules: []Rule{deny(uris("file:///a/../b"))}}, "the segments . and ..", 0},
		"unknown scope":              {with(scopes("nope")), "nobody can get the scope nope", 0},
		"bad scope":                  {with(scopes("a b")), "not a scope", 0},
		"two conditions in one":      {with(Condition{Scopes: []string{"read"}, Users: []string{"u"}}), "exactly one", 0},
		"empty condition":            {with(Condition{}), "exactly one", 0},
		"condition without values":   {with(Condition{Groups: []string{}}), "needs a value", 0},
		"email":                      {with(Condition{Emails: []string{"example.com"}}), "not an address", 0},
		"address":                    {with(Condition{RemoteIPs: []string{"10.0.0.0/33"}}), "neither an address", 0},
		"age":                        {with(Condition{MaxAge: -1}), "longer than nothing", 0},
		"client with * in its host":  {with(Condition{Clients: []string{"https://*.example.com/x"}}), "other hosts", 0},
		"client with * after a host": {with(Condition{Clients: []string{"https://example.com*"}}), "other hosts", 0},
		"covered":                    {Config{Rules: []Rule{allow(tool("a", "x*")), deny(tool("xy"))}}, "rule 1 (tool a x*), further up", 1},
		"the same":                   {Config{Rules: []Rule{allow(tool("x")), deny(tool("x"))}}, "never decides", 1},
		"covered by two":             {Config{Rules: []Rule{allow(tool("a*")), allow(tool("b*")), deny(tool("ax", "b*x"))}}, "rule 1 (tool a*) and rule 2 (tool b*)", 2},
		"covered in part":            {Config{Rules: []Rule{allow(tool("a*")), deny(tool("ax", "bx"))}}, "", 0},
		"covered with when":          {Config{Rules: []Rule{allow(Rule{Tools: []string{"*"}, When: []Condition{scopes("read")}}), deny(tool("x"))}}, "", 0},
		"covered by a method":        {Config{Rules: []Rule{allow(Rule{Methods: []string{"tools/*"}}), deny(tool("x"))}}, "never decides", 1},
		"covered by one of two":      {Config{Rules: []Rule{allow(Rule{Methods: []string{"prompts/get"}}), deny(Rule{Prompts: []string{"x"}})}}, "", 0},
		"other kind":                 {Config{Rules: []Rule{allow(tool("*")), deny(Rule{Prompts: []string{"x"}})}}, "", 0},
		"stars in between":           {Config{Rules: []Rule{allow(tool("a*b*c")), deny(tool("a*c"))}}, "", 0},
		"stars covered":              {Config{Rules: []Rule{allow(tool("a*c")), deny(tool("a*b*c"))}}, "never decides", 1},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.cfg.Check(oauth.Scope{"read"})
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("%v", err)
			}
			if wrong, ok := errors.AsType[*RuleError](err); ok != (test.rule >= 0) || ok && wrong.Index != test.rule {
				t.Errorf("%v is not of rule %d", err, test.rule)
			}
		})
	}
}

func TestNewNeedsACompiler(t *testing.T) {
	_, err := New(Config{Rules: []Rule{{Tools: []string{"x"}, Source: "Caddyfile:7", Require: []Condition{{Expression: "true"}}}}}, Env{})
	if err == nil || err.Error() != "rule 1 (tool x): expressions are not supported here, at Caddyfile:7" {
		t.Error(err)
	}
}

func TestNewKnowsLogins(t *testing.T) {
	rule := Rule{Tools: []string{"x"}, Require: []Condition{{Logins: []string{"a", "b"}}}}
	for _, tt := range []struct {
		known []string
		want  string
	}{
		{nil, ""},
		{[]string{"b", "a", "c"}, ""},
		{[]string{"a", "c"}, "rule 1 (tool x): nobody can sign in with the login b: it does not exist (known: a, c)"},
		{[]string{}, "rule 1 (tool x): nobody can sign in with the login a: it does not exist (known: )"},
	} {
		got := ""
		if _, err := New(Config{Rules: []Rule{rule}}, Env{Logins: tt.known}); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("known %v: %q", tt.known, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{`"15m"`: 15 * time.Minute, `"7d"`: 7 * 24 * time.Hour, `1000`: 1000, `"1h30m"`: 90 * time.Minute} {
		var d Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v, %v", text, d, err)
		}
		again, err := json.Marshal(d)
		var back Duration
		if err != nil || json.Unmarshal(again, &back) != nil || back != d {
			t.Errorf("%s becomes %s", text, again)
		}
	}
	for _, text := range []string{`"soon"`, `"-1d"`, `"99999999d"`, `{}`} {
		if json.Unmarshal([]byte(text), new(Duration)) == nil {
			t.Errorf("%s is taken", text)
		}
	}
	if got := Duration(90 * time.Minute).String(); got != "1h30m" {
		t.Error(got)
	}
}
