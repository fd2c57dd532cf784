package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// Bodies of requests to the MCP server.
const (
	initializeBody = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	listBody       = `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`
	callBody       = `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"get_user_profile","arguments":{}}}`
)

// endpoint is a request to the demo and what must come back. In a pattern, URL
// stands for the demo's.
type endpoint struct {
	method, path, body string
	token              bool
	status             int
	kind               string // the beginning of the Content-Type
	pattern            string
}

const (
	jsonType = "application/json"
	htmlType = "text/html"
)

// endpoints are those of the two demo servers that this project descends from.
var endpoints = []endpoint{
	{"GET", "/.well-known/oauth-authorization-server", "", false, 200, jsonType, `^{"issuer":"URL","authorization_endpoint":"URL/oauth/authorize","token_endpoint":"URL/oauth/token"`},
	{"GET", "/.well-known/oauth-authorization-server", "", false, 200, jsonType, `"registration_endpoint":"URL/oauth/register","scopes_supported":\["mcp:tools:read","mcp:tools:execute"`},
	{"GET", "/.well-known/openid-configuration", "", false, 200, jsonType, `^{"issuer":"URL".*"jwks_uri":"URL/oauth/jwks.json".*"subject_types_supported"`},
	{"GET", "/.well-known/oauth-protected-resource", "", false, 200, jsonType, `"authorization_servers":\["URL"\],"scopes_supported":\["mcp:tools:read","mcp:tools:execute"\]`},
	{"GET", "/.well-known/oauth-protected-resource/mcp", "", false, 200, jsonType, `^{"resource":"URL/mcp"`},
	{"GET", "/.well-known/oauth-protected-resource/sse", "", false, 200, jsonType, `^{"resource":"URL/sse"`},
	{"GET", "/oauth/jwks.json", "", false, 200, "application/jwk-set+json", `"alg":"ES256"`},
	{"GET", "/oauth/health", "", false, 200, jsonType, `{"status":"ok"}`},
	{"GET", "/oauth/", "", false, 200, htmlType, `URL/mcp`},
	{"POST", "/oauth/register", `{"redirect_uris":["http://localhost:9999/callback"]}`, false, 201, jsonType, `"client_id":"[\w-]+".*"token_endpoint_auth_method":"none".*"scope":"mcp:tools:read mcp:tools:execute"`},
	{"POST", "/register", `{"redirect_uris":["http://localhost:9999/callback"]}`, false, 201, jsonType, `"grant_types":\["authorization_code","refresh_token"\]`},
	{"GET", "/oauth/authorize", "", false, 400, htmlType, `client_id`},
	{"GET", "/authorize", "", false, 400, htmlType, `client_id`},
	{"POST", "/oauth/token", "grant_type=refresh_token", false, 401, jsonType, `"error":"invalid_client"`},
	{"POST", "/token", "grant_type=refresh_token", false, 401, jsonType, `"error":"invalid_client"`},
	{"GET", "/dev/token", "", false, 200, jsonType, `"token_type":"Bearer","expires_in":3600,"scope":"mcp:tools:read mcp:tools:execute"`},
	{"POST", "/dev/token", "sub=bob&scope=mcp:tools:read&expires_in=60", false, 200, jsonType, `"expires_in":60,"scope":"mcp:tools:read"`},
	{"POST", "/mcp/initialize", initializeBody, false, 200, jsonType, `"protocolVersion":"2025-06-18".*"name":"mockmcp"`},
	{"POST", "/mcp/initialize", initializeBody, true, 200, jsonType, `"name":"mockmcp"`},
	{"POST", "/mcp/tools/list", listBody, false, 401, jsonType, `"error":"unauthorized"`},
	{"POST", "/mcp/tools/list", listBody, true, 200, jsonType, `"add_numbers".*"get_user_profile".*"get_weather".*"hello".*"list_files"`},
	{"POST", "/mcp/tools/call", callBody, false, 401, jsonType, `"error":"unauthorized"`},
	{"POST", "/mcp/tools/call", callBody, true, 200, jsonType, `"user":"dev","email":"dev@example.com","name":"Dev User".*"scopes":\["mcp:tools:read","mcp:tools:execute"\]`},
	{"POST", "/mcp", initializeBody, false, 401, jsonType, `"error":"unauthorized"`},
	{"POST", "/mcp", initializeBody, true, 200, "", `"name":"mockmcp"`},
	{"GET", "/mcp", "", false, 401, jsonType, `"error":"unauthorized"`},
	{"GET", "/sse", "", false, 401, jsonType, `"error":"unauthorized"`},
	{"GET", "/somewhere/else", "", false, 401, jsonType, `"error":"unauthorized"`},
	{"GET", "/mcp/health", "", false, 200, jsonType, `"status":"healthy"`},
	{"GET", "/health", "", false, 200, jsonType, `"status":"healthy"`},
	{"GET", "/docs", "", false, 200, htmlType, `swagger-ui`},
	{"GET", "/docs/swagger-ui-bundle.js", "", false, 200, "", `SwaggerUIBundle`},
	{"GET", "/redoc", "", false, 200, htmlType, `/mcp/tools/call`},
	{"GET", "/openapi.json", "", false, 200, jsonType, `"/mcp/tools/call"`},
	{"GET", "/", "", false, 200, jsonType, `"path": ?"/mcp"`},
	{"GET", "/health", "", false, 200, jsonType, `"bearer_tokens_seen":0`}, // after all the others
}

