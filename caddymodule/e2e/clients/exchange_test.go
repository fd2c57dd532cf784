package clients_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// exchange is one HTTP request of a client and its answer. The Go recorder and
// node/record.mjs note the same.
type exchange struct {
	Method    string            `json:"method"`
	Path      string            `json:"path"`
	Query     map[string]string `json:"query"`
	Form      map[string]string `json:"form"`
	Bearer    bool              `json:"bearer"`
	Basic     bool              `json:"basic"`
	Status    int               `json:"status"`
	Challenge string            `json:"challenge"`
	Reply     map[string]any    `json:"reply"`
}

// exchanges is what went over the wire, in order.
type exchanges []exchange

// to returns the requests to a path, or below it where it ends with a slash.
func (es exchanges) to(path string) exchanges {
	return slices.DeleteFunc(slices.Clone(es), func(e exchange) bool {
		return e.Path != path && (!strings.HasSuffix(path, "/") || !strings.HasPrefix(e.Path, path))
	})
}

// grants returns the token requests of a grant type.
func (es exchanges) grants(grantType string) exchanges {
	return slices.DeleteFunc(es.to("/oauth/token"), func(e exchange) bool { return e.Form["grant_type"] != grantType })
}

// answered returns the requests that were answered with a status.
func (es exchanges) answered(status int) exchanges {
	return slices.DeleteFunc(slices.Clone(es), func(e exchange) bool { return e.Status != status })
}

// expect fails the test unless so many registrations, visits to the
// authorization endpoint, redeemed codes and refreshes happened.
func (es exchanges) expect(t *testing.T, want steps) {
	t.Helper()
	got := steps{
		registrations:  len(es.to("/oauth/register").answered(201)),
		authorizations: len(es.to("/oauth/authorize").answered(302)),
		codes:          len(es.grants("authorization_code").answered(200)),
		refreshes:      len(es.grants("refresh_token").answered(200)),
	}
	if got != want {
		t.Errorf("the client made %+v, want %+v", got, want)
		es.log(t)
	}
}

// steps counts the successful steps of the protocol.
type steps struct{ registrations, authorizations, codes, refreshes int }

// log prints the exchanges without their secrets.
func (es exchanges) log(t *testing.T) {
	t.Helper()
	for _, e := range es {
		t.Logf("%s %s %s bearer=%t → %d %s %v", e.Method, e.Path, e.Form["grant_type"], e.Bearer, e.Status, e.Challenge, e.Reply["error"])
	}
}

// checkFirstContact judges the whole way from an unknown client to its first
// accepted call of an endpoint.
func checkFirstContact(t *testing.T, base, endpoint string, all exchanges) {
	t.Helper()
	if len(all) == 0 {
		t.Fatal("the client made no request")
	}
	path := strings.TrimPrefix(endpoint, base)
	first := all[0]
	wantChallenge := `Bearer resource_metadata="` + base + `/.well-known/oauth-protected-resource` + path + `", scope="` + scopes + `"`
	if first.Path != path || first.Bearer || first.Status != 401 || first.Challenge != wantChallenge {
		t.Errorf("first request: %+v\nwant 401 with %s", first, wantChallenge)
	}
	checkDiscovery(t, base, endpoint, all)
	all.expect(t, steps{registrations: 1, authorizations: 1, codes: 1})
	for _, e := range all {
		if e.Bearer && (e.Status == 401 || e.Status == 403) {
			t.Errorf("%s %s was refused with a token: %d", e.Method, e.Path, e.Status)
		}
	}
	if t.Failed() {
		all.log(t)
		t.FailNow()
	}
	checkRegistration(t, all.to("/oauth/register")[0].Reply)
	checkCodeGrant(t, base, endpoint, all.to("/oauth/authorize")[0], all.grants("authorization_code")[0])
}

// checkDiscovery: what the challenge names is there, names the URL that was
// called, and leads to the issuer. Nothing is searched for in vain.
func checkDiscovery(t *testing.T, base, endpoint string, all exchanges) {
	t.Helper()
	resource := all.to("/.well-known/oauth-protected-resource" + strings.TrimPrefix(endpoint, base))
	server := all.to("/.well-known/oauth-authorization-server")
	if len(resource) == 0 || len(server) == 0 {
		t.Fatalf("no discovery: %+v", all)
	}
	if found := all.to("/.well-known/"); len(found) != len(resource)+len(server) || len(found.answered(200)) != len(found) {
		t.Errorf("the client searched for metadata: %+v", found)
	}
	for _, e := range resource {
		servers, _ := e.Reply["authorization_servers"].([]any)
		if e.Reply["resource"] != endpoint || len(servers) != 1 || servers[0] != base {
			t.Errorf("resource metadata for %s: %v", endpoint, e.Reply)
		}
	}
	for _, e := range server {
		if e.Reply["issuer"] != base {
			t.Errorf("server metadata: %v", e.Reply)
		}
	}
}

func checkRegistration(t *testing.T, client map[string]any) {
	t.Helper()
	id, _ := client["client_id"].(string)
	if id == "" || len(id) > 1024 {
		t.Errorf("client_id has %d bytes", len(id))
	}
	if client["token_endpoint_auth_method"] != "none" || client["client_secret"] != nil {
		t.Errorf("a public client was registered as %v", client)
	}
}

// checkCodeGrant: PKCE with S256, the resource that was called in both
// requests, and the scope of the challenge in the answer.
func checkCodeGrant(t *testing.T, base, endpoint string, authorize, token exchange) {
	t.Helper()
	q := authorize.Query
	if q["response_type"] != "code" || q["code_challenge_method"] != "S256" || q["state"] == "" || q["resource"] != endpoint {
		t.Errorf("authorization request: %v", q)
	}
	if !sameScopes(strings.Replace(q["scope"], "offline_access", "", 1)) {
		t.Errorf("scope asked for: %q, want that of the challenge: %q", q["scope"], scopes)
	}
	form := token.Form
	if gatewaytest.Challenge(form["code_verifier"]) != q["code_challenge"] || form["resource"] != endpoint {
		t.Errorf("token request: %v", form)
	}
	r := token.Reply
	if r["token_type"] != "Bearer" || !sameScopes(r["scope"]) || r["access_token"] == "" || r["refresh_token"] == nil {
		t.Errorf("token response of %s has scope %v and type %v", base, r["scope"], r["token_type"])
	}
}

// sameScopes reports whether a scope is the gateway's whole one, in any order:
// clients keep scopes in maps, and the gateway echoes their order.
func sameScopes(scope any) bool {
	text, _ := scope.(string)
	got := strings.Fields(text)
	slices.Sort(got)
	want := strings.Fields(scopes)
	slices.Sort(want)
	return slices.Equal(got, want)
}
