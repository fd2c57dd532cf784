package spec_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

func TestToken(t *testing.T) {
	run(t, []requirement{
		{"G1", testTokenMedia},
		{"G2", testTokenParameters},
		{"G3", testTokenHeaders},
		{"G4", testTokenErrors},
		{"G6", testTokenCORS},
	})
	run(t, clientAuthentication)
	run(t, codeGrant)
	run(t, refreshGrant)
}

func tokenURL() string { return development().URL + "/oauth/token" }

func testTokenMedia(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	code := c.Code(t)
	form := c.TokenForm(code)
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} {
		r := gatewaytest.Send(t, method, tokenURL(), form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		wantStatus(t, r, http.StatusMethodNotAllowed)
		wantHeader(t, r, "Allow", "POST")
	}
	for _, query := range []string{"?client_secret=x", "?" + form.Encode(), "?code=" + code} {
		wantError(t, gatewaytest.PostForm(t, tokenURL()+query, form), http.StatusBadRequest, "invalid_request")
	}
	asJSON, err := json.Marshal(map[string]string{"grant_type": "authorization_code", "code": code, "client_id": c.ID, "code_verifier": c.Verifier})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, gatewaytest.PostJSON(t, tokenURL(), string(asJSON)), http.StatusBadRequest, "invalid_request")
	for _, contentType := range []string{"", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencodedx"} {
		r := gatewaytest.Send(t, http.MethodPost, tokenURL(), form.Encode(), "Content-Type", contentType)
		wantError(t, r, http.StatusBadRequest, "invalid_request")
	}
	for _, body := range []string{"%zz", "grant_type=authorization_code;code=x", "a=%"} {
		r := gatewaytest.Send(t, http.MethodPost, tokenURL(), body, "Content-Type", "application/x-www-form-urlencoded")
		wantError(t, r, http.StatusBadRequest, "invalid_request")
	}
	big := c.TokenForm(code)
	big.Set("foo", strings.Repeat("x", 64<<10))
	wantError(t, gatewaytest.PostForm(t, tokenURL(), big), http.StatusRequestEntityTooLarge, "invalid_request")
	r := gatewaytest.Send(t, http.MethodPost, tokenURL(), form.Encode(), "Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")
	wantStatus(t, r, http.StatusOK)
}

func testTokenParameters(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	code := c.Code(t)
	for _, name := range []string{"grant_type", "code", "redirect_uri", "client_id", "code_verifier"} {
		form := c.TokenForm(code)
		form.Add(name, form.Get(name))
		wantError(t, gatewaytest.PostForm(t, tokenURL(), form), http.StatusBadRequest, "invalid_request")
	}
	for _, name := range []string{"grant_type", "code"} {
		for _, empty := range []bool{true, false} {
			form := c.TokenForm(code)
			form.Set(name, "")
			if !empty {
				form.Del(name)
			}
			wantError(t, gatewaytest.PostForm(t, tokenURL(), form), http.StatusBadRequest, "invalid_request")
		}
	}
	form := c.TokenForm(code)
	form["resource"] = []string{c.Base + "/mcp", c.Base + "/mcp", ""}
	form.Set("foo", "1")
	form.Set("client_secret", "")
	form.Set("scope", "")
	form.Set("client_assertion", "")
	wantStatus(t, gatewaytest.PostForm(t, tokenURL(), form), http.StatusOK)
}

func testTokenHeaders(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	reply := c.Redeem(t, c.Code(t, "scope", "mcp:tools:read"))
	for _, r := range []gatewaytest.Reply{reply, c.Refresh(t, reply.Text(t, "refresh_token"))} {
		wantStatus(t, r, http.StatusOK)
		wantHeader(t, r, "Content-Type", "application/json")
		wantHeader(t, r, "Cache-Control", "no-store")
		wantHeader(t, r, "Pragma", "no-cache")
		wantHeader(t, r, "X-Content-Type-Options", "nosniff")
		doc := r.JSON(t)
		wantNothingEmpty(t, "", doc)
		wantMember(t, doc, "token_type", `"Bearer"`)
		wantMember(t, doc, "expires_in", "3600")
		wantMember(t, doc, "scope", `"mcp:tools:read"`)
		for name := range doc {
			if !slices.Contains([]string{"access_token", "token_type", "expires_in", "refresh_token", "scope"}, name) {
				t.Errorf("the member %s", name)
			}
		}
	}
	bad := c.Redeem(t, "x")
	wantError(t, bad, http.StatusBadRequest, "invalid_grant")
	wantHeader(t, bad, "Pragma", "no-cache")
}

