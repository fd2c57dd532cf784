package authserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// The clients that tests of programs configure.
const (
	robotID   = "robot"  // private_key_jwt, acts alone
	batchID   = "batch"  // client_secret_basic, acts alone
	serverID  = "server" // asks about tokens of every resource
	edgeID    = "edge"   // asks about tokens of the second resource
	clerkID   = "clerk"  // confidential, and neither
	anyoneID  = "anyone" // public
	theSecret = "secret-of-the-programs-0123456789"

	sideResource = "https://gw.example/other"
)

// signer signs assertions.
type signer struct {
	key any
	alg jwa.SignatureAlgorithm
	kid string
}

func newSigner(tb testing.TB, kid string) signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return signer{key, jwa.ES256, kid}
}

// jwks returns the public half as a key set.
func (s signer) jwks(tb testing.TB) []byte {
	tb.Helper()
	k, err := jwk.FromRaw(s.key)
	if err != nil {
		tb.Fatal(err)
	}
	pub, err := k.PublicKey()
	if err != nil {
		tb.Fatal(err)
	}
	set := jwk.NewSet()
	if err := errors.Join(pub.Set(jwk.KeyIDKey, s.kid), set.AddKey(pub)); err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(set)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// sign returns a compact JWS of any payload, with headers besides alg and kid; an
// empty kid leaves it out.
func (s signer) sign(tb testing.TB, header map[string]any, payload string) string {
	tb.Helper()
	h := jws.NewHeaders()
	all := map[string]any{}
	if s.kid != "" {
		all["kid"] = s.kid
	}
	maps.Copy(all, header)
	for name, value := range all {
		if err := h.Set(name, value); err != nil {
			tb.Fatal(err)
		}
	}
	raw, err := jws.Sign([]byte(payload), jws.WithKey(s.alg, s.key, jws.WithProtectedHeaders(h)))
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// machines is a rig with two resources, on which programs act.
type machines struct {
	*rig
	robot signer
}

func newMachines(tb testing.TB, edit func(*Config, *Deps)) *machines {
	tb.Helper()
	p := &machines{robot: newSigner(tb, "k1")}
	alone := []string{oauth.GrantClientCredentials}
	redirects := []string{"http://127.0.0.1/cb"}
	both := []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
	p.rig = newRig(tb, func(c *Config, d *Deps) {
		c.Resources = append(c.Resources, Resource{URIs: []string{sideResource}, Scopes: oauth.Scope{"other:read"}})
		c.Clients = []Client{
			{ID: robotID, Name: "Robot", AuthMethod: oauth.AuthMethodPrivateKeyJWT, JWKS: p.robot.jwks(tb), GrantTypes: alone},
			{ID: batchID, AuthMethod: oauth.AuthMethodBasic, Secret: theSecret, GrantTypes: alone, Resources: []string{testResource}, Scopes: oauth.Scope{"mcp:tools:read"}},
			{ID: serverID, AuthMethod: oauth.AuthMethodPost, Secret: theSecret, Introspects: true},
			{ID: edgeID, AuthMethod: oauth.AuthMethodPost, Secret: theSecret, Introspects: true, Resources: []string{sideResource}},
			{ID: clerkID, AuthMethod: oauth.AuthMethodPost, Secret: theSecret, GrantTypes: both, RedirectURIs: redirects},
			{ID: anyoneID, AuthMethod: oauth.AuthMethodNone, GrantTypes: both, RedirectURIs: redirects},
		}
		if edit != nil {
			edit(c, d)
		}
	})
	return p
}

// claims are those of a good assertion of the robot.
func (p *machines) claims() map[string]any {
	return map[string]any{
		"iss": robotID, "sub": robotID, "aud": testIssuer, "jti": newJWTID(), "iat": p.clock.Unix(), "exp": p.clock.Add(time.Minute).Unix(),
	}
}

// assertion returns an assertion of the robot, with claims replaced, or left out
// where the value is nil.
func (p *machines) assertion(tb testing.TB, change map[string]any) string {
	tb.Helper()
	claims := p.claims()
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	return p.robot.sign(tb, nil, string(text))
}

// asserted is a token request of a program that presents an assertion.
func asserted(assertion string) url.Values {
	return url.Values{
		"grant_type": {oauth.GrantClientCredentials}, "resource": {testResource},
		"client_assertion_type": {assertionType}, "client_assertion": {assertion},
	}
}

// as adds a secret to a form.
func as(id string, form url.Values) url.Values {
	form.Set("client_id", id)
	form.Set("client_secret", theSecret)
	return form
}

// basicFrom posts a token request with an Authorization header from an address.
func (p *machines) basicFrom(ip, id, secret string, form url.Values) *httptest.ResponseRecorder {
	token := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id) + ":" + url.QueryEscape(secret)))
	return p.from(ip, tokenPath, form, "Basic "+token)
}

// from posts a form from an address.
func (p *machines) from(ip, target string, form url.Values, authorization ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, testIssuer+target, strings.NewReader(form.Encode()))
	req = req.WithContext(oauth.WithMeta(req.Context(), oauth.Meta{RemoteIP: ip}))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, value := range authorization {
		req.Header.Add("Authorization", value)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, req)
	return w
}

// batch returns a token of the batch program.
func (p *machines) batch(tb testing.TB) oauth.TokenResponse {
	tb.Helper()
	return decode[oauth.TokenResponse](tb, p.basicFrom("192.0.2.1", batchID, theSecret, url.Values{"grant_type": {oauth.GrantClientCredentials}}), http.StatusOK)
}

// fails wants an OAuth error, in every part.
func fails(tb testing.TB, w *httptest.ResponseRecorder, status int, code string) {
	tb.Helper()
	if e := decode[errorBody](tb, w, status); e.Error != code || e.Description == "" {
		tb.Errorf("error %q (%s), want %s", e.Error, e.Description, code)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		tb.Errorf("the error may be stored: %v", w.Header())
	}
	if wait := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable; wait != (w.Header().Get("Retry-After") != "") {
		tb.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
	}
}

// claimsOf reads the claims of an access token.
func claimsOf(tb testing.TB, token string) (c oauth.AccessTokenClaims) {
	tb.Helper()
	parts := strings.Split(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		tb.Fatal(err)
	}
	return c
}

// alive reports whether the resource would take an access token.
func (p *machines) alive(tb testing.TB, token string) bool {
	tb.Helper()
	return !p.ended(claimsOf(tb, token))
}
