package authserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// approve lets a client in and returns the grant's tokens.
func (b *browser) approve(target, id string) oauth.TokenResponse {
	b.tb.Helper()
	w := b.get(target)
	if strings.Contains(w.Body.String(), signInMarker) {
		w = b.signIn(target, "alice")
	}
	code := result(b.tb, b.decide(w, "allow")).Get("code")
	return decode[oauth.TokenResponse](b.tb, b.form("/oauth/token", codeForm(id, code)), http.StatusOK)
}

// SPEC F26, F27: who need not be asked again.
func TestConsentRemembered(t *testing.T) {
	const secret = "a-secret-of-the-operators-client"
	r := attended(t, func(c *Config) {
		c.TrustedRedirectHosts = []string{"trusted.example"}
		c.Clients = []Client{
			{ID: "web", Name: "Web", RedirectURIs: []string{"https://web.example/cb"}, AuthMethod: "none", GrantTypes: []string{"authorization_code"}},
			{ID: "cli", Name: "CLI", RedirectURIs: []string{"http://127.0.0.1/cb"}, AuthMethod: "client_secret_post", Secret: secret, GrantTypes: []string{"authorization_code"}},
		}
	})
	register := func(uri string) string {
		return r.register(t, `{"client_name":"N","redirect_uris":["`+uri+`"]}`).ClientID
	}
	remembered := func(w *httptest.ResponseRecorder) bool {
		t.Helper()
		if w.Code == http.StatusFound {
			return result(t, w).Get("code") != ""
		}
		shows(t, w, http.StatusOK, consentMarker)
		return false
	}
	for _, c := range []struct {
		name, id string
		fresh    string // the client that asks the second time, if it is another
		want     bool
	}{
		{"loopback", register("http://127.0.0.1/cb"), "", false},
		{"loopback https", register("https://localhost/cb"), "", false},
		{"private scheme", register("cursor://app/cb"), "", false},
		{"web host", register("https://client.example/cb"), "", true},
		{"fresh registration", register("https://client.example/cb2"), register("https://client.example/cb2"), false},
		{"fresh registration of a trusted host", register("https://trusted.example/cb"), register("https://trusted.example/cb"), true},
		{"lookalike of a trusted host", register("https://nottrusted.example/cb"), register("https://nottrusted.example/cb"), false},
		{"configured public", "web", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := r.browser(t)
			page := b.signIn(request(c.id), "alice")
			shows(t, page, http.StatusOK, consentMarker)
			answered := b.decide(page, "allow")
			if answered.Code == http.StatusOK {
				return // F27 for private schemes is below: the code is on the page
			}
			decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(c.id, result(t, answered).Get("code"))), http.StatusOK)
			if c.fresh == "" {
				c.fresh = c.id
			}
			if got := remembered(b.get(request(c.fresh))); got != c.want {
				t.Errorf("remembered: %t", got)
			}
			if remembered(b.get(request(c.fresh, "prompt", "consent"))) {
				t.Error("prompt=consent asks nobody")
			}
			bob := r.browser(t)
			shows(t, bob.signIn(request(c.fresh), "bob"), http.StatusOK, consentMarker) // F26
		})
	}
	t.Run("authenticated client", func(t *testing.T) {
		b := r.browser(t)
		form := codeForm("cli", result(t, b.decide(b.signIn(request("cli"), "alice"), "allow")).Get("code"))
		form.Set("client_secret", secret)
		decode[oauth.TokenResponse](t, r.form("/oauth/token", form), http.StatusOK)
		if !remembered(b.get(request("cli"))) {
			t.Error("not remembered")
		}
	})
	t.Run("O2 metadata changed", func(t *testing.T) {
		b := r.browser(t)
		b.signIn(request("web"), "alice")
		if !remembered(b.get(request("web"))) {
			t.Fatal("not remembered before")
		}
		c := r.clients["web"]
		c.Name = "Another name"
		r.clients["web"] = c
		if remembered(b.get(request("web"))) {
			t.Error("remembered after a change")
		}
	})
	t.Run("more scopes", func(t *testing.T) {
		id, b := register("https://client.example/narrow"), r.browser(t)
		b.approve(request(id, "scope", "mcp:tools:read"), id)
		if !remembered(b.get(request(id, "scope", "mcp:tools:read"))) || remembered(b.get(request(id))) {
			t.Error("the scopes are not looked at")
		}
	})
	t.Run("taken back", func(t *testing.T) {
		id, b := register("https://client.example/back"), r.browser(t)
		b.approve(request(id), id)
		page := b.get(accountPath)
		b.post(accountPath, url.Values{"flow": {flowOf(t, page)}, "do": {"revoke_all"}})
		if remembered(b.get(request(id))) {
			t.Error("remembered after it was taken back")
		}
	})
}

