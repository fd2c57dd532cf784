package spec_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// authorizeTargets are the requirements on resource, scope, prompt and what is
// left out, and on the response.
var authorizeTargets = []requirement{
	{"F13", testUnknownTargets},
	{"F14", testTargetSpellings},
	{"F15", testNoTarget},
	{"F16", testSeveralTargets},
	{"F17", testDefaultScope},
	{"F18", testUnknownScopes},
	{"F19", testPrompt},
	{"F20", testRequestObjects},
	{"F21", func(t *testing.T) {
		c := gatewaytest.Register(t, development().URL)
		for _, mode := range []string{"form_post", "fragment", "query.jwt", "web_message", "QUERY"} {
			r, _ := c.Authorize(t, "response_mode", mode)
			wantRedirectError(t, r, c.Base, "invalid_request")
		}
		r, _ := c.Authorize(t, "response_mode", "query")
		redirected(t, r, c.Base)
	}},
	{"F22", testDescriptions},
	{"F23", testHostileInput},
	{"F40", testCodeBindings},
	{"F41", testEntropy},
	{"F42", testIssFlag},
	{"F44", testChallengeHidden},
}

func testUnknownTargets(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, target := range []string{
		"mcp.example.com", "https://other.example/mcp", c.Base + "/mcp#f", c.Base + "/mcp#", c.Base + "/other", c.Base + "/mcp-admin", c.Base + "/mcpx",
		c.Base + "/MCP", c.Base + "/%6dcp", c.Base + "/mcp/x", c.Base + "/mcp/../sse", c.Base + "//mcp", c.Base + ".evil.example/mcp", "/mcp",
		strings.Replace(c.Base, "http:", "https:", 1) + "/mcp", strings.Replace(c.Base, "localhost", "127.0.0.1", 1) + "/mcp", "urn:mcp", "http://localhost/mcp",
		strings.Replace(c.Base, "localhost", "u@localhost", 1) + "/mcp", strings.Replace(c.Base, "localhost", "localhost.", 1) + "/mcp", c.Base + "/mcp ", "%",
	} {
		r, _ := c.Authorize(t, "resource", target)
		if q := redirected(t, r, c.Base); q.Get("error") != "invalid_target" {
			t.Errorf("resource %q: %v", target, q)
		}
	}
}

// audienceFor asks for a resource and returns the token's audience.
func audienceFor(t *testing.T, c *gatewaytest.Client, target string) string {
	t.Helper()
	access, _ := c.Tokens(t, "resource", target)
	aud, ok := jwtPart(t, access, 1)["aud"].(string)
	if !ok {
		t.Fatalf("aud is %v", jwtPart(t, access, 1)["aud"])
	}
	return aud
}

// testTargetSpellings: F14, and the spellings of INTEROP 5.
func testTargetSpellings(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	upper := strings.NewReplacer("http", "HTTP", "localhost", "LocalHost").Replace(c.Base)
	for _, target := range []string{
		c.Base + "/mcp", upper + "/mcp", c.Base + "/mcp/", c.Base + "/mcp?kb_name=x", c.Base + "/sse", c.Base, c.Base + "/", "",
	} {
		if aud := audienceFor(t, c, target); aud != c.Base+"/mcp" {
			t.Errorf("resource %q: aud %q", target, aud)
		}
	}
	g := severalResources()
	many := gatewaytest.Register(t, g.URL)
	for target, want := range map[string]string{
		g.Origin: g.Origin, g.Origin + "/": g.Origin, strings.ToUpper(g.Origin): g.Origin, g.URL + "/b": g.URL + "/b", g.URL + "/b/": g.URL + "/b",
	} {
		if aud := audienceFor(t, many, target); aud != want {
			t.Errorf("resource %q: aud %q, want %q", target, aud, want)
		}
	}
}

func testNoTarget(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	if aud := audienceFor(t, c, "-"); aud != c.Base+"/mcp" {
		t.Errorf("aud %q", aud)
	}
	many := gatewaytest.Register(t, severalResources().URL)
	for _, target := range []string{"-", "", many.Base} { // the origin is ambiguous there
		r, _ := many.Authorize(t, "resource", target)
		wantRedirectError(t, r, many.Base, "invalid_target")
	}
}

func testSeveralTargets(t *testing.T) {
	g := severalResources()
	c := gatewaytest.Register(t, g.URL)
	for _, other := range []string{g.Origin, g.URL + "/b", "https://other.example"} {
		wantRedirectError(t, authorizeWith(t, c, "&resource="+url.QueryEscape(other)), g.URL, "invalid_target")
	}
	// Two endpoints of one server are one audience.
	one := gatewaytest.Register(t, development().URL)
	if redirected(t, authorizeWith(t, one, "&resource="+url.QueryEscape(one.Base+"/sse")), one.Base).Get("code") == "" {
		t.Error("two endpoints of one resource were refused")
	}
}

// grantedScope authorizes with a scope and returns the one of the token, which
// the response and the claim must agree on.
func grantedScope(t *testing.T, c *gatewaytest.Client, scope string) string {
	t.Helper()
	reply := c.Redeem(t, c.Code(t, "scope", scope))
	wantStatus(t, reply, http.StatusOK)
	got := reply.Text(t, "scope")
	wantMember(t, jwtPart(t, reply.Text(t, "access_token"), 1), "scope", `"`+got+`"`)
	return got
}

