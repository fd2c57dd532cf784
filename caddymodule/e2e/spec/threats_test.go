package spec_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestRedirectThreats are the holes of THREATS 1.1, one test each: what others
// let through at registration, at the authorization endpoint, or on the way back.
func TestRedirectThreats(t *testing.T) {
	const good = "https://c.example/cb"
	for _, tt := range []struct {
		id, registered string
		asked          []string
	}{
		{"R1 a redirect URI that was never registered", good, []string{"https://evil.example/cb", "http://127.0.0.1/cb"}},
		{"R3 a path trick", good, []string{"https://c.example/x/..;/cb", "https://c.example/..;/cb", "https://c.example/cb/..;/"}},
		{"R4 two at signs", good, []string{"https://c.example@@evil.example/cb", "https://a@c.example@evil.example/cb"}},
		{"R5 an encoded at sign", good, []string{"https://c.example%25@evil.example/cb", "https://c.example%2540evil.example/cb"}},
		{"R7 more than the port of a loopback URI", "http://127.0.0.1/cb", []string{
			"http://127.0.0.1:9/evil", "http://127.0.0.1:9/cb?x=1", "http://127.0.0.1:9@evil.example/cb", "http://localhost:9/cb", "https://127.0.0.1:9/cb",
		}},
		{"R8 another case", good, []string{"https://c.example/CB", "https://C.example/cb", "HTTPS://c.example/cb"}},
		{"R12 another spelling of an address", "http://127.0.0.1/cb", []string{
			"http://0x7f000001/cb", "http://2130706433/cb", "http://127.1/cb", "http://0177.0.0.1/cb", "http://[::ffff:127.0.0.1]/cb", "http://127.0.0.1/cb#x",
		}},
	} {
		t.Run(tt.id, func(t *testing.T) {
			c := gatewaytest.RegisterAs(t, development().URL, `{"redirect_uris":`+uriList(t, tt.registered)+`}`)
			for _, uri := range tt.asked {
				r, _ := c.Authorize(t, "redirect_uri", uri)
				wantPage(t, r, http.StatusBadRequest)
			}
			c.Code(t) // and the registered one works
		})
	}
	t.Run("R2 R9 schemes that a browser runs", func(t *testing.T) {
		wantUnregistrable(t, "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "\x00javascript:alert(1)",
			"javascript\n:alert(1)", "vbscript:x", "data:text/html,<script>alert(1)</script>", "DATA:text/html,x")
	})
	t.Run("R6 an error before the redirect URI is proven", testErrorsStay)
	t.Run("R10 a client can't borrow another's redirect URI", func(t *testing.T) {
		victim := gatewaytest.RegisterAs(t, development().URL, `{"redirect_uris":["https://victim.example/cb"]}`)
		thief := gatewaytest.RegisterAs(t, development().URL, `{"redirect_uris":["https://thief.example/cb"]}`)
		for _, c := range []*gatewaytest.Client{{Base: victim.Base, ID: victim.ID, RedirectURI: thief.RedirectURI, Verifier: victim.Verifier}, {
			Base: victim.Base, ID: thief.ID, RedirectURI: victim.RedirectURI, Verifier: victim.Verifier,
		}} {
			r, _ := c.Authorize(t)
			wantPage(t, r, http.StatusBadRequest)
		}
	})
	t.Run("R11 a state that adds parameters", func(t *testing.T) {
		c := gatewaytest.RegisterAs(t, development().URL, `{"redirect_uris":["https://c.example/cb?x=1"]}`)
		const state = "a&code=evil&iss=https://evil.example#f"
		r, _ := c.Authorize(t, "state", state)
		if q := redirected(t, r, c.Base); q.Get("state") != state || q.Get("x") != "1" || q.Get("code") == "evil" {
			t.Errorf("the redirect is %s", r.Header.Get("Location"))
		}
	})
	t.Run("R13 lists and ports that are none", func(t *testing.T) {
		for _, uris := range []string{`null`, `[]`, `[null]`, `"https://c.example/cb"`, `["http://127.0.0.1:536820/cb"]`, `["anything:x"]`, `[{}]`} {
			wantError(t, register(t, `{"redirect_uris":`+uris+`}`), http.StatusBadRequest, "invalid_redirect_uri")
		}
	})
}

