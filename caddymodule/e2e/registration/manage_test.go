package registration_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// again starts the gateway once more, on its data and under its URL.
func again(tb testing.TB, g *gatewaytest.Gateway, caddyfile string) *gatewaytest.Gateway {
	tb.Helper()
	_, port, _ := strings.Cut(strings.TrimPrefix(g.URL, "http://"), ":")
	n, err := strconv.Atoi(port)
	if err != nil {
		tb.Fatal(err)
	}
	return gatewaytest.Start(tb, gatewaytest.Options{Caddyfile: caddyfile, Dir: g.Dir, Port: n})
}

// TestManagement is a client's life: what was answered holds, also when the
// power goes right after the answer (SPEC D1 to D9).
func TestManagement(t *testing.T) {
	text := automatic()
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text})
	c := register(t, g, `{"client_name":"Editor",`+loopback+`}`)
	first := c.manage(t, http.MethodGet, "")
	wantStatus(t, first, http.StatusOK)
	if first.Header.Get("Cache-Control") != "no-store" || first.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%v", first.Header)
	}
	g.Stop()
	g = again(t, g, text)
	if second := c.manage(t, http.MethodGet, ""); second.Body != first.Body {
		t.Errorf("after a restart:\n%s\n%s", second.Body, first.Body)
	}
	access, refresh := c.Tokens(t)
	pending := c.Code(t)
	changed := c.put(t, `"client_name":"Editor","redirect_uris":["http://127.0.0.1/new"]`)
	g.Kill()
	g = again(t, g, text)

	wantError(t, c.manage(t, http.MethodGet, ""), http.StatusUnauthorized, "invalid_token")
	wantStatus(t, changed.manage(t, http.MethodGet, ""), http.StatusOK)
	if r, q := c.Authorize(t); q != nil || r.Status != http.StatusBadRequest {
		t.Errorf("the old redirect URI: %d %v", r.Status, q)
	}
	changed.Client.RedirectURI = "http://127.0.0.1/new"
	changed.Code(t)
	wantError(t, gatewaytest.PostForm(t, g.URL+"/oauth/token", c.TokenForm(pending)), http.StatusBadRequest, "invalid_grant")
	wantStatus(t, gatewaytest.Call(t, g.URL, access), http.StatusOK)
	rotated := c.Refresh(t, refresh)
	wantStatus(t, rotated, http.StatusOK)

	// D9: tokens are good in their own place only.
	wantStatus(t, gatewaytest.Call(t, g.URL, changed.token), http.StatusUnauthorized)
	wantStatus(t, gatewaytest.Send(t, http.MethodGet, c.uri, "", "Authorization", "Bearer "+access), http.StatusUnauthorized)
	wantStatus(t, gatewaytest.Send(t, http.MethodGet, c.uri+"&access_token="+changed.token, ""), http.StatusUnauthorized)

	deleted := changed.manage(t, http.MethodDelete, "")
	wantStatus(t, deleted, http.StatusNoContent)
	if deleted.Body != "" {
		t.Errorf("a body: %s", deleted.Body)
	}
	for _, token := range []string{access, rotated.Text(t, "access_token")} {
		wantStatus(t, gatewaytest.Call(t, g.URL, token), http.StatusUnauthorized)
	}
	g.Kill()
	g = again(t, g, text)
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		wantError(t, changed.manage(t, method, `{}`), http.StatusUnauthorized, "invalid_token")
	}
	wantStatus(t, changed.manage(t, http.MethodDelete, ""), http.StatusNoContent) // whose answer was lost
	wantStatus(t, gatewaytest.Call(t, g.URL, access), http.StatusUnauthorized)
	wantError(t, c.Refresh(t, rotated.Text(t, "refresh_token")), http.StatusUnauthorized, "invalid_client")
	if r, q := changed.Authorize(t); q != nil || r.Status != http.StatusBadRequest || !strings.Contains(r.Body, "<html") {
		t.Errorf("authorize: %d %v", r.Status, q)
	}
	wantNoSecret(t, g, c.token, changed.token)
}

