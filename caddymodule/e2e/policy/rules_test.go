package policy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestRulesNames: a name is another name in every other spelling.
func TestRulesNames(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read tickets:refund tickets:pay")
	for _, name := range []string{
		"Search_x", "SEARCH_x", " search_x", "search", "\u0455earch_x", "\uff53earch_x", "s\u200bearch_x", "xsearch_x", "\u017fearch_x", "search\\_x",
		"refund ", "refund\n", "refund\u0000", "Refund", "ref\u00adund", "refund/../search_x", "delete_", "delete_x", "unknown", "*", "{env.HOME}",
	} {
		r.wantDenied(t, c.post(tool(name)))
	}
	for _, name := range []string{"search_", "search_*", "search_\u00e4 \U0001f600", "search_/../../x", "refund"} {
		r.wantPassed(t, c.post(tool(name)))
	}
}

// TestRulesURIs: a denied folder is denied in every way that a server could read.
func TestRulesURIs(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	for _, uri := range []string{
		"file:///hr/x", "file:///public/../hr/x", "file:///pub/../hr/x", "file:///pub/%2e%2e/hr/x", "file:///pub/..%2fhr/x", "file:///hr%2fx", "file:///pub/..%252fhr/x",
		"file:////hr/x", "file:///.//hr/x", "file://localhost/hr/x", "file://LOCALHOST/hr/x", "FILE:///hr/x", "File:/hr/x", "file:/hr/x", "file:///%68r/x",
		`file:///pub\..\hr\x`, "file:///pub/..;/../hr/x", "file:///hr/x?y", "file:///hr/x#y", "file:///pub/x/../../hr/", "file:///HR/../hr/x", "file:hr/x", "/hr/x", "hr/x",
		" file:///hr/x", "file:///hr/\u0000", "file:///pub/../../../hr/x", "file:///pub/%c0%ae%c0%ae/%2e%2e/hr/x", "file://other/hr/x", "file:///hr", "file:///pub",
		"https://pub.example.evil/x", "https://pub.example@evil/x", "https://evil/https://pub.example/x", "https://pub.example/../x@evil", "https://pub.example\\@evil/x",
		"http://pub.example/x", "unknown:x",
	} {
		quoted := quote(t, uri)
		for _, message := range []string{
			rpc("1", "resources/read", `"uri":`+quoted), rpc("1", "resources/subscribe", `"uri":`+quoted),
			rpc("1", "completion/complete", `"ref":{"type":"ref/resource","uri":`+quoted+`},"argument":{"name":"a","value":"b"}`),
			rpc("1", "subscriptions/listen", `"notifications":{"resourceSubscriptions":["file:///pub/a",`+quoted+`,"file:///pub/b"]}`),
		} {
			if reply := c.post(message); reply.Status != http.StatusOK || !strings.Contains(reply.Body, `"code":-32010`) {
				t.Errorf("%s: %d %s", message, reply.Status, reply.Body)
			}
			r.up.None(t)
		}
	}
	for _, uri := range []string{"file:///pub/a", "file:///pub/hr/x", "https://pub.example/a/b"} {
		r.wantPassed(t, c.post(rpc("1", "resources/read", `"uri":`+quote(t, uri))))
		r.wantPassed(t, c.post(rpc("1", "subscriptions/listen", `"notifications":{"resourceSubscriptions":[`+quote(t, uri)+`,"file:///pub/b"]}`)))
	}
}

