package spec_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

func TestRegister(t *testing.T) {
	run(t, []requirement{
		{"C1", func(t *testing.T) {
			wantStatus(t, register(t, `{"redirect_uris":["http://127.0.0.1/cb"]}`), http.StatusCreated)
			testRegistrationSwitch(t)
		}},
		{"C2", testRegisterMedia},
		{"C3", testInitialAccessToken},
		{"C4", testRegisterHeaders},
		{"C5", testRegisterEcho},
		{"C6", testSecretExpiry},
		{"C7", testNoNulls},
		{"C8", testDefaults},
		{"C9", testRegisterAuthMethods},
		{"C10", testNativePublic},
	})
	run(t, redirectRegistration)
	run(t, []requirement{
		{"C16", testRegisterGrants},
		{"C17", testNoMachineGrants},
		{"C18", testKeysOfClients},
		{"C19", testUnknownMembers},
		{"C20", testSoftwareStatements},
		{"C21", testUntrustedText},
		{"C22", testAdminScope},
		{"C23", testIdentifiers},
		{"C24", testRegisterErrors},
		{"C25", testRegisterLimits},
		{"C25/largest", testLargestClient},
		{"C26", testSecretsAtRest},
		{"C27", testTwoRegistrations},
		{"C1/switched off", testRegistrationSwitchedOff},
		{"C14/no longer allowed", testSchemeNoLongerAllowed},
	})
}

// register posts client metadata to the shared gateway.
func register(t *testing.T, metadata string) gatewaytest.Reply {
	t.Helper()
	return gatewaytest.PostJSON(t, development().URL+"/oauth/register", metadata)
}

// registered demands success and returns the document.
func registered(t *testing.T, metadata string) map[string]any {
	t.Helper()
	r := register(t, metadata)
	wantStatus(t, r, http.StatusCreated)
	return r.JSON(t)
}

const loopbackURI = `"redirect_uris":["http://127.0.0.1/cb"]`

func testRegisterMedia(t *testing.T) {
	target := development().URL + "/oauth/register"
	for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain", "application/jsonx", "text/html; application/json", ""} {
		r := gatewaytest.Send(t, http.MethodPost, target, "{"+loopbackURI+"}", "Content-Type", contentType)
		wantError(t, r, http.StatusBadRequest, "invalid_client_metadata")
	}
	wantStatus(t, gatewaytest.Send(t, http.MethodPost, target, "{"+loopbackURI+"}", "Content-Type", "Application/JSON; charset=utf-8"), http.StatusCreated)
	for _, body := range []string{"", "{", "[]", `"x"`, "1", "[{" + loopbackURI + "}]", "{" + loopbackURI + "}{}", "\xff", `{"redirect_uris":["http://127.0.0.1/cb"],}`} {
		wantError(t, register(t, body), http.StatusBadRequest, "invalid_client_metadata")
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
		r := gatewaytest.Send(t, method, target, "")
		wantStatus(t, r, http.StatusMethodNotAllowed)
		wantHeader(t, r, "Allow", "POST")
	}
}

func testInitialAccessToken(t *testing.T) {
	target := initialAccess().URL + "/oauth/register"
	for _, tt := range []struct{ header, challenge string }{
		{"", "Bearer"},
		{"Basic bGV0LW1lLWlu", "Bearer"},
		{"Bearer wrong", `Bearer error="invalid_token"`},
		{"Bearer", `Bearer error="invalid_token"`},
		{"Bearer let-me-in-012345678", `Bearer error="invalid_token"`},
		{"Bearer let-me-in-0123456789x", `Bearer error="invalid_token"`},
	} {
		var header []string
		if tt.header != "" {
			header = []string{"Authorization", tt.header}
		}
		r := gatewaytest.PostJSON(t, target, "{"+loopbackURI+"}", header...)
		wantError(t, r, http.StatusUnauthorized, "invalid_token")
		wantHeader(t, r, "WWW-Authenticate", tt.challenge)
	}
	wantStatus(t, gatewaytest.PostJSON(t, target, "{"+loopbackURI+"}", "Authorization", "Bearer let-me-in-0123456789"), http.StatusCreated)
	alias := initialAccess().URL + "/register"
	wantStatus(t, gatewaytest.PostJSON(t, alias, "{"+loopbackURI+"}"), http.StatusUnauthorized)
}

