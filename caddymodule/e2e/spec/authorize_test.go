package spec_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

func TestAuthorize(t *testing.T) {
	run(t, []requirement{
		{"F-a", testOrderOfChecks},
		{"F1", testAuthorizeMethods},
		{"F2", testAuthorizeWithoutCORS},
		{"F3", testErrorPages},
		{"F4", testNoOpenRedirect},
		{"F5", testRepeatedParameters},
		{"F6", testResponseTypes},
		{"F8", testOmittedRedirectURI},
		{"F9", testRegisteredQuery},
		{"F10", func(t *testing.T) {
			c := gatewaytest.Register(t, development().URL)
			for _, value := range []string{"-", ""} {
				r, _ := c.Authorize(t, "code_challenge", value)
				wantRedirectError(t, r, c.Base, "invalid_request")
			}
		}},
		{"F11", testChallengeMethods},
		{"F12", testState},
	})
	run(t, authorizeTargets)
}

// authorizeWith sends an ordinary request with more text behind its query.
func authorizeWith(t *testing.T, c *gatewaytest.Client, more string, params ...string) gatewaytest.Reply {
	t.Helper()
	return get(t, c.AuthorizeURL(params...)+more)
}

// testOrderOfChecks sends requests with everything wrong from one check on.
func testOrderOfChecks(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	bad := []string{"prompt", "none login", "scope", "bogus", "resource", "https://other.example", "code_challenge", "-", "response_type", "token"}
	for n, code := range map[int]string{10: "unsupported_response_type", 8: "invalid_request", 6: "invalid_target", 4: "invalid_scope", 2: "invalid_request"} {
		r, _ := c.Authorize(t, bad[:n]...)
		wantRedirectError(t, r, c.Base, code)
	}
	for _, first := range [][]string{{"redirect_uri", "https://evil.example/cb"}, {"client_id", "nobody"}, {"client_id", "-"}} {
		r, _ := c.Authorize(t, append(first, bad...)...)
		wantPage(t, r, http.StatusBadRequest)
	}
}

func testAuthorizeMethods(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	target, query, _ := strings.Cut(c.AuthorizeURL(), "?")
	for _, method := range []string{"PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"} {
		r := gatewaytest.Send(t, method, target+"?"+query, "")
		wantPage(t, r, http.StatusMethodNotAllowed)
		wantHeader(t, r, "Allow", "GET, HEAD, POST")
	}
	form, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	posted := gatewaytest.PostForm(t, target, form)
	if location, err := url.Parse(posted.Header.Get("Location")); posted.Status != http.StatusSeeOther || err != nil || location.Query().Get("code") == "" {
		t.Errorf("POST: %d %q", posted.Status, posted.Header.Get("Location"))
	}
	wantPage(t, gatewaytest.PostJSON(t, target, `{"client_id":"x"}`), http.StatusBadRequest)
	wantPage(t, gatewaytest.PostForm(t, target+"?"+query, nil), http.StatusBadRequest)
	head := gatewaytest.Send(t, http.MethodHead, target+"?client_id=nobody", "")
	wantPage(t, head, http.StatusBadRequest)
	if head.Body != "" {
		t.Errorf("HEAD has a body")
	}
	wantPage(t, authorizeWith(t, c, "&foo="+strings.Repeat("x", 17<<10)), http.StatusRequestURITooLong)
	// Caddy itself ends what is longer still.
	if r := authorizeWith(t, c, "&foo="+strings.Repeat("x", 100_000)); r.Status < 400 || r.Status >= 500 {
		t.Errorf("a very long URL: %d", r.Status)
	}
	wantPage(t, authorizeWith(t, c, "&%zz"), http.StatusBadRequest)
}

func testAuthorizeWithoutCORS(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, target := range []string{c.AuthorizeURL(), strings.Replace(c.AuthorizeURL(), "/oauth/authorize", "/authorize", 1), c.Base + "/oauth/authorize"} {
		for _, method := range []string{"OPTIONS", "GET", "POST", "HEAD"} {
			r := gatewaytest.Send(t, method, target, "", "Origin", "https://inspector.example",
				"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
			for name := range r.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s: %s: %q", method, name, r.Header[name])
				}
			}
			if method == "OPTIONS" && r.Status != http.StatusMethodNotAllowed {
				t.Errorf("OPTIONS: %d", r.Status)
			}
		}
	}
}

func testErrorPages(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, params := range [][]string{
		{"client_id", "-"},
		{"client_id", ""},
		{"client_id", "nobody"},
		{"client_id", "https://client.example/id.json"},
		{"redirect_uri", "https://evil.example/cb"},
		{"redirect_uri", "not a uri"},
		{"redirect_uri", "javascript:alert(1)"},
	} {
		for _, accept := range []string{"text/html", "application/json", "*/*"} {
			r := get(t, c.AuthorizeURL(params...), "Accept", accept)
			wantPage(t, r, http.StatusBadRequest)
			if strings.Contains(r.Body, "evil.example\"") {
				t.Errorf("the page links to what was refused:\n%s", brief(r))
			}
		}
	}
	// INTEROP 1: who is forgotten reads how to go on, with this program or, where
	// nothing tells which it is, with those that most people use.
	for uri, fix := range map[string]string{
		"http://localhost:7777/oauth/callback": "If this is mcp-remote", "https://client.example/cb": "rm -rf ~/.mcp-auth",
	} {
		if r, _ := c.Authorize(t, "client_id", "nobody", "redirect_uri", uri); !strings.Contains(r.Body, fix) {
			t.Errorf("the page for %s lacks %q:\n%s", uri, fix, brief(r))
		}
	}
}

