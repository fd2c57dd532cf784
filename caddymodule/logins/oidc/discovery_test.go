package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

const discoveryPath = "/.well-known/openid-configuration"

// TestDiscoveryOfAnotherIssuer: a document that says that it is another's would
// lend its endpoints to this name (SPEC F38, O22; OpenID Connect Discovery
// §4.3).
func TestDiscoveryOfAnotherIssuer(t *testing.T) {
	for _, iss := range []any{"https://accounts.example.com", "/", "", nil, "{tenantid}", "https://evil.example/" + strings.Repeat("x", 10_000)} {
		r := newRogue(t)
		if iss == "/" {
			iss = r.URL + "/"
		}
		r.document["issuer"] = iss
		r.down(r.login(), "belongs to the issuer")
	}
}

// TestDiscoveryElsewhere: a redirect could lead to another host, or to plain
// http (SPEC F38, O36).
func TestDiscoveryElsewhere(t *testing.T) {
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { t.Errorf("the canary got %s", req.URL) }))
	t.Cleanup(evil.Close)
	r := newRogue(t)
	for _, path := range []string{discoveryPath, "/jwks"} {
		r.serve = map[string]http.HandlerFunc{path: func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, evil.URL+path, http.StatusFound)
		}}
		r.down(r.login(), "redirects")
	}
	// It may move at its own host, but not in circles.
	r.serve = map[string]http.HandlerFunc{discoveryPath: func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "/moved", http.StatusFound)
	}, "/moved": func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, r.document) }}
	r.accepted(r.login())
	r.serve["/moved"] = r.serve[discoveryPath]
	r.down(r.login(), "redirects")
	if n := r.count("/moved"); n > 10 {
		t.Errorf("%d requests in a circle", n)
	}
}

// TestDiscoveryTooLong: no document fills the memory (SPEC O37).
func TestDiscoveryTooLong(t *testing.T) {
	const all = 64 << 20
	r := newRogue(t)
	for _, path := range []string{discoveryPath, "/jwks", "/token"} {
		sent := make(chan int, 1)
		r.serve = map[string]http.HandlerFunc{path: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			total, err := w.Write([]byte(`{"issuer":"`))
			for chunk := []byte(strings.Repeat("x", 64<<10)); err == nil && total < all; total += len(chunk) {
				_, err = w.Write(chunk)
			}
			sent <- total
		}}
		r.down(r.login(), "")
		if n := <-sent; n >= all {
			t.Errorf("%s: all of it was read", path)
		}
	}
}

// TestDiscoveryBroken: an outage is an outage, and no verdict about a person
// (SPEC F39, O55).
func TestDiscoveryBroken(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"error": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, strings.Repeat("down\r\n", 10_000), http.StatusServiceUnavailable)
		},
		"missing": http.NotFound,
		"html":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"empty":   func(http.ResponseWriter, *http.Request) {},
		"list":    func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, []int{1}) },
		"hang up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"types":   func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, map[string]any{"issuer": 7}) },
	} {
		for _, path := range []string{discoveryPath, "/jwks"} {
			t.Run(name+path, func(t *testing.T) {
				r := newRogue(t)
				r.serve[path] = serve
				r.down(r.login(), "")
			})
		}
	}
}

// TestDiscoverySlow: a provider that does not answer holds nobody longer than
// they want to wait, and the others get the answer when it comes (SPEC O37).
func TestDiscoverySlow(t *testing.T) {
	r := newRogue(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	r.serve[discoveryPath] = func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		writeJSON(w, 200, r.document)
	}
	l := r.login()
	ctx, hangUp := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	begin := func(ctx context.Context, done chan<- error) {
		_, err := l.Begin(ctx, login.Request{State: testState, CallbackURL: testCallback})
		done <- err
	}
	go begin(ctx, first)
	<-arrived
	go begin(t.Context(), second)
	hangUp()
	if err := <-first; !errors.Is(err, context.Canceled) || errors.Is(err, login.ErrDenied) {
		t.Errorf("who hung up got %v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("who waited got %v", err)
	}
	if n := r.count(discoveryPath); n != 1 {
		t.Errorf("%d requests", n)
	}
	if l.client.Timeout != 10*time.Second {
		t.Errorf("time limit %s", l.client.Timeout)
	}
}

// TestProviderDownAtStart: the configuration loads without the provider, asks
// nothing, and sign-in works when the provider is back (SPEC O55).
func TestProviderDownAtStart(t *testing.T) {
	r := newRogue(t)
	up := false
	r.serve[discoveryPath] = func(w http.ResponseWriter, _ *http.Request) {
		if !up {
			http.Error(w, "not yet", http.StatusBadGateway)
			return
		}
		writeJSON(w, 200, r.document)
	}
	l := r.login()
	if n := r.count(discoveryPath); n != 0 {
		t.Fatalf("%d requests while loading", n)
	}
	for range 5 {
		r.down(l, "502")
	}
	if n := r.count(discoveryPath); n != 1 {
		t.Errorf("%d requests at one moment", n)
	}
	up = true
	r.now = r.now.Add(documentTimes.gap)
	r.accepted(l)
}

// TestDiscoveryIsRefreshed: endpoints may move; a provider whose document is
// out of order for an hour still signs people in.
func TestDiscoveryIsRefreshed(t *testing.T) {
	r := newRogue(t)
	l := r.login()
	r.accepted(l)
	r.now = r.now.Add(59 * time.Minute)
	r.accepted(l)
	if n := r.count(discoveryPath); n != 1 {
		t.Errorf("%d requests within the hour", n)
	}
	r.document["authorization_endpoint"] = r.URL + "/new"
	r.now = r.now.Add(time.Minute)
	step, err := l.Begin(t.Context(), login.Request{State: testState, CallbackURL: testCallback})
	if err != nil || !strings.HasPrefix(step.Redirect, r.URL+"/new?") {
		t.Errorf("redirect %s, %v", step.Redirect, err)
	}
	r.serve[discoveryPath] = http.NotFound
	r.now = r.now.Add(23 * time.Hour)
	r.accepted(l)
	r.now = r.now.Add(time.Hour)
	r.down(l, "404")
}

// TestEndpointsNeedHTTPS: a provider on the internet can't send people, codes or
// secrets over plain http, nor can one on this machine to another (SPEC F38).
func TestEndpointsNeedHTTPS(t *testing.T) {
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"} {
		for _, value := range []any{"http://accounts.example.com/x", "ftp://accounts.example.com", "javascript:alert(1)", "//x", "/x", "", nil, "https://user@accounts.example.com/", "https://accounts.example.com/#x"} {
			r := newRogue(t)
			r.document[name] = value
			r.down(r.login("userinfo", true), name)
		}
	}
	l := &Login{UserInfo: true}
	public, err := parseIssuer("https://accounts.example.com")
	if err != nil {
		t.Fatal(err)
	}
	l.issuer = public
	p := &provider{keysURL: "https://accounts.example.com/k", userInfo: "https://accounts.example.com/u"}
	p.endpoint.AuthURL, p.endpoint.TokenURL = "https://accounts.example.com/a", "http://127.0.0.1/t"
	if err := l.checkEndpoints(p, metadata{}); err == nil || !strings.Contains(err.Error(), "token_endpoint") {
		t.Errorf("plain http on loopback for a public issuer: %v", err)
	}
	p.endpoint.TokenURL = "https://accounts.example.com/t"
	if err := l.checkEndpoints(p, metadata{}); err != nil {
		t.Error(err)
	}
}

