package authserver

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

var personalShown = regexp.MustCompile(`mcp_pat_[0-9A-Za-z]{49}`)

// tokenForm is the form for a token as the account page would send it.
func tokenForm(flow string, params ...string) url.Values {
	form := url.Values{
		"flow": {flow}, "do": {"mint_token"}, "resource": {testResource}, "name": {"Nightly report"}, "days": {"30"}, "scope_0": {"mcp:tools:read"},
	}
	for i := 0; i+1 < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	return form
}

// owner is a browser in which alice has signed in to her account page, and what
// that page carries.
func (r *rig) owner(tb testing.TB, name string) (*browser, string) {
	tb.Helper()
	b := r.browser(tb)
	return b, flowOf(tb, b.signIn(accountPath, name))
}

func TestAccountToken(t *testing.T) {
	r := personalRig(t, nil)
	b, flow := r.owner(t, "alice")
	w := b.post(accountPath, tokenForm(flow))
	shows(t, w, http.StatusOK, "only this once")
	token := personalShown.FindString(w.Body.String())
	if c := r.accepted(t, token); c.Subject != "alice" || c.Scope != "mcp:tools:read" || c.Expires != r.clock.Add(30*day).Unix() {
		t.Errorf("claims %+v", c)
	}
	// A second click, and the answer loaded anew: no second token, and no first one.
	for range 2 {
		again := b.post(accountPath, tokenForm(flow, "name", "Other"))
		shows(t, again, http.StatusOK, "was made before")
		if personalShown.MatchString(again.Body.String()) || strings.Contains(again.Body.String(), "Other") {
			t.Errorf("shown again: %s", again.Body)
		}
	}
	page := b.get(accountPath)
	shows(t, page, http.StatusOK, "Nightly report")
	if personalShown.MatchString(page.Body.String()) {
		t.Error("the account page shows the token")
	}
	shows(t, b.post(accountPath, url.Values{"flow": {flowOf(t, page)}, "do": {"revoke"}, "grant": {personalID(token)}}), http.StatusOK, "The token was removed")
	r.denied(t, token)
}

