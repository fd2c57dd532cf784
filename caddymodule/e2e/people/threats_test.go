package people_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// testThreats tells the story of each hole of THREATS 1.2 that needs no
// provider; those with one are in upstream_test.go.
func testThreats(t *testing.T, g *gatewaytest.Gateway) {
	t.Run("D1, O1 confused deputy: a session is no consent for a new client", func(t *testing.T) {
		// The victim uses a program that she let in, and is signed in.
		known := client(t, g, web)
		victim, page := signedIn(t, known, "alice")
		redeemed(t, known, page.Allow().Result())
		// The attacker registers a client with the same name and sends a link.
		evil := namedClient(t, g, map[string]any{"client_name": "Tester", "redirect_uris": []string{"https://evil.example/cb"}})
		p := victim.Send(http.MethodGet, evil.AuthorizeURL(), nil, "Sec-Fetch-Site", "cross-site", "Referer", "https://evil.example/")
		wantConsent(t, p)
		wantShown(t, "consent", p, "evil.example", "not verified")
	})
	t.Run("D2 consent is bound to the browser", func(t *testing.T) { testConsentInOtherBrowser(t, g) })
	t.Run("D3 one-click takeover: no link gives a code", func(t *testing.T) { testOneClick(t, g) })
	t.Run("D4 no cookie from before the consent stands for it", func(t *testing.T) {
		c := client(t, g, loopback)
		b, page := signedIn(t, c, "alice") // every cookie that there is before the answer
		wantConsent(t, page)
		wantConsent(t, b.Open(c.AuthorizeURL()))
		before := len(b.Cookies(g.URL))
		redeemed(t, c, page.Allow().Result())
		if after := len(b.Cookies(g.URL)); after != before {
			t.Errorf("the answer left a cookie: %v", b.Cookies(g.URL))
		}
		wantConsent(t, b.Open(c.AuthorizeURL()))
	})
	t.Run("D5 a consent cannot be replayed", func(t *testing.T) { testConsentReplayed(t, g) })
	t.Run("D5, K5 many answers at once are one", func(t *testing.T) { testAnswersAtOnce(t, g) })
	t.Run("somebody who clicks and clicks gets there", func(t *testing.T) {
		_, page := signedIn(t, client(t, g, web), "alice")
		for range 5 {
			wantCode(t, page.Allow()) // a browser shows the answer to the last one
		}
	})
	t.Run("D5 a no stays a no", func(t *testing.T) {
		for _, uri := range []string{loopback, web} {
			_, page := signedIn(t, client(t, g, uri), "alice")
			wantError(t, page.Deny(), "access_denied")
			wantRefused(t, page.Allow(), http.StatusBadRequest) // the back button, and then the other one
			wantRefused(t, page.Deny(), http.StatusBadRequest)
		}
	})
	t.Run("D6 the page shows more than the name that a client gives itself", func(t *testing.T) {
		evil := namedClient(t, g, map[string]any{"client_name": "Claude", "client_uri": "https://claude.ai", "redirect_uris": []string{"https://evil.example/cb"}})
		b, consent := signedIn(t, evil, "alice")
		signIn := b.Open(evil.AuthorizeURL("prompt", "login"))
		for what, p := range map[string]*gatewaytest.Page{"consent": consent, "sign-in": signIn} {
			wantShown(t, what, p, "calls itself Claude", "evil.example", "not verified", "Ticket desk", "mcp:tools:execute")
		}
	})
	t.Run("D7 the error page does not repeat what a link says", func(t *testing.T) { testReflected(t, g) })
	t.Run("D8 X-Forwarded-Host and Referer lead nowhere", func(t *testing.T) { testPoisoned(t, g, poisonHost) })
	t.Run("D9 X-Forwarded-Proto leads nowhere", func(t *testing.T) { testPoisoned(t, g, poisonScheme) })
}

