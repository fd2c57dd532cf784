package spec_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

func TestDiscovery(t *testing.T) {
	run(t, resourceMetadata)
	run(t, serverMetadata)
	run(t, []requirement{{"A16", testPoisonedHost}, {"B22", testEndpointURLs}, {"O45", testPoisonedRequestLine}})
}

// metadataURLs returns every place where the document of a gateway lies, for
// an issuer without a path and for one with.
func metadataURLs(t *testing.T) map[string][]string {
	t.Helper()
	plain, tenant := development().URL, pathIssuer().URL
	return map[string][]string{
		plain:          {plain + asPath, plain + oidcPath},
		tenant + "/t1": {tenant + asPath + "/t1", tenant + oidcPath + "/t1", tenant + "/t1" + oidcPath, tenant + "/t1" + asPath},
	}
}

func member(name, want string) func(*testing.T) {
	return func(t *testing.T) {
		for _, urls := range metadataURLs(t) {
			for _, u := range urls {
				wantMember(t, getJSON(t, u), name, want)
			}
		}
	}
}

// serverMetadata are the requirements of RFC 8414 and OpenID discovery.
var serverMetadata = []requirement{
	{"B1", testEveryForm},
	{"B2", func(t *testing.T) {
		for _, s := range stringsIn(getJSON(t, development().URL+asPath)) {
			if strings.Contains(s, ".well-known") {
				t.Errorf("another well-known name is advertised: %s", s)
			}
		}
	}},
	{"B3", func(t *testing.T) {
		wantRefusedStart(t, strings.Replace(caddyfile("", ""), "issuer {URL}", "issuer {URL}/t1/", 1), "slash")
		wantRefusedStart(t, strings.Replace(caddyfile("", ""), "issuer {URL}", "issuer {URL}/", 1), "slash")
	}},
	{"B4", func(t *testing.T) {
		for _, path := range []string{asPath, oidcPath, asPath + "/mcp", oidcPath + "/t1/x", asPath + "/t1/"} {
			wantError(t, get(t, pathIssuer().URL+path), http.StatusNotFound, "not_found")
		}
	}},
	{"B5", testOneIssuer},
	{"B6", func(t *testing.T) {
		for issuer, urls := range metadataURLs(t) {
			for _, u := range urls {
				wantMember(t, getJSON(t, u), "issuer", `"`+issuer+`"`)
			}
		}
	}},
	{"B7", testRequiredMembers},
	{"B8", member("code_challenge_methods_supported", `["S256"]`)},
	{"B9", testGrantTypes},
	{"B10", testAuthMethods},
	{"B11", func(t *testing.T) {
		// Listed, because clients with a metadata document can use it.
		algorithms := getJSON(t, development().URL+asPath)["token_endpoint_auth_signing_alg_values_supported"]
		if text := fmt.Sprint(algorithms); !strings.Contains(text, "ES256") || strings.Contains(text, "none") || strings.Contains(text, "HS") {
			t.Errorf("private_key_jwt is listed with the algorithms %s", text)
		}
	}},
	{"B12", testRegistrationSwitch},
	{"B13", testMetadataDocumentFlag},
	{"B14", testIssFlag},
	{"B15", member("scopes_supported", `["mcp:tools:read","mcp:tools:execute","offline_access"]`)},
	{"B16", testAdvertisedEndpoints},
	{"B17", testJWKSURI},
	{"B18", testOpenIDMembers},
	{"B19", func(t *testing.T) {
		member("request_parameter_supported", "false")(t)
		member("request_uri_parameter_supported", "false")(t)
	}},
	{"B20", member("response_modes_supported", `["query"]`)},
	{"B21", func(t *testing.T) {
		for _, base := range []string{development().URL, registrationOff().URL} {
			wantNothingEmpty(t, "", getJSON(t, base+asPath))
			wantNothingEmpty(t, "", getJSON(t, base+oidcPath))
		}
	}},
	{"B24", testMetadataMethods},
	{"B25", testPlainHTTP},
}

func testEveryForm(t *testing.T) {
	for issuer, urls := range metadataURLs(t) {
		first := get(t, urls[0]).Body
		for _, u := range urls {
			r := get(t, u, "MCP-Protocol-Version", "2025-03-26")
			wantStatus(t, r, http.StatusOK)
			wantHeader(t, r, "Content-Type", "application/json")
			if r.Body != first {
				t.Errorf("%s has another document for %s than %s", u, issuer, urls[0])
			}
			head := gatewaytest.Send(t, http.MethodHead, u, "")
			wantStatus(t, head, http.StatusOK)
			if head.Body != "" || head.Header.Get("Content-Type") != "application/json" {
				t.Errorf("HEAD %s: %q %v", u, head.Body, head.Header)
			}
		}
	}
	// INTEROP 14: ChatGPT builds the path from the MCP endpoint's URL.
	base := development().URL
	for _, path := range []string{asPath + "/mcp", oidcPath + "/mcp"} {
		wantMember(t, getJSON(t, base+path), "issuer", `"`+base+`"`)
	}
}