// SPEC F28, F32, O5, O6: what a consent form must not be made to do.
func TestConsentForm(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, webClient).ClientID
	b := r.browser(t)
	page := b.signIn(request(id), "alice")
	flow := flowOf(t, page)
	allow := url.Values{"flow": {flow}, "decision": {"allow"}}
	refused := func(w *httptest.ResponseRecorder, status int) {
		t.Helper()
		if w.Code != status || w.Header().Get("Location") != "" {
			t.Errorf("%d %s, want %d", w.Code, w.Header().Get("Location"), status)
		}
	}
	for name, header := range map[string][]string{
		"O5 cross-site":             {"Sec-Fetch-Site", "cross-site"},
		"O5 same site, other host":  {"Sec-Fetch-Site", "same-site"},
		"O5 foreign origin":         {"Origin", "https://evil.example"},
		"O5 no word of the origin":  {"Sec-Fetch-Site", "", "Origin", ""},
		"O5 null origin alone":      {"Sec-Fetch-Site", ""},
		"O5 foreign origin alone":   {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"O5 origin with other port": {"Sec-Fetch-Site", "", "Origin", testIssuer + ":8443"},
	} {
		t.Run(name, func(t *testing.T) { refused(b.post(consentPath, allow, header...), http.StatusForbidden) })
	}
	t.Run("F28 no token", func(t *testing.T) {
		refused(b.post(consentPath, url.Values{"decision": {"allow"}}), http.StatusForbidden)
	})
	t.Run("F28 another browser's token", func(t *testing.T) {
		mallory := r.browser(t)
		foreign := flowOf(t, mallory.signIn(request(id), "mallory"))
		refused(b.post(consentPath, url.Values{"flow": {foreign}, "decision": {"allow"}}), http.StatusForbidden)
	})
	t.Run("T14 the token of another page", func(t *testing.T) {
		other := flowOf(t, r.browser(t).get(request(id)))
		refused(b.post(consentPath, url.Values{"flow": {other}, "decision": {"allow"}}), http.StatusForbidden)
		account := flowOf(t, b.get(accountPath))
		refused(b.post(consentPath, url.Values{"flow": {account}, "decision": {"allow"}}), http.StatusForbidden)
		refused(b.post(accountPath, url.Values{"flow": {flow}, "do": {"revoke_all"}}), http.StatusForbidden)
	})
	t.Run("D2 cookies off", func(t *testing.T) {
		blind := b.twin()
		blind.cookies = map[string]string{}
		refused(blind.post(consentPath, allow), http.StatusForbidden)
	})
	t.Run("F32, O6 hidden fields count for nothing", func(t *testing.T) {
		tampered := url.Values{"flow": {flow}, "decision": {"allow"}, "redirect_uri": {"https://evil.example/cb"}, "client_id": {"evil"}, "scope": {"all"}}
		w := b.twin().post(consentPath, tampered)
		if !strings.HasPrefix(w.Header().Get("Location"), "https://client.example/cb?") {
			t.Errorf("sent to %s", w.Header().Get("Location"))
		}
	})
	t.Run("expired", func(t *testing.T) {
		late := flowOf(t, b.get(request(id)))
		r.pass(11 * time.Minute)
		w := b.post(consentPath, url.Values{"flow": {late}, "decision": {"allow"}})
		r.refuses(t, w, http.StatusForbidden, "expired")
		shows(t, w, http.StatusForbidden, `href="`+authorizePath+"?")
	})
	t.Run("no decision", func(t *testing.T) {
		refused(b.post(consentPath, url.Values{"flow": {flowOf(t, b.get(request(id)))}}), http.StatusBadRequest)
	})
}

