package spec_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// refreshGrant are the requirements on the refresh_token grant.
var refreshGrant = []requirement{
	{"G22 THREATS T1", testRotation},
	{"G23 O20 THREATS T2 T5", testReuse},
	{"G24 O21 THREATS T3 T10", testRefreshBindings},
	{"G24 spelling", testRefreshSpelling},
	{"G25", testRefreshScope},
	{"G27 THREATS T8", testLostAnswer},
	{"G27 O20 THREATS T7 parallel", testParallelRefresh},
	{"G27 off", testParallelWithoutGrace},
	{"G28 O27 THREATS T4 T14", testSwappedRoles},
}

// refreshed refreshes and returns the new pair.
func refreshed(t *testing.T, c *gatewaytest.Client, token string, params ...string) (access, refresh string) {
	t.Helper()
	r := c.Refresh(t, token, params...)
	wantStatus(t, r, http.StatusOK)
	return r.Text(t, "access_token"), r.Text(t, "refresh_token")
}

func wantInvalidGrant(t *testing.T, r gatewaytest.Reply) {
	t.Helper()
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
}

func testRotation(t *testing.T) {
	for _, base := range []string{development().URL, graceOff().URL} {
		c := gatewaytest.Register(t, base)
		access, refresh := c.Tokens(t)
		seen := map[string]bool{access: true, refresh: true}
		for range 5 {
			access, refresh = refreshed(t, c, refresh)
			if seen[access] || seen[refresh] {
				t.Fatal("a token came twice")
			}
			seen[access], seen[refresh] = true, true
			wantAlive(t, base, access)
		}
	}
	c := gatewaytest.Register(t, graceOff().URL)
	_, first := c.Tokens(t)
	refreshed(t, c, first)
	wantInvalidGrant(t, c.Refresh(t, first))
}

// testReuse: who uses an old token ends the family, and only the family (T5).
func testReuse(t *testing.T) {
	t.Run("without grace", func(t *testing.T) {
		c := gatewaytest.Register(t, graceOff().URL)
		bystander, bystanderRefresh := c.Tokens(t)
		access1, refresh1 := c.Tokens(t)
		access2, refresh2 := refreshed(t, c, refresh1)
		wantInvalidGrant(t, c.Refresh(t, refresh1))
		wantFamilyDead(t, c, []string{access1, access2}, []string{refresh2, refresh1})
		wantAlive(t, c.Base, bystander)
		refreshed(t, c, bystanderRefresh)
	})
	t.Run("two generations back", func(t *testing.T) {
		c := gatewaytest.Register(t, development().URL)
		access1, refresh1 := c.Tokens(t)
		access2, refresh2 := refreshed(t, c, refresh1)
		access3, refresh3 := refreshed(t, c, refresh2)
		wantInvalidGrant(t, c.Refresh(t, refresh1))
		wantFamilyDead(t, c, []string{access1, access2, access3}, []string{refresh3, refresh2, refresh1})
	})
	t.Run("by another client", func(t *testing.T) {
		c, thief := gatewaytest.Register(t, graceOff().URL), gatewaytest.Register(t, graceOff().URL)
		_, refresh1 := c.Tokens(t)
		access2, refresh2 := refreshed(t, c, refresh1)
		wantInvalidGrant(t, thief.Refresh(t, refresh1)) // not the owner: no verdict about the family
		wantAlive(t, c.Base, access2)
		refreshed(t, c, refresh2)
	})
}

func wantFamilyDead(t *testing.T, c *gatewaytest.Client, access, refresh []string) {
	t.Helper()
	for _, token := range refresh {
		wantInvalidGrant(t, c.Refresh(t, token))
	}
	for _, token := range access {
		wantDead(t, c.Base, token)
	}
}

func testRefreshBindings(t *testing.T) {
	base := development().URL
	c, other := gatewaytest.Register(t, base), gatewaytest.Register(t, base)
	access, refresh := c.Tokens(t)
	wantInvalidGrant(t, other.Refresh(t, refresh))
	conf := &gatewaytest.Client{Base: base, ID: confidentialID, Secret: confidentialSecret}
	wantInvalidGrant(t, sendAs(t, conf, "client_secret_basic", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}))
	none := c.Refresh(t, refresh, "client_id", "")
	wantError(t, none, http.StatusUnauthorized, "invalid_client")
	// T10: a resource that does not fit changes nothing.
	for _, resource := range []string{"https://other.example", base + "/other", base + "/mcp#f"} {
		wantError(t, c.Refresh(t, refresh, "resource", resource), http.StatusBadRequest, "invalid_target")
	}
	wantAlive(t, base, access)
	_, refresh = refreshed(t, c, refresh, "resource", base+"/mcp")
	access, refresh = refreshed(t, c, refresh) // INTEROP: Codex left it out for a while
	wantMember(t, jwtPart(t, access, 1), "aud", `"`+base+`/mcp"`)
	for _, bad := range []string{refresh[1:], refresh + "A", refresh + "=", refresh[:len(refresh)-1] + "!", flipped(refresh, 0), flipped(refresh, len(refresh)/2)} {
		wantInvalidGrant(t, c.Refresh(t, bad))
	}
	refreshed(t, c, refresh)

	g := severalResources()
	many := gatewaytest.Register(t, g.URL)
	_, refresh = many.Tokens(t, "resource", g.URL+"/b")
	wantError(t, many.Refresh(t, refresh, "resource", g.URL+"/mcp"), http.StatusBadRequest, "invalid_target")
	access, _ = refreshed(t, many, refresh)
	wantMember(t, jwtPart(t, access, 1), "aud", `"`+g.URL+`/b"`)
	wantMember(t, jwtPart(t, access, 1), "sub", `"alice"`)
}

