package people_test

import (
	"net/http"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// testPrompt is SPEC F19: what each value of prompt leads to.
func testPrompt(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, loopback)
	silent := c.AuthorizeURL("prompt", "none")
	t.Run("F19 none, nobody signed in: login_required", func(t *testing.T) {
		p := browser(t).Open(silent)
		wantError(t, p, "login_required")
		wantSilent(t, p)
	})
	t.Run("F19 none, nobody was asked: consent_required", func(t *testing.T) {
		b, _ := signedIn(t, c, "alice")
		p := b.Open(silent)
		wantError(t, p, "consent_required")
		wantSilent(t, p)
	})
	t.Run("F19 none, not invited: access_denied", func(t *testing.T) {
		b, page := signedIn(t, c, "mallory")
		wantNotInvited(t, page)
		wantError(t, b.Open(silent), "access_denied")
	})
	t.Run("F19 none, agreed before: a code", func(t *testing.T) {
		known := client(t, g, web)
		b, page := signedIn(t, known, "alice")
		redeemed(t, known, page.Allow().Result())
		p := b.Open(known.AuthorizeURL("prompt", "none"))
		wantCode(t, p)
		wantSilent(t, p)
	})
	t.Run("F19 none with another value: invalid_request", func(t *testing.T) {
		for _, value := range []string{"none login", "login none", "none consent", "none none2", "consent  none"} {
			wantError(t, browser(t).Open(c.AuthorizeURL("prompt", value)), "invalid_request")
		}
	})
	t.Run("F19, F4 none to a host that nobody vouches for: a page", func(t *testing.T) {
		stranger := client(t, g, web)
		wantRefused(t, browser(t).Open(stranger.AuthorizeURL("prompt", "none")), http.StatusBadRequest)
		b, _ := signedIn(t, stranger, "alice")
		wantRefused(t, b.Open(stranger.AuthorizeURL("prompt", "none", "resource", g.URL+"/sse", "redirect_uri", web)), http.StatusBadRequest)
	})
	for _, value := range []string{"login", "select_account", "login consent"} {
		t.Run("F19 "+value+": signs in anew", func(t *testing.T) { testSignInAnew(t, g, value) })
	}
	t.Run("F19 consent: asks again", func(t *testing.T) {
		known := client(t, g, web)
		b, page := signedIn(t, known, "alice")
		redeemed(t, known, page.Allow().Result())
		wantCode(t, b.Open(known.AuthorizeURL()))
		wantConsent(t, b.Open(known.AuthorizeURL("prompt", "consent")))
	})
	t.Run("F19 unknown values are ignored", func(t *testing.T) {
		b, _ := signedIn(t, c, "alice")
		for _, value := range []string{"create", "NONE", "Login", "hologram admin", ""} {
			wantConsent(t, b.Open(c.AuthorizeURL("prompt", value)))
		}
	})
}

// wantSilent checks that nothing was shown.
func wantSilent(t *testing.T, p *gatewaytest.Page) {
	t.Helper()
	if p.Status != http.StatusFound || p.Body != "" {
		t.Errorf("status %d, body %.100s", p.Status, p.Body)
	}
}

// testSignInAnew checks that a session is not enough, that the person asked is
// the one who signs in now, and that they are not sent in a circle.
func testSignInAnew(t *testing.T, g *gatewaytest.Gateway, prompt string) {
	c := client(t, g, web)
	b, page := signedIn(t, c, "alice")
	redeemed(t, c, page.Allow().Result())
	before := b.Cookie(g.URL, "_session")
	page = b.Open(c.AuthorizeURL("prompt", prompt))
	wantSignIn(t, page)
	page = page.SignIn("bob", "bob"+passwordOf)
	wantConsent(t, page)
	if after := b.Cookie(g.URL, "_session"); after == before || after == "" {
		t.Error("F37: the session is the one from before")
	}
	access, _ := redeemed(t, c, page.Allow().Result())
	if subject := subjectOf(t, access); subject != "bob" {
		t.Errorf("the token is %s's", subject)
	}
}
