package browser_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// Where programs want their answers.
const (
	local = "http://127.0.0.1/cb"
	app   = "cursor://anysphere.cursor-mcp/oauth/callback"
	site  = "https://claude.ai/api/mcp/auth_callback"
)

// A name that tries everything, and a host as long as hosts get.
var (
	hostileName = `<img src=x onerror=alert(1)> Official ` + "\u202erosruC\u202c" + ` "Claude"` + strings.Repeat("W", 200)
	hostileSite = "https://a-very-long-label-without-a-place-to-break-it." + strings.Repeat("longlabel123.", 14) + "evil.example:8443/callback"
)

var scenes = []scene{
	{name: "sign-in", heading: "Sign in", play: func(s *stage) {
		s.open(register(s, s.plain, "Desk helper", local).AuthorizeURL())
	}},
	{name: "sign-in-several", heading: "Sign in", play: func(s *stage) {
		s.open(register(s, s.several, "Claude", site).AuthorizeURL())
	}},
	{name: "sign-in-hostile", heading: "Sign in", play: func(s *stage) {
		s.open(register(s, s.several, hostileName, hostileSite).AuthorizeURL())
	}},
	{name: "sign-in-branded", heading: "Sign in", minor: true, play: func(s *stage) {
		s.open(register(s, s.branded, "Desk helper", local).AuthorizeURL())
	}},
	{name: "sign-in-account", heading: "Sign in", play: func(s *stage) {
		s.open(s.several.URL + "/oauth/account")
	}},
	{name: "sign-in-wrong", heading: "Sign in", status: http.StatusForbidden, play: func(s *stage) {
		s.open(register(s, s.plain, "Desk helper", local).AuthorizeURL())
		s.signIn("wrong", "not the way")
	}},
	{name: "sign-in-throttled", heading: "Sign in", status: http.StatusTooManyRequests, minor: true, play: func(s *stage) {
		s.expectStatus(http.StatusForbidden)
		s.open(register(s, s.branded, "Desk helper", local).AuthorizeURL())
		for range 20 {
			if s.signIn("guesser", "a guess"); s.status() == http.StatusTooManyRequests {
				return
			}
		}
	}},
	{name: "consent-local", heading: "Let this program in?", play: func(s *stage) {
		s.atConsent(s.plain, "Desk helper", local)
	}},
	{name: "consent-web", heading: "Let this program in?", play: func(s *stage) {
		s.atConsent(s.plain, "Claude", site)
	}},
	{name: "consent-app", heading: "Let this program in?", play: func(s *stage) {
		s.atConsent(s.plain, "Cursor", app)
	}},
	{name: "consent-hostile", heading: "Let this program in?", play: func(s *stage) {
		s.atConsent(s.plain, hostileName, hostileSite)
	}},
	{name: "consent-nameless", heading: "Let this program in?", minor: true, play: func(s *stage) {
		c := gatewaytest.RegisterAs(s, s.plain.URL, `{"redirect_uris":["`+local+`"]}`)
		s.open(c.AuthorizeURL())
		s.signIn("bob", password)
	}},
	{name: "consent-proxied", heading: "Let this program in?", minor: true, play: func(s *stage) {
		s.viaProxy()
		s.open(register(s, s.proxied, "Desk helper", local).AuthorizeURL())
	}},
	{name: "not-invited", heading: "You are signed in, but not invited", status: http.StatusForbidden, play: func(s *stage) {
		s.open(register(s, s.plain, "Desk helper", local).AuthorizeURL())
		s.signIn("mallory", password)
	}},
	{name: "leave", heading: "Back to the program", play: func(s *stage) {
		s.atConsent(s.plain, "Cursor", app)
		s.allow()
	}},
	{name: "account-empty", heading: "Your programs", play: func(s *stage) {
		s.open(s.plain.URL + "/oauth/account")
		s.signIn("bob", password)
	}},
	{name: "account", heading: "Your programs", play: func(s *stage) {
		s.atAccount()
	}},
	{name: "account-all-revoked", heading: "Your programs", minor: true, play: func(s *stage) {
		s.atAccount()
		s.do(click("summary"))
		s.press("do", "revoke_all")
	}},
	{name: "account-revoked", heading: "Your programs", play: func(s *stage) {
		s.atAccount()
		s.leaving(click("article button"))
	}},
	{name: "account-proxied", heading: "Your programs", minor: true, play: func(s *stage) {
		s.viaProxy()
		s.open(s.proxied.URL + "/oauth/account")
	}},
	{name: "account-token-form", heading: "Your programs", play: func(s *stage) {
		s.open(s.tokened.URL + "/oauth/account")
		s.signIn("bob", password)
		s.do(click("summary"))
	}},
	{name: "new-token", heading: "Your new token", play: func(s *stage) {
		s.atToken("Nightly report")
	}},
	{name: "account-tokens", heading: "Your programs", play: func(s *stage) {
		s.atToken("Nightly report")
		s.open(s.tokened.URL + "/oauth/account")
	}},
	{name: "account-token-hostile", heading: "Your programs", minor: true, play: func(s *stage) {
		s.atToken(strings.Repeat("W", 90))
		s.open(s.tokened.URL + "/oauth/account")
	}},
	{name: "account-token-scopeless", heading: "Your programs", minor: true, play: func(s *stage) {
		s.open(s.tokened.URL + "/oauth/account")
		s.signIn("bob", password)
		s.do(click("summary"), click("#scope0-0"), click("#scope0-1"))
		s.fill("name", "Nightly report")
		s.press("do", "mint_token")
	}},
	{name: "signed-out", heading: "You are signed out", play: func(s *stage) {
		s.open(s.plain.URL + "/oauth/account")
		s.signIn("bob", password)
		s.press("do", "sign_out")
	}},
	{name: "overview", heading: "Sign-in for MCP servers", play: func(s *stage) {
		s.open(s.plain.URL + "/oauth/")
	}},
	{name: "error-unknown-client", heading: "This program has to be connected again", status: http.StatusBadRequest, play: func(s *stage) {
		c := gatewaytest.Client{Base: s.plain.URL, ID: "gone", RedirectURI: local, Verifier: verifier}
		s.open(c.AuthorizeURL())
	}},
	{name: "error-guessed-client", heading: "This program has to be connected again", status: http.StatusBadRequest, minor: true, play: func(s *stage) {
		c := gatewaytest.Client{Base: s.plain.URL, ID: "gone", RedirectURI: "http://localhost:7777/oauth/callback", Verifier: verifier}
		s.open(c.AuthorizeURL())
	}},
	{name: "error-redirect", heading: "The program asked in a way that does not work", status: http.StatusBadRequest, minor: true, play: func(s *stage) {
		s.open(register(s, s.plain, "Desk helper", local).AuthorizeURL("redirect_uri", "https://evil.example/"))
	}},
	{name: "error-scope", heading: "The program asked for permissions that do not exist", status: http.StatusBadRequest, minor: true, play: func(s *stage) {
		s.open(register(s, s.plain, "Claude", site).AuthorizeURL("scope", "fly"))
	}},
	{name: "error-target", heading: "The address in the program does not fit this server", status: http.StatusBadRequest, minor: true, play: func(s *stage) {
		s.open(register(s, s.plain, "Claude", site).AuthorizeURL("resource", "https://elsewhere.example/mcp"))
	}},
	{name: "error-form", heading: "This did not come from a page of this server", status: http.StatusForbidden, minor: true, play: func(s *stage) {
		s.atConsent(s.plain, "Desk helper", local)
		eval[any](s.tab, `document.querySelector("input[name=flow]").value = "made-up", null`)
		s.allow()
	}},
	{name: "error-cookies", heading: "This step belongs to another browser", status: http.StatusForbidden, play: func(s *stage) {
		s.open(register(s, s.plain, "Desk helper", local).AuthorizeURL())
		s.forget()
		s.signIn("alice", password)
	}},
	{name: "error-used", heading: "This was done before", status: http.StatusBadRequest, play: func(s *stage) {
		s.atConsent(s.plain, "Cursor", app)
		token := eval[string](s.tab, `document.querySelector("input[name=flow]").value`)
		s.allow()
		s.open(register(s, s.plain, "Cursor", app).AuthorizeURL())
		eval[any](s.tab, fmt.Sprintf(`document.querySelector("input[name=flow]").value = %q, null`, token))
		s.press("decision", "deny")
	}},
	{name: "error-provider", heading: "The service where you sign in does not answer", status: http.StatusServiceUnavailable, minor: true, play: func(s *stage) {
		s.atProvider()
		s.hub.down.Store(true)
		defer s.hub.down.Store(false)
		s.leaving(click("#yes"))
	}},
	{name: "error-proxy", heading: "This is not the way in", status: http.StatusForbidden, minor: true, play: func(s *stage) {
		s.open(register(s, s.proxied, "Desk helper", local).AuthorizeURL())
	}},
	{name: "error-expired", heading: "This took too long", status: http.StatusForbidden, play: func(s *stage) {
		s.rendered(pages.Error{
			Problem: pages.ProblemExpired, Code: "invalid_request", Description: "the page was shown more than 10m0s ago",
			RestartURL: "/oauth/authorize?client_id=x", RequestID: "b9958958-2196-41e2-bf00-98946cdc7445",
		}, http.StatusForbidden)
	}},
	{name: "error-denied", heading: "You were not signed in", status: http.StatusForbidden, minor: true, play: func(s *stage) {
		s.rendered(pages.Error{
			Problem: pages.ProblemDenied, Code: "access_denied", Description: "the sign-in was not accepted", ClientName: "Claude",
			RestartURL: "/oauth/authorize?client_id=x", ReturnURL: site + "?error=access_denied", RequestID: "b9958958-2196-41e2-bf00-98946cdc7445",
		}, http.StatusForbidden)
	}},
	{name: "error-unavailable", heading: "This does not work right now", status: http.StatusServiceUnavailable, minor: true, play: func(s *stage) {
		s.rendered(pages.Error{
			Code: "temporarily_unavailable", Description: "the server cannot do this right now, try again shortly",
			RequestID: "b9958958-2196-41e2-bf00-98946cdc7445",
		}, http.StatusServiceUnavailable)
	}},
	{name: "not-invited-link", heading: "You are signed in, but not invited", status: http.StatusForbidden, minor: true, play: func(s *stage) {
		s.rendered(pages.NotInvited{
			Person: pages.Person{Name: "Mallory Example", Email: "mallory@example.com"}, Program: &pages.Program{Name: "Claude", Host: "claude.ai"},
			Resource: pages.Resource{Name: "Ticket desk"}, Action: "/oauth/consent", Token: "t", CanSwitch: true, ReturnURL: site + "?error=access_denied",
		}, http.StatusForbidden)
	}},
	{name: "reference", heading: "Authorization server API", minor: true, play: func(s *stage) {
		s.open(s.plain.URL + "/oauth/redoc")
	}},
}