// testNoOpenRedirect: only who stays on this machine, or whom the operator
// vouches for, gets an error without a click.
func testNoOpenRedirect(t *testing.T) {
	base := development().URL
	evil := gatewaytest.RegisterAs(t, base, `{"client_name":"Claude","redirect_uris":["https://evil.example/cb"]}`)
	for _, params := range [][]string{
		{"scope", "bogus"},
		{"response_type", "token"},
		{"code_challenge", "-"},
		{"resource", "https://other.example"},
		{"prompt", "none login"},
		{"request", "e30.e30."},
		{"response_mode", "fragment"},
	} {
		r, _ := evil.Authorize(t, params...)
		wantPage(t, r, http.StatusBadRequest)
		if !strings.Contains(r.Body, "https://evil.example/cb?") || !strings.Contains(r.Body, "iss=") || !strings.Contains(r.Body, "state=st-1") {
			t.Errorf("%v: the page has no way back:\n%s", params, brief(r))
		}
	}
	none := get(t, evil.AuthorizeURL("prompt", "none"), "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	wantPage(t, none, http.StatusForbidden)
	web := &gatewaytest.Client{Base: base, ID: trustedWebID, RedirectURI: trustedWebURI, Verifier: strings.Repeat("v", 50)}
	r, _ := web.Authorize(t, "scope", "bogus")
	wantRedirectError(t, r, base, "invalid_scope")
	r, _ = gatewaytest.Register(t, base).Authorize(t, "scope", "bogus")
	wantRedirectError(t, r, base, "invalid_scope")
}

func testRepeatedParameters(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, more := range []string{"&client_id=" + c.ID, "&client_id=", "&redirect_uri=https://evil.example/", "&redirect_uri=" + url.QueryEscape(c.RedirectURI)} {
		wantPage(t, authorizeWith(t, c, more), http.StatusBadRequest)
	}
	for _, name := range []string{"response_type", "response_mode", "code_challenge", "code_challenge_method", "scope", "prompt", "request", "request_uri"} {
		q := redirected(t, authorizeWith(t, c, "&"+name+"=a&"+name+"=b"), c.Base)
		if q.Get("error") != "invalid_request" || q.Get("state") != "st-1" {
			t.Errorf("%s twice: %v", name, q)
		}
	}
	q := redirected(t, authorizeWith(t, c, "&state=other"), c.Base)
	if q.Get("error") != "invalid_request" || q.Has("state") {
		t.Errorf("state twice: %v", q)
	}
	for _, more := range []string{"&foo=1", "&foo=1&foo=2", "&resource=" + url.QueryEscape(c.Base+"/mcp"), "&scope=", "&prompt=", "&request=", "&response_mode=", "&resource="} {
		if q := redirected(t, authorizeWith(t, c, more), c.Base); q.Get("code") == "" || q.Has("foo") {
			t.Errorf("%s: %v", more, q)
		}
	}
	r, _ := c.Authorize(t, "state", "")
	if q := redirected(t, r, c.Base); q.Has("state") || q.Get("code") == "" {
		t.Errorf("an empty state: %v", q)
	}
	wantPage(t, authorizeWith(t, c, "", "client_id", ""), http.StatusBadRequest)
}

func testResponseTypes(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for value, code := range map[string]string{
		"-": "invalid_request", "": "invalid_request", "token": "unsupported_response_type", "id_token": "unsupported_response_type",
		"code token": "unsupported_response_type", "code id_token": "unsupported_response_type", "none": "unsupported_response_type",
		"CODE": "unsupported_response_type", "code ": "unsupported_response_type",
	} {
		r, _ := c.Authorize(t, "response_type", value)
		wantRedirectError(t, r, c.Base, code)
	}
}

func testOmittedRedirectURI(t *testing.T) {
	base := development().URL
	one := gatewaytest.Register(t, base)
	for _, value := range []string{"-", ""} {
		r, _ := one.Authorize(t, "redirect_uri", value)
		q := redirected(t, r, base)
		if !strings.HasPrefix(r.Header.Get("Location"), one.RedirectURI+"?") {
			t.Errorf("answered at %s", r.Header.Get("Location"))
		}
		form := one.TokenForm(q.Get("code"))
		form.Del("redirect_uri")
		wantStatus(t, gatewaytest.PostForm(t, base+"/oauth/token", form), http.StatusOK)
	}
	two := gatewaytest.RegisterAs(t, base, `{"redirect_uris":["http://127.0.0.1/a","http://127.0.0.1/b"]}`)
	r, _ := two.Authorize(t, "redirect_uri", "-")
	wantPage(t, r, http.StatusBadRequest)
}

func testRegisteredQuery(t *testing.T) {
	base := development().URL
	web := &gatewaytest.Client{Base: base, ID: trustedWebID, RedirectURI: trustedWebURI, Verifier: strings.Repeat("v", 50)}
	for _, params := range [][]string{nil, {"scope", "bogus"}} {
		r, _ := web.Authorize(t, params...)
		q := redirected(t, r, base)
		if !strings.HasPrefix(r.Header.Get("Location"), trustedWebURI+"&") || q.Get("x") != "1" || q.Get("y") != "a b" {
			t.Errorf("Location %q", r.Header.Get("Location"))
		}
	}
}

func testChallengeMethods(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, method := range []string{"-", "", "plain", "s256", "S512", "S256 ", "none"} {
		r, _ := c.Authorize(t, "code_challenge_method", method)
		wantRedirectError(t, r, c.Base, "invalid_request")
	}
	good := gatewaytest.Challenge(c.Verifier)
	for _, challenge := range []string{
		good[:42], good + "A", good + "=", strings.Repeat("A", 42) + "+", strings.Repeat("A", 42) + "B", strings.Repeat("A", 42) + " ",
		strings.Repeat("A", 42) + "\n", "\r" + strings.Repeat("A", 42), good + "\n",
		strings.Repeat("A", 128), "undefined", "null", c.Verifier,
	} {
		r, _ := c.Authorize(t, "code_challenge", challenge)
		wantRedirectError(t, r, c.Base, "invalid_request")
	}
}

func testState(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, state := range []string{
		` %20 + & = " é`, "a&code=evil&iss=evil", "a\r\nLocation: https://evil.example", "<script>alert(1)</script>", "\xff\xfe\x00", "\u2028\u202e",
		"{env.HOME}", "{http.request.host}", "%2526", "#fragment", ";", "?", strings.Repeat("é", 2048), "0", "null", " ",
	} {
		for _, params := range [][]string{{"state", state}, {"state", state, "scope", "bogus"}, {"state", state, "response_type", "-"}} {
			r, _ := c.Authorize(t, params...)
			if q := redirected(t, r, c.Base); q.Get("state") != state {
				t.Errorf("state %q came back as %q", state, q.Get("state"))
			}
		}
	}
	r, _ := c.Authorize(t, "state", strings.Repeat("x", 4097))
	if q := redirected(t, r, c.Base); q.Get("error") != "invalid_request" || q.Has("state") {
		t.Errorf("a state of 4097 bytes: %v", q)
	}
	r, _ = c.Authorize(t, "state", "-")
	if q := redirected(t, r, c.Base); q.Has("state") || q.Get("code") == "" {
		t.Errorf("no state: %v", q)
	}
}

// hostile are texts that someone could show, store or interpolate (O39, O41).
var hostile = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "'-alert(1)-'", "{{.}}{{template \"x\"}}", "{env.HOME}", "{http.request.uri}", "{file./etc/passwd}",
	"\u202e\u200b", "a\r\nSet-Cookie: x=y", "\x00", strings.Repeat("A", 10_000),
}

