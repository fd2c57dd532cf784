package people_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// answerOf returns the query with which a client is called back, by a redirect
// or by the page that leads to a program of this machine.
func answerOf(tb testing.TB, p *gatewaytest.Page) url.Values {
	tb.Helper()
	if p.Location != nil {
		return p.Result()
	}
	for _, target := range p.Links() {
		if u, err := url.Parse(target); err == nil && u.Scheme != "" {
			return u.Query()
		}
	}
	tb.Fatalf("the client is not called back: %d %s", p.Status, p.Text())
	return nil
}

// wantTo checks where the browser is sent with a code.
func wantTo(tb testing.TB, p *gatewaytest.Page, redirectURI string) {
	tb.Helper()
	wantCode(tb, p)
	if !strings.HasPrefix(p.Location.String(), redirectURI) {
		tb.Errorf("sent to %s", p.Location)
	}
}

// testConsentForm is what a consent form must not be made to do: SPEC F28, F30,
// F32, O2, O5, O6.
func testConsentForm(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	b, page := signedIn(t, c, "alice")
	flow := flowOf(page)
	allow := func() url.Values { return paramsOf("flow", flow, "decision", "allow") }
	testForeignPosts(t, g, b, flow)
	t.Run("F28 no token", func(t *testing.T) {
		for _, value := range []string{"", "x", strings.Repeat("A", 300), c.ID} {
			wantRefused(t, b.Post(g.URL+consentPath, paramsOf("flow", value, "decision", "allow")), http.StatusForbidden)
		}
		wantRefused(t, b.Post(g.URL+consentPath, paramsOf("decision", "allow")), http.StatusForbidden)
	})
	t.Run("F28 foreign token", func(t *testing.T) { testForeignToken(t, g, c) })
	t.Run("F32, O6 what the page did not ask", func(t *testing.T) {
		form := allow()
		for name, value := range map[string]string{
			"redirect_uri": "https://evil.example/cb", "client_id": "evil", "scope": "mcp:everything", "resource": "https://evil.example/",
			"code_challenge": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "state": "other", "subject": "bob", "sub": "bob",
		} {
			form.Set(name, value)
		}
		p := b.Post(g.URL+consentPath, form)
		wantTo(t, p, web+"?")
		if p.Result().Get("state") != "st-1" {
			t.Errorf("the state is %v", p.Result())
		}
		access, _ := redeemed(t, c, p.Result())
		if claims := string(claimsOf(t, access)); strings.Contains(claims, "evil") || strings.Contains(claims, "everything") || subjectOf(t, access) != "alice" {
			t.Errorf("the token says %s", claims)
		}
	})
	t.Run("O6 the request cannot be changed between page and answer", func(t *testing.T) { testSwappedRequest(t, b, c) })
	t.Run("O2, F30 an approval of one client for another", func(t *testing.T) {
		other := client(t, g, "https://other.example/cb")
		wantConsent(t, b.Open(other.AuthorizeURL()))
		form := allow()
		form.Set("client_id", other.ID)
		form.Set("redirect_uri", other.RedirectURI)
		if p := b.Post(g.URL+consentPath, form); p.Location != nil && p.Location.Host != "client.example" {
			t.Errorf("sent to %s", p.Location)
		}
	})
	t.Run("the form without a decision", func(t *testing.T) {
		flow := flowOf(b.Open(c.AuthorizeURL("prompt", "consent")))
		for _, decision := range []string{"", "Allow", "allow ", "yes", "revoke"} {
			wantRefused(t, b.Post(g.URL+consentPath, paramsOf("flow", flow, "decision", decision)), http.StatusBadRequest)
		}
	})
}

