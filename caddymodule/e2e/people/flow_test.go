package people_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// testFlow goes the whole way: the first page, sign-in, consent, code, tokens,
// a call.
func testFlow(t *testing.T, g *gatewaytest.Gateway) {
	for _, uri := range []string{loopback, web} {
		c := client(t, g, uri)
		b := browser(t)
		first := b.Open(c.AuthorizeURL())
		t.Run("F24 nobody signed in, so no code: "+uri, func(t *testing.T) {
			wantSignIn(t, first)
			wantStatus(t, first.Reply, http.StatusOK)
		})
		consent := first.SignIn("alice", "alice"+passwordOf)
		wantConsent(t, consent)
		access, _ := redeemed(t, c, consent.Allow().Result())
		if r := gatewaytest.Call(t, g.URL, access); r.Status != http.StatusOK {
			t.Errorf("a call: %d %s", r.Status, r.Body)
		}
	}
	t.Run("F24 no way around the sign-in", func(t *testing.T) { testNoWayAround(t, g) })
	t.Run("F36, O15 every form is answered with 303 or a page", func(t *testing.T) { testSeeOther(t, g) })
	t.Run("0.2 the old address of the endpoint", func(t *testing.T) {
		c := client(t, g, loopback)
		p := browser(t).Open(strings.Replace(c.AuthorizeURL(), "/oauth/authorize", "/authorize", 1)).SignIn("alice", "alice"+passwordOf)
		wantConsent(t, p)
		wantCode(t, p.Allow())
	})
	t.Run("the way to the account page", func(t *testing.T) {
		p := browser(t).Open(g.URL + accountPath)
		wantSignIn(t, p)
		wants(t, p.SignIn("alice", "alice"+passwordOf), isAccount, "the account page")
	})
	t.Run("an authorization request may be posted", func(t *testing.T) {
		c := client(t, g, web)
		b, _ := signedIn(t, c, "alice")
		target, query, _ := strings.Cut(c.AuthorizeURL(), "?")
		form, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		// As another site's page does, without the cookies that are kept for GET.
		p := browser(t).Once(http.MethodPost, target, form, "Sec-Fetch-Site", "cross-site", "Origin", "https://client.example")
		if p.Status != http.StatusSeeOther || p.Location == nil {
			t.Fatalf("%d %v", p.Status, p.Location)
		}
		wantConsent(t, b.Open(p.Location.String()))
	})
}

// testNoWayAround tries to get a code by the address alone.
func testNoWayAround(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, loopback)
	extra := []string{"decision", "allow", "login", "password", "field_username", "alice", "field_password", "alice" + passwordOf, "subject", "alice", "approved", "1"}
	wantSignIn(t, browser(t).Open(c.AuthorizeURL(extra...)))
	b, _ := signedIn(t, c, "alice")
	wantConsent(t, b.Open(c.AuthorizeURL(extra...)))
	_, query, _ := strings.Cut(c.AuthorizeURL(extra...), "?")
	for _, path := range []string{signInPath, consentPath} {
		wantRefused(t, b.Open(g.URL+path+"?"+query), http.StatusMethodNotAllowed)
		wantRefused(t, b.Post(g.URL+path+"?"+query, url.Values{}), http.StatusBadRequest)
	}
	form, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if p := b.Post(g.URL+"/oauth/authorize", form); p.Location == nil || p.Location.Path != "/oauth/authorize" || p.Location.Query().Has("decision") {
		t.Errorf("posted: %d %v", p.Status, p.Location)
	}
	wantRefused(t, b.Post(g.URL+consentPath, form), http.StatusForbidden)
}

// testSeeOther looks at the answers to forms: a 307 would have the browser send
// a password or a decision on to the next host.
func testSeeOther(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	b := browser(t)
	action, fields := b.Open(c.AuthorizeURL()).Form("login", "password")
	fields.Set("field_username", "alice")
	fields.Set("field_password", "alice"+passwordOf)
	in := b.Post(action, fields)
	if in.Status != http.StatusSeeOther || strings.Contains(in.Location.String(), "knows") {
		t.Errorf("sign-in: %d %v", in.Status, in.Location)
	}
	page := b.Open(in.Location.String())
	wantConsent(t, page)
	for _, decision := range []string{"deny", "allow", "switch"} {
		page = b.Open(in.Location.String())
		action, fields = page.Form("decision", decision)
		fields.Set("decision", decision)
		p := b.Post(action, fields)
		if p.Status != http.StatusSeeOther || p.Body != "" || strings.Contains(p.Location.String(), fields.Get("flow")) {
			t.Errorf("%s: %d %v %s", decision, p.Status, p.Location, p.Body)
		}
	}
}