// A page is answered once. The second click of a double click gets the answer
// of the first, with a code for the same grant.
func TestConsentOnce(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, webClient).ClientID
	b := r.browser(t)
	page := b.signIn(request(id), "alice")
	one := result(t, b.decide(page, "allow")).Get("code")
	two := result(t, b.decide(page, "allow")).Get("code")
	decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(id, one)), http.StatusOK)
	r.refused(t, codeForm(id, two), http.StatusBadRequest, "invalid_grant")
	t.Run("deny after allow", func(t *testing.T) {
		r.refuses(t, b.decide(page, "deny"), http.StatusBadRequest, "used")
	})
	t.Run("the back button, later", func(t *testing.T) {
		r.pass(30 * time.Second)
		r.refuses(t, b.decide(page, "allow"), http.StatusBadRequest, "used")
	})
}

// Two tabs with two clients do not disturb each other.
func TestTwoTabs(t *testing.T) {
	r := attended(t, nil)
	ids := []string{r.register(t, webClient).ClientID, r.register(t, `{"client_name":"Two","redirect_uris":["https://two.example/cb"]}`).ClientID}
	b := r.browser(t)
	states := []string{b.upstream(request(ids[0]), "idp"), b.upstream(request(ids[1]), "idp")}
	for i, want := range []string{"https://client.example/cb?", "https://two.example/cb?"} {
		page := b.follow(b.get(callbackPath + "idp?state=" + states[i] + "&code=bob"))
		if w := b.decide(page, "allow"); !strings.HasPrefix(w.Header().Get("Location"), want) {
			t.Errorf("tab %d is sent to %s", i, w.Header().Get("Location"))
		}
	}
}

// INTEROP 10: after a POST, a program of this machine is reached by a page.
func TestConsentPrivateScheme(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, `{"client_name":"Cursor","redirect_uris":["cursor://app/cb"]}`).ClientID
	b := r.browser(t)
	w := b.decide(b.signIn(request(id), "alice"), "allow")
	shows(t, w, http.StatusOK, "cursor://app/cb?code=")
}

func TestAccount(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	alice, bob := r.browser(t), r.browser(t)
	shows(t, alice.get(accountPath), http.StatusOK, signInMarker)
	shows(t, alice.signIn(accountPath, "alice"), http.StatusOK, accountMarker)
	bob.signIn(accountPath, "bob")
	one, two := alice.approve(request(id), id), alice.approve(request(id), id)
	grants, err := r.store.Grants(t.Context(), r.clock, "alice", 10)
	if err != nil || len(grants) != 2 {
		t.Fatalf("%d grants, %v", len(grants), err)
	}
	revoke := func(b *browser, grant string) *httptest.ResponseRecorder {
		return b.post(accountPath, url.Values{"flow": {flowOf(t, b.get(accountPath))}, "do": {"revoke"}, "grant": {grant}})
	}
	t.Run("somebody else's", func(t *testing.T) {
		shows(t, revoke(bob, grants[0].ID), http.StatusOK, accountMarker)
		if r.deps.Revoked.Revoked(grants[0].ID) {
			t.Error("bob ended alice's grant")
		}
	})
	t.Run("one", func(t *testing.T) {
		shows(t, revoke(alice, grants[0].ID), http.StatusOK, accountMarker)
		if !r.deps.Revoked.Revoked(grants[0].ID) || r.deps.Revoked.Revoked(grants[1].ID) {
			t.Error("not this one, or not only this one")
		}
		shows(t, revoke(alice, grants[0].ID), http.StatusOK, accountMarker) // again is fine
	})
	t.Run("all", func(t *testing.T) {
		shows(t, alice.post(accountPath, url.Values{"flow": {flowOf(t, alice.get(accountPath))}, "do": {"revoke_all"}}), http.StatusOK, accountMarker)
		for _, token := range []string{one.RefreshToken, two.RefreshToken} {
			r.refused(t, refreshForm(id, token), http.StatusBadRequest, "invalid_grant")
		}
	})
	t.Run("cross-site", func(t *testing.T) {
		w := alice.post(accountPath, url.Values{"flow": {flowOf(t, alice.get(accountPath))}, "do": {"sign_out"}}, "Sec-Fetch-Site", "cross-site")
		r.refuses(t, w, http.StatusForbidden, "foreign_form")
	})
	t.Run("signed out meanwhile", func(t *testing.T) {
		flow := flowOf(t, alice.get(accountPath))
		delete(alice.cookies, "__Host-mcp_auth_session")
		if w := alice.post(accountPath, url.Values{"flow": {flow}, "do": {"revoke_all"}}); w.Header().Get("Location") != accountPath {
			t.Errorf("%d %s", w.Code, w.Header().Get("Location"))
		}
	})
}
