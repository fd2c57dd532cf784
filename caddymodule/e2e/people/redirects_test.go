package people_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// testRedirects is SPEC O12 and O22: where the browser may be sent, and what it
// takes along.
func testRedirects(t *testing.T, g *gatewaytest.Gateway) {
	issuer := gatewaytest.Send(t, http.MethodGet, g.URL+"/.well-known/oauth-authorization-server", "").Text(t, "issuer")
	for name, uri := range map[string]string{"loopback": loopback, "web": web + "?tenant=1&x=a%20b", "private scheme": private} {
		c := client(t, g, uri)
		for decision, member := range map[string]string{"allow": "code", "deny": "error"} {
			t.Run("O22, F42, F43 iss, "+name+", "+decision, func(t *testing.T) {
				const state = "a b+c&d=e%/\"é"
				b, _ := signedIn(t, c, "alice")
				p := b.Open(c.AuthorizeURL("state", state, "prompt", "consent")).Click("decision", decision)
				q := answerOf(t, p)
				for name, want := range map[string]string{"iss": issuer, "state": state} {
					if got := q[name]; len(got) != 1 || got[0] != want {
						t.Errorf("%s is %q, want %q once", name, got, want)
					}
				}
				if len(q[member]) != 1 || q.Has("code") == q.Has("error") {
					t.Errorf("the client gets %v", q)
				}
				if name == "web" && (q.Get("tenant") != "1" || q.Get("x") != "a b") {
					t.Errorf("F9: the registered query is lost: %v", q)
				}
				if p.Location != nil && p.Location.Fragment != "" {
					t.Errorf("a fragment: %s", p.Location)
				}
			})
		}
	}
	t.Run("O22 iss with errors that nobody is asked about", func(t *testing.T) {
		c := client(t, g, loopback)
		for _, params := range [][]string{{"prompt", "none"}, {"scope", "unknown"}, {"resource", "https://evil.example/"}, {"response_type", "token"}} {
			q := browser(t).Open(c.AuthorizeURL(params...)).Result()
			if q.Get("error") == "" || len(q["iss"]) != 1 || q.Get("iss") != issuer {
				t.Errorf("%v: %v", params, q)
			}
		}
	})
	t.Run("O12, F4, R6 errors for a host that nobody vouches for are pages", func(t *testing.T) { testErrorsStay(t, g) })
	t.Run("O12 who is not invited is not sent to a host that they did not see", func(t *testing.T) { testNotInvitedLeaves(t, g) })
	t.Run("O12 no parameter says where to go after a form", func(t *testing.T) { testReturnParameters(t, g) })
	t.Run("O12 paths with a host in them", func(t *testing.T) {
		for _, path := range []string{
			"//evil.example/oauth/account", "/oauth/account/", "/oauth/account//evil.example", "/oauth//evil.example/%2e%2e", "/oauth/login/..%2f..%2f/evil.example",
			"/oauth/callback/https://evil.example", "/oauth/%0d%0aLocation:%20https://evil.example", "/oauth/account;@evil.example",
		} {
			p := browser(t).Open(g.URL + path)
			if p.Location != nil && p.Location.Host != strings.TrimPrefix(g.URL, "http://") {
				t.Errorf("%s leads to %s", path, p.Location)
			}
		}
	})
}

func testErrorsStay(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, "https://evil.example/cb")
	in, _ := signedIn(t, c, "alice")
	for _, b := range []*gatewaytest.Browser{browser(t), in} {
		for _, params := range [][]string{
			{"prompt", "none"},
			{"prompt", "none login"},
			{"scope", "unknown"},
			{"resource", "https://other.example/"},
			{"response_type", "token"},
			{"response_type", "-"},
			{"code_challenge", "-"},
			{"code_challenge_method", "plain"},
			{"request_uri", "https://evil.example/r"},
		} {
			p := b.Open(c.AuthorizeURL(params...))
			wantRefused(t, p, http.StatusBadRequest)
			wantShown(t, "error", p, "evil.example")
		}
	}
}

// testNotInvitedLeaves looks at the way back to a program for somebody who has
// a session, and so never saw a page that names the program's host.
func testNotInvitedLeaves(t *testing.T, g *gatewaytest.Gateway) {
	b, _ := signedIn(t, client(t, g, loopback), "mallory")
	p := b.Open(client(t, g, "https://evil.example/cb").AuthorizeURL())
	wantNotInvited(t, p)
	wantShown(t, "not invited", p, "evil.example")
	p = b.Open(client(t, g, loopback).AuthorizeURL())
	wantError(t, p.Deny(), "access_denied")
}

// testReturnParameters adds the usual names of return parameters to every page
// and form.
func testReturnParameters(t *testing.T, g *gatewaytest.Gateway) {
	const evil = "https://evil.example/"
	query := url.Values{}
	for _, name := range []string{
		"return", "return_to", "returnTo", "return_url", "next", "url", "rd", "redirect", "redirect_to", "goto", "continue", "target", "post_logout_redirect_uri", "RelayState", "back",
	} {
		query.Set(name, evil)
	}
	c := client(t, g, loopback)
	b, _ := signedIn(t, c, "alice")
	header := []string{"Referer", evil, "X-Original-Url", evil, "X-Forwarded-Uri", evil}
	stays := func(p *gatewaytest.Page) {
		t.Helper()
		if p.Location != nil && p.Location.Host != strings.TrimPrefix(g.URL, "http://") || strings.Contains(p.Body, "evil.example") {
			t.Errorf("%s: sent to %v: %s", p.URL.Path, p.Location, p.Text())
		}
	}
	stays(b.Once(http.MethodGet, g.URL+accountPath+"?"+query.Encode(), nil, header...))
	stays(b.Once(http.MethodGet, c.AuthorizeURL()+"&"+query.Encode(), nil, header...))
	for _, do := range []string{"sign_out", "sign_out_everywhere"} {
		b, _ := signedIn(t, c, "dave") // whom no other test needs
		action, fields := b.Open(g.URL+accountPath).Form("do", do)
		for name := range query {
			fields.Set(name, evil)
		}
		fields.Set("do", do)
		stays(b.Post(action+"?"+query.Encode(), fields, header...))
		p := b.Post(action, fields, header...)
		stays(p)
		wantStatus(t, p.Reply, http.StatusOK)
		wantSignIn(t, b.Open(g.URL+accountPath))
	}
	action, fields := browser(t).Open(g.URL+accountPath).Form("login", "password")
	for name := range query {
		fields.Set(name, evil)
	}
	stays(browser(t).Post(action, fields, header...))
}
