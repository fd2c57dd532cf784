package clients_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// knownClients are the clients of the configuration that stepperKinds has.
const knownClients = `client go-known {
			redirect_uri http://127.0.0.1/callback
		}
		client ts-known {
			redirect_uri http://127.0.0.1/callback
			secret a-secret-of-a-test-that-is-long-enough
		}`

// stepperKinds step up by themselves: the Go SDK and the TypeScript SDK v2, in
// every way in which they can be known, and with sessions and without.
func stepperKinds() []agentKind {
	document := command{Do: "become", Document: openCode}
	known := command{Do: "become", ID: "ts-known", Secret: "a-secret-of-a-test-that-is-long-enough"}
	return []agentKind{
		goKind("registered", "/mcp", ""),
		goKind("registered 2025-11-25", "/mcp", "2025-11-25"),
		goKind("document", "/mcp", "", byDocument(claudeCode)),
		goKind("document 2025-11-25", "/mcp", "2025-11-25", byDocument(claudeCode)),
		goKind("pre-registered", "/mcp", "", byOperator("go-known", "")),
		goKind("pre-registered 2025-11-25", "/mcp", "2025-11-25", byOperator("go-known", "")),
		tsKind("registered", "v2-modern", "http"),
		tsKind("registered 2025-11-25", "v2", "http"),
		tsKind("document", "v2-modern", "http", document),
		tsKind("document 2025-11-25", "v2", "http", document),
		tsKind("pre-registered", "v2-modern", "http", known),
		tsKind("pre-registered 2025-11-25", "v2", "http", known),
	}
}

// TestStepUpK6 K7 K8: a client with the scopes for basic use calls what needs
// more. It asks for more by itself, and the call succeeds. What it has then is
// enough for the next calls, also where a wider scope includes what they need.
func TestStepUp(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g, upstream := stepping(t, "", knownClients)
	forEachAgent(t, g.URL, stepperKinds(), func(t *testing.T, a agent, tag int) {
		none(t, must(t, a, "hello"))
		wantTools(t, a, "hello")
		stepsUp(t, g, a, "add_numbers", "math:add")
		for range 2 {
			none(t, must(t, a, "add_numbers"))
		}
		if n := upstream.seen("add_numbers", tag); n != 3 {
			t.Errorf("the server saw add_numbers %d times, want 3", n)
		}
		wantTools(t, a, "add_numbers", "hello")
		stepsUp(t, g, a, "get_weather", "weather:read", "places:read")
		none(t, must(t, a, "get_weather"))
		if n := upstream.seen("get_weather", tag); n != 2 {
			t.Errorf("the server saw get_weather %d times, want 2", n)
		}
		stepsUp(t, g, a, "list_files", "files:admin")
		for _, tool := range []string{"get_user_profile", "list_files", "add_numbers", "hello"} {
			none(t, must(t, a, tool))
		}
		wantTools(t, a, "add_numbers", "get_user_profile", "get_weather", "hello", "list_files")
	})
}

// stepsUp: one refusal that names all the scopes that the tool needs, one visit to
// the person with these and those that the client had, and the call succeeds.
func stepsUp(t *testing.T, g *gatewaytest.Gateway, a agent, tool string, needs ...string) {
	t.Helper()
	all := must(t, a, tool)
	refused := all.refused()
	want := `Bearer error="insufficient_scope", error_description="this call needs more scopes than the access token has", resource_metadata="` +
		g.URL + `/.well-known/oauth-protected-resource/mcp", scope="` + strings.Join(needs, " ") + `"`
	if len(refused) != 1 || refused[0].Status != http.StatusForbidden || refused[0].Challenge != want {
		all.log(t)
		t.Fatalf("%s: refused %+v\nwant one 403 with %s", tool, refused, want)
	}
	asked := all.asked(t)
	for _, scope := range append(needs, "mcp:tools:read") {
		if !slices.Contains(asked, scope) {
			t.Errorf("%s: asked for %q, without %s", tool, asked, scope)
		}
	}
	if codes := all.grants("authorization_code").answered(http.StatusOK); len(codes) != 1 {
		t.Errorf("%s: %d codes were redeemed, want 1", tool, len(codes))
	}
	if calls := all.to("/mcp"); len(calls) != 2 {
		t.Errorf("%s: %d calls, want a refused one and a good one", tool, len(calls))
	}
}

