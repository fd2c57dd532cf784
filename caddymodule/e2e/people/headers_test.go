package people_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// testHeaders is SPEC F33 to F35, O7 and O42 by name, on a page of each kind.
// The browser of these tests checks the same of every answer.
func testHeaders(t *testing.T, g *gatewaytest.Gateway) {
	seen := map[string]bool{}
	for name, p := range everyPage(t, g) {
		t.Run("F33, F34, F35, O7 "+name, func(t *testing.T) { checkPage(t, p, seen) })
	}
	t.Run("F35 answers that only redirect", func(t *testing.T) {
		c := client(t, g, web)
		_, page := signedIn(t, c, "alice")
		action, fields := page.Form("decision", "allow")
		fields.Set("decision", "deny")
		p := page.Browser().Post(action, fields)
		if p.Status != http.StatusSeeOther || p.Header.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(p.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("%d %v", p.Status, p.Header)
		}
	})
	t.Run("O42 errors for programs are never pages", func(t *testing.T) {
		for _, path := range []string{"/oauth/nowhere", "/oauth/callback/nowhere", "/oauth/token", "/oauth/%3Cscript%3E"} {
			p := browser(t).Once(http.MethodGet, g.URL+path, nil, "Accept", "text/html")
			if p.Status < 400 || !strings.HasPrefix(p.Header.Get("Content-Type"), "application/json") || strings.Contains(p.Body, "<script") {
				t.Errorf("%s: %d %s %s", path, p.Status, p.Header.Get("Content-Type"), p.Body)
			}
		}
	})
	t.Run("F2 no other origin may read a page", func(t *testing.T) {
		c := client(t, g, web)
		for _, target := range []string{c.AuthorizeURL(), g.URL + accountPath} {
			for _, method := range []string{http.MethodGet, http.MethodOptions} {
				p := browser(t).Once(method, target, nil, "Origin", "https://client.example", "Access-Control-Request-Method", "POST")
				for name := range p.Header {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("%s %s: %s: %s", method, p.URL.Path, name, p.Header.Get(name))
					}
				}
			}
		}
	})
}

// checkPage checks one page's headers. Seen has the nonces of those before it.
func checkPage(t *testing.T, p *gatewaytest.Page, seen map[string]bool) {
	t.Helper()
	h := p.Header
	if !strings.HasPrefix(h.Get("Content-Type"), "text/html; charset=utf-8") {
		t.Fatalf("not a page: %d %v", p.Status, h)
	}
	policy := h.Get("Content-Security-Policy")
	found := nonce.FindStringSubmatch(policy)
	if found == nil || seen[found[1]] {
		t.Errorf("no new nonce: %s", policy)
	} else {
		seen[found[1]] = true
	}
	for _, want := range []string{"default-src 'none'", "img-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("F34: the policy has no %s: %s", want, policy)
		}
	}
	// A page without a form may send none; one with a form has no
	// form-action, or Chromium would stop the redirect after it.
	if forms := len(p.Attributes("action")) > 0; forms == strings.Contains(policy, "form-action") {
		t.Errorf("F34: the page has forms: %t, its policy is %s", forms, policy)
	}
	for name, want := range map[string]string{
		"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
	} {
		if got := h.Values(name); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	if size := len(p.Body); size > 30<<10 {
		t.Errorf("the page has %d bytes", size)
	}
}

// everyPage returns a page of each kind and status. Those for 429 and 503 are
// in other tests.
func everyPage(t *testing.T, g *gatewaytest.Gateway) map[string]*gatewaytest.Page {
	t.Helper()
	c := client(t, g, web)
	app := client(t, g, private)
	first := browser(t).Open(c.AuthorizeURL())
	b, consent := signedIn(t, c, "alice")
	_, notInvited := signedIn(t, c, "mallory")
	_, appConsent := signedIn(t, app, "alice")
	out, _ := signedIn(t, c, "alice")
	allow := paramsOf("flow", flowOf(consent), "decision", "allow")
	b.Post(g.URL+consentPath, allow)
	pages := map[string]*gatewaytest.Page{
		"200 sign-in":             first,
		"200 sign-in for account": browser(t).Open(g.URL + accountPath),
		"200 consent":             consent,
		"200 account":             b.Open(g.URL + accountPath),
		"200 signed out":          out.Open(g.URL+accountPath).Click("do", "sign_out"),
		"200 leave":               appConsent.Allow(),
		"400 used":                b.Post(g.URL+consentPath, paramsOf("flow", allow.Get("flow"), "decision", "deny")),
		"400 no client":           browser(t).Open(g.URL + "/oauth/authorize"),
		"400 way back":            browser(t).Open(c.AuthorizeURL("scope", "unknown")),
		"400 unknown client":      browser(t).Open(c.AuthorizeURL("client_id", "unknown")),
		"400 decision":            b.Post(g.URL+consentPath, paramsOf("flow", allow.Get("flow"), "decision", "perhaps")),
		"403 not invited":         notInvited,
		"403 wrong password":      browser(t).Open(c.AuthorizeURL()).SignIn("alice", "wrong"),
		"403 other browser":       browser(t).Post(g.URL+consentPath, allow),
		"403 foreign form":        b.Post(g.URL+consentPath, allow, "Sec-Fetch-Site", "cross-site"),
		"405 GET of a form":       b.Open(g.URL + consentPath),
		"405 PUT":                 b.Once(http.MethodPut, c.AuthorizeURL(), nil),
		"413 too much":            b.Post(g.URL+consentPath, url.Values{"flow": {strings.Repeat("x", 70<<10)}}),
		"414 too long":            browser(t).Open(c.AuthorizeURL("state", strings.Repeat("x", 17<<10))),
	}
	for name, p := range pages {
		if want := name[:3]; itoa(p.Status) != want {
			t.Errorf("%s: status %d: %.300s", name, p.Status, p.Text())
		}
	}
	return pages
}