func testTokenErrors(t *testing.T) {
	base := development().URL
	c := gatewaytest.Register(t, base)
	noRefresh := gatewaytest.RegisterAs(t, base, `{`+loopbackURI+`,"grant_types":["authorization_code"]}`)
	_, refresh := c.Tokens(t)
	form := func(pairs ...string) url.Values {
		f := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			f.Set(pairs[i], pairs[i+1])
		}
		return f
	}
	for name, tt := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"nothing":            {nil, 400, "invalid_request"},
		"no grant type":      {form("client_id", c.ID), 400, "invalid_request"},
		"no code":            {form("grant_type", "authorization_code", "client_id", c.ID), 400, "invalid_request"},
		"no refresh token":   {form("grant_type", "refresh_token", "client_id", c.ID), 400, "invalid_request"},
		"no client":          {form("grant_type", "refresh_token", "refresh_token", refresh), 401, "invalid_client"},
		"unknown client":     {form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", "nobody"), 401, "invalid_client"},
		"URL as client":      {form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", "https://c.example/id"), 400, "invalid_grant"}, // its document is not fetched for that
		"assertion":          {form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", c.ID, "client_assertion", "x"), 401, "invalid_client"},
		"bad code":           {form("grant_type", "authorization_code", "code", "x", "client_id", c.ID), 400, "invalid_grant"},
		"bad refresh token":  {form("grant_type", "refresh_token", "refresh_token", "x", "client_id", c.ID), 400, "invalid_grant"},
		"not for this grant": {form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", noRefresh.ID), 400, "unauthorized_client"},
		"unknown grant":      {form("grant_type", "password", "client_id", c.ID), 400, "unsupported_grant_type"},
		"malformed scope":    {form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", c.ID, "scope", `a"b`), 400, "invalid_scope"},
		"wider scope":        {form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", c.ID, "scope", "admin"), 400, "invalid_scope"},
		"unknown resource":   {form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", c.ID, "resource", "https://x.example"), 400, "invalid_target"},
		"malformed resource": {form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", c.ID, "resource", "mcp"), 400, "invalid_target"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, gatewaytest.PostForm(t, tokenURL(), tt.form), tt.status, tt.code) })
	}
	wantStatus(t, c.Refresh(t, refresh), http.StatusOK) // nothing of it did harm
}

func testTokenCORS(t *testing.T) {
	base := development().URL
	for _, path := range []string{"/oauth/token", "/token", "/oauth/register", "/register"} {
		preflight(t, base+path, "POST")
		r := gatewaytest.PostForm(t, base+path, nil, "Origin", "https://inspector.example")
		wantAllowed(t, r)
		if r.Status < 400 {
			t.Errorf("%s: %d", path, r.Status)
		}
	}
	preflight(t, pathIssuer().URL+"/t1/oauth/token", "POST")
}

// TestRootPaths are the endpoints of clients of revision 2025-03-26 (0.2, 0.3).
func TestRootPaths(t *testing.T) {
	t.Run("0.2", func(t *testing.T) {
		base := development().URL
		r := gatewaytest.PostJSON(t, base+"/register", `{`+loopbackURI+`}`)
		wantStatus(t, r, http.StatusCreated)
		c := &gatewaytest.Client{Base: base, ID: r.Text(t, "client_id"), RedirectURI: "http://127.0.0.1/cb", Verifier: strings.Repeat("v", 50)}
		at := strings.Replace(c.AuthorizeURL("resource", "-", "scope", "-"), "/oauth/authorize", "/authorize", 1)
		q := redirected(t, get(t, at), base)
		reply := gatewaytest.PostForm(t, base+"/token", c.TokenForm(q.Get("code")))
		wantStatus(t, reply, http.StatusOK)
		wantAlive(t, base, reply.Text(t, "access_token"))
		wantMember(t, getJSON(t, base+asPath, "MCP-Protocol-Version", "2025-03-26"), "issuer", `"`+base+`"`)
		for _, path := range []string{"/token", "/register"} {
			wantError(t, get(t, base+path), http.StatusMethodNotAllowed, "invalid_request")
		}
		wantPage(t, get(t, base+"/authorize"), http.StatusBadRequest)
	})
	t.Run("off", func(t *testing.T) {
		base := rootPathsOff().URL
		c := gatewaytest.Register(t, base)
		for _, r := range []gatewaytest.Reply{
			gatewaytest.PostJSON(t, base+"/register", `{`+loopbackURI+`}`),
			get(t, strings.Replace(c.AuthorizeURL(), "/oauth/authorize", "/authorize", 1)),
			gatewaytest.PostForm(t, base+"/token", c.TokenForm(c.Code(t))),
		} {
			wantStatus(t, r, http.StatusUnauthorized) // the upstream's paths, and guarded
			if r.Header.Get("Location") != "" || strings.Contains(r.Body, "client_id") {
				t.Errorf("answered: %v %s", r.Header, r.Body)
			}
		}
		wantStatus(t, c.Redeem(t, c.Code(t)), http.StatusOK)
	})
}