// none fails the test if any of these was refused, or was about a token.
func none(t *testing.T, all exchanges) {
	t.Helper()
	if n := all.authorized(); n > 0 || len(all.refused()) > 0 || len(all.answered(http.StatusUnauthorized)) > 0 {
		all.log(t)
		t.Errorf("%d requests for a token, refused %+v", n, all.refused())
	}
}

// TestStepUpPerson: where a person is asked, the page of the second time names
// what is new, and what the person approved is there afterwards.
func TestStepUpPerson(t *testing.T) {
	upstream := serveCounted(t)
	caddyfile, env := attendedFile(t, ruled(t, steppingRules+"\n\t\tdescribe math:add \"Add your numbers\""))
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile, Env: env, Upstream: upstream.address})
	for _, revision := range []string{"", "2025-11-25"} {
		t.Run("revision "+revision, func(t *testing.T) {
			c := newGoClient(t, g.URL+"/mcp")
			says := ""
			c.person = func(authorize string) url.Values {
				consent := gatewaytest.NewBrowser(t).Open(authorize).SignIn("alice", personPassword)
				says = consent.Text()
				return consent.Allow().Location.Query()
			}
			a := &goAgent{c, c.connect(t, revision), 1}
			none(t, must(t, a, "hello"))
			if strings.Contains(says, "Add your numbers") {
				t.Errorf("the first page asks for more than basic use: %s", says)
			}
			all := must(t, a, "add_numbers")
			if !strings.Contains(says, "Add your numbers") || len(all.refused()) != 1 {
				t.Errorf("the second page: %s\nrefused: %+v", says, all.refused())
			}
			none(t, must(t, a, "add_numbers"))
		})
	}
}

// TestStepUpNotObtainable: a client that may not have the scope is not sent to ask
// for it. It gets an error, and may go on.
func TestStepUpNotObtainable(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g, upstream := stepping(t, "", "registration {\n\t\t\tunvetted_scopes mcp:tools:read\n\t\t}", knownClients)
	kinds := []agentKind{
		goKind("registered", "/mcp", ""), goKind("registered 2025-11-25", "/mcp", "2025-11-25"),
		tsKind("registered", "v2-modern", "http"), tsKind("registered v1", "v1", "http"),
	}
	forEachAgent(t, g.URL, kinds, func(t *testing.T, a agent, tag int) {
		denied(t, a, "add_numbers", "scopes that this program can't get")
		none(t, must(t, a, "hello"))
		if n := upstream.seen("add_numbers", tag); n != 0 {
			t.Errorf("the server saw %d calls", n)
		}
	})
	t.Run("operator's client", func(t *testing.T) {
		a := goKind("", "/mcp", "", byOperator("go-known", "")).start(t, g.URL, 0)
		stepsUp(t, g, a, "add_numbers", "math:add")
	})
}

// codeDenied is the JSON-RPC error code of what a rule denies.
const codeDenied = -32010

// denied: the call fails with the gateway's words, after one request, and nobody
// asks for a token.
func denied(t *testing.T, a agent, tool, says string) {
	t.Helper()
	u := a.use(t, tool)
	if u.err == nil || u.code != codeDenied || !strings.Contains(u.err.Error(), says) {
		t.Errorf("%s: %q, code %d, %v; want %d, %q", tool, u.text, u.code, u.err, codeDenied, says)
	}
	if calls := u.to("/mcp"); len(calls) != 1 || calls[0].Status != http.StatusOK || calls[0].Challenge != "" || u.authorized() != 0 {
		u.log(t)
		t.Errorf("%s: %d calls, %d requests for a token", tool, len(calls), u.authorized())
	}
}
