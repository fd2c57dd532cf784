package browser_test

import (
	"net/http"
	"testing"

	"github.com/chromedp/cdproto/emulation"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// withoutScripts turns JavaScript off, and checks that it is.
func (b *tab) withoutScripts() {
	b.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open(web.serve(b, "scripts.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><link rel="icon" href="data:,"><h1>off</h1><script>document.querySelector("h1").textContent = "on"</script>`))
	})))
	b.shows("off")
}

// TestWithoutJavaScript: the whole way in, and the way to take it back, for
// people who run no scripts.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	g := start(t, users)
	p := newProgram(t, g)
	b := newTab(t)
	b.withoutScripts()
	b.open(p.AuthorizeURL())
	b.signIn("alice", password)
	b.allow()
	b.shows(doneTitle)
	r := p.Redeem(t, p.answer().Get("code"))
	token := r.Text(t, "access_token")
	if r := gatewaytest.Call(t, g.URL, token); r.Status != http.StatusOK {
		t.Fatalf("a call with the token: %d %s", r.Status, r.Body)
	}

	_, other := letIn(t, g, "alice", "Other helper", local)
	b.open(g.URL + "/oauth/account")
	b.leaving(click("article:last-of-type button"))
	b.says("The program was removed.")
	refused(t, g, token)
	b.do(click("summary"))
	b.press("do", "revoke_all")
	b.says("You have not let any program in.")
	refused(t, g, other)
	b.press("do", "sign_out_everywhere")
	b.shows("You are signed out")
	b.open(g.URL + "/oauth/account")
	b.shows("Sign in")
}

// refused checks that a token opens nothing any more.
func refused(t *testing.T, g *gatewaytest.Gateway, token string) {
	t.Helper()
	if r := gatewaytest.Call(t, g.URL, token); r.Status != http.StatusUnauthorized {
		t.Errorf("a call with a token that was taken back: %d", r.Status)
	}
}
