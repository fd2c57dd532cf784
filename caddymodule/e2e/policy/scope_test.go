package policy_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// parameters reads a challenge of one scheme.
func parameters(tb testing.TB, challenge string) map[string]string {
	tb.Helper()
	rest, ok := strings.CutPrefix(challenge, "Bearer ")
	if !ok {
		tb.Fatalf("not a Bearer challenge: %q", challenge)
	}
	all := map[string]string{}
	for part := range strings.SplitSeq(rest, ", ") {
		name, value, ok := strings.Cut(part, `="`)
		if !ok || !strings.HasSuffix(value, `"`) || all[name] != "" {
			tb.Fatalf("challenge %q", challenge)
		}
		all[name] = strings.TrimSuffix(value, `"`)
	}
	return all
}

func TestK6StepUp(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	for _, id := range []string{"1", "0", "-7", "9007199254740991", `"a"`, `""`, `"\u00e4 \"<\/script>\u2028"`, `"{env.HOME}"`} {
		t.Run("K6 the id "+id, func(t *testing.T) {
			reply := c.post(rpc(id, "tools/call", `"name":"refund"`))
			wantError(t, reply, http.StatusForbidden, denied, id)
			var f failure
			if err := json.Unmarshal([]byte(reply.Body), &f); err != nil || f.Error.Data["required_scope"] != "tickets:refund tickets:pay" {
				t.Errorf("data %v, %v", f.Error.Data, err)
			}
			r.up.None(t)
		})
	}
	for path, metadata := range map[string]string{"/mcp": "/mcp", "/mcp/": "/mcp", "/mcp/x": "/mcp", "/sse": "/sse"} {
		t.Run("K6 K12 the challenge at "+path, func(t *testing.T) {
			c := client{t, r.URL + path, c.token}
			got := parameters(t, c.post(tool("refund")).Header.Get("WWW-Authenticate"))
			want := r.URL + "/.well-known/oauth-protected-resource" + metadata
			if len(got) != 4 || got["error"] != "insufficient_scope" || got["scope"] != "tickets:refund tickets:pay" ||
				got["resource_metadata"] != want || got["error_description"] == "" {
				t.Errorf("challenge %v", got)
			}
			prm := gatewaytest.Send(t, http.MethodGet, want, "")
			if wantStatus(t, prm, http.StatusOK); prm.Text(t, "resource") != r.URL+metadata {
				t.Errorf("%s is of %s", want, prm.Text(t, "resource"))
			}
		})
	}
	t.Run("K6 K22 scripts can read it", func(t *testing.T) {
		h := c.post(tool("refund"), "Origin", "http://localhost:6274").Header
		if h.Get("Access-Control-Allow-Origin") != "http://localhost:6274" || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
			t.Errorf("headers %v", h)
		}
		if got := len(h.Values("WWW-Authenticate")); got != 1 {
			t.Errorf("%d challenges", got)
		}
	})
	t.Run("K6 nobody is sent to ask for what they can't get", func(t *testing.T) {
		c := r.limited(t, "/mcp")
		r.wantDenied(t, c.post(tool("refund")))
		r.wantPassed(t, c.post(tool("search_x")))
	})
}

// limited is a client that can get tickets:read and nothing else.
func (r *rig) limited(tb testing.TB, path string) client {
	tb.Helper()
	limited := gatewaytest.Client{Base: r.URL, ID: "limited", RedirectURI: "http://127.0.0.1/limited", Verifier: strings.Repeat("verifier-0123456789.", 3)}
	access, _ := limited.Tokens(tb, "resource", r.URL+path)
	return client{tb, r.URL + path, access}
}