func testRegisterHeaders(t *testing.T) {
	r := register(t, "{"+loopbackURI+"}")
	wantStatus(t, r, http.StatusCreated)
	wantHeader(t, r, "Content-Type", "application/json")
	wantHeader(t, r, "Cache-Control", "no-store")
	wantHeader(t, r, "Pragma", "no-cache")
	wantHeader(t, r, "X-Content-Type-Options", "nosniff")
}

func testRegisterEcho(t *testing.T) {
	doc := registered(t, `{"client_name":"Editor","client_uri":"https://editor.example/","redirect_uris":["https://editor.example/cb","http://localhost:9/cb"],
		"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"client_secret_post",
		"application_type":"native","scope":"mcp:tools:read"}`)
	for name, want := range map[string]string{
		"client_name": `"Editor"`, "client_uri": `"https://editor.example/"`, "redirect_uris": `["https://editor.example/cb","http://localhost:9/cb"]`,
		"grant_types": `["authorization_code","refresh_token"]`, "response_types": `["code"]`, "token_endpoint_auth_method": `"client_secret_post"`,
		"application_type": `"native"`, "scope": `"mcp:tools:read"`,
	} {
		wantMember(t, doc, name, want)
	}
	issued, _ := doc["client_id_issued_at"].(float64)
	if age := time.Since(time.Unix(int64(issued), 0)); age < -time.Second || age > time.Minute || issued != float64(int64(issued)) {
		t.Errorf("client_id_issued_at: %v", doc["client_id_issued_at"])
	}
}

func testSecretExpiry(t *testing.T) {
	for _, method := range []string{"client_secret_post", "client_secret_basic"} {
		doc := registered(t, `{`+loopbackURI+`,"token_endpoint_auth_method":"`+method+`"}`)
		wantMember(t, doc, "client_secret_expires_at", "0")
		if secret, _ := doc["client_secret"].(string); len(secret) < 43 {
			t.Errorf("F41: a secret of %d characters", len(secret))
		}
	}
	wantAbsent(t, registered(t, `{`+loopbackURI+`,"token_endpoint_auth_method":"none"}`), "client_secret", "client_secret_expires_at")
}

func testNoNulls(t *testing.T) {
	for _, body := range []string{
		`{` + loopbackURI + `}`,
		`{` + loopbackURI + `,"client_name":"","client_uri":"","logo_uri":"","scope":"","contacts":[],"tos_uri":null,"grant_types":null,"jwks":null}`,
	} {
		doc := registered(t, body)
		wantNothingEmpty(t, "", doc)
		wantMember(t, doc, "redirect_uris", `["http://127.0.0.1/cb"]`)
	}
}

func testDefaults(t *testing.T) {
	doc := registered(t, `{`+loopbackURI+`}`)
	wantMember(t, doc, "token_endpoint_auth_method", `"none"`)
	wantMember(t, doc, "grant_types", `["authorization_code","refresh_token"]`)
	wantMember(t, doc, "response_types", `["code"]`)
	wantMember(t, doc, "scope", `"`+bothScope+`"`)
	wantAbsent(t, doc, "client_secret", "client_secret_expires_at")
	c := gatewaytest.Register(t, development().URL)
	if _, refresh := c.Tokens(t); refresh == "" {
		t.Error("no refresh token, though grant_types were left out")
	}
}

func testRegisterAuthMethods(t *testing.T) {
	wantAbsent(t, registered(t, `{`+loopbackURI+`,"token_endpoint_auth_method":"none","client_secret":"mine"}`), "client_secret")
	for _, method := range []string{"client_secret_jwt", "private_key_jwt", "NONE", "client_secret_post "} {
		wantError(t, register(t, `{`+loopbackURI+`,"token_endpoint_auth_method":"`+method+`"}`), http.StatusBadRequest, "invalid_client_metadata")
	}
}

func testNativePublic(t *testing.T) {
	c := gatewaytest.RegisterAs(t, development().URL, `{`+loopbackURI+`,"application_type":"native","token_endpoint_auth_method":"none"}`)
	access, refresh := c.Tokens(t)
	wantAlive(t, c.Base, access)
	wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
}

