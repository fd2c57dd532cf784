package people_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// testRevokeOthers tries to end somebody else's grant.
func testRevokeOthers(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	alice, _ := signedIn(t, c, "alice")
	access, refresh := approved(t, alice, c)
	id := grantOf(t, account(t, alice, g))
	bob, _ := signedIn(t, c, "bob")
	before := len(eventLines(g))
	for _, grant := range []string{id, id + "x", "", "../" + id, strings.ToLower(id), "%", "unknown"} {
		p := bob.Post(g.URL+accountPath, paramsOf("flow", flowOf(account(t, bob, g)), "do", "revoke", "grant", grant))
		wantStatus(t, p.Reply, http.StatusOK)
		if strings.Contains(p.Text(), "Alice") || strings.Contains(p.Text(), "The program was removed") {
			t.Errorf("grant %q: %s", grant, p.Text())
		}
	}
	lives(t, g, access, true)
	wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
	t.Run("leaves a trace", func(t *testing.T) {
		posts := 0
		for _, l := range eventLines(g)[before:] {
			if l.text("subject") == "bob" && l.text("reason") != accountPath {
				posts++
			}
		}
		if posts == 0 {
			t.Error("no line of the log says that bob tried")
		}
	})
	t.Run("a form of one's own page, posted by another", func(t *testing.T) {
		form := paramsOf("flow", flowOf(account(t, alice, g)), "do", "revoke", "grant", id)
		wantRefused(t, bob.Post(g.URL+accountPath, form), http.StatusForbidden)
		wantRefused(t, browser(t).Post(g.URL+accountPath, form), http.StatusForbidden)
		wantRefused(t, alice.Post(g.URL+accountPath, form, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
		lives(t, g, access, true)
	})
	account(t, alice, g).Click("do", "revoke_all")
}

// testSignOut signs out in one browser.
func testSignOut(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	b, waiting := signedIn(t, c, "alice")
	access, refresh := approved(t, b, c)
	open := openStream(t, g.URL, access)
	stolen := b.Copy(g.URL)
	other, _ := signedIn(t, c, "alice")
	page := account(t, b, g)
	p := page.Click("do", "sign_out")
	wantShown(t, "signed out", p, "You are signed out", "in this browser", "keep working")
	if b.Cookie(g.URL, "_session") != "" {
		t.Error("the cookie is still there")
	}
	for name, who := range map[string]*gatewaytest.Browser{"the browser": b, "a copy of its cookies": stolen} {
		if p := who.Open(c.AuthorizeURL("prompt", "consent")); !isSignIn(p) {
			t.Errorf("%s: %s", name, p.Text())
		}
		wantSignIn(t, who.Open(g.URL+accountPath))
		// What was shown before counts no more.
		p := who.Post(g.URL+consentPath, paramsOf("flow", flowOf(waiting), "decision", "allow"))
		if p.Location == nil || p.Location.Path != "/oauth/authorize" {
			t.Errorf("%s: %d %v", name, p.Status, p.Location)
		}
		p = who.Post(g.URL+accountPath, paramsOf("flow", flowOf(page), "do", "revoke_all"))
		if p.Location == nil || p.Location.Path != accountPath {
			t.Errorf("%s: %d %v", name, p.Status, p.Location)
		}
	}
	account(t, other, g)
	lives(t, g, access, true)
	open.GoesOn(t)
	wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
	wantConsent(t, b.Open(c.AuthorizeURL("prompt", "consent")).SignIn("alice", "alice"+passwordOf))
}

// testSignOutEverywhere signs out in all browsers. It is dave who does, because
// nobody else's sessions should end.
func testSignOutEverywhere(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	one, _ := signedIn(t, c, "dave")
	two, _ := signedIn(t, c, "dave")
	alice, _ := signedIn(t, c, "alice")
	access, refresh := approved(t, one, c)
	p := account(t, one, g).Click("do", "sign_out_everywhere")
	t.Run("the page says so", func(t *testing.T) { wantShown(t, "signed out", p, "in all browsers") })
	for _, b := range []*gatewaytest.Browser{one, two} {
		wantSignIn(t, b.Open(c.AuthorizeURL("prompt", "consent")))
		wantSignIn(t, b.Open(g.URL+accountPath))
	}
	account(t, alice, g)
	lives(t, g, access, true)
	wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
	t.Run("and in again, at once", func(t *testing.T) {
		for range 5 {
			_, p := signedIn(t, c, "dave")
			if isSignIn(p) {
				t.Errorf("the right password leads back to the sign-in page: %.200s", p.Text())
			}
		}
	})
}

// testMany lets more programs in than the page lists.
func testMany(t *testing.T, g *gatewaytest.Gateway) {
	const listed = 100
	c := client(t, g, loopback)
	b, _ := signedIn(t, c, "bob")
	account(t, b, g).Click("do", "revoke_all")
	var first string
	for i := range listed + 3 {
		access, _ := approved(t, b, c)
		if i == 0 {
			first = access
		}
	}
	p := account(t, b, g)
	if n := len(p.Buttons("grant")); n != listed {
		t.Errorf("%d programs are listed", n)
	}
	wantShown(t, "account", p, "more than fit")
	p = p.Click("do", "revoke_all")
	wantShown(t, "account", p, "not let any program in")
	lives(t, g, first, false)
}

// testKilled ends the gateway as a power cut does, right after things were taken
// back, and starts it again.
func testKilled(t *testing.T, g *gatewaytest.Gateway, options gatewaytest.Options) {
	c := client(t, g, web)
	in, waiting := signedIn(t, c, "alice")
	keptAccess, keptRefresh := approved(t, in, c)
	out, _ := signedIn(t, c, "alice")
	other := client(t, g, "https://other.example/cb")
	goneAccess, goneRefresh := approved(t, in, other)
	copied := out.Copy(g.URL)
	answered := in.Open(c.AuthorizeURL("prompt", "consent"))
	wantCode(t, answered.Allow())
	p := account(t, in, g)
	for _, id := range p.Buttons("grant") {
		if strings.Contains(p.Section(id), "other.example") {
			p.Click("grant", id)
		}
	}
	account(t, out, g).Click("do", "sign_out")
	g.Kill()

	g = gatewaytest.Start(t, options)
	t.Run("taken back stays taken back", func(t *testing.T) {
		lives(t, g, goneAccess, false)
		wantNoGrant(t, other, goneRefresh)
	})
	t.Run("signed out stays signed out", func(t *testing.T) {
		wantSignIn(t, out.Open(c.AuthorizeURL()))
		wantSignIn(t, copied.Open(c.AuthorizeURL()))
	})
	t.Run("answered stays answered", func(t *testing.T) {
		wantRefused(t, answered.Deny(), http.StatusBadRequest)
	})
	t.Run("the others go on", func(t *testing.T) {
		lives(t, g, keptAccess, true)
		wantStatus(t, c.Refresh(t, keptRefresh), http.StatusOK)
		wantShown(t, "account", account(t, in, g), "client.example")
		wantCode(t, in.Open(c.AuthorizeURL()))
		wantCode(t, waiting.Allow()) // the page from before
	})
}