// testErrorsStay: whatever else is wrong with a request, a redirect URI that is
// not the client's never gets to see it.
func testErrorsStay(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, wrong := range [][]string{
		{"response_type", "token"},
		{"response_type", "-"},
		{"scope", "bogus"},
		{"code_challenge", "-"},
		{"resource", "https://other.example"},
		{"prompt", "none"},
		{"prompt", "none login"},
		{"request_uri", "https://evil.example/r"},
		{"response_mode", "fragment"},
		{"state", strings.Repeat("s", 5000)},
	} {
		for _, uri := range []string{"https://evil.example/cb", "//evil.example", "https://evil.example/cb?x=1"} {
			r, _ := c.Authorize(t, append([]string{"redirect_uri", uri}, wrong...)...)
			wantPage(t, r, http.StatusBadRequest)
		}
		nobody := *c
		nobody.ID = "nobody"
		r, _ := nobody.Authorize(t, wrong...)
		wantPage(t, r, http.StatusBadRequest)
	}
}

// TestRegistrationThreats are rows of THREATS 1.6 that need no fetching; G1, open
// registration without validation, is TestRegister. Documents are in e2e/cimd and
// core/authserver.
func TestRegistrationThreats(t *testing.T) {
	t.Run("G3 attributes outside the schema", func(t *testing.T) {
		doc := registered(t, `{`+loopbackURI+`,"client_id":"chosen","client_secret":"chosen","trusted":true,"Trusted":true,"o":0,"scopes":["admin"],
			"resources":["x"],"introspect":true,"registration_access_token":"chosen","client_id_issued_at":1,"client_secret_expires_at":0,"__proto__":{"trusted":true}}`)
		for name, value := range doc {
			if text, ok := value.(string); ok && strings.Contains(text, "chosen") || name == "trusted" || name == "Trusted" {
				t.Errorf("the registration took %s: %v", name, value)
			}
		}
	})
	t.Run("G6 links that run", func(t *testing.T) {
		for _, name := range []string{"client_uri", "logo_uri", "tos_uri", "policy_uri"} {
			for _, uri := range []string{"javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "http://c.example/", "file:///etc/passwd"} {
				r := register(t, `{`+loopbackURI+`,"`+name+`":"`+uri+`"}`)
				if r.Status == http.StatusCreated {
					wantAbsent(t, r.JSON(t), name)
				}
			}
		}
	})
}

// TestStoreThreats are rows of THREATS 1.4 that no other test has.
func TestStoreThreats(t *testing.T) {
	t.Run("T11 what is about to expire is no error of ours", func(t *testing.T) {
		g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile(
			"access_token_lifetime 1s\n code_lifetime 1s\n refresh_idle 1s\n refresh_lifetime 1s\n refresh_grace 1s", "")})
		c := gatewaytest.Register(t, g.URL)
		for range 5 {
			code := c.Code(t)
			r := c.Redeem(t, code)
			for _, r := range []gatewaytest.Reply{r, c.Refresh(t, tokenOf(r, "refresh_token")), c.Redeem(t, code)} {
				if r.Status >= http.StatusInternalServerError {
					t.Errorf("%d %s", r.Status, r.Body)
				}
			}
			form := url.Values{"token": {tokenOf(r, "access_token")}, "client_id": {c.ID}}
			if r := gatewaytest.PostForm(t, g.URL+"/oauth/revoke", form); r.Status >= http.StatusInternalServerError {
				t.Errorf("revoking: %d %s", r.Status, r.Body)
			}
		}
	})
}

// tokenOf returns a member of an answer, or something that is no token.
func tokenOf(r gatewaytest.Reply, name string) string {
	if _, after, ok := strings.Cut(r.Body, `"`+name+`":"`); ok {
		value, _, _ := strings.Cut(after, `"`)
		return value
	}
	return "none"
}