func testRegisterGrants(t *testing.T) {
	for _, body := range []string{
		`"grant_types":["implicit"]`, `"grant_types":["password"]`, `"response_types":["token"]`, `"response_types":["none"]`,
		`"grant_types":["refresh_token"]`, `"grant_types":["implicit"],"response_types":["token"]`,
	} {
		wantError(t, register(t, `{`+loopbackURI+`,`+body+`}`), http.StatusBadRequest, "invalid_client_metadata")
	}
	doc := registered(t, `{`+loopbackURI+`,"grant_types":["authorization_code","implicit","password"],"response_types":["code","token"]}`)
	wantMember(t, doc, "grant_types", `["authorization_code"]`)
	wantMember(t, doc, "response_types", `["code"]`)
}

func testNoMachineGrants(t *testing.T) {
	doc := registered(t, `{`+loopbackURI+`,"grant_types":["authorization_code","client_credentials","urn:ietf:params:oauth:grant-type:jwt-bearer"]}`)
	wantMember(t, doc, "grant_types", `["authorization_code"]`)
	for _, g := range []string{"client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"} {
		wantError(t, register(t, `{`+loopbackURI+`,"grant_types":["`+g+`"]}`), http.StatusBadRequest, "invalid_client_metadata")
	}
}

func testKeysOfClients(t *testing.T) {
	for _, body := range []string{
		`"jwks":{"keys":[]},"jwks_uri":"https://c.example/jwks"`,
		`"token_endpoint_auth_method":"private_key_jwt"`,
		`"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"http://c.example/jwks"`,
		`"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`,
	} {
		wantError(t, register(t, `{`+loopbackURI+`,`+body+`}`), http.StatusBadRequest, "invalid_client_metadata")
	}
	wantAbsent(t, registered(t, `{`+loopbackURI+`,"jwks_uri":"https://c.example/jwks"}`), "jwks_uri", "jwks")
	doc := registered(t, `{`+loopbackURI+`,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://c.example/jwks"}`)
	wantMember(t, doc, "jwks_uri", `"https://c.example/jwks"`)
	wantAbsent(t, doc, "client_secret", "client_secret_expires_at", "jwks")
}

func testUnknownMembers(t *testing.T) {
	doc := registered(t, `{`+loopbackURI+`,"foo":1,"client_id":"mine","client_secret":"mine","client_id_issued_at":7,
		"registration_access_token":"mine","registration_client_uri":"https://c.example","__proto__":{"admin":true},"constructor":null}`)
	if doc["client_id"] == "mine" || doc["client_id_issued_at"] == 7.0 || doc["registration_access_token"] == "mine" || doc["registration_client_uri"] == "https://c.example" {
		t.Errorf("the client chose its own identity: %v", doc)
	}
	wantAbsent(t, doc, "foo", "client_secret", "__proto__", "constructor")
	// O43: the same name twice is read differently by different parsers.
	wantError(t, register(t, `{`+loopbackURI+`,"redirect_uris":["https://evil.example/cb"]}`), http.StatusBadRequest, "invalid_client_metadata")
	for _, body := range []string{
		`"client_name":1`, `"grant_types":"authorization_code"`, `"scope":["a"]`, `"token_endpoint_auth_method":{}`, `"response_types":[1]`,
	} {
		wantError(t, register(t, `{`+loopbackURI+`,`+body+`}`), http.StatusBadRequest, "invalid_client_metadata")
	}
}

func testSoftwareStatements(t *testing.T) {
	registered(t, `{`+loopbackURI+`,"software_statement":"eyJhbGciOiJub25lIn0.e30."}`)
	for _, bad := range []string{"x", "a.b.c", "....", "eyJhbGciOiJub25lIn0.e30", "<script>"} {
		wantError(t, register(t, `{`+loopbackURI+`,"software_statement":"`+bad+`"}`), http.StatusBadRequest, "invalid_software_statement")
	}
}