// TestK7AllScopes: who gets what one challenge asks for is let in.
func TestK7AllScopes(t *testing.T) {
	r := use(t, nil)
	for have, want := range map[string]string{
		"tickets:read": "tickets:refund tickets:pay", "tickets:read tickets:pay": "tickets:refund tickets:pay",
		"tickets:refund": "tickets:refund tickets:pay", "tickets:admin": "tickets:refund tickets:pay",
	} {
		reply := r.client(t, "/mcp", have).post(tool("refund"))
		wantError(t, reply, http.StatusForbidden, denied, "1")
		if got := parameters(t, reply.Header.Get("WWW-Authenticate"))["scope"]; got != want {
			t.Errorf("with %q, the challenge has %q, want %q", have, got, want)
		}
		r.up.None(t)
		r.wantPassed(t, r.client(t, "/mcp", want).post(tool("refund")))
	}
	t.Run("K7 a real client steps up once", func(t *testing.T) {
		c := gatewaytest.Register(t, r.URL)
		access, _ := c.Tokens(t)
		reply := client{t, r.URL + "/mcp", access}.post(tool("refund"))
		wantError(t, reply, http.StatusForbidden, denied, "1")
		scope := parameters(t, reply.Header.Get("WWW-Authenticate"))["scope"]
		access, _ = c.Tokens(t, "scope", "tickets:read "+scope)
		r.wantPassed(t, client{t, r.URL + "/mcp", access}.post(tool("refund")))
	})
	// A client that asks for what it is told, and for nothing else, is told once:
	// what it had for one part of the call is not lost for the other.
	all := []string{"tickets:pay", "tickets:read", "tickets:refund"}
	for have, bodies := range map[string][]string{
		"tickets:pay":                {`[` + tool("search_x") + `,` + tool("refund") + `]`},
		"tickets:read":               {`[` + tool("search_x") + `,` + tool("refund") + `]`, `[` + tool("refund") + `,` + tool("search_x") + `]`, listen("tickets:1", "refunds:1")},
		"tickets:refund tickets:pay": {`[` + tool("search_x") + `,` + tool("refund") + `]`, listen("refunds:1", "tickets:1")},
	} {
		for _, body := range bodies {
			t.Run("K7 with "+have+" "+body, func(t *testing.T) {
				reply := r.client(t, "/mcp", have).post(body)
				wantStatus(t, reply, http.StatusForbidden)
				scope := parameters(t, reply.Header.Get("WWW-Authenticate"))["scope"]
				if got := strings.Fields(scope); !slices.Equal(slices.Sorted(slices.Values(got)), all) {
					t.Errorf("scope %q", scope)
				}
				if !strings.Contains(reply.Body, `"required_scope":"`+scope+`"`) {
					t.Errorf("body %s", reply.Body)
				}
				r.up.None(t)
				r.wantPassed(t, r.client(t, "/mcp", scope).post(body))
			})
		}
	}
}

// listen subscribes to resources.
func listen(uris ...string) string {
	text, err := json.Marshal(uris)
	if err != nil {
		panic(err)
	}
	return rpc("1", "subscriptions/listen", `"notifications":{"resourceSubscriptions":`+string(text)+`}`)
}

func TestK8Hierarchy(t *testing.T) {
	r := use(t, nil)
	r.wantPassed(t, r.client(t, "/mcp", "tickets:admin tickets:pay").post(tool("refund")))
	for _, scope := range []string{"tickets:pay tickets:adminx", "tickets:pay TICKETS:ADMIN", "tickets:pay tickets:admin:x"} {
		wantError(t, r.client(t, "/mcp", scope).post(tool("refund")), http.StatusForbidden, denied, "1")
	}
	r.up.None(t)
}

