package browser_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestFraming: no page shows up inside a page of somebody else, also not of
// one that the browser takes for the same site and sends its cookies along
// (SPEC F33, O7).
func TestFraming(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newProgram(t, g)
	framed := map[string]string{
		"sign-in or consent": p.AuthorizeURL(),
		"error":              g.URL + "/oauth/authorize?client_id=gone",
		"account":            g.URL + "/oauth/account",
		"overview":           g.URL + "/oauth/",
		"docs":               g.URL + "/oauth/docs",
		"reference":          g.URL + "/oauth/redoc",
	}
	trap := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,"><title>trap</title><iframe src="%s"></iframe>`, html.EscapeString(r.URL.Query().Get("u")))
	}
	// The same site as the gateway's, on another port of localhost; and another
	// one.
	near := httptest.NewServer(http.HandlerFunc(trap))
	t.Cleanup(near.Close)
	traps := []string{
		strings.Replace(near.URL, "127.0.0.1", "localhost", 1),
		web.serve(t, "trap.example", http.HandlerFunc(trap)),
	}
	b := newTab(t)
	b.expect("frame-ancestors")
	b.expect("BlockedByResponseIssue")
	b.expect("Failed to load resource")
	check := func(who string) {
		for _, at := range traps {
			for name, target := range framed {
				if shown := b.inFrame(at, target); !strings.HasPrefix(shown, "chrome-error:") {
					t.Errorf("%s, %s: %s shows %s", who, name, at, shown)
				}
			}
		}
	}
	// A page that forbids nothing is shown: the test could fail.
	harmless := web.serve(t, "harmless.example", http.HandlerFunc(finished))
	if shown := b.inFrame(traps[0], harmless); shown != harmless+"/" {
		t.Fatalf("a page that may be framed shows up as %s", shown)
	}
	check("nobody")
	b.open(p.AuthorizeURL())
	b.signIn("alice", password)
	check("Alice")
	p.none()
}

// inFrame opens a page with a frame and returns what the frame shows.
func (b *tab) inFrame(trap, target string) string {
	b.Helper()
	b.open(withQuery(trap, "u", target))
	tree := call(b, page.GetFrameTree, cdp.Empty{}).FrameTree
	if len(tree.ChildFrames) != 1 {
		b.Fatalf("%s has %d frames", trap, len(tree.ChildFrames))
	}
	return tree.ChildFrames[0].Frame.URL
}

// TestForeignForm: a page elsewhere can't press a button in somebody's name,
// here to sign them in as somebody else. Chromium says where a form comes from,
// and from another port of the same host it sends the cookies along as well
// (SPEC O5, F28).
func TestForeignForm(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	c := register(t, g, "Desk helper", local)
	_, fields := gatewaytest.NewBrowser(t).Open(c.AuthorizeURL()).Form("login", "password")
	fields.Set("field_username", "bob")
	fields.Set("field_password", password)
	form := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,"><h1>A prize</h1><form method="post" action="%s/oauth/login">`, g.URL)
		for name, values := range fields {
			fmt.Fprintf(w, `<input type="hidden" name="%s" value="%s">`, name, html.EscapeString(values[0]))
		}
		fmt.Fprint(w, `<button>Get it</button></form>`)
	}
	near := httptest.NewServer(http.HandlerFunc(form))
	t.Cleanup(near.Close)
	for _, at := range []string{strings.Replace(near.URL, "127.0.0.1", "localhost", 1), web.serve(t, "prize.example", http.HandlerFunc(form))} {
		b := newTab(t)
		b.open(g.URL + "/oauth/account")
		b.shows("Sign in")
		b.open(at)
		b.expectStatus(http.StatusForbidden)
		b.leaving(click("button"))
		b.shows("This did not come from a page of this server")
		b.open(g.URL + "/oauth/account")
		b.shows("Sign in")
	}
}