// testOneClick sends somebody who is signed in to every address that might do.
func testOneClick(t *testing.T, g *gatewaytest.Gateway) {
	evil := client(t, g, "https://evil.example/cb")
	victim, _ := signedIn(t, evil, "alice")
	for _, params := range [][]string{
		{},
		{"decision", "allow"},
		{"consent", "true"},
		{"approve", "1"},
		{"skip_consent", "1"},
		{"prompt", "none"},
		{"prompt", "approve"},
		{"flow", "x", "decision", "allow"},
		{"state", ""},
		{"response_mode", "query"},
	} {
		p := victim.Open(evil.AuthorizeURL(params...))
		if p.Location != nil || strings.Contains(p.Body, "code=") {
			t.Errorf("%v: sent to %v", params, p.Location)
		}
		wantShown(t, "first", p, "evil.example")
	}
}

func testReflected(t *testing.T, g *gatewaytest.Gateway) {
	const script = "<script>alert(document.domain)</script>"
	for _, target := range []string{
		g.URL + "/oauth/authorize?error=x&error_description=" + script + "&error_hint=" + script,
		g.URL + "/oauth/authorize?client_id=" + script, g.URL + "/oauth/account?error=" + script,
		g.URL + "/oauth/login?" + script, g.URL + "/authorize?client_id=%22%3E" + script,
	} {
		p := browser(t).Open(strings.NewReplacer("<", "%3C", ">", "%3E").Replace(target))
		if strings.Contains(p.Body, "alert(") {
			t.Errorf("%s: %s", target, p.Body)
		}
	}
}

// testConsentInOtherBrowser has an attacker begin a flow, and a victim end it.
func testConsentInOtherBrowser(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, "https://evil.example/cb")
	attacker := browser(t)
	first := attacker.Open(c.AuthorizeURL())
	consent := first.SignIn("bob", "bob"+passwordOf)
	wantConsent(t, consent)
	victim, _ := signedIn(t, c, "alice")
	for name, b := range map[string]*gatewaytest.Browser{"signed in": victim, "new": browser(t), "without the first cookie": victim.Copy(g.URL, "_session")} {
		p := b.Post(g.URL+consentPath, paramsOf("flow", flowOf(consent), "decision", "allow"))
		wantRefused(t, p, http.StatusForbidden)
		wantShown(t, name, p, "another browser", "somebody sent you a link")
		// Nor does a sign-in begun there sign anybody in here (login CSRF).
		p = b.Post(g.URL+signInPath, paramsOf("flow", flowOf(first), "login", "password", "field_username", "bob", "field_password", "bob"+passwordOf))
		wantRefused(t, p, http.StatusForbidden)
		if p = b.Open(g.URL + accountPath); strings.Contains(p.Text(), "bob@") {
			t.Errorf("%s: signed in as the attacker: %s", name, p.Text())
		}
	}
	// The attacker's page with the victim's session cookie, and the other way
	// round: neither is enough.
	mixed := attacker.Copy(g.URL, "_browser")
	mixed.SetCookie(g.URL, "mcp_auth_session", victim.Cookie(g.URL, "_session"))
	if p := mixed.Post(g.URL+consentPath, paramsOf("flow", flowOf(consent), "decision", "allow")); p.Location == nil || p.Location.Path != "/oauth/authorize" {
		t.Errorf("%d %v", p.Status, p.Location)
	}
	wantCode(t, consent.Allow()) // in its own browser, it is still good
}

// testConsentReplayed sends the same answer again.
func testConsentReplayed(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, loopback)
	b, page := signedIn(t, c, "alice")
	allow := paramsOf("flow", flowOf(page), "decision", "allow")
	first := b.Post(g.URL+consentPath, allow)
	wantCode(t, first)
	again := b.Post(g.URL+consentPath, allow) // a double click gets the same answer
	wantCode(t, again)
	redeemed(t, c, first.Result())
	for _, p := range []*gatewaytest.Page{again, first} {
		if r := c.Redeem(t, p.Result().Get("code")); r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant" {
			t.Errorf("a second grant from one answer: %d %s", r.Status, r.Body)
		}
	}
	wantRefused(t, b.Post(g.URL+consentPath, paramsOf("flow", flowOf(page), "decision", "deny")), http.StatusBadRequest)
	thief := b.Copy(g.URL, "_session")
	wantRefused(t, thief.Post(g.URL+consentPath, allow), http.StatusForbidden)
}