// testUntrustedText: texts and links that nobody here vouches for.
func testUntrustedText(t *testing.T) {
	canary := newCanary(t)
	for _, uri := range []string{"javascript:alert(1)", "data:text/html,x", "http://c.example/", "https://c.example\\@evil", "https://a@b/", canary.URL} {
		quoted, err := json.Marshal(uri)
		if err != nil {
			t.Fatal(err)
		}
		doc := registered(t, `{`+loopbackURI+`,"client_uri":`+string(quoted)+`,"logo_uri":`+string(quoted)+`,"policy_uri":`+string(quoted)+
			`,"tos_uri":`+string(quoted)+`,"jwks_uri":`+string(quoted)+`}`)
		wantAbsent(t, doc, "client_uri", "logo_uri", "policy_uri", "tos_uri", "jwks_uri")
	}
	canary.silent(t)
	doc := registered(t, `{`+loopbackURI+`,"client_name":"a\u202eb\u200b\u0000c\n  d\r\n"}`)
	wantMember(t, doc, "client_name", `"abc d"`)
	long := registered(t, `{`+loopbackURI+`,"client_name":"`+strings.Repeat("é", 10_000)+`"}`)
	if name, _ := long["client_name"].(string); len([]rune(name)) != 100 {
		t.Errorf("a name of %d characters", len([]rune(name)))
	}
}

func testAdminScope(t *testing.T) {
	wantMember(t, registered(t, `{`+loopbackURI+`,"scope":"admin mcp:tools:read offline_access"}`), "scope", `"mcp:tools:read"`)
	wantError(t, register(t, `{`+loopbackURI+`,"scope":"a\"b"}`), http.StatusBadRequest, "invalid_client_metadata")
	c := gatewaytest.RegisterAs(t, development().URL, `{`+loopbackURI+`,"scope":"admin"}`)
	r, _ := c.Authorize(t, "scope", "admin")
	wantRedirectError(t, r, c.Base, "invalid_scope")
	// INTEROP 28: what was registered is a wish and no ceiling.
	c = gatewaytest.RegisterAs(t, development().URL, `{`+loopbackURI+`,"scope":"mcp:tools:read"}`)
	if scope := c.Redeem(t, c.Code(t, "scope", "mcp:tools:execute admin")).Text(t, "scope"); scope != "mcp:tools:execute" {
		t.Errorf("scope %q", scope)
	}
}

func testTwoRegistrations(t *testing.T) {
	body := `{"client_name":"Twice",` + loopbackURI + `,"token_endpoint_auth_method":"client_secret_post"}`
	a, b := registered(t, body), registered(t, body)
	if a["client_id"] == b["client_id"] || a["client_secret"] == b["client_secret"] {
		t.Errorf("the same identity twice: %v", a["client_id"])
	}
	c := gatewaytest.Register(t, development().URL)
	code := c.Code(t)
	c.ID = "gone"
	wantError(t, c.Redeem(t, code), http.StatusUnauthorized, "invalid_client")
	r, _ := c.Authorize(t)
	wantPage(t, r, http.StatusBadRequest)
}

// testRegistrationSwitchedOff: no new client registers, those that did stay
// (RegistrationConfig.Disabled).
func testRegistrationSwitchedOff(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("", "")})
	c := gatewaytest.Register(t, g.URL)
	redirected(t, get(t, c.AuthorizeURL()), g.URL)
	if err := g.Reload(caddyfile("registration off", ""), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, gatewaytest.PostJSON(t, g.URL+"/oauth/register", "{"+loopbackURI+"}"), http.StatusNotFound)
	redirected(t, get(t, c.AuthorizeURL()), g.URL)
}

// testSchemeNoLongerAllowed: a scheme that the operator has taken away ends
// every way to it, also that of a client which leaves redirect_uri out.
func testSchemeNoLongerAllowed(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("", "")})
	c := gatewaytest.RegisterAs(t, g.URL, `{"redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback"]}`)
	redirected(t, get(t, c.AuthorizeURL()), g.URL)
	if err := g.Reload(caddyfile("registration {\n redirect_schemes none\n}", ""), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	wantPage(t, get(t, c.AuthorizeURL()), http.StatusBadRequest)
	wantPage(t, get(t, c.AuthorizeURL("redirect_uri", "-")), http.StatusBadRequest)
}
