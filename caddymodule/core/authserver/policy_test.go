package authserver

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

const otherResource = "https://gw.example/other"

// twoResources is a server with two resources; admin is a scope of the first.
func twoResources(tb testing.TB, edit func(*Config)) *rig {
	tb.Helper()
	return newRig(tb, func(c *Config, _ *Deps) {
		c.Resources = []Resource{
			{URIs: []string{testResource, "https://gw.example/sse"}, Scopes: oauth.Scope{"read", "write", "admin"}},
			{URIs: []string{otherResource}, Scopes: oauth.Scope{"read"}},
		}
		if edit != nil {
			edit(c)
		}
	})
}

// ask sends an authorization request and returns what comes back to the client.
func (r *rig) ask(tb testing.TB, clientID string, more url.Values) url.Values {
	tb.Helper()
	q := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "code_challenge": {challengeOf(testVerifier)}, "code_challenge_method": {"S256"},
	}
	maps.Copy(q, more)
	w := r.do("GET", "/oauth/authorize?"+q.Encode(), "", "")
	back, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusFound {
		tb.Fatalf("%d %s", w.Code, w.Body)
	}
	return back.Query()
}

// TestC22UnvettedScopes: a client that nobody vouches for never gets what the
// operator keeps from such clients, whatever a person approves; one of the
// configuration does.
func TestC22UnvettedScopes(t *testing.T) {
	r := twoResources(t, func(c *Config) {
		c.Registration.UnvettedScopes = oauth.Scope{"read", "write"}
		c.Clients = []Client{{ID: "own", RedirectURIs: []string{"http://127.0.0.1/cb"}, AuthMethod: oauth.AuthMethodNone, GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}}}
	})
	info := r.register(t, `{`+loopbackCB+`,"scope":"read admin"}`)
	if info.Scope != "read" {
		t.Errorf("registered with %q", info.Scope)
	}
	if all := r.register(t, testClient); all.Scope != "read write" {
		t.Errorf("registered with %q", all.Scope)
	}
	granted := func(id, scope string) string {
		code := r.ask(t, id, url.Values{"resource": {testResource}, "scope": {scope}}).Get("code")
		return decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(id, code)), http.StatusOK).Scope
	}
	for asked, want := range map[string]string{"": "read write", "read admin": "read", "admin write read": "write read"} {
		if got := granted(info.ClientID, asked); got != want {
			t.Errorf("asked for %q, got %q", asked, got)
		}
	}
	if e := r.ask(t, info.ClientID, url.Values{"resource": {testResource}, "scope": {"admin"}}); e.Get("error") != oauth.CodeInvalidScope || e.Get("code") != "" {
		t.Errorf("only admin: %v", e)
	}
	if got := granted("own", "admin"); got != "admin" {
		t.Errorf("the configured client got %q", got)
	}
}

// TestUnvettedScopesCountAtRefresh: a stricter configuration counts for grants
// that there are.
func TestUnvettedScopesCountAtRefresh(t *testing.T) {
	r := newRig(t, nil)
	c := r.register(t, testClient).ClientID
	tokens := r.tokens(t, c)
	r.cfg.Registration.UnvettedScopes = DefaultScopes[:1]
	next := r.refresh(t, c, tokens.RefreshToken)
	if next.Scope != DefaultScopes[0] {
		t.Errorf("refreshed to %q", next.Scope)
	}
	r.cfg.Registration.UnvettedScopes = oauth.Scope{}
	r.refused(t, refreshForm(c, next.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	if e := r.ask(t, c, nil); e.Get("error") != oauth.CodeInvalidScope {
		t.Errorf("with no scope at all: %v", e)
	}
}

// TestRedirectHostsCountAtAuthorize: a client that registered before the policy
// did is held to it.
func TestRedirectHostsCountAtAuthorize(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) {
		c.Clients = []Client{{ID: "own", RedirectURIs: []string{"https://evil.example/own", "custom:/cb"}, AuthMethod: oauth.AuthMethodNone, GrantTypes: []string{oauth.GrantAuthorizationCode}}}
	})
	info := r.register(t, `{"redirect_uris":["https://evil.example/cb","https://good.example/cb"]}`)
	r.cfg.Registration.DenyRedirectHosts = []string{"evil.example"}
	for uri, want := range map[string]int{"https://evil.example/cb": http.StatusBadRequest, "https://good.example/cb": http.StatusFound} {
		if w := r.do("GET", authorizeQuery(info.ClientID, uri), "", ""); w.Code != want {
			t.Errorf("%s: %d", uri, w.Code)
		}
	}
	for _, uri := range []string{"https://evil.example/own", "custom:/cb"} {
		if w := r.do("GET", authorizeQuery("own", uri), "", ""); w.Code != http.StatusFound {
			t.Errorf("the configured client at %s: %d", uri, w.Code)
		}
	}
	next := r.put(t, info, `"redirect_uris":["https://evil.example/cb","https://good.example/cb"]`)
	if !slices.Equal(next.RedirectURIs, []string{"https://good.example/cb"}) {
		t.Errorf("an update registers %q", next.RedirectURIs)
	}
	if w := r.do("POST", "/oauth/register", "application/json", `{"redirect_uris":["https://evil.example/cb"]}`); w.Code != http.StatusBadRequest {
		t.Errorf("registering: %d", w.Code)
	}
}

