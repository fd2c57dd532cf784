package people_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

func jsonOf(tb testing.TB, v any) string {
	tb.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// testMistakes is what people, and their browsers, get wrong: each has its page
// and loses nothing.
func testMistakes(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	t.Run("wrong password", func(t *testing.T) { testWrongPassword(t, g, c) })
	t.Run("O44 nobody learns whether there is such an account", func(t *testing.T) { testNoEnumeration(t, c) })
	t.Run("a login that does not exist", func(t *testing.T) {
		for _, id := range []string{"github", "auto", "Password", "password ", "../password"} {
			p := browser(t).Open(c.AuthorizeURL())
			wantRefused(t, p.Browser().Post(g.URL+signInPath, paramsOf("flow", flowOf(p), "login", id,
				"field_username", "alice", "field_password", "alice"+passwordOf)), http.StatusBadRequest)
		}
	})
	t.Run("double click on sign in", func(t *testing.T) {
		b := browser(t)
		page := b.Open(c.AuthorizeURL())
		wantConsent(t, page.SignIn("alice", "alice"+passwordOf))
		wantConsent(t, page.SignIn("alice", "alice"+passwordOf))
	})
	t.Run("back button, and the other answer", func(t *testing.T) {
		b, page := signedIn(t, c, "alice")
		wantCode(t, page.Allow())
		p := page.Deny()
		wantRefused(t, p, http.StatusBadRequest)
		wantShown(t, "used", p, "answered only once", "Start again")
		wantConsent(t, b.Open(restartOf(t, p)))
	})
	t.Run("back to the sign-in page, as somebody else", func(t *testing.T) {
		b := browser(t)
		first := b.Open(c.AuthorizeURL())
		first.SignIn("alice", "alice"+passwordOf)
		p := first.SignIn("bob", "bob"+passwordOf)
		wantConsent(t, p)
		access, _ := redeemed(t, c, p.Allow().Result())
		if subjectOf(t, access) != "bob" {
			t.Errorf("the token is %s's", subjectOf(t, access))
		}
	})
	t.Run("two tabs with two clients", func(t *testing.T) { testTwoTabs(t, g) })
	t.Run("D2 cookies off", func(t *testing.T) {
		blind := func() *gatewaytest.Browser { return browser(t) }
		page := blind().Open(c.AuthorizeURL())
		p := blind().Post(g.URL+signInPath, paramsOf("flow", flowOf(page), "login", "password", "field_username", "alice", "field_password", "alice"+passwordOf))
		wantRefused(t, p, http.StatusForbidden)
		wantShown(t, "browser", p, "Allow cookies")
	})
	t.Run("cookies lost on the way", func(t *testing.T) {
		b, page := signedIn(t, c, "alice")
		b.SetCookie(g.URL, "mcp_auth_session", "")
		p := b.Post(g.URL+consentPath, paramsOf("flow", flowOf(page), "decision", "allow"))
		if p.Location == nil || p.Location.Path != "/oauth/authorize" {
			t.Fatalf("%d %v", p.Status, p.Location)
		}
		wantSignIn(t, b.Open(p.Location.String()))
	})
	t.Run("the longest request that is taken gets through", func(t *testing.T) { testLongest(t, g) })
}

func testWrongPassword(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client) {
	b := browser(t)
	p := b.Open(c.AuthorizeURL()).SignIn("alice", "wrong zq password")
	wantStatus(t, p.Reply, http.StatusForbidden)
	wantSignIn(t, p)
	wantShown(t, "sign-in", p, "not right", "client.example")
	if _, fields := p.Form("field_password", ""); fields.Get("field_username") != "alice" || fields.Get("field_password") != "" || strings.Contains(p.Body, "zq password") {
		t.Errorf("the form has %v", fields)
	}
	if b.Cookie(g.URL, "_session") != "" {
		t.Error("a session")
	}
	wantConsent(t, p.SignIn("alice", "alice"+passwordOf))
}

func testNoEnumeration(t *testing.T, c *gatewaytest.Client) {
	pages := map[string]*gatewaytest.Page{}
	for name, user := range map[string]string{"wrong": "bob", "disabled": "carol", "nobody": nobody()} {
		password := "wrong"
		if name == "disabled" {
			password = user + passwordOf // the right one
		}
		pages[name] = at(t, "").Open(c.AuthorizeURL()).SignIn(user, password)
	}
	for name, p := range pages {
		wantStatus(t, p.Reply, http.StatusForbidden)
		if p.Text() != pages["wrong"].Text() || p.Outline() != pages["wrong"].Outline() || len(p.Header) != len(pages["wrong"].Header) {
			t.Errorf("%s: %s", name, p.Text())
		}
	}
}

// restartOf returns where the button of an error page leads.
func restartOf(t *testing.T, p *gatewaytest.Page) string {
	t.Helper()
	for _, target := range p.Links() {
		if strings.HasPrefix(target, "/oauth/authorize?") || target == accountPath {
			return p.URL.Scheme + "://" + p.URL.Host + target
		}
	}
	t.Fatalf("the page has no way to start again: %s", p.Text())
	return ""
}

// testTwoTabs goes through two flows at once, in every order.
func testTwoTabs(t *testing.T, g *gatewaytest.Gateway) {
	one, two := client(t, g, "https://one.example/cb"), client(t, g, "https://two.example/cb")
	b := browser(t)
	first, second := b.Open(one.AuthorizeURL("state", "1")), b.Open(two.AuthorizeURL("state", "2"))
	consentTwo := second.SignIn("alice", "alice"+passwordOf)
	consentOne := first.SignIn("alice", "alice"+passwordOf)
	wantShown(t, "consent", consentOne, "one.example")
	wantShown(t, "consent", consentTwo, "two.example")
	// The sign-in of the other tab made a new session, so this one asks again.
	again := consentTwo.Allow()
	wantConsent(t, again)
	wantShown(t, "consent", again, "two.example")
	for page, want := range map[*gatewaytest.Page][2]string{consentOne: {"https://one.example/cb?", "1"}, again: {"https://two.example/cb?", "2"}} {
		p := page.Allow()
		wantTo(t, p, want[0])
		if p.Result().Get("state") != want[1] {
			t.Errorf("the state is %v", p.Result())
		}
	}
	// Of two tabs of one session, each answer counts by itself.
	left, right := b.Open(one.AuthorizeURL("prompt", "consent", "state", "l")), b.Open(two.AuthorizeURL("prompt", "consent", "state", "r"))
	wantTo(t, right.Allow(), "https://two.example/cb?")
	wantError(t, left.Deny(), "access_denied")
}

// testLongest sends requests that are as long as they may be, written as short
// as they may be: what this server sends itself has every slash escaped, and a
// person would notice only after they typed their password.
func testLongest(t *testing.T, g *gatewaytest.Gateway) {
	for _, slashes := range []int{100, 1000, 2000} {
		uri := "https://client.example/cb" + strings.Repeat("/x", slashes/2)
		c := namedClient(t, g, map[string]any{"client_name": strings.Repeat("n", 100), "redirect_uris": []string{uri}})
		state := strings.Repeat("/", 4<<10)
		page := browser(t).Open(c.AuthorizeURL("state", "-", "redirect_uri", "-") + "&state=" + state + "&redirect_uri=" + uri)
		if page.Status >= http.StatusBadRequest {
			wantShown(t, "error", page, "longer") // said at once, that is fine
			continue
		}
		wantSignIn(t, page)
		p := page.SignIn("alice", "alice"+passwordOf)
		if !isConsent(p) {
			t.Errorf("%d bytes of redirect URI: the sign-in ends with %d %s", len(uri), p.Status, p.Text())
			continue
		}
		p = p.Allow()
		wantTo(t, p, uri+"?")
		if p.Result().Get("state") != state {
			t.Error("the state is another one")
		}
	}
}

// testByHand sends what somebody might try who knows the addresses.
func testByHand(t *testing.T, g *gatewaytest.Gateway) {
	for _, path := range []string{
		"/oauth/consent/", "/oauth/consent/allow", "/oauth/login/password", "/oauth/account/revoke", "/oauth/callback", "/oauth/callback/", "/oauth/callback/password",
		"/oauth/session", "/oauth/logout", "/login", "/consent", "/account", "/OAUTH/account", "/oauth//account",
	} {
		b, page := signedIn(t, client(t, g, web), "alice")
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			p := b.Once(method, g.URL+path, paramsOf("flow", flowOf(page), "decision", "allow", "do", "sign_out", "code", "x", "state", "y"), gatewaytest.OwnPage()...)
			if p.Status < 400 || p.Location != nil {
				t.Errorf("%s %s: %d %v", method, path, p.Status, p.Location)
			}
		}
		wantCode(t, page.Allow()) // nothing has happened
	}
}