// TestOnlyUnsafeAlgorithms: a provider that can't sign safely is of no use (SPEC
// F38).
func TestOnlyUnsafeAlgorithms(t *testing.T) {
	r := newRogue(t)
	r.document["id_token_signing_alg_values_supported"] = []string{"HS256", "none"}
	r.down(r.login(), "HS256")
}

// tenant ids for the tests.
const (
	ours   = "11111111-2222-3333-4444-555555555555"
	theirs = "66666666-7777-8888-9999-000000000000"
	evils  = "eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee"
)

// newTenants makes a rogue that behaves like Entra's document for all tenants.
func newTenants(t *testing.T) *rogue {
	t.Helper()
	r := newRogue(t)
	r.serve["/organizations/v2.0"+discoveryPath] = func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, r.document) }
	r.document["issuer"] = r.URL + "/{tenantid}/v2.0"
	r.claims["iss"], r.claims["tid"] = r.URL+"/"+ours+"/v2.0", ours
	return r
}

// TestTenants: with one issuer for all tenants, only pinned ones come in, under
// their own issuer, and their people are not taken for each other's (SPEC F38).
func TestTenants(t *testing.T) {
	r := newTenants(t)
	l := r.login("issuer", r.URL+"/organizations/v2.0", "tenants", []string{ours, strings.ToUpper(theirs)})
	a := r.accepted(l)
	r.claims["iss"], r.claims["tid"] = r.URL+"/"+theirs+"/v2.0", theirs
	b := r.accepted(l)
	if a.Subject != ours+":alice" || b.Subject != theirs+":alice" {
		t.Errorf("subjects %s and %s", a.Subject, b.Subject)
	}
	if info := l.Info(); info.Open || info.Namespace != r.URL+"/organizations/v2.0" {
		t.Errorf("info %+v", info)
	}
	for _, lie := range []struct{ iss, tid any }{
		{r.URL + "/" + evils + "/v2.0", evils},
		{r.URL + "/" + evils + "/v2.0", ours},
		{r.URL + "/" + ours + "/v2.0", evils},
		{r.URL + "/" + ours + "/v2.0", theirs},
		{r.URL + "/" + ours + "/v2.0", nil},
		{r.URL + "/{tenantid}/v2.0", ours},
		{r.URL + "/{tenantid}/v2.0", "{tenantid}"},
		{r.URL + "/organizations/v2.0", "organizations"},
		{nil, ours},
	} {
		r.claims["iss"], r.claims["tid"] = lie.iss, lie.tid
		r.refused(l, "tenant")
	}
	// Entra sends no iss with its answers; if there is one, it is a tenant's.
	r.claims["iss"], r.claims["tid"] = r.URL+"/"+ours+"/v2.0", ours
	r.query.Set("iss", r.URL+"/"+ours+"/v2.0")
	r.accepted(l)
	r.query.Set("iss", r.URL+"/"+evils+"/v2.0")
	r.refused(l, "issuer")
}

// TestTenantsMustBePinned: an issuer for all tenants lets every company in
// (SPEC F38).
func TestTenantsMustBePinned(t *testing.T) {
	r := newTenants(t)
	r.down(r.login("issuer", r.URL+"/organizations/v2.0"), "tenant")
	for _, iss := range []string{
		"https://login.microsoftonline.com/common/v2.0", "https://login.microsoftonline.com/organizations/v2.0",
		"https://LOGIN.microsoftonline.com/common/v2.0", "https://login.microsoftonline.us/common/v2.0",
	} {
		if _, err := load(t, map[string]any{"issuer": iss, "client_id": "x"}); err == nil || !strings.Contains(err.Error(), "name yours with tenant") {
			t.Errorf("%s: %v", iss, err)
		}
	}
}