// TestRulesMethods: what no rule names is denied, but for what MCP itself needs.
func TestRulesMethods(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	const complete = `"argument":{"name":"a","value":"b"}`
	for _, message := range []string{
		rpc("1", "completion/complete", `"ref":{"type":"ref/prompt","name":"bye"},`+complete), rpc("1", "prompts/get", `"name":"bye"`),
		rpc("1", "tasks/cancel", `"taskId":"t"`), rpc("1", "tasks/result", `"taskId":"t"`), rpc("1", "tasks/list", ""), rpc("1", "tasks/GET", `"taskId":"t"`),
		rpc("1", "unknown", ""), rpc("1", "tools/call/", `"name":"search_x"`), rpc("1", "Tools/call", `"name":"search_x"`), rpc("1", " ping", ""), rpc("1", "rpc.discover", ""),
		rpc("1", "sampling/createMessage", ""),
	} {
		if reply := c.post(message); reply.Status != http.StatusOK || !strings.Contains(reply.Body, `"code":-32010`) {
			t.Errorf("%s: %d %s", message, reply.Status, reply.Body)
		}
		r.up.None(t)
	}
	for _, message := range []string{
		initialize, rpc("1", "ping", ""), rpc("1", "server/discover", ""), rpc("1", "logging/setLevel", `"level":"debug"`), rpc("1", "tasks/get", `"taskId":"t"`),
		rpc("1", "resources/unsubscribe", `"uri":"file:///hr/x"`), rpc("1", "prompts/get", `"name":"hello"`), rpc("1", "subscriptions/listen", `"notifications":{}`),
		rpc("1", "completion/complete", `"ref":{"type":"ref/prompt","name":"hello"},`+complete), `{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":"s","result":{}}`, `{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"x"}}`,
	} {
		r.wantPassed(t, c.post(message))
	}
	t.Run("a client that does not read answers gets a status", func(t *testing.T) {
		for accept, want := range map[string]int{"application/json": http.StatusForbidden, "": http.StatusForbidden, streamable: http.StatusOK} {
			if reply := c.post(tool("delete_x"), "Accept", accept); reply.Status != want || reply.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("Accept %q: %d %v", accept, reply.Status, reply.Header)
			}
		}
	})
}

// TestRulesPeople: who somebody is decides, as their token says.
func TestRulesPeople(t *testing.T) {
	r := use(t, nil)
	for _, tt := range []struct {
		tool   string
		params []string // of the token that is enough
		others [][]string
	}{
		{"refund", []string{"groups", "hr+leads"}, [][]string{nil, {"groups", "Leads"}, {"groups", "leads2"}, {"sub", "leads"}}},
		{"mine", []string{"sub", "alice"}, [][]string{nil, {"sub", "Alice"}, {"sub", "alice2"}, {"name", "alice"}}},
		{"inside", []string{"email", "A@Example.com"}, [][]string{nil, {"email", "a@example.com.evil"}, {"email", "a@xexample.com"}, {"sub", "a@example.com"}}},
		{"here", nil, nil},
	} {
		r.wantPassed(t, r.client(t, "/people", "", tt.params...).post(tool(tt.tool)))
		for _, params := range tt.others {
			r.wantDenied(t, r.client(t, "/people", "", params...).post(tool(tt.tool)))
		}
	}
	t.Run("somebody who signed in, and comes back", func(t *testing.T) {
		c := gatewaytest.Register(t, r.URL)
		access, refresh := c.Tokens(t, "resource", r.URL+"/people")
		again := c.Refresh(t, refresh)
		wantStatus(t, again, http.StatusOK)
		for _, token := range []string{access, again.Text(t, "access_token")} {
			for _, name := range []string{"refund", "mine", "inside", "here"} {
				r.wantPassed(t, client{t, r.URL + "/people", token}.post(tool(name)))
			}
		}
	})
}

// TestRulesRefused: a rule that can never hold ends when the configuration is
// loaded, and says where it stands.
func TestRulesRefused(t *testing.T) {
	for rule, want := range map[string]string{
		"tool refund require scope tickets:rfund":      "nobody can get the scope tickets:rfund",
		"tool refund require login pasword":            "nobody can sign in with the login pasword: it does not exist (known: auto, https://idp.example.com)",
		"tool refund {\nwhen login auto gone\ndeny\n}": "nobody can sign in with the login gone",
		"tool * deny\ntool refund allow":               "rule 2 (tool refund)",
	} {
		text := config(site("/broken", "trust https://idp.example.com\n"+rule))
		_, err := gatewaytest.TryStart(t, gatewaytest.Options{Caddyfile: text, Upstream: "127.0.0.1:1"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", rule, err, want)
			continue
		}
		line, file := 0, ""
		if _, at, ok := strings.Cut(err.Error(), ", at "); ok {
			file, at, _ = strings.Cut(at, ":")
			_, _ = fmt.Sscan(at, &line) // 0 is a failure below
		}
		first, _, _ := strings.Cut(rule[strings.LastIndex(rule, "tool"):], "\n")
		if lines := strings.Split(text, "\n"); line < 1 || line > len(lines) || strings.TrimSpace(lines[line-1]) != first || !strings.HasSuffix(file, "Caddyfile") {
			t.Errorf("%s: the error points at %s:%d: %v", rule, file, line, err)
		}
	}
	ok := config(site("/fine", "trust https://idp.example.com\ntool refund require login auto https://idp.example.com"))
	g, err := gatewaytest.TryStart(t, gatewaytest.Options{Caddyfile: ok, Upstream: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	g.Stop()
}
