package spec_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// stepUp is a gateway with scopes that only those get who ask.
var stepUp = shared(caddyfile("", `scopes tickets:read
		step_up_scopes tickets:refund tickets:admin
		describe tickets:refund "Pay money back"`))

func TestStepUp(t *testing.T) {
	run(t, []requirement{
		{"K9 lists", testBasicScopesAreListed},
		{"F17 F18 scopes", testStepUpScopes},
		{"G25 INTEROP 28", testStepUpByRefresh},
	})
	wantRefusedStart(t, caddyfile("", "scopes a b\n step_up_scopes c a"), "among the scopes")
	wantRefusedStart(t, caddyfile("", "step_up_scopes offline_access"), "OpenID")
	wantRefusedStart(t, caddyfile("", "step_up_scopes a\n describe b \"Words\""), "not among the scopes")
}

// testBasicScopesAreListed: clients ask for the whole of what is listed.
func testBasicScopesAreListed(t *testing.T) {
	base := stepUp().URL
	wantMember(t, getJSON(t, base+"/.well-known/oauth-protected-resource/mcp"), "scopes_supported", `["tickets:read"]`)
	for _, path := range []string{asPath, oidcPath} {
		wantMember(t, getJSON(t, base+path), "scopes_supported", `["tickets:read","offline_access"]`)
	}
	for _, token := range []string{"", "no-good"} {
		r := gatewaytest.Call(t, base, token)
		wantStatus(t, r, http.StatusUnauthorized)
		if got := r.Header.Get("WWW-Authenticate"); !strings.Contains(got, `scope="tickets:read"`) && token == "" || strings.Contains(got, "refund") {
			t.Errorf("challenge %s", got)
		}
	}
}

func testStepUpScopes(t *testing.T) {
	c := gatewaytest.Register(t, stepUp().URL)
	for asked, want := range map[string]string{
		"": "tickets:read", "tickets:read tickets:refund": "tickets:read tickets:refund", "tickets:admin": "tickets:admin",
		"offline_access tickets:admin tickets:read nothing": "tickets:admin tickets:read",
	} {
		access, refresh := c.Tokens(t, "scope", asked)
		wantMember(t, jwtPart(t, access, 1), "scope", `"`+want+`"`)
		wantAlive(t, c.Base, access)
		access, _ = refreshed(t, c, refresh)
		wantMember(t, jwtPart(t, access, 1), "scope", `"`+want+`"`)
	}
}

// testStepUpByRefresh: a client that answers a challenge with its refresh token
// keeps its session, and gets what it wants by asking the person.
func testStepUpByRefresh(t *testing.T) {
	c := gatewaytest.Register(t, stepUp().URL)
	access, refresh := c.Tokens(t)
	for range 2 {
		wantError(t, c.Refresh(t, refresh, "scope", "tickets:read tickets:refund"), http.StatusBadRequest, "invalid_scope")
	}
	wantAlive(t, c.Base, access)
	wider, _ := c.Tokens(t, "scope", "tickets:read tickets:refund")
	wantMember(t, jwtPart(t, wider, 1), "scope", `"tickets:read tickets:refund"`)
	access, _ = refreshed(t, c, refresh)
	wantMember(t, jwtPart(t, access, 1), "scope", `"tickets:read"`)
	wantAlive(t, c.Base, wider)
}
