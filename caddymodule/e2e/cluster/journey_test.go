package cluster_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// testJourney takes a person and a program through everything there is, on
// another node at every step. As often as there are nodes, so that each step
// comes to each of them.
func testJourney(t *testing.T, c *cluster) {
	for first := range c.nodes {
		visited := c.hops(first)
		journey(t, c)
		nodes := visited()
		if len(nodes) < 30 {
			t.Fatalf("only %d requests: %v", len(nodes), nodes)
		}
		for i := range nodes[1:] {
			if len(c.nodes) > 1 && nodes[i] == nodes[i+1] {
				t.Fatalf("two requests in a row came to one node: %v", nodes)
			}
		}
	}
}

func journey(t *testing.T, c *cluster) {
	discover(t, c)
	client := gatewaytest.RegisterAs(t, c.URL, `{"client_name":"Traveller","redirect_uris":["http://127.0.0.1/callback"]}`)
	b := gatewaytest.NewBrowser(t)
	signIn := b.Open(client.AuthorizeURL())
	consent := signIn.SignIn("alice", password)
	if !consent.Has("decision", "allow") {
		t.Fatalf("no consent page: %d %s", consent.Status, consent.Text())
	}
	r := client.Redeem(t, consent.Allow().Result().Get("code"))
	wantStatus(t, r, http.StatusOK)
	wantStatus(t, gatewaytest.Call(t, c.URL, r.Text(t, "access_token")), http.StatusOK)
	r = client.Refresh(t, r.Text(t, "refresh_token"))
	wantStatus(t, r, http.StatusOK)
	access, refresh := r.Text(t, "access_token"), r.Text(t, "refresh_token")
	wantStatus(t, gatewaytest.Call(t, c.URL, access), http.StatusOK)
	wantActive(t, c, access, true)
	wantActive(t, c, refresh, true)

	giveBack(t, c, client, refresh, access)
	takeBack(t, c, b, client)
	manage(t, c)
	personalToken(t, c, b)
	if p := b.Open(c.URL+"/oauth/account").Click("do", "sign_out"); p.Has("grant", "") {
		t.Errorf("not signed out: %s", p.Text())
	}
}

// discover finds the way in from a call without a token.
func discover(t *testing.T, c *cluster) {
	t.Helper()
	challenge := gatewaytest.Call(t, c.URL, "")
	wantStatus(t, challenge, http.StatusUnauthorized)
	where := regexp.MustCompile(`resource_metadata="([^"]+)"`).FindStringSubmatch(challenge.Header.Get("WWW-Authenticate"))
	if where == nil || !strings.HasPrefix(where[1], c.URL) {
		t.Fatalf("the challenge leads nowhere: %v", challenge.Header)
	}
	resource := gatewaytest.Send(t, http.MethodGet, where[1], "")
	if !strings.Contains(resource.Body, `"authorization_servers":["`+c.URL+`"]`) {
		t.Fatalf("the resource names another server: %s", resource.Body)
	}
	server := gatewaytest.Send(t, http.MethodGet, c.URL+"/.well-known/oauth-authorization-server", "")
	for _, endpoint := range []string{"token_endpoint", "jwks_uri", "registration_endpoint"} {
		if !strings.HasPrefix(server.Text(t, endpoint), c.URL+"/") {
			t.Errorf("%s is %s", endpoint, server.Text(t, endpoint))
		}
	}
}

// wantActive asks what a token is worth.
func wantActive(t *testing.T, c *cluster, token string, active bool) {
	t.Helper()
	if got := introspect(t, c.URL, token); got != active {
		t.Errorf("introspection says active: %t, want %t", got, active)
	}
}

func introspect(t *testing.T, base, token string) bool {
	t.Helper()
	r := gatewaytest.PostForm(t, base+"/oauth/introspect", url.Values{"token": {token}},
		"Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("server:"+serverSecret)))
	wantStatus(t, r, http.StatusOK)
	active, _ := r.JSON(t)["active"].(bool)
	return active
}

// giveBack has the program give its grant back (RFC 7009).
func giveBack(t *testing.T, c *cluster, client *gatewaytest.Client, refresh, access string) {
	t.Helper()
	wantStatus(t, gatewaytest.PostForm(t, c.URL+"/oauth/revoke", url.Values{"token": {refresh}, "client_id": {client.ID}}), http.StatusOK)
	wantError(t, client.Refresh(t, refresh), http.StatusBadRequest, "invalid_grant")
	endsWithin(t, c, access)
}

// takeBack has the person take a program's access back on the account page.
func takeBack(t *testing.T, c *cluster, b *gatewaytest.Browser, client *gatewaytest.Client) {
	t.Helper()
	access, refresh := tokens(t, b, client)
	c.remove(t, b, "Traveller")
	wantError(t, client.Refresh(t, refresh), http.StatusBadRequest, "invalid_grant")
	endsWithin(t, c, access)
}

// remove presses the button of the newest program, or token, of this name on the
// account page.
func (c *cluster) remove(t *testing.T, b *gatewaytest.Browser, name string) {
	t.Helper()
	page := b.Open(c.URL + "/oauth/account")
	for _, id := range page.Buttons("grant") {
		if strings.Contains(page.Section(id), name) {
			page.Click("grant", id)
			return
		}
	}
	t.Fatalf("the page does not list %s: %s", name, page.Text())
}

// manage changes a client's registration and deletes it (RFC 7592).
func manage(t *testing.T, c *cluster) {
	t.Helper()
	const uris = `"redirect_uris":["http://127.0.0.1/callback"]`
	r := gatewaytest.PostJSON(t, c.URL+"/oauth/register", `{"client_name":"Old name",`+uris+`}`)
	wantStatus(t, r, http.StatusCreated)
	id, uri, token := r.Text(t, "client_id"), r.Text(t, "registration_client_uri"), r.Text(t, "registration_access_token")
	ask := func(method, body string) gatewaytest.Reply {
		return gatewaytest.Send(t, method, uri, body, "Authorization", "Bearer "+token, "Content-Type", "application/json")
	}
	wantStatus(t, ask(http.MethodGet, ""), http.StatusOK)
	r = ask(http.MethodPut, `{"client_id":"`+id+`","client_name":"New name",`+uris+`}`)
	wantStatus(t, r, http.StatusOK)
	wantStatus(t, ask(http.MethodGet, ""), http.StatusUnauthorized) // its token is another one now
	token = r.Text(t, "registration_access_token")
	if r = ask(http.MethodGet, ""); r.Status != http.StatusOK || r.Text(t, "client_name") != "New name" {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	wantStatus(t, ask(http.MethodDelete, ""), http.StatusNoContent)
	wantStatus(t, ask(http.MethodGet, ""), http.StatusUnauthorized)
}

var personalText = regexp.MustCompile(`mcp_pat_[0-9A-Za-z]{49}`)

// personalToken makes a personal access token, uses it everywhere, and removes
// it.
func personalToken(t *testing.T, c *cluster, b *gatewaytest.Browser) {
	t.Helper()
	page := b.Open(c.URL+"/oauth/account").Click("resource", c.URL+"/mcp", "do", "mint_token", "name", "Nightly report", "days", "30")
	token := personalText.FindString(page.Text())
	for range c.nodes {
		wantStatus(t, gatewaytest.Call(t, c.URL, token), http.StatusOK)
	}
	c.remove(t, b, "Nightly report")
	endsWithin(t, c, token)
}