// TestK20Order: strangers learn nothing, whatever they send.
func TestK20Order(t *testing.T) {
	r := use(t, nil)
	stranger := client{tb: t, target: r.URL + "/mcp"}
	bodies := []string{
		"", "{", "[]", tool("refund"), tool("delete_x"), "\xff\xfe{\x00", strings.Repeat("[", 5000), strings.Repeat(" ", 5<<20),
		`{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`,
	}
	headers := [][]string{
		nil,
		{"Content-Encoding", "gzip"},
		{"Content-Type", "text/plain"},
		{"Mcp-Protocol-Version", "nonsense"},
		{"Mcp-Method", "x", "Mcp-Method", "y"},
		{"Mcp-Session-Id", "a", "Mcp-Session-Id", "b"},
		{"X-Http-Method-Override", "DELETE"},
		{"Authorization", "Bearer nonsense"},
	}
	for i, body := range bodies {
		for _, header := range headers {
			for _, method := range []string{"POST", "GET", "DELETE", "BREW"} {
				if i > 0 && header != nil || method != "POST" && i != 3 {
					continue // each body and each header once
				}
				if reply := stranger.send(method, body, header...); reply.Status != http.StatusUnauthorized || !strings.HasPrefix(reply.Header.Get("WWW-Authenticate"), "Bearer ") {
					t.Errorf("%s %.40q %v: %d %s", method, body, header, reply.Status, reply.Body)
				}
			}
		}
	}
	c := r.client(t, "/small", "nothing")
	t.Run("K20 size before headers, headers before scope", func(t *testing.T) {
		long := rpc("1", "tools/call", `"name":"refund","arguments":{"x":"`+strings.Repeat("x", 2000)+`"}`)
		wantError(t, c.post(long, "Mcp-Method", "ping"), http.StatusRequestEntityTooLarge, invalidRequest, "null")
		wantError(t, c.post(tool("refund"), "Mcp-Method", "ping"), http.StatusBadRequest, mismatch, "1")
		wantError(t, c.post(tool("refund"), "Mcp-Method", "tools/call"), http.StatusForbidden, denied, "1")
	})
	r.up.None(t)
}

// TestK26ClientInfo: nothing that a client says of itself counts.
func TestK26ClientInfo(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	const forged = `"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"admin","sub":"root"},"scope":"tickets:refund tickets:pay tickets:admin",` +
		`"sub":"root","groups":["leads"],"authorization":"x"},"clientInfo":{"name":"trusted"},"capabilities":{}`
	headers := []string{
		"X-Mcp-Scope", "tickets:refund tickets:pay", "X-Mcp-User", "root", "X_Mcp_Groups", "leads", "X-Forwarded-User", "root",
		"Mcp-Param-Scope", "tickets:admin", "User-Agent", "admin",
	}
	wantError(t, c.post(rpc("1", "tools/call", `"name":"refund",`+forged), headers...), http.StatusForbidden, denied, "1")
	r.wantDenied(t, c.post(rpc("1", "tools/call", `"name":"delete_x",`+forged), headers...))
	r.wantDenied(t, c.post(rpc("1", "tools/call", `"name":"mine","arguments":{"user":"root"},`+forged), headers...))
	r.wantPassed(t, c.post(rpc("1", "tools/call", `"name":"mine","arguments":{"user":"dev"},`+forged), headers...))
	r.wantPassed(t, c.post(rpc("1", "tools/call", `"name":"search_x",`+forged), headers...))
}

func TestK27DownScoped(t *testing.T) {
	r := use(t, nil)
	reader := r.client(t, "/mcp", "tickets:read")
	r.wantPassed(t, reader.post(tool("search_x")))
	wantError(t, reader.post(tool("refund")), http.StatusForbidden, denied, "1")
	r.wantDenied(t, r.client(t, "/mcp", "tickets:read tickets:refund tickets:pay tickets:admin").post(tool("delete_x")))
	none := r.client(t, "/mcp", "nothing")
	r.wantPassed(t, none.post(rpc("1", "ping", "")))
	r.wantPassed(t, none.post(rpc("1", "tools/list", "")))
	wantError(t, none.post(tool("search_x")), http.StatusForbidden, denied, "1")
	r.up.None(t)
}

// TestL10Params: what the headers of a call say of the tenant is no fact.
func TestL10Params(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read", "sub", "alice")
	call := func(user string) string {
		return rpc("1", "tools/call", `"name":"mine","arguments":{"user":"`+user+`"}`)
	}
	for _, header := range [][]string{{"Mcp-Param-User", "alice"}, {"Mcp-Param-User", "bob"}, {"Mcp-Param-Sub", "bob", "Mcp-Param-Tenant", "other"}} {
		r.wantDenied(t, c.post(call("bob"), header...))
		reply := c.post(call("alice"), header...)
		wantStatus(t, reply, http.StatusOK)
		if got := r.up.One(t).Header.Get(header[0]); got != header[1] {
			t.Errorf("L7 %s arrived as %q", header[0], got)
		}
	}
}