func testHostileInput(t *testing.T) {
	base := development().URL
	for _, text := range hostile {
		named := gatewaytest.RegisterAs(t, base, `{"client_name":`+uriList(t, text)[1:len(uriList(t, text))-1]+`,"redirect_uris":["https://c.example/cb"]}`)
		pages := map[string]gatewaytest.Reply{}
		for _, name := range []string{"client_id", "redirect_uri", "scope", "state", "resource", "response_type", "code_challenge", "prompt", "foo"} {
			pages[name], _ = named.Authorize(t, "response_type", "token", name, text)
			if name == "response_type" || name == "client_id" || name == "redirect_uri" || pages[name].Status != http.StatusRequestURITooLong {
				wantPage(t, pages[name], http.StatusBadRequest)
			}
		}
		for name, r := range pages {
			for _, raw := range []string{"<script>alert", "<img", "root:x:", "\u202e"} {
				if strings.Contains(r.Body, raw) {
					t.Errorf("%s %q: the page has %q:\n%s", name, text, raw, brief(r))
				}
			}
			if home := os.Getenv("HOME"); strings.Contains(text, "env.HOME") && home != "" && strings.Contains(r.Body, home+"<") {
				t.Errorf("%s: a placeholder was interpolated", name)
			}
			if r.Header.Get("Set-Cookie") != "" || len(r.Body) > 30_000 {
				t.Errorf("%s %.20q: %v, %d bytes", name, text, r.Header, len(r.Body))
			}
		}
		form := url.Values{"grant_type": {text}, "client_id": {text}, "code": {text}}
		r := gatewaytest.PostForm(t, base+"/oauth/token", form)
		wantJSONErrorShape(t, r)
	}
}