// TestDemoEndpoints asks the demo for everything that the ancestors answered.
func TestDemoEndpoints(t *testing.T) {
	t.Parallel()
	d := start(t, demoOptions{})
	access, _ := gatewaytest.Register(t, d.url).Tokens(t)
	for _, e := range endpoints { // in order: the last one counts leaks
		e.check(t, d.url, access)
	}
}

// check sends the request and compares the answer.
func (e endpoint) check(t *testing.T, base, access string) {
	t.Helper()
	name := e.method + " " + e.path
	header := []string{"Accept", "application/json, text/event-stream"}
	switch {
	case strings.HasPrefix(e.body, "{"):
		header = append(header, "Content-Type", "application/json")
	case e.body != "":
		header = append(header, "Content-Type", "application/x-www-form-urlencoded")
	}
	if e.token {
		name += " with a token"
		header = append(header, "Authorization", "Bearer "+access)
	}
	r := gatewaytest.Send(t, e.method, base+e.path, e.body, header...)
	if r.Status != e.status || !strings.HasPrefix(r.Header.Get("Content-Type"), e.kind) {
		t.Errorf("%s: %d %s, want %d %s\n%.600s", name, r.Status, r.Header.Get("Content-Type"), e.status, e.kind, r.Body)
	}
	re := regexp.MustCompile(`(?s)` + strings.ReplaceAll(e.pattern, "URL", regexp.QuoteMeta(base)))
	if !re.MatchString(r.Body) {
		t.Errorf("%s: %.600s\nwant %s", name, r.Body, re)
	}
	challenge := r.Header.Get("WWW-Authenticate")
	if want := `resource_metadata="` + base + `/.well-known/oauth-protected-resource`; strings.Contains(e.pattern, "unauthorized") && !strings.Contains(challenge, want) {
		t.Errorf("%s: the challenge is %q, want %s in it", name, challenge, want)
	}
}

// TestDemoFlow goes through the ancestors' flow under all the names that its
// endpoints have.
func TestDemoFlow(t *testing.T) {
	t.Parallel()
	d := start(t, demoOptions{})
	for _, prefix := range []string{"/oauth", ""} {
		r := gatewaytest.PostJSON(t, d.url+prefix+"/register", `{"client_name":"curl","redirect_uris":["http://localhost:9999/callback"]}`)
		c := &gatewaytest.Client{
			Base: d.url, ID: r.Text(t, "client_id"), RedirectURI: "http://localhost:9999/callback", Verifier: strings.Repeat("v", 43),
		}
		target := strings.Replace(c.AuthorizeURL("scope", "mcp:tools:read mcp:tools:execute"), "/oauth/authorize", prefix+"/authorize", 1)
		r = gatewaytest.Send(t, http.MethodGet, target, "")
		m := regexp.MustCompile(`^http://localhost:9999/callback\?code=([\w-]+)&.*state=st-1`).FindStringSubmatch(r.Header.Get("Location"))
		if r.Status != http.StatusFound || m == nil {
			t.Fatalf("%s/authorize: %d %s", prefix, r.Status, r.Header.Get("Location"))
		}
		r = gatewaytest.PostForm(t, d.url+prefix+"/token", c.TokenForm(m[1]))
		if r.Status != http.StatusOK || r.Text(t, "scope") != "mcp:tools:read mcp:tools:execute" || r.Text(t, "refresh_token") == "" {
			t.Fatalf("%s/token: %d %s", prefix, r.Status, r.Body)
		}
		if call := gatewaytest.Call(t, d.url, r.Text(t, "access_token")); call.Status != http.StatusOK || !strings.Contains(call.Body, "Hello, world!") {
			t.Errorf("a call: %d %s", call.Status, call.Body)
		}
		if again := c.Refresh(t, r.Text(t, "refresh_token")); again.Status != http.StatusOK {
			t.Errorf("refreshing: %d %s", again.Status, again.Body)
		}
	}
}

// TestDemoIsLocal: the demo is bound to the loopback, and a request under
// another name is refused.
func TestDemoIsLocal(t *testing.T) {
	t.Parallel()
	d := start(t, demoOptions{})
	for _, path := range []string{"/dev/token", "/oauth/authorize", "/mcp"} {
		r := gatewaytest.Send(t, http.MethodGet, d.url+path, "", "Host", "rebound.example.com")
		if r.Status < http.StatusBadRequest && r.Body != "" {
			t.Errorf("%s under another name: %d %s", path, r.Status, r.Body)
		}
	}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	byAddress := strings.Replace(d.url, "localhost", "127.0.0.1", 1)
	r := gatewaytest.Send(t, http.MethodGet, byAddress+"/dev/token", "")
	if err := json.Unmarshal([]byte(r.Body), &token); err != nil || token.AccessToken == "" {
		t.Errorf("127.0.0.1 is this machine too: %d %s", r.Status, r.Body)
	}
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"X-Forwarded-For", "192.0.2.1"}} {
		if r := gatewaytest.Send(t, http.MethodGet, d.url+"/dev/token", "", header...); r.Status != http.StatusForbidden {
			t.Errorf("/dev/token with %q: %d", header, r.Status)
		}
	}
}
