package spec_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// resourceMetadata are the requirements of protected resource metadata,
// RFC 9728.
var resourceMetadata = []requirement{
	{"A1", testPathForm},
	{"A2", testBothDiscoveries},
	{"A3", testPathFormAlone},
	{"A4", testResourceExact},
	{"A5", testRootForm},
	{"A6", testAuthorizationServers},
	{"A7", func(t *testing.T) { wantNothingEmpty(t, "", getJSON(t, development().URL+prmPath+"/mcp")) }},
	{"A8", func(t *testing.T) {
		wantMember(t, getJSON(t, development().URL+prmPath+"/mcp"), "scopes_supported", `["mcp:tools:read","mcp:tools:execute"]`)
		wantMember(t, getJSON(t, severalResources().URL+prmPath+"/b"), "scopes_supported", `["b:read","b:write"]`)
	}},
	{"A9", func(t *testing.T) {
		if slices.Contains(stringsIn(getJSON(t, development().URL+prmPath+"/mcp")), "offline_access") {
			t.Error("offline_access is listed")
		}
	}},
	{"A10", testDocumentation},
	{"A11", func(t *testing.T) {
		wantAbsent(t, getJSON(t, development().URL+prmPath+"/mcp"), "jwks_uri", "resource_signing_alg_values_supported")
	}},
	{"A12", func(t *testing.T) {
		wantAbsent(t, getJSON(t, development().URL+prmPath+"/mcp"), "dpop_signing_alg_values_supported",
			"dpop_bound_access_tokens_required", "tls_client_certificate_bound_access_tokens")
	}},
	{"A13", func(t *testing.T) { wantStatus(t, get(t, development().URL+prmPath+"/mcp"), http.StatusOK) }},
	{"A14", func(t *testing.T) {
		preflight(t, development().URL+prmPath+"/mcp", "GET")
		preflight(t, development().URL+prmPath, "GET")
		wantAllowed(t, get(t, development().URL+prmPath+"/mcp", "Origin", "https://inspector.example", "MCP-Protocol-Version", "2025-06-18"))
	}},
	{"A15", testUnknownResource},
	{"A17", testUpstreamShadowed},
	{"A18", testMetadataCache},
	{"A19", func(t *testing.T) {
		wantAbsent(t, getJSON(t, development().URL+prmPath+"/mcp"), "signed_metadata")
	}},
	{"A20", func(t *testing.T) { wantReadOnly(t, development().URL+prmPath+"/mcp") }},
	{"A21", func(t *testing.T) {
		base := development().URL
		wantMember(t, getJSON(t, base+asPath), "protected_resources", `["`+base+`/mcp","`+base+`/sse"]`)
	}},
}

func testPathForm(t *testing.T) {
	base := development().URL
	for _, path := range []string{"/mcp", "/sse"} {
		wantMember(t, getJSON(t, base+prmPath+path), "resource", `"`+base+path+`"`)
	}
	head := gatewaytest.Send(t, http.MethodHead, base+prmPath+"/mcp", "")
	wantStatus(t, head, http.StatusOK)
	wantHeader(t, head, "Content-Type", "application/json")
	if head.Body != "" {
		t.Errorf("HEAD has a body: %q", head.Body)
	}
	with := get(t, base+prmPath+"/mcp", "MCP-Protocol-Version", "2025-03-26")
	if without := get(t, base+prmPath+"/mcp"); with.Body != without.Body {
		t.Errorf("0.5: MCP-Protocol-Version changes the document: %s", with.Body)
	}
}