// testRefreshSpelling: a refresh token has one spelling. Go's base64 decoder
// skips line breaks.
func testRefreshSpelling(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, change := range []func(string) string{
		func(s string) string { return s + "\n" },
		func(s string) string { return "\r" + s },
		func(s string) string { return s[:9] + "\r\n" + s[9:] },
		func(s string) string { return s + " " },
	} {
		_, refresh := c.Tokens(t)
		if r := c.Refresh(t, change(refresh)); r.Status != http.StatusBadRequest {
			t.Errorf("%q: %d", change(refresh), r.Status)
		}
	}
}

func testRefreshScope(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	access, refresh := c.Tokens(t)
	wantMember(t, jwtPart(t, access, 1), "scope", `"`+bothScope+`"`)
	access, refresh = refreshed(t, c, refresh, "scope", "mcp:tools:read")
	wantMember(t, jwtPart(t, access, 1), "scope", `"mcp:tools:read"`)
	access, refresh = refreshed(t, c, refresh)
	wantMember(t, jwtPart(t, access, 1), "scope", `"`+bothScope+`"`)

	narrow, narrowRefresh := c.Tokens(t, "scope", "mcp:tools:read")
	for _, scope := range []string{bothScope, "mcp:tools:execute", "admin", "mcp:tools:read admin"} { // INTEROP 28: a clean refusal
		wantError(t, c.Refresh(t, narrowRefresh, "scope", scope), http.StatusBadRequest, "invalid_scope")
	}
	wantAlive(t, c.Base, narrow)
	narrow, _ = refreshed(t, c, narrowRefresh)
	wantMember(t, jwtPart(t, narrow, 1), "scope", `"mcp:tools:read"`)
	wantAlive(t, c.Base, access)
	refreshed(t, c, refresh, "scope", "mcp:tools:read offline_access")
}

// testLostAnswer: the answer with the second token never arrived.
func testLostAnswer(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	_, refresh1 := c.Tokens(t)
	_, lost := refreshed(t, c, refresh1)
	for range 5 {
		access, again := refreshed(t, c, refresh1)
		if again != lost {
			t.Fatal("the same refresh token led to two different ones")
		}
		wantAlive(t, c.Base, access)
	}
	_, refresh3 := refreshed(t, c, lost)
	refreshed(t, c, refresh3)
}

func testParallelRefresh(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	_, refresh := c.Tokens(t)
	for range 3 {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {c.ID}}
		next := ""
		for _, r := range inParallel(t, tokenURL(), form, 32) {
			wantStatus(t, r, http.StatusOK)
			if got := r.Text(t, "refresh_token"); next == "" {
				next = got
			} else if next != got {
				t.Fatal("one refresh token led to two different ones")
			}
			wantAlive(t, c.Base, r.Text(t, "access_token"))
		}
		refresh = next
	}
	refreshed(t, c, refresh)
}

// testParallelWithoutGrace: with refresh_grace off, any second use ends the
// session, also one at the same time.
func testParallelWithoutGrace(t *testing.T) {
	c := gatewaytest.Register(t, graceOff().URL)
	for range 20 {
		_, refresh := c.Tokens(t)
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {c.ID}}
		wins := 0
		var winner gatewaytest.Reply
		for _, r := range inParallel(t, c.Base+"/oauth/token", form, 32) {
			switch {
			case r.Status == http.StatusOK:
				wins++
				winner = r
			case r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant":
				t.Errorf("a loser got %d %s", r.Status, r.Body)
			}
		}
		if wins != 1 {
			t.Errorf("%d of 32 uses of one refresh token succeeded", wins)
		}
		wantInvalidGrant(t, c.Refresh(t, winner.Text(t, "refresh_token")))
	}
}

// testSwappedRoles: no artefact passes for another (J4, O27).
func testSwappedRoles(t *testing.T) {
	c := registerWith(t, development().URL, "client_secret_post")
	code := c.Code(t)
	access, refresh := c.Tokens(t)
	for name, value := range map[string]string{"access token": access, "code": code, "client id": c.ID, "secret": c.Secret} {
		if r := c.Refresh(t, value); r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant" {
			t.Errorf("the %s as refresh token: %d %s", name, r.Status, r.Body)
		}
	}
	for name, value := range map[string]string{"access token": access, "refresh token": refresh, "client id": c.ID, "secret": c.Secret} {
		if r := c.Redeem(t, value); r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant" {
			t.Errorf("the %s as code: %d %s", name, r.Status, r.Body)
		}
	}
	for name, value := range map[string]string{"code": code, "refresh token": refresh, "client id": c.ID, "secret": c.Secret} {
		if r := gatewaytest.Call(t, c.Base, value); r.Status != http.StatusUnauthorized {
			t.Errorf("the %s as access token: %d %s", name, r.Status, r.Body)
		}
	}
	for name, value := range map[string]string{"code": code, "refresh token": refresh, "access token": access, "secret": c.Secret} {
		stranger := *c
		stranger.ID = value
		r, _ := stranger.Authorize(t)
		wantPage(t, r, http.StatusBadRequest)
		if r := stranger.Redeem(t, code); r.Status != http.StatusUnauthorized {
			t.Errorf("the %s as client_id: %d %s", name, r.Status, r.Body)
		}
	}
	wantStatus(t, c.Redeem(t, code), http.StatusOK)
	refreshed(t, c, refresh)
}