// testAnswersAtOnce sends one answer many times at once, and redeems whatever
// comes back, at once as well.
func testAnswersAtOnce(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	b, page := signedIn(t, c, "alice")
	allow := paramsOf("flow", flowOf(page), "decision", "allow")
	var wg sync.WaitGroup
	var good atomic.Int32
	for range 16 {
		wg.Go(func() {
			p := b.Post(g.URL+consentPath, allow)
			if p.Location == nil || p.Location.Query().Get("code") == "" {
				return
			}
			if r := c.Redeem(t, p.Location.Query().Get("code")); r.Status == http.StatusOK {
				good.Add(1)
			} else if r.Status != http.StatusBadRequest {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 {
		t.Errorf("%d grants from one answer", good.Load())
	}
}

var (
	poisonHost = [][]string{
		{"X-Forwarded-Host", "evil.example"},
		{"X-Forwarded-Server", "evil.example"},
		{"X-Host", "evil.example"},
		{"Forwarded", "host=evil.example;proto=https"},
		{"Referer", "javascript:alert(1)"},
		{"Referer", "https://evil.example/"},
		{"X-Original-Host", "evil.example"},
		{"X-Forwarded-Port", "666"},
		{"X-Forwarded-Prefix", "//evil.example"},
		{"X-Rewrite-Url", "//evil.example"},
		{"X-Forwarded-Host", "evil.example\"><script>"},
	}
	poisonScheme = [][]string{
		{"X-Forwarded-Proto", "javascript"},
		{"X-Forwarded-Proto", "https"},
		{"X-Forwarded-Scheme", "javascript"},
		{"X-Scheme", "data"},
		{"X-Forwarded-Ssl", "on"},
		{"Front-End-Https", "on"},
		{"Forwarded", "proto=javascript"},
		{"X-Forwarded-Proto", "https://evil.example/?"},
	}
)

// testPoisoned adds headers to every step of a flow: nothing that comes back is
// any different.
func testPoisoned(t *testing.T, g *gatewaytest.Gateway, headers [][]string) {
	c := client(t, g, web)
	own := strings.TrimPrefix(g.URL, "http://")
	check := func(p *gatewaytest.Page, header []string) {
		t.Helper()
		if p.Location != nil && (p.Location.Scheme != "http" || p.Location.Host != own) && p.Location.Host != "client.example" {
			t.Errorf("%v: sent to %s", header, p.Location)
		}
		for _, bad := range []string{"evil.example", "javascript", "alert(1)", ":666"} {
			if strings.Contains(p.Body, bad) || strings.Contains(p.Header.Get("Location"), bad) {
				t.Errorf("%v: %d %v %.200s", header, p.Status, p.Header, p.Text())
			}
		}
	}
	for _, header := range headers {
		b := browser(t)
		first := b.Once(http.MethodGet, c.AuthorizeURL(), nil, header...)
		check(first, header)
		action, fields := first.Form("login", "password")
		fields.Set("field_username", "alice")
		fields.Set("field_password", "alice"+passwordOf)
		in := b.Post(action, fields, header...)
		check(in, header)
		if in.Status != http.StatusSeeOther || in.Header.Get("Location")[0] != '/' {
			t.Errorf("%v: %d %s", header, in.Status, in.Header.Get("Location"))
		}
		consent := b.Once(http.MethodGet, in.Location.String(), nil, header...)
		check(consent, header)
		action, fields = consent.Form("decision", "allow")
		fields.Set("decision", "allow")
		p := b.Post(action, fields, header...)
		check(p, header)
		wantTo(t, p, web+"?")
		if p.Result().Get("iss") != g.URL {
			t.Errorf("%v: iss is %v", header, p.Result()["iss"])
		}
		check(b.Once(http.MethodGet, g.URL+accountPath, nil, header...), header)
		check(b.Once(http.MethodGet, g.URL+"/oauth/authorize?client_id=x", nil, header...), header)
	}
}