func testBothDiscoveries(t *testing.T) {
	base := development().URL
	for _, path := range []string{"/mcp", "/sse"} {
		r := gatewaytest.PostJSON(t, base+path, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		wantStatus(t, r, http.StatusUnauthorized)
		wantJSONErrorShape(t, r)
		challenge := r.Header.Values("WWW-Authenticate")
		if len(challenge) != 1 || !strings.HasPrefix(challenge[0], "Bearer ") ||
			!strings.Contains(challenge[0], `resource_metadata="`+base+prmPath+path+`"`) || strings.Contains(challenge[0], "error=") {
			t.Errorf("challenge of %s: %q", path, challenge)
		}
		wantStatus(t, get(t, base+prmPath+path), http.StatusOK)
	}
}

func testPathFormAlone(t *testing.T) {
	// Two resources share this origin, so there is no root form to lean on.
	g := severalResources()
	wantStatus(t, get(t, g.URL+prmPath+"/mcp"), http.StatusOK)
	wantStatus(t, get(t, g.URL+prmPath+"/b"), http.StatusOK)
}

func testResourceExact(t *testing.T) {
	g := severalResources()
	wantMember(t, getJSON(t, g.URL+prmPath+"/b"), "resource", `"`+g.URL+`/b"`)
	wantMember(t, getJSON(t, g.Origin+prmPath), "resource", `"`+g.Origin+`"`)
	wantMember(t, getJSON(t, pathIssuer().URL+prmPath+"/mcp"), "resource", `"`+pathIssuer().URL+`/mcp"`)
}

func testRootForm(t *testing.T) {
	wantError(t, get(t, severalResources().URL+prmPath), http.StatusNotFound, "not_found")
	base := development().URL
	wantMember(t, getJSON(t, base+prmPath), "resource", `"`+base+`"`)
	access, _ := gatewaytest.Register(t, base).Tokens(t, "resource", base)
	wantAlive(t, base, access)
}

func testAuthorizationServers(t *testing.T) {
	for _, issuer := range []string{development().URL, pathIssuer().URL + "/t1"} {
		origin := strings.TrimSuffix(issuer, "/t1")
		wantMember(t, getJSON(t, origin+prmPath+"/mcp"), "authorization_servers", `["`+issuer+`"]`)
		wantMember(t, getJSON(t, origin+asPath+strings.TrimPrefix(issuer, origin)), "issuer", `"`+issuer+`"`)
	}
	g := severalResources()
	wantMember(t, getJSON(t, g.Origin+prmPath), "authorization_servers", `["`+g.URL+`"]`)
}

func testDocumentation(t *testing.T) {
	wantMember(t, getJSON(t, development().URL+prmPath+"/mcp"), "bearer_methods_supported", `["header"]`)
	doc := getJSON(t, severalResources().Origin+prmPath)
	wantMember(t, doc, "resource_name", `"The whole origin"`)
	wantMember(t, doc, "resource_documentation", `"https://docs.example/"`)
	wantRefusedStart(t, caddyfile("", "documentation http://docs.example/"), "documentation")
}

// wantRefusedStart starts a gateway that must not start, and looks for a word
// in its complaint.
func wantRefusedStart(t *testing.T, text, word string) {
	t.Helper()
	_, err := gatewaytest.TryStart(t, gatewaytest.Options{Caddyfile: text, Upstream: "127.0.0.1:1"})
	if err == nil || !strings.Contains(err.Error(), word) {
		t.Errorf("started, or refused for another reason: %v", err)
	}
}

func testUnknownResource(t *testing.T) {
	base := development().URL
	for _, path := range []string{"/nope", "/mcp/", "/mcp/x", "/MCP", "/mcpx", "/", "/mcp%2f", "/%6dcp/x", "/mcp;x"} {
		r := get(t, base+prmPath+path)
		wantError(t, r, http.StatusNotFound, "not_found")
		wantAllowed(t, r)
	}
}

// rogueUpstream is an MCP server that has an authorization server of its own.
func rogueUpstream(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="https://rogue.example/"`)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"resource":"https://rogue.example","issuer":"https://rogue.example"}`))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func testUpstreamShadowed(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("", "public /open /.well-known/*"), Upstream: rogueUpstream(t)})
	if r := get(t, g.URL+"/open"); !strings.Contains(r.Body, "rogue.example") {
		t.Fatalf("the upstream was not asked: %d %s", r.Status, r.Body)
	}
	for _, path := range []string{
		prmPath, prmPath + "/", prmPath + "/mcp", prmPath + "/sse", prmPath + "/nope",
		asPath, asPath + "/", asPath + "/mcp", asPath + "/nope", oidcPath, oidcPath + "/nope",
		"/oauth/", "/oauth/authorize", "/oauth/jwks.json", "/oauth/nope", "/authorize", "/token", "/register",
	} {
		r := get(t, g.URL+path)
		if strings.Contains(r.Body, "rogue") || strings.Contains(r.Header.Get("WWW-Authenticate"), "rogue") || r.Status >= 500 {
			t.Errorf("GET %s reaches the upstream: %d %s", path, r.Status, r.Body)
		}
	}
}

func testMetadataCache(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("", "scopes one")})
	for _, path := range []string{prmPath + "/mcp", asPath, oidcPath, "/oauth/jwks.json"} {
		if cc := get(t, g.URL+path).Header.Get("Cache-Control"); !strings.Contains(cc, "max-age=") {
			t.Errorf("%s: Cache-Control %q", path, cc)
		}
	}
	wantMember(t, getJSON(t, g.URL+prmPath+"/mcp"), "scopes_supported", `["one"]`)
	if err := g.Reload(caddyfile("", "scopes two"), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	wantMember(t, getJSON(t, g.URL+prmPath+"/mcp"), "scopes_supported", `["two"]`)
	if c := gatewaytest.PostJSON(t, g.URL+"/mcp", "{}").Header.Get("WWW-Authenticate"); !strings.Contains(c, `scope="two"`) {
		t.Errorf("challenge after the reload: %q", c)
	}
}

// wantReadOnly checks that a document refuses to be written.
func wantReadOnly(t *testing.T, target string) {
	t.Helper()
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "TRACE"} {
		r := gatewaytest.Send(t, method, target, "")
		wantError(t, r, http.StatusMethodNotAllowed, "invalid_request")
		if allow := commaList(r.Header.Get("Allow")); !slices.Contains(allow, "GET") || !slices.Contains(allow, "HEAD") || slices.Contains(allow, method) {
			t.Errorf("%s: Allow %q", method, allow)
		}
	}
}
