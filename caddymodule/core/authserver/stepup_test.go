package authserver

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// withStepUp gives the first resource scopes that only those get who ask.
func withStepUp(c *Config) {
	c.Resources[0].Scopes, c.Resources[0].StepUpScopes = oauth.Scope{"read"}, oauth.Scope{"refund", "admin"}
}

// stepUpRig is a server with them, and clients of the configuration with limits.
func stepUpRig(tb testing.TB, edit func(*Config, *Deps)) *rig {
	tb.Helper()
	code, alone := []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, []string{oauth.GrantClientCredentials}
	redirect := []string{"http://127.0.0.1/cb"}
	return newRig(tb, func(c *Config, d *Deps) {
		withStepUp(c)
		c.Resources = append(c.Resources, Resource{URIs: []string{otherResource}, Scopes: oauth.Scope{"other"}})
		c.Clients = []Client{
			{ID: "free", RedirectURIs: redirect, AuthMethod: oauth.AuthMethodNone, GrantTypes: code},
			{ID: "lead", RedirectURIs: redirect, AuthMethod: oauth.AuthMethodNone, GrantTypes: code, Scopes: oauth.Scope{"admin"}, Resources: []string{testResource}},
			{ID: "batch", AuthMethod: oauth.AuthMethodPost, Secret: theSecret, GrantTypes: alone, Scopes: oauth.Scope{"refund", "read"}},
			{ID: "server", AuthMethod: oauth.AuthMethodPost, Secret: theSecret, Introspects: true},
		}
		if edit != nil {
			edit(c, d)
		}
	})
}

// granted takes a client through the flow with a scope.
func (r *rig) granted(tb testing.TB, clientID, scope string) oauth.TokenResponse {
	tb.Helper()
	code := r.ask(tb, clientID, url.Values{"resource": {testResource}, "scope": {scope}}).Get("code")
	return decode[oauth.TokenResponse](tb, r.form("/oauth/token", codeForm(clientID, code)), http.StatusOK)
}

// SPEC K9, F17, F18: what is for basic use is listed and given to those who ask
// for nothing; the rest is given to those who ask.
func TestStepUpScopesAreForThoseWhoAsk(t *testing.T) {
	r := stepUpRig(t, nil)
	meta := decode[oauth.ServerMetadata](t, r.do("GET", oauth.WellKnownServer, "", ""), http.StatusOK)
	if got := oauth.Scope(meta.ScopesSupported).String(); got != "read other offline_access" {
		t.Errorf("metadata list %q", got)
	}
	id := r.register(t, testClient).ClientID
	for asked, want := range map[string]string{
		"": "read", "offline_access": "read", "refund": "refund", "read refund": "read refund",
		"openid refund read unknown": "refund read", "read refund admin": "read refund admin",
	} {
		tokens := r.granted(t, id, asked)
		if tokens.Scope != want || claimsOf(t, tokens.AccessToken).Scope != want {
			t.Errorf("asked for %q, got %q", asked, tokens.Scope)
		}
		if next := r.refresh(t, id, tokens.RefreshToken); next.Scope != want {
			t.Errorf("asked for %q, refreshed to %q", asked, next.Scope)
		}
	}
	for wish, want := range map[string]string{"": "read other", "read": "read", "read other": "read other", "refund read": "refund read", "admin other refund read": "admin other refund read"} {
		info := r.register(t, `{`+loopbackCB+`,"scope":"`+wish+`"}`)
		if info.Scope != want {
			t.Errorf("wished for %q, told %q", wish, info.Scope)
		}
		// INTEROP 28: the wish is no ceiling for what comes later.
		if got := r.granted(t, info.ClientID, "read admin").Scope; got != "read admin" {
			t.Errorf("wished for %q, stepped up to %q", wish, got)
		}
	}
}

// SPEC G25, INTEROP 28: a client that answers a step-up challenge with its refresh
// token is told so, and keeps what it has.
func TestStepUpByRefresh(t *testing.T) {
	r := stepUpRig(t, nil)
	id := r.register(t, testClient).ClientID
	tokens := r.granted(t, id, "")
	for range 3 {
		wider := refreshForm(id, tokens.RefreshToken)
		wider.Set("scope", "read refund")
		r.refused(t, wider, http.StatusBadRequest, oauth.CodeInvalidScope)
	}
	if next := r.refresh(t, id, tokens.RefreshToken); next.Scope != "read" {
		t.Errorf("refreshed to %q", next.Scope)
	}
	tokens = r.granted(t, id, "read refund")
	narrow := refreshForm(id, tokens.RefreshToken)
	narrow.Set("scope", "read")
	next := decode[oauth.TokenResponse](t, r.form("/oauth/token", narrow), http.StatusOK)
	if last := r.refresh(t, id, next.RefreshToken); next.Scope != "read" || last.Scope != "read refund" {
		t.Errorf("narrowed to %q, then %q", next.Scope, last.Scope)
	}
}

