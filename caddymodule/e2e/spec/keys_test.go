package spec_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

func TestKeys(t *testing.T) {
	run(t, []requirement{
		{"J1", testTokenFormat},
		{"J2", testPublicKeys},
		{"J3", testKeysPersist},
		{"J4", testSwappedRoles},
	})
}

// testTokenFormat is RFC 9068 §2.
func testTokenFormat(t *testing.T) {
	base := development().URL
	c := gatewaytest.Register(t, base)
	access, _ := c.Tokens(t)
	header, claims := jwtPart(t, access, 0), jwtPart(t, access, 1)
	wantMember(t, header, "typ", `"at+jwt"`)
	wantMember(t, header, "alg", `"ES256"`)
	kid, _ := header["kid"].(string)
	var kids []string
	for _, key := range jwks(t, base) {
		kids = append(kids, key["kid"].(string))
	}
	if !slices.Contains(kids, kid) {
		t.Errorf("kid %q is not among %q", kid, kids)
	}
	wantMember(t, claims, "iss", `"`+base+`"`)
	wantMember(t, claims, "aud", `"`+base+`/mcp"`)
	wantMember(t, claims, "sub", `"alice"`)
	wantMember(t, claims, "client_id", `"`+c.ID+`"`)
	wantMember(t, claims, "scope", `"`+bothScope+`"`)
	issued, _ := claims["iat"].(float64)
	expires, _ := claims["exp"].(float64)
	if expires-issued != 3600 || claims["jti"] == nil {
		t.Errorf("iat %v, exp %v, jti %v", claims["iat"], claims["exp"], claims["jti"])
	}
	wantAbsent(t, claims, "nbf") // INTEROP 12: good at once
}

// jwks returns the keys that a gateway publishes.
func jwks(t *testing.T, base string) (keys []map[string]any) {
	t.Helper()
	r := get(t, base+"/oauth/jwks.json")
	wantStatus(t, r, http.StatusOK)
	list, ok := r.JSON(t)["keys"].([]any)
	if !ok {
		t.Fatalf("no list of keys: %s", r.Body)
	}
	for _, key := range list {
		keys = append(keys, key.(map[string]any))
	}
	return keys
}

func testPublicKeys(t *testing.T) {
	for algorithm, kty := range map[string]string{"ES256": "EC", "RS256": "RSA", "EdDSA": "OKP", "HS256": ""} {
		g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("algorithm "+algorithm, "")})
		r := get(t, g.URL+"/oauth/jwks.json")
		if cc := r.Header.Get("Cache-Control"); !strings.Contains(cc, "max-age=") {
			t.Errorf("%s: Cache-Control %q", algorithm, cc)
		}
		seen := map[any]bool{}
		for _, key := range jwks(t, g.URL) {
			wantAbsent(t, key, "d", "p", "q", "dp", "dq", "qi", "oth", "k")
			wantMember(t, key, "use", `"sig"`)
			wantMember(t, key, "alg", `"`+algorithm+`"`)
			wantMember(t, key, "kty", `"`+kty+`"`)
			if kid, _ := key["kid"].(string); kid == "" || seen[kid] {
				t.Errorf("%s: kid %q", algorithm, kid)
			}
			seen[key["kid"]] = true
			if n, _ := key["n"].(string); algorithm == "RS256" && len(n) < 342 {
				t.Errorf("an RSA key of %d bits", len(n)*6)
			}
		}
		if (len(seen) == 0) != (algorithm == "HS256") {
			t.Errorf("%s: %d keys are published", algorithm, len(seen))
		}
		access, _ := gatewaytest.Register(t, g.URL).Tokens(t)
		wantMember(t, jwtPart(t, access, 0), "alg", `"`+algorithm+`"`)
		wantAlive(t, g.URL, access)
	}
}

// testKeysPersist: tokens outlive a power cut and a change of the algorithm.
func testKeysPersist(t *testing.T) {
	port := gatewaytest.FreePort(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("", ""), Port: port})
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	code := c.Code(t)
	used := c.Code(t)
	wantStatus(t, c.Redeem(t, used), http.StatusOK)
	ended := c.Code(t)
	revoked := c.Redeem(t, ended)
	wantStatus(t, revoked, http.StatusOK)
	wantInvalidGrant(t, c.Redeem(t, ended))
	before := jwks(t, g.URL)
	g.Kill()
	g = gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("algorithm EdDSA", ""), Port: port, Dir: g.Dir})
	wantDead(t, g.URL, revoked.Text(t, "access_token")) // from the first request on
	wantAlive(t, g.URL, access)
	kids := map[any]bool{}
	for _, key := range jwks(t, g.URL) {
		kids[key["kid"]] = true
	}
	for _, key := range before {
		if !kids[key["kid"]] {
			t.Errorf("the key %v is no longer published", key["kid"])
		}
	}
	wantInvalidGrant(t, c.Redeem(t, used)) // single use outlives it too
	wantStatus(t, c.Redeem(t, code), http.StatusOK)
	refreshed(t, c, refresh)
}
