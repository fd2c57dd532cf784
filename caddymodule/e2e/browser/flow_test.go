package browser_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestLoopbackFlow: from a program on this machine to the sign-in and back.
func TestLoopbackFlow(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newProgram(t, g)
	b := newTab(t)
	b.open(p.AuthorizeURL())
	b.shows("Sign in")
	b.signIn("alice", password)
	b.shows("Let this program in?")
	p.none()
	b.allow()
	b.shows(doneTitle)
	p.redeems(p.answer())
}

// TestWebFlow: the same for a program on the web, whose callback leads to yet
// another site. Chromium applies a form-action to every redirect that follows
// a form, so a page that named the client's origin would stop here (INTEROP 10,
// SPEC F34).
func TestWebFlow(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newWebProgram(t, g, "client.example")
	p.then = web.serve(t, "home.example", http.HandlerFunc(finished)) + "/done"
	b := newTab(t)
	b.open(p.AuthorizeURL())
	b.signIn("alice", password)
	b.shows("Let this program in?")
	b.allow()
	b.shows(doneTitle)
	if at := eval[string](b, `location.href`); at != p.then {
		t.Errorf("the browser is at %s, want %s", at, p.then)
	}
	p.redeems(p.answer())
}

// TestRefuse: a no reaches the program as well.
func TestRefuse(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newProgram(t, g)
	b := newTab(t)
	b.open(p.AuthorizeURL())
	b.signIn("alice", password)
	b.press("decision", "deny")
	b.shows(doneTitle)
	if a := p.answer(); a.Get("error") != "access_denied" || a.Has("code") {
		t.Errorf("the program was told %v", a)
	}
}

// TestAppFlow: a program with a scheme of its own gets its answer from a page
// that goes there by itself and has a link, because a browser that asks first
// needs somewhere to stand (INTEROP 10, SPEC F34).
func TestAppFlow(t *testing.T) {
	t.Parallel()
	const scheme = "cursor://anysphere.cursor-mcp/oauth/callback"
	g := start(t, users)
	c := register(t, g, "Cursor", scheme)
	b := newTab(t)
	b.open(c.AuthorizeURL())
	b.signIn("alice", password)
	b.allow()
	b.shows("Back to the program")
	link := eval[string](b, `document.querySelector("main a.button").href`)
	for _, by := range []string{"the page itself", "the link"} {
		if by == "the link" {
			b.mu.Lock()
			b.wanted = nil
			b.mu.Unlock()
			b.do(click("main a.button"))
		}
		poll(b, by, func() (bool, error) { return b.went(scheme) != "", nil })
		if to := b.went(scheme); to != link {
			t.Errorf("%s goes to %s, the link to %s", by, to, link)
		}
	}
	b.shows("Back to the program")
	q := parse(t, link).Query()
	if q.Get("state") != "st-1" || q.Get("iss") != g.URL {
		t.Errorf("the program is called back with %v", q)
	}
	if r := c.Redeem(t, q.Get("code")); r.Status != http.StatusOK {
		t.Errorf("no token: %d %s", r.Status, r.Body)
	}
}

// TestSecureFlow: behind https, as on the internet, the cookies have the prefix
// __Host-, and Chromium keeps them (RFC 6265bis §4.1.3.2).
func TestSecureFlow(t *testing.T) {
	t.Parallel()
	p := &program{TB: t, answers: make(chan url.Values, 10)}
	p.Client = &gatewaytest.Client{ID: "web-helper", RedirectURI: web.serve(t, "secure.example", p) + "/cb", Verifier: verifier}
	p.Base = startSecure(t, users, "client web-helper {\n\t\t\tname \"Web helper\"\n\t\t\tredirect_uri "+p.RedirectURI+"\n\t\t}")
	b := newTab(t)
	b.open(p.AuthorizeURL())
	b.signIn("alice", password)
	b.says("known to this server")
	b.allow()
	b.shows(doneTitle)
	if a := p.answer(); a.Get("code") == "" {
		t.Errorf("the program was told %v", a)
	}
	cookies := call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{p.Base}}).Cookies
	if len(cookies) == 0 {
		t.Error("there are no cookies")
	}
	for _, c := range cookies {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax {
			t.Errorf("cookie %+v", c)
		}
	}
	b.open(p.Base + "/oauth/account")
	b.shows("Your programs")
}