// A client of the configuration may have step-up scopes as its limit, and gets
// none of them without asking.
func TestStepUpScopesOfClients(t *testing.T) {
	r := stepUpRig(t, nil)
	alone := func(scope string) url.Values {
		return url.Values{
			"grant_type": {oauth.GrantClientCredentials}, "client_id": {"batch"}, "client_secret": {theSecret},
			"resource": {testResource}, "scope": {scope},
		}
	}
	for asked, want := range map[string]string{"": "read", "refund": "refund", "read refund": "read refund"} {
		if got := decode[oauth.TokenResponse](t, r.form("/oauth/token", alone(asked)), http.StatusOK).Scope; got != want {
			t.Errorf("the program asked for %q, got %q", asked, got)
		}
	}
	r.refused(t, alone("admin"), http.StatusBadRequest, oauth.CodeInvalidScope)
	for asked, want := range map[string]string{"admin": "admin", "admin read": "admin"} {
		if got := r.granted(t, "lead", asked).Scope; got != want {
			t.Errorf("asked for %q, got %q", asked, got)
		}
	}
	e := r.ask(t, "lead", url.Values{"resource": {testResource}})
	if e.Get("error") != oauth.CodeInvalidScope || !strings.Contains(e.Get("error_description"), "admin") {
		t.Errorf("with a limit beyond basic use and no scope: %v", e)
	}
	if got := decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm("lead", r.ask(t, "lead", url.Values{"scope": {"admin"}}).Get("code"))), http.StatusOK).Scope; got != "admin" {
		t.Errorf("got %q", got)
	}
}

// TestObtainable: what a client could get is what it gets if it asks for all.
func TestObtainable(t *testing.T) {
	r := stepUpRig(t, func(c *Config, _ *Deps) { c.Registration.UnvettedScopes = oauth.Scope{"refund", "read"} })
	stranger := r.register(t, testClient).ClientID
	for _, c := range []struct{ client, audience, want string }{
		{stranger, testResource, "read refund"},
		{stranger, otherResource, ""},
		{"https://client.example/metadata.json", testResource, "read refund"},
		{"https://idp.example|app", testResource, "read refund"},
		{"", testResource, "read refund"},
		{"free", testResource, "read refund admin"},
		{"free", otherResource, "other"},
		{"lead", testResource, "admin"},
		{"lead", otherResource, ""},
		{"batch", testResource, "read refund"},
		{"server", testResource, ""},
		{PersonalClientID, testResource, ""},
		{"free", "https://elsewhere.example/mcp", ""},
	} {
		if got := r.Obtainable(c.client, c.audience).String(); got != c.want {
			t.Errorf("%q at %s: %q, want %q", c.client, c.audience, got, c.want)
		}
	}
	for id, want := range map[string]bool{
		stranger: true, "free": false, PersonalClientID: false, "https://client.example/metadata.json": false, "": false, stranger + "A": false,
	} {
		if got := r.Registered(id); got != want {
			t.Errorf("%.40q came from the registration endpoint: %t, want %t", id, got, want)
		}
	}
	for _, id := range []string{stranger, "free", "lead"} {
		if got, want := r.granted(t, id, "read refund admin").Scope, r.Obtainable(id, testResource).String(); got != want {
			t.Errorf("%s got %q of %q", id, got, want)
		}
	}
}

// SPEC F26: what was approved before does not cover more.
func TestStepUpIsAsked(t *testing.T) {
	r := attended(t, withStepUp)
	id := r.register(t, `{"client_name":"N","redirect_uris":["https://client.example/cb"]}`).ClientID
	b := r.browser(t)
	if got := b.approve(request(id), id).Scope; got != "read" {
		t.Errorf("got %q", got)
	}
	if w := b.get(request(id)); w.Code != http.StatusFound {
		t.Errorf("the same scope is asked about again: %d", w.Code)
	}
	wider := request(id, "scope", "read refund")
	shows(t, b.get(wider), http.StatusOK, "refund")
	if got := b.approve(wider, id).Scope; got != "read refund" {
		t.Errorf("got %q", got)
	}
	for scope, want := range map[string]int{"read": http.StatusFound, "refund read": http.StatusFound, "read refund admin": http.StatusOK} {
		if w := b.get(request(id, "scope", scope)); w.Code != want {
			t.Errorf("%s: %d", scope, w.Code)
		}
	}
}

// Personal access tokens may have every scope; who says nothing gets those for
// basic use.
func TestStepUpScopesOfPersonalTokens(t *testing.T) {
	r := personalRig(t, func(c *Config, _ *Deps) { withStepUp(c) })
	for asked, want := range map[string]string{"": "read", "refund": "refund", "read admin": "read admin"} {
		made := r.order(t, "alice", func(o *PersonalOrder) { o.Scope = asked })
		if c := r.accepted(t, made.Token); made.Scope != want || c.Scope != want {
			t.Errorf("ordered %q, got %q, used as %q", asked, made.Scope, c.Scope)
		}
	}
	if _, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "alice", Name: "N", Resource: testResource, Scope: "read other", Seconds: 60}); asOAuthError(err).Code != oauth.CodeInvalidScope {
		t.Errorf("a scope of nobody: %v", err)
	}
	b := r.browser(t)
	b.signIn(accountPath, "alice")
	page := b.get(accountPath).Body.String()
	for _, want := range []string{`value="read" checked>`, `value="refund">`, `value="admin">`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
}

// A scope that nobody can be granted is refused when it is configured.
func TestStepUpScopesAreChecked(t *testing.T) {
	for _, bad := range []string{"", "two words", "offline_access", "email"} {
		c := Config{Resources: []Resource{{URIs: []string{testResource}, Scopes: DefaultScopes, StepUpScopes: oauth.Scope{bad}}}}
		if err := c.checkResources(); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	res := Resource{Scopes: oauth.Scope{"a", "b"}, StepUpScopes: oauth.Scope{"c", "a"}}
	if all := res.AllScopes(); !slices.Equal(all, oauth.Scope{"a", "b", "c"}) || len(res.Scopes) != 2 {
		t.Errorf("all are %q", all)
	}
}
