package spec_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// codeGrant are the requirements on the authorization_code grant.
var codeGrant = []requirement{
	{"G13 O16 O17 O19 THREATS K2", testVerifier},
	{"G14 O18 THREATS K1 K3 K4", testDowngrade},
	{"G15 O20 THREATS K5", testParallelRedemption},
	{"G16 O20 THREATS K6", testReplay},
	{"G17 THREATS K7", testFailedAttempts},
	{"G18", testRedirectAtToken},
	{"G19 O21", testResourceAtToken},
	{"G20", testAudience},
	{"G21", testNoRefreshGrant},
}

// redeemWith redeems a code with another verifier.
func redeemWith(t *testing.T, c *gatewaytest.Client, code, verifier string) gatewaytest.Reply {
	t.Helper()
	form := c.TokenForm(code)
	form.Set("code_verifier", verifier)
	return gatewaytest.PostForm(t, c.Base+"/oauth/token", form)
}

func testVerifier(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	challenge := gatewaytest.Challenge(c.Verifier)
	for _, verifier := range []string{
		"", "x", challenge, c.Verifier + "x", c.Verifier[1:], strings.ToUpper(c.Verifier), strings.Repeat("v", 50), c.Verifier + "\n", " " + c.Verifier, "undefined",
	} {
		r := redeemWith(t, c, c.Code(t), verifier)
		wantError(t, r, http.StatusBadRequest, "invalid_grant")
	}
	form := c.TokenForm(c.Code(t))
	form.Del("code_verifier")
	wantError(t, gatewaytest.PostForm(t, tokenURL(), form), http.StatusBadRequest, "invalid_grant")
	// O19: verifiers that match their challenge, and are no verifiers.
	for _, verifier := range []string{"", strings.Repeat("v", 42), strings.Repeat("v", 129), strings.Repeat("v", 42) + " ", strings.Repeat("v", 42) + "+", strings.Repeat("é", 30)} {
		odd := *c
		odd.Verifier = verifier
		wantError(t, odd.Redeem(t, odd.Code(t)), http.StatusBadRequest, "invalid_grant")
	}
	for _, verifier := range []string{strings.Repeat("v", 43), strings.Repeat("-._~", 32)} {
		edge := *c
		edge.Verifier = verifier
		wantStatus(t, edge.Redeem(t, edge.Code(t)), http.StatusOK)
	}
}

// testDowngrade: without a challenge there is no code, so what an attacker can
// strip is the verifier (O18, K1 to K4).
func testDowngrade(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for _, params := range [][]string{
		{"code_challenge", "-", "code_challenge_method", "-"}, {"code_challenge", "", "code_challenge_method", "S256"}, {"code_challenge_method", "plain", "code_challenge", c.Verifier},
	} {
		r, _ := c.Authorize(t, params...)
		wantRedirectError(t, r, c.Base, "invalid_request")
	}
	conf := registerWith(t, c.Base, "client_secret_post")
	r, _ := conf.Authorize(t, "code_challenge", "-")
	wantRedirectError(t, r, c.Base, "invalid_request")
	wantError(t, redeemWith(t, conf, conf.Code(t), ""), http.StatusBadRequest, "invalid_grant")
}

// testParallelRedemption: 64 at once, one winner. The others present the code
// and its verifier a second time, which is a replay: it ends the grant.
func testParallelRedemption(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for range 3 {
		code := c.Code(t)
		var winner gatewaytest.Reply
		wins := 0
		for _, r := range inParallel(t, tokenURL(), c.TokenForm(code), 64) {
			switch {
			case r.Status == http.StatusOK:
				winner = r
				wins++
			case r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant":
				t.Errorf("a loser got %d %s", r.Status, r.Body)
			}
		}
		if wins != 1 {
			t.Fatalf("%d of 64 redemptions succeeded", wins)
		}
		wantDead(t, c.Base, winner.Text(t, "access_token"))
		wantError(t, c.Refresh(t, winner.Text(t, "refresh_token")), http.StatusBadRequest, "invalid_grant")
	}
}

func testReplay(t *testing.T) {
	c, other := gatewaytest.Register(t, development().URL), gatewaytest.Register(t, development().URL)
	bystander, _ := c.Tokens(t)
	code := c.Code(t)
	reply := c.Redeem(t, code)
	wantStatus(t, reply, http.StatusOK)
	access, refresh := reply.Text(t, "access_token"), reply.Text(t, "refresh_token")
	wantAlive(t, c.Base, access)

	// K6: an invalid replay changes nothing.
	wantError(t, redeemWith(t, c, code, strings.Repeat("v", 50)), http.StatusBadRequest, "invalid_grant")
	foreign := c.TokenForm(code)
	foreign.Set("client_id", other.ID)
	wantError(t, gatewaytest.PostForm(t, tokenURL(), foreign), http.StatusBadRequest, "invalid_grant")
	wantError(t, c.Redeem(t, flipped(code, len(code)/2)), http.StatusBadRequest, "invalid_grant")
	wantAlive(t, c.Base, access)
	rotated := c.Refresh(t, refresh)
	wantStatus(t, rotated, http.StatusOK)

	// A valid one ends the grant with everything that came of it, and no other.
	wantError(t, c.Redeem(t, code), http.StatusBadRequest, "invalid_grant")
	wantDead(t, c.Base, access)
	wantDead(t, c.Base, rotated.Text(t, "access_token"))
	for _, token := range []string{refresh, rotated.Text(t, "refresh_token")} {
		wantError(t, c.Refresh(t, token), http.StatusBadRequest, "invalid_grant")
	}
	wantAlive(t, c.Base, bystander)
}