// TestConfiguredClientsKeepToTheirResourcesAndScopes at every step.
func TestConfiguredClientsKeepToTheirResourcesAndScopes(t *testing.T) {
	r := twoResources(t, func(c *Config) {
		c.Clients = []Client{{
			ID: "own", RedirectURIs: []string{"http://127.0.0.1/cb"}, AuthMethod: oauth.AuthMethodNone,
			GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
			Resources:  []string{"https://gw.example/sse"}, Scopes: oauth.Scope{"read", "admin"},
		}}
	})
	if e := r.ask(t, "own", url.Values{"resource": {otherResource}}); e.Get("error") != oauth.CodeInvalidTarget {
		t.Errorf("another resource: %v", e)
	}
	if e := r.ask(t, "own", url.Values{"scope": {"write"}}); e.Get("error") != oauth.CodeInvalidScope {
		t.Errorf("another scope: %v", e)
	}
	// It names no resource and gets the one that it may have.
	code := r.ask(t, "own", url.Values{"scope": {"read write"}}).Get("code")
	form := codeForm("own", code)
	form.Set("resource", otherResource)
	r.refused(t, form, http.StatusBadRequest, oauth.CodeInvalidTarget)
	tokens := decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm("own", code)), http.StatusOK)
	if tokens.Scope != "read" {
		t.Errorf("got %q", tokens.Scope)
	}
	pending := r.ask(t, "own", nil).Get("code")
	own := r.clients["own"]
	own.Resources = []string{otherResource}
	r.clients["own"] = own
	r.refused(t, codeForm("own", pending), http.StatusBadRequest, oauth.CodeInvalidTarget)
	r.refused(t, refreshForm("own", tokens.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidTarget)
}

// TestO43RegistrationFlood: ten thousand registrations from one address are cut
// off, nothing is stored, and others go on.
func TestO43RegistrationFlood(t *testing.T) {
	kept := &countingStore{}
	r := newRig(t, func(c *Config, d *Deps) {
		c.Registration.Rate = Rate{}
		kept.Store = d.Store
		d.Store = kept
	})
	from := func(ip string) *httptest.ResponseRecorder {
		req := httptest.NewRequest("POST", testIssuer+"/oauth/register", strings.NewReader(testClient))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req.WithContext(oauth.WithMeta(req.Context(), oauth.Meta{RemoteIP: ip})))
		return w
	}
	before := decode[oauth.ClientInformation](t, from("192.0.2.1"), http.StatusCreated).ClientID
	got := map[int]int{}
	for range 10_000 {
		w := from("198.51.100.7")
		got[w.Code]++
		if w.Code == http.StatusTooManyRequests && (w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"error":"temporarily_unavailable"`)) {
			t.Fatal(w.Header(), w.Body)
		}
	}
	if got[http.StatusCreated] != DefaultRegistrationsPerAddress || got[http.StatusTooManyRequests] != 10_000-DefaultRegistrationsPerAddress {
		t.Errorf("%v", got)
	}
	if kept.writes != 0 {
		t.Errorf("%d writes", kept.writes)
	}
	r.tokens(t, before)
	if w := from("192.0.2.1"); w.Code != http.StatusCreated {
		t.Errorf("another address: %d", w.Code)
	}
	r.pass(2 * time.Second)
	if w := from("198.51.100.7"); w.Code != http.StatusCreated {
		t.Errorf("two seconds later: %d", w.Code)
	}
	for range 2 * DefaultRegistrationsPerAddress {
		if w := from("160.79.105.9"); w.Code != http.StatusCreated {
			t.Fatalf("shared egress: %d", w.Code)
		}
	}
}

// TestThrottle: whose turns are one another's.
func TestThrottle(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	th := newThrottle(Rate{PerAddress: 1, Total: 8, Exempt: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:ff::/48")}})
	for i, tc := range []struct {
		address string
		ok      bool
	}{
		{"192.0.2.1", true},
		{"192.0.2.1", false},
		{"::ffff:192.0.2.1", false}, // the same one
		{"2001:db8::1", true},
		{"2001:db8::2", false},
		{"2001:db8:0:1::1", true},
		{"203.0.113.5", true},
		{"::ffff:203.0.113.5", true},
		{"2001:db8:ff::1", true},
		{"", true},
		{"", false},
		{"192.0.2.9", true},
		{"192.0.2.10", false}, // all together had eight
	} {
		if got := th.allow(now, tc.address) == nil; got != tc.ok {
			t.Errorf("%d, %q: %v", i, tc.address, got)
		}
	}
	off := newThrottle(Rate{PerAddress: -1, Total: -1})
	for range 1000 {
		if off.allow(now, "192.0.2.1") != nil {
			t.Fatal("a bound that is off is reached")
		}
	}
}

// TestThrottleForgets: memory stays bounded whatever comes.
func TestThrottleForgets(t *testing.T) {
	th, now := newThrottle(Rate{PerAddress: 1, Total: -1}), time.Unix(1_800_000_000, 0)
	for i := range 2 * limiterSize {
		th.allow(now, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	th.addresses.CleanUp()
	if n := th.addresses.EstimatedSize(); n > limiterSize {
		t.Errorf("%d addresses are remembered", n)
	}
}

// TestE19AConfiguredURLIsNeverFetched: the operator's entry stands, whatever is
// at the address.
func TestE19AConfiguredURLIsNeverFetched(t *testing.T) {
	const id = "https://127.0.0.1:1/client.json"
	r := newRig(t, func(c *Config, _ *Deps) {
		c.Clients = []Client{{ID: id, RedirectURIs: []string{"http://127.0.0.1/cb"}, AuthMethod: oauth.AuthMethodNone, GrantTypes: []string{oauth.GrantAuthorizationCode}}}
	})
	if c, err := r.client(t.Context(), id); err != nil || c.Origin != ClientConfigured {
		t.Fatalf("%+v, %v", c, err)
	}
	r.tokens(t, id)
	if _, err := r.client(t.Context(), id+"?"); err == nil || !errors.Is(err, errUnknownClient) && !errors.Is(err, errDocument) {
		t.Errorf("another spelling: %v", err)
	}
}