func testOneIssuer(t *testing.T) {
	for issuer, urls := range metadataURLs(t) {
		origin := strings.TrimSuffix(issuer, "/t1")
		c := gatewaytest.Register(t, issuer)
		r, _ := c.Authorize(t, "resource", origin+"/mcp")
		q := redirected(t, r, issuer)
		reply := c.Redeem(t, q.Get("code"))
		wantStatus(t, reply, http.StatusOK)
		claims := jwtPart(t, reply.Text(t, "access_token"), 1)
		wantMember(t, claims, "iss", `"`+issuer+`"`)
		wantMember(t, getJSON(t, urls[0]), "issuer", `"`+issuer+`"`)
		wantMember(t, getJSON(t, origin+prmPath+"/mcp"), "authorization_servers", `["`+issuer+`"]`)
		wantAlive(t, origin, reply.Text(t, "access_token"))
	}
	for _, bad := range []string{"{URL}?x=1", "{URL}#f", "http://gw.example", "HTTP://LOCALHOST:1", "gw.example"} {
		wantRefusedStart(t, strings.Replace(caddyfile("", ""), "issuer {URL}", `issuer "`+bad+`"`, 1), "issuer")
	}
}

func testRequiredMembers(t *testing.T) {
	for issuer, urls := range metadataURLs(t) {
		doc := getJSON(t, urls[0])
		wantMember(t, doc, "authorization_endpoint", `"`+issuer+`/oauth/authorize"`)
		wantMember(t, doc, "token_endpoint", `"`+issuer+`/oauth/token"`)
		wantMember(t, doc, "registration_endpoint", `"`+issuer+`/oauth/register"`)
		wantMember(t, doc, "response_types_supported", `["code"]`)
	}
}

func testGrantTypes(t *testing.T) {
	base := development().URL
	wantMember(t, getJSON(t, base+asPath), "grant_types_supported", `["authorization_code","refresh_token"]`)
	c := gatewaytest.Register(t, base)
	for _, g := range []string{
		"implicit", "password", "client_credentials", "AUTHORIZATION_CODE", "authorization_code ",
		"urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:device_code",
		"urn:ietf:params:oauth:grant-type:token-exchange",
	} {
		r := gatewaytest.PostForm(t, base+"/oauth/token", url.Values{"grant_type": {g}, "client_id": {c.ID}, "username": {"a"}, "password": {"b"}})
		wantError(t, r, http.StatusBadRequest, "unsupported_grant_type")
	}
}

func testAuthMethods(t *testing.T) {
	base := development().URL
	wantMember(t, getJSON(t, base+asPath), "token_endpoint_auth_methods_supported", `["none","client_secret_post","client_secret_basic","private_key_jwt"]`)
	for _, method := range []string{"none", "client_secret_post", "client_secret_basic"} {
		c := registerWith(t, base, method)
		wantStatus(t, sendAs(t, c, method, c.TokenForm(c.Code(t))), http.StatusOK)
	}
	for _, method := range []string{"private_key_jwt", "client_secret_jwt", "tls_client_auth", "self_signed_tls_client_auth"} {
		r := gatewaytest.PostJSON(t, base+"/oauth/register", `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"`+method+`"}`)
		wantError(t, r, http.StatusBadRequest, "invalid_client_metadata")
	}
	c := gatewaytest.Register(t, base)
	form := c.TokenForm(c.Code(t))
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", "e30.e30.e30")
	wantError(t, gatewaytest.PostForm(t, base+"/oauth/token", form), http.StatusUnauthorized, "invalid_client")
}

func testRegistrationSwitch(t *testing.T) {
	wantMember(t, getJSON(t, development().URL+asPath), "registration_endpoint", `"`+development().URL+`/oauth/register"`)
	base := registrationOff().URL
	wantAbsent(t, getJSON(t, base+asPath), "registration_endpoint")
	wantAbsent(t, getJSON(t, base+oidcPath), "registration_endpoint")
	wantError(t, gatewaytest.PostJSON(t, base+"/oauth/register", `{"redirect_uris":["http://127.0.0.1/cb"]}`), http.StatusNotFound, "not_found")
	// Without the endpoint the root path is the upstream's, and guarded.
	r := gatewaytest.PostJSON(t, base+"/register", `{"redirect_uris":["http://127.0.0.1/cb"]}`)
	if !slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, r.Status) {
		t.Errorf("POST /register: %d %s", r.Status, r.Body)
	}
	// Configured clients still get in.
	c := &gatewaytest.Client{Base: base, ID: trustedWebID, RedirectURI: trustedWebURI, Verifier: strings.Repeat("v", 50)}
	wantStatus(t, c.Redeem(t, c.Code(t)), http.StatusOK)
}