// testForeignPosts sends good forms from where none of them can come.
func testForeignPosts(t *testing.T, g *gatewaytest.Gateway, b *gatewaytest.Browser, flow string) {
	for name, header := range map[string][]string{
		"cross-site":                   {"Sec-Fetch-Site", "cross-site"},
		"same site, other host":        {"Sec-Fetch-Site", "same-site"},
		"typed in":                     {"Sec-Fetch-Site", "none"},
		"an unknown word":              {"Sec-Fetch-Site", "same-origin, cross-site"},
		"cross-site and our origin":    {"Sec-Fetch-Site", "cross-site", "Origin", g.URL},
		"foreign origin":               {"Origin", "https://evil.example"},
		"our origin as a prefix":       {"Origin", g.URL + ".evil.example"},
		"no word of the origin":        {"Sec-Fetch-Site", "-", "Origin", "-"},
		"null origin alone":            {"Sec-Fetch-Site", "-"},
		"foreign origin alone":         {"Sec-Fetch-Site", "-", "Origin", "https://evil.example"},
		"origin with another port":     {"Sec-Fetch-Site", "-", "Origin", "http://localhost:1"},
		"origin with https":            {"Sec-Fetch-Site", "-", "Origin", strings.Replace(g.URL, "http:", "https:", 1)},
		"a referrer does not count":    {"Sec-Fetch-Site", "-", "Origin", "-", "Referer", g.URL + "/oauth/authorize"},
		"an own header does not count": {"Sec-Fetch-Site", "-", "Origin", "-", "X-Requested-With", "XMLHttpRequest"},
	} {
		t.Run("O5 "+name, func(t *testing.T) {
			for path, form := range map[string]url.Values{
				consentPath: paramsOf("flow", flow, "decision", "allow"), accountPath: paramsOf("flow", flow, "do", "revoke_all"),
				signInPath: paramsOf("flow", flow, "login", "password", "field_username", "mallory", "field_password", "mallory"+passwordOf),
			} {
				wantRefused(t, b.Post(g.URL+path, form, header...), http.StatusForbidden)
			}
		})
	}
}

func testSwappedRequest(t *testing.T, b *gatewaytest.Browser, c *gatewaytest.Client) {
	// In another tab, the same client asks for something else: the answer
	// is to what the first page showed.
	page := b.Open(c.AuthorizeURL("scope", "mcp:tools:read", "state", "first", "prompt", "consent"))
	b.Open(c.AuthorizeURL("scope", "mcp:tools:execute", "state", "second", "prompt", "consent"))
	p := page.Allow()
	if p.Result().Get("state") != "first" {
		t.Errorf("the state is %v", p.Result())
	}
	access, _ := redeemed(t, c, p.Result())
	if strings.Contains(string(claimsOf(t, access)), "execute") {
		t.Errorf("the token says %s", claimsOf(t, access))
	}
}

// testForeignToken posts tokens that were given out for something else, or to
// somebody else.
func testForeignToken(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client) {
	signIn := browser(t).Open(c.AuthorizeURL())
	theirs := signIn.SignIn("bob", "bob"+passwordOf)
	b, _ := signedIn(t, c, "alice")
	own := b.Open(c.AuthorizeURL("prompt", "consent"))
	account := b.Open(g.URL + accountPath)
	ownSignIn := b.Open(c.AuthorizeURL("prompt", "login"))
	for name, flow := range map[string]string{
		"of another browser":                flowOf(theirs),
		"of another browser's sign-in page": flowOf(signIn),
		"of the own sign-in page":           flowOf(ownSignIn),
		"of the own account page":           flowOf(account),
	} {
		wantRefused(t, b.Post(g.URL+consentPath, paramsOf("flow", flow, "decision", "allow")), http.StatusForbidden)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	wantRefused(t, b.Post(g.URL+accountPath, paramsOf("flow", flowOf(own), "do", "revoke_all")), http.StatusForbidden)
	wantRefused(t, b.Post(g.URL+accountPath, paramsOf("flow", flowOf(ownSignIn), "do", "sign_out")), http.StatusForbidden)
	wantRefused(t, b.Post(g.URL+signInPath, paramsOf("flow", flowOf(own), "login", "password",
		"field_username", "bob", "field_password", "bob"+passwordOf)), http.StatusForbidden)
	// The page that was shown before somebody else signed in is theirs no more.
	form := paramsOf("flow", flowOf(own), "decision", "allow")
	ownSignIn.SignIn("bob", "bob"+passwordOf)
	if p := b.Post(g.URL+consentPath, form); p.Location == nil || p.Location.Path != "/oauth/authorize" {
		t.Errorf("alice's page answered by bob: %d %v", p.Status, p.Location)
	}
	if p := b.Post(g.URL+accountPath, paramsOf("flow", flowOf(account), "do", "sign_out_everywhere")); p.Location == nil || p.Location.Path != accountPath {
		t.Errorf("alice's account page answered by bob: %d %v", p.Status, p.Location)
	}
	wants(t, b.Open(g.URL+accountPath), isAccount, "bob's account page, where nobody was signed out")
}