func testDefaultScope(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, scope := range []string{"-", "", " ", "offline_access", "openid profile email"} { // INTEROP 18
		if got := grantedScope(t, c, scope); got != bothScope {
			t.Errorf("scope %q: granted %q", scope, got)
		}
	}
	for _, scope := range []string{`a"b`, `mcp:tools:read a\b`, "mcp:tools:read\tx", "é", "mcp:tools:read\n"} {
		r, _ := c.Authorize(t, "scope", scope)
		wantRedirectError(t, r, c.Base, "invalid_scope")
	}
}

func testUnknownScopes(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for asked, want := range map[string]string{
		"mcp:tools:read unknown": "mcp:tools:read", "mcp:tools:read mcp:tools:read": "mcp:tools:read",
		"unknown offline_access mcp:tools:execute": "mcp:tools:execute", bothScope: bothScope,
	} {
		if got := grantedScope(t, c, asked); got != want {
			t.Errorf("scope %q: granted %q, want %q", asked, got, want)
		}
	}
	for _, scope := range []string{"unknown", "admin *", "MCP:TOOLS:READ", "mcp:tools", "unknown offline_access"} {
		r, _ := c.Authorize(t, "scope", scope)
		wantRedirectError(t, r, c.Base, "invalid_scope")
	}
	many := gatewaytest.Register(t, severalResources().URL)
	r, _ := many.Authorize(t, "scope", "b:read") // of another resource
	wantRedirectError(t, r, many.Base, "invalid_scope")
}

// testPrompt: with a login that asks nobody there is always a session.
func testPrompt(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, prompt := range []string{"none", "consent", "login", "login consent", "unknown", "select_account"} {
		r, _ := c.Authorize(t, "prompt", prompt)
		if q := redirected(t, r, c.Base); q.Get("code") == "" {
			t.Errorf("prompt %s: %v", prompt, q)
		}
	}
	for _, prompt := range []string{"none login", "consent none", "none none x"} {
		r, _ := c.Authorize(t, "prompt", prompt)
		wantRedirectError(t, r, c.Base, "invalid_request")
	}
}

func testRequestObjects(t *testing.T) {
	canary := newCanary(t)
	c := gatewaytest.Register(t, development().URL)
	for _, uri := range []string{canary.URL + "/request.jwt", "urn:ietf:params:oauth:request_uri:x", "file:///etc/passwd"} {
		r, _ := c.Authorize(t, "request_uri", uri)
		wantRedirectError(t, r, c.Base, "request_uri_not_supported")
	}
	r, _ := c.Authorize(t, "request", "eyJhbGciOiJub25lIn0.e30.")
	wantRedirectError(t, r, c.Base, "request_not_supported")
	canary.silent(t)
}

// testDescriptions: hostile parameters never change an error's alphabet, which
// redirected checks.
func testDescriptions(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, text := range []string{"\"\\\n", "é\u2028", "<script>", strings.Repeat("x", 5000)} {
		for _, name := range []string{"response_type", "scope", "resource", "code_challenge", "prompt", "response_mode", "request"} {
			r, _ := c.Authorize(t, name, text)
			if q := redirected(t, r, c.Base); len(q.Get("error_description")) > 500 {
				t.Errorf("%s: a description of %d characters", name, len(q.Get("error_description")))
			}
		}
	}
}

// testCodeBindings: O10, O16, O17 and O21. A refused attempt leaves the code
// for its owner.
func testCodeBindings(t *testing.T) {
	c, other := gatewaytest.Register(t, development().URL), gatewaytest.Register(t, development().URL)
	verifier := strings.Repeat("other-verifier-", 4)
	for name, value := range map[string]string{"client_id": other.ID, "redirect_uri": "http://127.0.0.1:1/callback", "code_verifier": verifier} {
		code := c.Code(t)
		form := c.TokenForm(code)
		form.Set(name, value)
		wantError(t, gatewaytest.PostForm(t, c.Base+"/oauth/token", form), http.StatusBadRequest, "invalid_grant")
		wantStatus(t, c.Redeem(t, code), http.StatusOK)
	}
	// A code of one gateway means nothing to another, nor do its clients.
	stranger := *c
	stranger.Base = rootPathsOff().URL
	wantError(t, stranger.Redeem(t, c.Code(t)), http.StatusUnauthorized, "invalid_client")
	local := gatewaytest.Register(t, rootPathsOff().URL)
	wantError(t, local.Redeem(t, c.Code(t)), http.StatusBadRequest, "invalid_grant")
}

func testEntropy(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	seen := map[string]bool{}
	for range 20 {
		code := c.Code(t)
		reply := c.Redeem(t, code)
		for _, value := range []string{code, reply.Text(t, "refresh_token")} {
			raw, err := base64.RawURLEncoding.DecodeString(value)
			if err != nil || len(raw) < 32 || seen[value] {
				t.Fatalf("%q: %v, %d bytes, seen %v", value, err, len(raw), seen[value])
			}
			seen[value] = true
		}
		jti, _ := jwtPart(t, reply.Text(t, "access_token"), 1)["jti"].(string)
		if len(jti) < 22 || seen[jti] {
			t.Fatalf("jti %q", jti)
		}
		seen[jti] = true
	}
}

func testChallengeHidden(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	challenge := gatewaytest.Challenge(c.Verifier)
	code := c.Code(t)
	raw, err := base64.RawURLEncoding.DecodeString(code)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{challenge, "alice", c.RedirectURI, "/mcp", "mcp:tools"} {
		if strings.Contains(code, secret) || strings.Contains(string(raw), secret) {
			t.Errorf("the code shows %q", secret)
		}
	}
}
