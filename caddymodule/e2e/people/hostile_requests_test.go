package people_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// testHostileHosts is SPEC O8, O39 and THREATS D6 for the host that the answer
// goes to: whatever stands beside it, a person can go by it.
func testHostileHosts(t *testing.T, g *gatewaytest.Gateway) {
	long := strings.Repeat(strings.Repeat("a", 60)+".", 3) + "evil.example"
	for name, c := range map[string]struct{ uri, shown string }{
		"another name in front": {"https://claude.ai.evil.example/cb", "claude.ai.evil.example"},
		"another name in path":  {"https://evil.example/https://claude.ai/cb", "evil.example"},
		"another name in query": {"https://evil.example/cb?u=https://claude.ai", "evil.example"},
		"a port":                {"https://evil.example:8443/cb", "evil.example:8443"},
		"a long name":           {"https://" + long + "/cb", long},
		"punycode":              {"https://xn--clude-hra.ai/cb", "xn--clude-hra.ai"},
	} {
		t.Run("O8, D6 "+name, func(t *testing.T) {
			cl := namedClient(t, g, map[string]any{"client_name": "Claude", "client_uri": "https://claude.ai/", "redirect_uris": []string{c.uri}})
			first := browser(t).Open(cl.AuthorizeURL())
			consent := first.SignIn("alice", "alice"+passwordOf)
			wantConsent(t, consent)
			for what, p := range map[string]*gatewaytest.Page{"sign-in": first, "consent": consent, "error": browser(t).Open(cl.AuthorizeURL("scope", "unknown"))} {
				text := p.Text()
				if !strings.Contains(text, c.shown) || strings.Contains(text, c.shown+"…") {
					t.Errorf("the %s page does not show %s: %s", what, c.shown, text)
				}
			}
			wantShown(t, "consent", consent, "Claude", "not verified")
			wantTo(t, consent.Allow(), c.uri)
		})
	}
	t.Run("O8 a name that passes for a host or for a word of the page", func(t *testing.T) {
		for _, name := range []string{"claude.ai", "Claude known to this server", "Ticket desk", "Access goes to claude.ai", "Alice Example"} {
			cl := namedClient(t, g, map[string]any{"client_name": name, "redirect_uris": []string{"https://evil.example/cb"}})
			_, consent := signedIn(t, cl, "alice")
			wantShown(t, "consent", consent, "calls itself "+name+" not verified", "Access goes to evil.example")
		}
	})
	t.Run("O8 no name at all", func(t *testing.T) {
		cl := namedClient(t, g, map[string]any{"redirect_uris": []string{"https://evil.example/cb"}})
		_, consent := signedIn(t, cl, "alice")
		wantShown(t, "consent", consent, "gives no name", "evil.example", "not verified")
	})
}

// testHostileRequests is THREATS D7 and SPEC O41, O42: what a page makes of the
// request that led to it.
func testHostileRequests(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	unusable := browser(t).Open(c.AuthorizeURL("scope", `"`)) // what the plain word never leads to
	plain := map[string]*gatewaytest.Page{}
	for _, param := range []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "scope", "resource", "prompt", "code_challenge", "code_challenge_method",
		"request", "request_uri", "error", "error_description", "error_hint", "error_debug", "error_uri", "login_hint", "ui_locales", "nonce",
	} {
		plain[param] = browser(t).Open(c.AuthorizeURL(param, "plain"))
	}
	for name, text := range hostile {
		text = text[:min(len(text), 2<<10)]
		t.Run("D7, O42 "+name+" in parameters", func(t *testing.T) {
			for param, other := range plain {
				p := browser(t).Open(c.AuthorizeURL(param, text))
				if other.Status != p.Status {
					other = unusable
				}
				wantInert(t, param, p, other)
				if strings.Contains(p.Text(), "alert(1)") {
					t.Errorf("the page repeats the parameter %s: %s", param, p.Text())
				}
			}
		})
		t.Run("O41 "+name+" in headers", func(t *testing.T) {
			// net/http sends no control characters.
			line := strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return -1
				}
				return r
			}, text)
			for _, header := range []string{"Accept-Language", "User-Agent", "Referer", "X-Request-Id", "X-Forwarded-For", "Forwarded", "Origin"} {
				p := browser(t).Once(http.MethodGet, c.AuthorizeURL("scope", `"`), nil, header, line)
				wantInert(t, header, p, unusable)
				if strings.Contains(p.Text(), "alert(1)") {
					t.Errorf("the page repeats %s", header)
				}
			}
		})
	}
	t.Run("forms", func(t *testing.T) { testHostileForms(t, g) })
}

// testHostileForms fills in forms with hostile text.
func testHostileForms(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	in, consent := signedIn(t, c, "alice")
	page, account := in.Open(c.AuthorizeURL("prompt", "login")), in.Open(g.URL+accountPath)
	forms := map[string]string{signInPath: flowOf(page), consentPath: flowOf(consent), accountPath: flowOf(account)}
	send := func(path, field, value string) *gatewaytest.Page {
		form := paramsOf("flow", forms[path], "grant", "none")
		form.Set(field, value)
		return in.Post(g.URL+path, form)
	}
	typed := func(t *testing.T, name, password string) *gatewaytest.Page {
		t.Helper()
		return at(t, "").Open(c.AuthorizeURL()).SignIn(name, password)
	}
	wrong := typed(t, nobody(), "wrong")
	wantStatus(t, wrong.Reply, http.StatusForbidden)
	for name, text := range hostile {
		text = text[:min(len(text), 2<<10)]
		t.Run("D7, O39 "+name, func(t *testing.T) {
			wantInert(t, "wrong password", typed(t, text, "wrong"), wrong)
			p := typed(t, nobody(), text)
			wantInert(t, "wrong password", p, wrong)
			if strings.Contains(p.Body, "alert(1)") {
				t.Error("the page repeats the password")
			}
			for path := range forms {
				for _, field := range []string{"flow", "login", "decision", "do"} {
					p := send(path, field, text)
					wantInert(t, path+" "+field, p, send(path, field, "plain"))
					if p.Status < http.StatusBadRequest {
						t.Errorf("%s with %s: %d", path, field, p.Status)
					}
				}
			}
		})
	}
}
