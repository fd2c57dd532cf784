package people_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestTwoGateways has two servers with keys of their own, one of them with a
// path in its issuer: what one gave out is nothing to the other.
func TestTwoGateways(t *testing.T) {
	g := start(t)
	other := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: strings.Replace(configured(), "issuer {URL}", "issuer {URL}/t1", 1), Env: env()})
	there := gatewaytest.RegisterAs(t, other.URL+"/t1", `{"client_name":"Tester","redirect_uris":["`+web+`"]}`)
	resource := []string{"resource", other.URL + "/mcp"}
	b := browser(t)
	consent := b.Open(there.AuthorizeURL(resource...)).SignIn("alice", "alice"+passwordOf)
	t.Run("an issuer with a path: the whole way", func(t *testing.T) {
		wantConsent(t, consent)
		if consent.URL.Path != "/t1/oauth/authorize" {
			t.Errorf("at %s", consent.URL)
		}
		p := b.Open(other.URL + "/t1" + accountPath)
		wants(t, p, isAccount, "the account page")
		q := consent.Allow().Result()
		if q.Get("iss") != other.URL+"/t1" {
			t.Errorf("iss is %s", q.Get("iss"))
		}
		access, refresh := redeemed(t, there, q)
		lives(t, other, access, true)
		p = b.Open(other.URL+"/t1"+accountPath).Click("do", "revoke_all")
		wantStatus(t, p.Reply, http.StatusOK)
		lives(t, other, access, false)
		wantNoGrant(t, there, refresh)
		for _, path := range []string{signInPath, consentPath, accountPath} {
			if p := b.Post(other.URL+path, paramsOf("flow", flowOf(consent), "decision", "allow")); p.Status < 400 {
				t.Errorf("%s without the path: %d", path, p.Status)
			}
		}
	})
	foreign := b.Open(there.AuthorizeURL(append(resource, "prompt", "consent")...))
	foreignAccount := b.Open(other.URL + "/t1" + accountPath)
	foreignSignIn := b.Open(there.AuthorizeURL(append(resource, "prompt", "login")...))
	c := client(t, g, web)
	t.Run("F32 a form of another server", func(t *testing.T) {
		here, _ := signedIn(t, c, "alice")
		// With the browser's name taken over as well, as two servers on one
		// host would have it.
		here.SetCookie(g.URL, "mcp_auth_browser", b.Cookie(other.URL, "_browser"))
		for path, form := range map[string]string{consentPath: flowOf(foreign), accountPath: flowOf(foreignAccount), signInPath: flowOf(foreignSignIn)} {
			p := here.Post(g.URL+path, paramsOf("flow", form, "decision", "allow", "do", "revoke_all", "login", "password", "field_username", "bob", "field_password", "bob"+passwordOf))
			wantRefused(t, p, http.StatusForbidden)
			wantShown(t, path, p, "did not come from a page of this server")
		}
	})
	t.Run("F37, F30 a session of another server", func(t *testing.T) {
		here := browser(t)
		here.SetCookie(g.URL, "mcp_auth_session", b.Cookie(other.URL, "_session"))
		here.SetCookie(g.URL, "mcp_auth_browser", b.Cookie(other.URL, "_browser"))
		wantSignIn(t, here.Open(c.AuthorizeURL()))
		wantSignIn(t, here.Open(g.URL+accountPath))
	})
	t.Run("O9 a token of another server", func(t *testing.T) {
		access, _ := redeemed(t, there, foreign.Allow().Result())
		lives(t, g, access, false)
	})
	t.Run("a client of another server", func(t *testing.T) {
		p := browser(t).Open(c.AuthorizeURL("client_id", there.ID))
		wantRefused(t, p, http.StatusBadRequest)
		wantShown(t, "unknown client", p, "has to be connected again")
	})
}