// testFailedAttempts: a wrong attempt does not burn the code, three do.
func testFailedAttempts(t *testing.T) {
	c := gatewaytest.Register(t, development().URL)
	for failures, want := range []int{http.StatusOK, http.StatusOK, http.StatusOK, http.StatusBadRequest, http.StatusBadRequest} {
		code := c.Code(t)
		for range failures {
			wantError(t, redeemWith(t, c, code, strings.Repeat("v", 50)), http.StatusBadRequest, "invalid_grant")
		}
		if r := c.Redeem(t, code); r.Status != want {
			t.Errorf("after %d failures: %d %s", failures, r.Status, r.Body)
		}
	}
	// K7: failed client authentication is no attempt.
	conf := registerWith(t, c.Base, "client_secret_post")
	code, secret := conf.Code(t), conf.Secret
	conf.Secret = "wrong"
	for range 5 {
		wantError(t, conf.Redeem(t, code), http.StatusUnauthorized, "invalid_client")
	}
	conf.Secret = secret
	wantStatus(t, conf.Redeem(t, code), http.StatusOK)
}

func testRedirectAtToken(t *testing.T) {
	c := gatewaytest.RegisterAs(t, development().URL, `{"redirect_uris":["http://127.0.0.1:7/callback","https://c.example/cb"]}`)
	for uri, status := range map[string]int{
		"http://127.0.0.1:7/callback": 200, "": 200, "http://127.0.0.1:8/callback": 400, "http://127.0.0.1/callback": 400,
		"https://c.example/cb": 400, "http://127.0.0.1:7/callback/": 400, "HTTP://127.0.0.1:7/callback": 400,
	} {
		form := c.TokenForm(c.Code(t))
		form.Set("redirect_uri", uri)
		r := gatewaytest.PostForm(t, tokenURL(), form)
		if r.Status != status || status == 400 && r.Text(t, "error") != "invalid_grant" {
			t.Errorf("redirect_uri %q: %d %s", uri, r.Status, r.Body)
		}
	}
}

func testResourceAtToken(t *testing.T) {
	g := severalResources()
	c := gatewaytest.Register(t, g.URL)
	for _, tt := range []struct{ asked, sent, want string }{
		{g.URL + "/mcp", "", g.URL + "/mcp"},
		{g.URL + "/mcp", g.URL + "/mcp", g.URL + "/mcp"},
		{g.URL + "/mcp", strings.ToUpper(g.URL) + "/mcp", g.URL + "/mcp"},
		{g.Origin, g.Origin + "/", g.Origin},
		{g.Origin + "/", g.Origin, g.Origin},
		{g.URL + "/mcp", g.URL + "/b", ""},
		{g.URL + "/mcp", g.Origin, ""},
		{g.Origin, g.URL + "/mcp", ""},
		{g.URL + "/mcp", "https://other.example", ""},
		{g.URL + "/mcp", "mcp", ""},
		{g.URL + "/mcp", g.URL + "/mcp#f", ""},
	} {
		code := c.Code(t, "resource", tt.asked)
		form := c.TokenForm(code)
		form.Set("resource", tt.sent)
		r := gatewaytest.PostForm(t, g.URL+"/oauth/token", form)
		if tt.want == "" {
			wantError(t, r, http.StatusBadRequest, "invalid_target")
			form.Del("resource") // the mistake did not burn the code
			wantStatus(t, gatewaytest.PostForm(t, g.URL+"/oauth/token", form), http.StatusOK)
			continue
		}
		wantStatus(t, r, http.StatusOK)
		wantMember(t, jwtPart(t, r.Text(t, "access_token"), 1), "aud", `"`+tt.want+`"`)
	}
	form := c.TokenForm(c.Code(t))
	form["resource"] = []string{g.URL + "/mcp", g.URL + "/b"}
	wantError(t, gatewaytest.PostForm(t, g.URL+"/oauth/token", form), http.StatusBadRequest, "invalid_target")
}

// testAudience: a token is good for its resource and nowhere else (O29).
func testAudience(t *testing.T) {
	g := severalResources()
	c := gatewaytest.Register(t, g.URL)
	endpoints := map[string]string{g.URL + "/mcp": g.URL + "/mcp/tools/call", g.URL + "/b": g.URL + "/b/call", g.Origin: g.Origin + "/mcp/tools/call"}
	for resource := range endpoints {
		reply := c.Redeem(t, c.Code(t, "resource", resource))
		wantStatus(t, reply, http.StatusOK)
		wantMember(t, reply.JSON(t), "expires_in", "3600")
		for other, endpoint := range endpoints {
			r := gatewaytest.PostJSON(t, endpoint, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Authorization", "Bearer "+reply.Text(t, "access_token"))
			if refused := r.Status == http.StatusUnauthorized; refused == (resource == other) {
				t.Errorf("a token for %s at %s: %d", resource, endpoint, r.Status)
			}
		}
	}
}

func testNoRefreshGrant(t *testing.T) {
	c := gatewaytest.RegisterAs(t, development().URL, `{`+loopbackURI+`,"grant_types":["authorization_code"]}`)
	reply := c.Redeem(t, c.Code(t, "scope", "offline_access mcp:tools:read"))
	wantStatus(t, reply, http.StatusOK)
	wantAbsent(t, reply.JSON(t), "refresh_token")
	wantAlive(t, c.Base, reply.Text(t, "access_token"))
	// INTEROP 13: others get one, though offline_access was not asked for.
	if _, refresh := gatewaytest.Register(t, c.Base).Tokens(t, "scope", "mcp:tools:read"); refresh == "" {
		t.Error("no refresh token")
	}
}