// TestAccountTokenRefused: what a person can put right is said on the page, what
// no page of ours can have sent is refused, and nothing is made.
func TestAccountTokenRefused(t *testing.T) {
	r := personalRig(t, nil)
	bob, _ := r.owner(t, "bob")
	for name, c := range map[string]struct {
		params []string
		status int
		says   string
	}{
		"no name":            {[]string{"name", " \u202e "}, http.StatusOK, "give it a name"},
		"no scope":           {[]string{"scope_0", ""}, http.StatusOK, "choose at least one"},
		"foreign scope":      {[]string{"scope_1", "pay:read"}, http.StatusBadRequest, "invalid_scope"},
		"no such server":     {[]string{"resource", "https://x.example/mcp"}, http.StatusBadRequest, "invalid_target"},
		"no server":          {[]string{"resource", ""}, http.StatusBadRequest, "invalid_target"},
		"not such a server":  {[]string{"resource", "https://closed.example/mcp"}, http.StatusBadRequest, "invalid_target"},
		"a server not his":   {[]string{"resource", secondServer, "scope_0", "pay:read"}, http.StatusBadRequest, "access_denied"},
		"a life not offered": {[]string{"days", "31"}, http.StatusBadRequest, "invalid_request"},
		"forever":            {[]string{"days", "1000000"}, http.StatusBadRequest, "invalid_request"},
		"no life":            {[]string{"days", ""}, http.StatusBadRequest, "invalid_request"},
	} {
		flow := flowOf(t, bob.get(accountPath))
		w := bob.post(accountPath, tokenForm(flow, c.params...))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || personalShown.MatchString(w.Body.String()) {
			t.Errorf("%s: %d %.1200s", name, w.Code, w.Body)
		}
	}
	if page := bob.get(accountPath); strings.Contains(page.Body.String(), secondServer) || strings.Contains(page.Body.String(), "closed.example") {
		t.Error("bob is offered a server that he can't use")
	}
	for range maxPersonal {
		r.order(t, "bob", nil)
		r.rested()
	}
	shows(t, bob.post(accountPath, tokenForm(flowOf(t, bob.get(accountPath)))), http.StatusOK, "as many as you can have")
	if tokens, err := r.PersonalTokens(t.Context(), "bob"); err != nil || len(tokens) != maxPersonal {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
}

// TestAccountTokenForgery: only a page of this server, in the browser that got
// it, for the person who saw it (SPEC F26, O1).
func TestAccountTokenForgery(t *testing.T) {
	r := personalRig(t, nil)
	alice, flow := r.owner(t, "alice")
	bob, _ := r.owner(t, "bob")
	attempts := map[string]*httptest.ResponseRecorder{
		"another browser's form": bob.post(accountPath, tokenForm(flow)),
		"another site":           alice.post(accountPath, tokenForm(flow), "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"),
		"no form of ours":        alice.post(accountPath, tokenForm("made-up")),
		"in the URL":             alice.post(accountPath+"?do=mint_token", tokenForm(flow)),
		"a page of consent":      alice.post(consentPath, tokenForm(flow)),
		"twice a scope":          alice.post(accountPath, url.Values{"flow": {flow}, "do": {"mint_token"}, "scope_0": {"a", "b"}}),
		"by GET":                 alice.get(accountPath + "?" + tokenForm(flow).Encode()),
	}
	out := alice.twin()
	shows(t, alice.post(accountPath, url.Values{"flow": {flow}, "do": {"sign_out"}}), http.StatusOK, "signed out")
	attempts["signed out"] = out.post(accountPath, tokenForm(flow))
	r.pass(pendingLifetime)
	attempts["expired"] = out.post(accountPath, tokenForm(flow))
	for name, w := range attempts {
		if personalShown.MatchString(w.Body.String()) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for _, user := range []string{"alice", "bob"} {
		if tokens, err := r.PersonalTokens(t.Context(), user); err != nil || len(tokens) > 0 {
			t.Errorf("%s has %+v, %v", user, tokens, err)
		}
	}
}

// TestAccountTokenAsksAgain: a browser that was left open, or a copy of its
// cookie, is no way to access for a year.
func TestAccountTokenAsksAgain(t *testing.T) {
	r := personalRig(t, nil)
	b, _ := r.owner(t, "alice")
	r.pass(personalSignIn - time.Minute)
	flow := flowOf(t, b.get(accountPath))
	r.pass(time.Minute)
	w := b.post(accountPath, tokenForm(flow))
	shows(t, w, http.StatusOK, signInMarker)
	page := b.get(accountPath)
	if shows(t, page, http.StatusOK, "sign in again"); strings.Contains(page.Body.String(), "mint_token") {
		t.Error("the page has the form all the same")
	}
	w = b.post(accountPath, url.Values{"flow": {flowOf(t, page)}, "do": {"sign_in"}})
	shows(t, w, http.StatusOK, signInMarker)
	w = b.follow(b.post(signInPath, signInForm(flowOf(t, w), "alice", "right")))
	shows(t, w, http.StatusOK, "mint_token")
	shows(t, b.post(accountPath, tokenForm(flowOf(t, w))), http.StatusOK, "only this once")
	// A proxy in front shows at every request who it is.
	r = personalRig(t, func(_ *Config, d *Deps) { d.Logins = []login.Method{proxied{}} })
	b = r.browser(t)
	b.header.Set("Remote-User", "alice")
	shows(t, b.post(accountPath, tokenForm(flowOf(t, b.get(accountPath)))), http.StatusOK, "only this once")
}

// keeping is a login at a provider that keeps people signed in. Where it knows
// somebody it asks nothing, even if it is told to, and says so or does not.
type keeping struct {
	away
	authTime *time.Time
	silent   bool // it does not say when people signed in
}

func (l keeping) Finish(ctx context.Context, r login.Request) (login.Step, error) {
	step, err := l.away.Finish(ctx, r)
	if err == nil {
		step.Identity.AuthTime, step.Identity.AuthTimeUnknown = *l.authTime, l.silent
	}
	return step, err
}

// returns signs alice in at the provider, by the form of a page of ours, and says
// whether the provider was told to ask her who she is.
func (b *browser) returns(page *httptest.ResponseRecorder) (after *httptest.ResponseRecorder, forced bool) {
	b.tb.Helper()
	w := b.post(signInPath, url.Values{"flow": {flowOf(b.tb, page)}, "login": {"idp"}})
	target := w.Header().Get("Location")
	return b.follow(b.get(callbackPath + "idp?code=alice&state=" + stateOf(b.tb, target))), strings.Contains(target, "force=true")
}

// TestAccountTokenNeedsProofAtTheProvider: "sign in again" was a redirect to a
// provider that still knew the person, and back. Whoever found the browser open
// clicked once and had a token for a year.
func TestAccountTokenNeedsProofAtTheProvider(t *testing.T) {
	var authTime time.Time
	r := personalRig(t, func(_ *Config, d *Deps) { d.Logins = []login.Method{keeping{away{"idp"}, &authTime, false}} })
	b := r.browser(t)
	authTime = r.clock.Add(-10 * time.Minute)
	page, forced := b.returns(b.get(accountPath))
	if shows(t, page, http.StatusOK, "mint_token"); forced {
		t.Error("the first sign-in is forced")
	}
	r.pass(personalSignIn - 10*time.Minute)
	for _, do := range []string{"mint_token", "sign_in", "mint_token"} {
		ask := b.post(accountPath, tokenForm(flowOf(t, b.get(accountPath)), "do", do))
		shows(t, ask, http.StatusOK, signInMarker)
		page, forced = b.returns(ask)
		if shows(t, page, http.StatusOK, "without being asked who you are"); !forced || strings.Contains(page.Body.String(), "mint_token") {
			t.Errorf("forced %v: %s", forced, page.Body)
		}
		shows(t, b.post(accountPath, tokenForm(flowOf(t, page))), http.StatusOK, signInMarker)
	}
	if tokens, err := r.PersonalTokens(t.Context(), "alice"); err != nil || len(tokens) > 0 {
		t.Errorf("made all the same: %+v, %v", tokens, err)
	}
	authTime = r.clock
	page, _ = b.returns(b.post(accountPath, url.Values{"flow": {flowOf(t, page)}, "do": {"sign_in"}}))
	shows(t, b.post(accountPath, tokenForm(flowOf(t, page))), http.StatusOK, "only this once")
}

// TestAccountTokenOfASilentProvider: where a provider does not say when it asked
// the person, only a sign-in counts for which it was told to.
func TestAccountTokenOfASilentProvider(t *testing.T) {
	var authTime time.Time
	r := personalRig(t, func(_ *Config, d *Deps) { d.Logins = []login.Method{keeping{away{"idp"}, &authTime, true}} })
	b := r.browser(t)
	authTime = r.clock
	page, _ := b.returns(b.get(accountPath))
	ask := b.post(accountPath, tokenForm(flowOf(t, page)))
	shows(t, ask, http.StatusOK, signInMarker)
	page, forced := b.returns(ask)
	if shows(t, b.post(accountPath, tokenForm(flowOf(t, page))), http.StatusOK, "only this once"); !forced {
		t.Error("the provider was not told to ask")
	}
	r.pass(personalSignIn)
	page = b.get(accountPath)
	if shows(t, page, http.StatusOK, "sign in again"); strings.Contains(page.Body.String(), "mint_token") {
		t.Error("a sign-in is good for longer than an hour")
	}
}

// TestAccountTokensAmongPrograms: removing all removes both, signing out
// everywhere neither.
func TestAccountTokensAmongPrograms(t *testing.T) {
	r := personalRig(t, nil)
	made := r.order(t, "alice", nil)
	client := r.register(t, testClient).ClientID
	b := r.browser(t)
	program := b.approve(request(client, "resource", testResource), client)
	page := b.get(accountPath)
	shows(t, page, http.StatusOK, "Nightly report")
	if body := page.Body.String(); strings.Count(body, "<article") != 2 || strings.Contains(body, PersonalClientID) {
		t.Errorf("listed are %s", body)
	}
	// A call is noted as of every grant, with a delay.
	if err := r.store.TouchGrants(t.Context(), r.clock, []store.GrantUse{{GrantID: made.ID, At: r.clock, From: "2001:db8::77"}}); err != nil {
		t.Fatal(err)
	}
	if tokens, err := r.PersonalTokens(t.Context(), "alice"); err != nil || !tokens[0].LastUsed.Equal(r.clock) || tokens[0].LastUsedFrom != "2001:db8::77" {
		t.Errorf("%+v, %v", tokens, err)
	}
	page = b.get(accountPath)
	shows(t, page, http.StatusOK, "2001:db8::77")
	b.post(accountPath, url.Values{"flow": {flowOf(t, page)}, "do": {"sign_out_everywhere"}})
	r.accepted(t, made.Token)
	r.pass(10 * time.Second) // past the margin of the sign-out
	b, flow := r.owner(t, "alice")
	shows(t, b.post(accountPath, url.Values{"flow": {flow}, "do": {"revoke_all"}}), http.StatusOK, "were removed")
	r.denied(t, made.Token)
	r.refused(t, refreshForm(client, program.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
}

// usedStore fails to mark keys as used.
type usedStore struct{ store.Store }

func (usedStore) Use(context.Context, time.Time, string, time.Time) (time.Time, error) {
	return time.Time{}, errDisk
}

// TestAccountTokenOutage: without its mark on the form, no token is made.
func TestAccountTokenOutage(t *testing.T) {
	r := personalRig(t, func(_ *Config, d *Deps) { d.Store = usedStore{d.Store} })
	b, flow := r.owner(t, "alice")
	shows(t, b.post(accountPath, tokenForm(flow)), http.StatusServiceUnavailable, "temporarily_unavailable")
	if tokens, err := r.PersonalTokens(t.Context(), "alice"); err != nil || len(tokens) > 0 {
		t.Errorf("made all the same: %+v, %v", tokens, err)
	}
}

// TestAccountTokenHostileNames: a name is text, in the page and in the log.
func TestAccountTokenHostileNames(t *testing.T) {
	r := personalRig(t, nil)
	for _, evil := range []string{`<script>alert(1)</script>`, `"><img src=x>`, "a\r\nb\x00c\u202ed", strings.Repeat("W", 5000), "{env.SECRET}"} {
		b, flow := r.owner(t, "alice")
		w := b.post(accountPath, tokenForm(flow, "name", evil))
		shows(t, w, http.StatusOK, "only this once")
		for _, page := range []string{w.Body.String(), b.get(accountPath).Body.String()} {
			if strings.Contains(page, "<script") || strings.Contains(page, "<img") || strings.ContainsAny(page, "\x00\u202e") {
				t.Errorf("%.20q is shown as it is", evil)
			}
		}
	}
	for _, e := range r.events {
		if len([]rune(e.ClientName)) > maxClientName || strings.ContainsAny(e.ClientName, "\r\n\x00\u202e") {
			t.Errorf("an event has the name %q", e.ClientName)
		}
	}
	if strings.Contains(fmt.Sprintf("%+v", r.events), PersonalPrefix) {
		t.Error("an event has a token")
	}
}