func testMetadataDocumentFlag(t *testing.T) {
	// That they work is proven in the package cimd, which has the hosts for it.
	wantMember(t, getJSON(t, development().URL+asPath), "client_id_metadata_document_supported", "true")
	off := strings.Replace(gatewaytest.DefaultCaddyfile, "development\n", "development\n\t\tclient_metadata off\n", 1)
	base := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: off}).URL
	wantAbsent(t, getJSON(t, base+asPath), "client_id_metadata_document_supported")
	c := &gatewaytest.Client{Base: base, ID: "https://client.example/oauth/client.json", RedirectURI: "https://client.example/cb", Verifier: strings.Repeat("v", 50)}
	r, _ := c.Authorize(t)
	wantPage(t, r, http.StatusBadRequest)
}

func testIssFlag(t *testing.T) {
	for issuer, urls := range metadataURLs(t) {
		wantMember(t, getJSON(t, urls[0]), "authorization_response_iss_parameter_supported", "true")
		c := gatewaytest.Register(t, issuer)
		good, _ := c.Authorize(t, "resource", "-")
		if redirected(t, good, issuer).Get("code") == "" {
			t.Error("no code")
		}
		bad, _ := c.Authorize(t, "code_challenge", "-")
		wantRedirectError(t, bad, issuer, "invalid_request")
	}
}

func testAdvertisedEndpoints(t *testing.T) {
	base := development().URL
	doc := getJSON(t, base+asPath)
	for name, path := range map[string]string{
		"revocation_endpoint": "/oauth/revoke", "introspection_endpoint": "/oauth/introspect",
		"pushed_authorization_request_endpoint": "/oauth/par", "device_authorization_endpoint": "/oauth/device",
		"userinfo_endpoint": "/oauth/userinfo", "end_session_endpoint": "/oauth/logout",
	} {
		_, advertised := doc[name]
		r := gatewaytest.PostForm(t, base+path, nil)
		if advertised == (r.Status == http.StatusNotFound) {
			t.Errorf("%s advertised: %v, and POST %s answers %d", name, advertised, path, r.Status)
		}
	}
	wantNothingEmpty(t, "", doc)
}

func testJWKSURI(t *testing.T) {
	for issuer, urls := range metadataURLs(t) {
		wantMember(t, getJSON(t, urls[0]), "jwks_uri", `"`+issuer+`/oauth/jwks.json"`)
		r := get(t, issuer+"/oauth/jwks.json")
		wantStatus(t, r, http.StatusOK)
		wantAllowed(t, r)
		if keys, ok := r.JSON(t)["keys"].([]any); !ok || len(keys) == 0 {
			t.Errorf("no keys: %s", r.Body)
		}
	}
}

func testOpenIDMembers(t *testing.T) {
	member("subject_types_supported", `["public"]`)(t)
	for _, urls := range metadataURLs(t) {
		for _, u := range urls {
			doc := getJSON(t, u)
			algs, _ := doc["id_token_signing_alg_values_supported"].([]any)
			if !slices.Contains(algs, any("RS256")) || doc["jwks_uri"] == nil {
				t.Errorf("%s: algorithms %v, jwks_uri %v", u, algs, doc["jwks_uri"])
			}
			if scopes, _ := doc["scopes_supported"].([]any); slices.Contains(scopes, any("openid")) {
				t.Errorf("Q17: openid is offered, but no ID tokens are issued")
			}
		}
	}
}

func testMetadataMethods(t *testing.T) {
	for _, urls := range metadataURLs(t) {
		for _, u := range urls {
			preflight(t, u, "GET")
			wantReadOnly(t, u)
			wantAllowed(t, get(t, u, "Origin", "https://inspector.example"))
		}
	}
	base := development().URL
	preflight(t, base+"/oauth/jwks.json", "GET")
	wantReadOnly(t, base+"/oauth/jwks.json")
	for _, path := range []string{asPath + "/nope", asPath + "/", oidcPath + "/nope", asPath + "/mcp/x", oidcPath + "/"} {
		wantError(t, get(t, base+path), http.StatusNotFound, "not_found")
	}
}