// wantNoSecret looks for tokens where none may be.
func wantNoSecret(t *testing.T, g *gatewaytest.Gateway, secrets ...string) {
	t.Helper()
	state, err := os.ReadFile(filepath.Join(g.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if strings.Contains(string(state), secret) || strings.Contains(g.Logs(), secret) {
			t.Error("a registration access token is in the store or in the log")
		}
	}
}

// TestConsentIsAskedAgainAfterAChange: what alice approved was another client
// (SPEC D7).
func TestConsentIsAskedAgainAfterAChange(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: asking(t)})
	const web = `"redirect_uris":["https://client.example/cb"]`
	c := register(t, g, `{"client_name":"Desk",`+web+`}`)
	c.RedirectURI = "https://client.example/cb"
	b := gatewaytest.NewBrowser(t)
	code := b.Open(c.AuthorizeURL()).SignIn("alice", password).Allow().Result().Get("code")
	wantStatus(t, c.Redeem(t, code), http.StatusOK)
	if p := b.Open(c.AuthorizeURL()); p.Result().Get("code") == "" {
		t.Fatalf("the approval is not remembered, so this tests nothing: %d", p.Status)
	}
	c.put(t, `"client_name":"Desk 2",`+web)
	p := b.Open(c.AuthorizeURL())
	if !strings.Contains(p.Text(), "Desk 2") {
		t.Fatalf("not asked again: %d", p.Status)
	}
	if p.Allow().Result().Get("code") == "" {
		t.Error("no code after the new answer")
	}
}

// TestManagementOff: neither half of it.
func TestManagementOff(t *testing.T) {
	text := automatic()
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text})
	gone, changed := register(t, g, `{`+loopback+`}`), register(t, g, `{`+loopback+`}`)
	wantStatus(t, gone.manage(t, http.MethodDelete, ""), http.StatusNoContent)
	changed.put(t, `"redirect_uris":["http://127.0.0.1/new"]`)
	for name, off := range map[string]string{"management off": "registration {\n\t\t\tmanagement off\n\t\t}", "registration off": "registration off"} {
		if err := g.Reload(automatic(off), upstreamOf(t, g)); err != nil {
			t.Fatal(err)
		}
		wantStatus(t, changed.manage(t, http.MethodGet, ""), http.StatusNotFound)
		if _, q := gone.Authorize(t); q != nil {
			t.Errorf("%s: the deleted client is back", name)
		}
		if _, q := changed.Authorize(t, "redirect_uri", "http://127.0.0.1/callback"); q != nil {
			t.Errorf("%s: the old redirect URI is back", name)
		}
		changed.Code(t, "redirect_uri", "http://127.0.0.1/new")
		if name == "management off" {
			var doc map[string]any
			r := gatewaytest.PostJSON(t, g.URL+"/oauth/register", `{`+loopback+`}`)
			if err := json.Unmarshal([]byte(r.Body), &doc); err != nil || doc["registration_access_token"] != nil || doc["registration_client_uri"] != nil {
				t.Errorf("%s: %s", name, r.Body)
			}
		}
	}
}

// upstreamOf returns the address behind a gateway, from its Caddyfile.
func upstreamOf(t *testing.T, g *gatewaytest.Gateway) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.Dir, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "reverse_proxy ")
	address, _, _ := strings.Cut(rest, "\n")
	return address
}

// TestPreflight: a client in a web page can manage itself (SPEC C26).
func TestPreflight(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: automatic()})
	c := register(t, g, `{`+loopback+`}`)
	r := gatewaytest.Send(t, http.MethodOptions, c.uri, "", "Origin", "https://app.example",
		"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "authorization, content-type")
	wantStatus(t, r, http.StatusNoContent)
	allowed := r.Header.Get("Access-Control-Allow-Methods")
	if !strings.Contains(allowed, "PUT") || !strings.Contains(allowed, "DELETE") || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("%v", r.Header)
	}
}
