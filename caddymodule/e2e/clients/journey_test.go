package clients_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// This file has the steps of the way from a URL to tool calls and to the end of
// what was granted, for clients of every kind. Like a client it takes every
// address from the document before.

// journey is what a client finds out from the URL of an MCP server.
type journey struct {
	endpoint string
	scope    string
	server   map[string]any // the authorization server's metadata
	// documents is the host of the client's metadata document, if it has one.
	documents *documents
}

// identity is a client that the gateway knows.
type identity struct {
	id, redirectURI string
	// name is what the consent page has to call it.
	name string
	// prove authenticates a request: it changes the form or returns headers.
	prove func(t *testing.T, form url.Values) []string
}

// issued is what a client got.
type issued struct {
	access, refresh string
	// revoke ends it for good.
	revoke func(t *testing.T)
}

// discover makes a call without a token and follows what the answer names.
func discover(t *testing.T, endpoint string) journey {
	t.Helper()
	refused := gatewaytest.PostJSON(t, endpoint, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	challenges, err := oauthex.ParseWWWAuthenticate(refused.Header.Values("WWW-Authenticate"))
	if err != nil || len(challenges) != 1 || refused.Status != http.StatusUnauthorized {
		t.Fatalf("a call without a token: %d %v %v", refused.Status, refused.Header, err)
	}
	found := challenges[0].Params
	resource := gatewaytest.Send(t, http.MethodGet, found["resource_metadata"], "").JSON(t)
	servers, _ := resource["authorization_servers"].([]any)
	if resource["resource"] != endpoint || len(servers) != 1 {
		t.Fatalf("resource metadata: %v", resource)
	}
	server := gatewaytest.Send(t, http.MethodGet, fmt.Sprint(servers[0])+"/.well-known/oauth-authorization-server", "").JSON(t)
	if server["issuer"] != servers[0] {
		t.Fatalf("server metadata: %v", server)
	}
	return journey{endpoint: endpoint, scope: found["scope"], server: server}
}

// url returns a member of the server's metadata that has to be there.
func (j journey) url(t *testing.T, member string) string {
	t.Helper()
	text, _ := j.server[member].(string)
	if text == "" {
		t.Fatalf("the metadata has no %s: %v", member, j.server)
	}
	return text
}

// post sends a form as a client that proves who it is.
func (j journey) post(t *testing.T, member string, by identity, form url.Values) gatewaytest.Reply {
	t.Helper()
	header := by.prove(t, form)
	return gatewaytest.PostForm(t, j.url(t, member), form, header...)
}

// signIn lets Alice sign in and agree, and redeems the code.
func (j journey) signIn(t *testing.T, by identity) issued {
	t.Helper()
	verifier, state := rand.Text()+rand.Text(), rand.Text()
	query := url.Values{
		"response_type": {"code"}, "client_id": {by.id}, "redirect_uri": {by.redirectURI}, "state": {state}, "scope": {j.scope},
		"code_challenge": {gatewaytest.Challenge(verifier)}, "code_challenge_method": {"S256"}, "resource": {j.endpoint},
	}
	back, err := url.Parse(alice(t, by.name)(j.url(t, "authorization_endpoint") + "?" + query.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	q := back.Query()
	if !strings.HasPrefix(back.String(), by.redirectURI+"?") || q.Get("state") != state || q.Get("iss") != j.server["issuer"] {
		t.Fatalf("the browser was sent to %s", back.Redacted())
	}
	got := j.tokens(t, by, url.Values{
		"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {by.redirectURI},
		"code_verifier": {verifier}, "resource": {j.endpoint},
	})
	if got.refresh == "" {
		t.Fatal("no refresh token")
	}
	return got
}

// tokens makes a token request that has to succeed.
func (j journey) tokens(t *testing.T, by identity, form url.Values) issued {
	t.Helper()
	r := j.post(t, "token_endpoint", by, form)
	if r.Status != http.StatusOK || r.Text(t, "token_type") != "Bearer" || r.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s: %d %v %s", form.Get("grant_type"), r.Status, r.Header, r.Text(t, "error_description"))
	}
	if !sameScopes(r.Text(t, "scope")) {
		t.Errorf("scope %q", r.Text(t, "scope"))
	}
	got := issued{access: r.Text(t, "access_token"), refresh: r.Text(t, "refresh_token")}
	got.revoke = func(t *testing.T) {
		t.Helper()
		token := got.refresh
		if token == "" {
			token = got.access
		}
		if r := j.post(t, "revocation_endpoint", by, url.Values{"token": {token}}); r.Status != http.StatusOK {
			t.Errorf("revocation: %d %s", r.Status, r.Body)
		}
	}
	return got
}

// alone gets a token for the client itself (RFC 6749 §4.4).
func (j journey) alone(t *testing.T, by identity) issued {
	t.Helper()
	got := j.tokens(t, by, url.Values{"grant_type": {"client_credentials"}, "scope": {j.scope}, "resource": {j.endpoint}})
	if got.refresh != "" {
		t.Error("a client without a person got a refresh token (RFC 6749 §4.4.3)")
	}
	return got
}

// personalToken lets Alice make a token on her account page, and later remove it
// there.
func (j journey) personalToken(t *testing.T, _ identity) issued {
	t.Helper()
	account := gatewaytest.NewBrowser(t).Open(j.url(t, "issuer")+"/oauth/account").SignIn("alice", personPassword)
	made := account.Click("do", "mint_token", "name", "Nightly job", "days", "30")
	token := personalToken.FindString(made.Text())
	if token == "" {
		t.Fatalf("no token: %d %s", made.Status, made.Text())
	}
	return issued{access: token, revoke: func(t *testing.T) {
		t.Helper()
		page := account.Browser().Open(account.URL.String())
		for _, id := range page.Buttons("grant") {
			if strings.Contains(page.Section(id), "Nightly job") {
				page.Click("grant", id)
			}
		}
	}}
}

// personalToken is what a personal access token looks like.
var personalToken = regexp.MustCompile(`mcp_pat_[0-9A-Za-z]+`)

// refresh replaces both tokens.
func (j journey) refresh(t *testing.T, by identity, old issued) issued {
	t.Helper()
	got := j.tokens(t, by, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.refresh}})
	if got.refresh == "" || got.refresh == old.refresh || got.access == old.access {
		t.Error("a refresh returned an old token")
	}
	return got
}

// useTools opens a session with a token and uses the server as a program does.
func (j journey) useTools(t *testing.T, token string) {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "caddy-mcp-auth-e2e", Version: "1.0.0"}, nil)
	s, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint:   j.endpoint,
		MaxRetries: -1,
		HTTPClient: &http.Client{Transport: &oauth2.Transport{
			Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token}),
			Base:   newRecorder(),
		}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
	if err != nil {
		t.Fatalf("initialize: %v", err)
	}
	defer func() { _ = s.Close() }()
	list, err := s.ListTools(t.Context(), nil)
	if err != nil || len(list.Tools) != 5 {
		t.Fatalf("tools/list: %+v, %v", list, err)
	}
	hello(t, s, "journey")
}

// ended: a token opens nothing any more, and the answer says so.
func (j journey) ended(t *testing.T, token string) {
	t.Helper()
	r := gatewaytest.PostJSON(t, j.endpoint, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "Authorization", "Bearer "+token)
	if r.Status != http.StatusUnauthorized || !strings.Contains(r.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("after the end: %d %s", r.Status, r.Header.Get("WWW-Authenticate"))
	}
}
