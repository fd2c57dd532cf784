package authserver

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// basicOf is the Authorization header of a client with theSecret.
func basicOf(id string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+theSecret))
}

// TestClientCredentials (SPEC G29): what a program may ask for.
func TestClientCredentials(t *testing.T) {
	p := newMachines(t, nil)
	for name, tt := range map[string]struct {
		id     string
		params []string // names and values in turn
		scope  string   // granted, or
		code   string   // of the error
	}{
		"all that it may have":              {batchID, nil, "mcp:tools:read", ""},
		"its only resource":                 {batchID, []string{"resource", testResource}, "mcp:tools:read", ""},
		"the resource with a slash":         {batchID, []string{"resource", testResource + "/"}, "mcp:tools:read", ""},
		"the resource twice":                {batchID, []string{"resource", testResource, "resource", testResource}, "mcp:tools:read", ""},
		"its scope":                         {batchID, []string{"scope", "mcp:tools:read"}, "mcp:tools:read", ""},
		"OpenID scopes, which mean nothing": {batchID, []string{"scope", "openid offline_access"}, "mcp:tools:read", ""},
		"a scope of the resource, not its":  {batchID, []string{"scope", "mcp:tools:execute"}, "", oauth.CodeInvalidScope},
		"one that it may have and another":  {batchID, []string{"scope", "mcp:tools:read mcp:tools:execute"}, "", oauth.CodeInvalidScope},
		"one that no longer exists":         {batchID, []string{"scope", "gone"}, "", oauth.CodeInvalidScope},
		"no scope token":                    {batchID, []string{"scope", "a\"b"}, "", oauth.CodeInvalidScope},
		"another resource":                  {batchID, []string{"resource", sideResource}, "", oauth.CodeInvalidTarget},
		"an unknown resource":               {batchID, []string{"resource", "https://rs.example"}, "", oauth.CodeInvalidTarget},
		"no URL":                            {batchID, []string{"resource", "x"}, "", oauth.CodeInvalidTarget},
		"no limit, one resource":            {robotID, []string{"resource", sideResource}, "other:read", ""},
		"no limit, one scope":               {robotID, []string{"resource", testResource, "scope", "mcp:tools:execute"}, "mcp:tools:execute", ""},
		"no limit, none of several named":   {robotID, nil, "", oauth.CodeInvalidTarget},
		"no limit, two resources":           {robotID, []string{"resource", testResource, "resource", sideResource}, "", oauth.CodeInvalidTarget},
		"a scope of another resource":       {robotID, []string{"resource", sideResource, "scope", "mcp:tools:read"}, "", oauth.CodeInvalidScope},
		"G29 a public client":               {anyoneID, nil, "", oauth.CodeUnauthorizedClient},
		"G29 not registered for it":         {clerkID, nil, "", oauth.CodeUnauthorizedClient},
	} {
		t.Run(name, func(t *testing.T) {
			form := url.Values{"grant_type": {oauth.GrantClientCredentials}}
			for i := 0; i+1 < len(tt.params); i += 2 {
				form.Add(tt.params[i], tt.params[i+1])
			}
			var header []string
			switch tt.id {
			case batchID:
				header = []string{basicOf(batchID)}
			case robotID: // need not name itself
				form.Set("client_assertion_type", assertionType)
				form.Set("client_assertion", p.assertion(t, nil))
			case clerkID:
				form = as(clerkID, form)
			default:
				form.Set("client_id", tt.id)
			}
			w := p.from(name, tokenPath, form, header...)
			if tt.code != "" {
				fails(t, w, http.StatusBadRequest, tt.code)
				return
			}
			if got := decode[oauth.TokenResponse](t, w, http.StatusOK); got.Scope != tt.scope || got.RefreshToken != "" || got.ExpiresIn != 3600 || got.TokenType != "Bearer" {
				t.Errorf("%+v", got)
			}
		})
	}
	// A dynamic client can't register for it, and does not get it.
	dynamic := p.register(t, `{"redirect_uris":["http://127.0.0.1/cb"],"grant_types":["authorization_code","client_credentials"]}`)
	if slices.Contains(dynamic.GrantTypes, oauth.GrantClientCredentials) {
		t.Errorf("registered for %v", dynamic.GrantTypes)
	}
	fails(t, p.from("x", tokenPath, url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {dynamic.ClientID}}),
		http.StatusBadRequest, oauth.CodeUnauthorizedClient)
}

// TestClientToken: what a program's token says, and that nothing is stored.
func TestClientToken(t *testing.T) {
	p := newMachines(t, nil)
	p.deps.Store = nil // whoever used it would panic
	first, second := claimsOf(t, p.batch(t).AccessToken), claimsOf(t, p.batch(t).AccessToken)
	p.deps.Store = p.store
	want := oauth.AccessTokenClaims{
		Issuer: testIssuer, Subject: "client|" + batchID, Audience: testResource, ClientID: batchID, Scope: "mcp:tools:read",
		IssuedAt: p.clock.Unix(), Expires: p.clock.Add(time.Hour).Unix(), JWTID: first.JWTID, GrantID: first.GrantID,
	}
	if !reflect.DeepEqual(first, want) {
		t.Errorf("%+v, want %+v", first, want)
	}
	if first.GrantID != second.GrantID || first.JWTID == second.JWTID {
		t.Error("two tokens of a client must share the limit of calls, and nothing else")
	}
	// Nothing of a person is found under what stands for a grant.
	if _, err := p.store.Grant(t.Context(), p.clock, first.GrantID); err == nil {
		t.Error("a grant was stored")
	}
	if _, err := p.openRefresh(first.GrantID); err == nil {
		t.Error("the grant's name is a refresh token")
	}
	form := asserted(p.assertion(t, nil))
	robot := claimsOf(t, decode[oauth.TokenResponse](t, p.from("x", tokenPath, form), http.StatusOK).AccessToken)
	if robot.GrantID == first.GrantID || robot.ClientName != "Robot" || robot.AuthTime != 0 {
		t.Errorf("%+v", robot)
	}
	events := p.kinds(oauth.EventToken)
	if last := events[len(events)-1]; last.GrantType != oauth.GrantClientCredentials || last.Subject != "client|robot" || last.GrantID != robot.GrantID || last.Resource != testResource {
		t.Errorf("the event is %+v", last)
	}
}

// named is a login with a namespace of the test's choice.
type named struct {
	alice
	namespace string
}

func (n named) Info() login.Info {
	info := n.alice.Info()
	info.Namespace = n.namespace
	return info
}

// TestNoPersonIsAProgram (SPEC G29): no login can hand out the subjects of
// programs.
func TestNoPersonIsAProgram(t *testing.T) {
	for namespace, refused := range map[string]bool{"client": true, "clients": false, "Client": false, "": false} {
		_, err := newMethods([]login.Method{named{namespace: namespace}}, Config{})
		if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "for programs") {
			t.Errorf("namespace %q: %v", namespace, err)
		}
	}
	m := method{info: login.Info{ID: "x"}}
	if _, err := m.person(login.Identity{Subject: "client|robot"}); err == nil {
		t.Error("a login without a namespace hands out client|robot")
	}
}
