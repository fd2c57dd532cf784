package spec_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// registerWith registers a loopback client that authenticates in one way.
func registerWith(t *testing.T, base, method string) *gatewaytest.Client {
	t.Helper()
	c := gatewaytest.RegisterAs(t, base, `{"redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"`+method+`"}`)
	if (c.Secret == "") != (method == "none") {
		t.Fatalf("%s: secret %q", method, c.Secret)
	}
	return c
}

func basicAuth(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

// sendAs sends a token request that authenticates in one way.
func sendAs(t *testing.T, c *gatewaytest.Client, method string, form url.Values) gatewaytest.Reply {
	t.Helper()
	form.Set("client_id", c.ID)
	form.Del("client_secret")
	var header []string
	switch method {
	case "client_secret_post":
		form.Set("client_secret", c.Secret)
	case "client_secret_basic":
		form.Del("client_id")
		header = []string{"Authorization", basicAuth(c.ID, c.Secret)}
	}
	return gatewaytest.PostForm(t, c.Base+"/oauth/token", form, header...)
}

// clientAuthentication are the requirements of OAuth 2.1 §2.4.
var clientAuthentication = []requirement{
	{"G7 O44", testBruteForce},
	{"G8", testPublicClient},
	{"G9", testSecretMethods},
	{"G10 THREATS G7", testConfidentialAlways},
}

func testBruteForce(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile(configuredClients, "")})
	c := &gatewaytest.Client{Base: g.URL, ID: guessedID, RedirectURI: "http://127.0.0.1/guessed", Verifier: strings.Repeat("v", 50)}
	guess := func(secret string) gatewaytest.Reply {
		c.Secret = secret
		return sendAs(t, c, "client_secret_post", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}})
	}
	unknown := &gatewaytest.Client{Base: c.Base, ID: "nobody", Secret: "wrong"}
	other := sendAs(t, unknown, "client_secret_post", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}})
	for range 5 {
		r := guess("wrong")
		wantError(t, r, http.StatusUnauthorized, "invalid_client")
		if r.Body != other.Body {
			t.Errorf("O44: a wrong secret and an unknown client differ: %s / %s", r.Body, other.Body)
		}
	}
	wantError(t, guess("correct-horse-battery-staple"), http.StatusBadRequest, "invalid_grant")
	var r gatewaytest.Reply
	for range 20 {
		if r = guess("wrong"); r.Status == http.StatusTooManyRequests {
			break
		}
	}
	wantError(t, r, http.StatusTooManyRequests, "temporarily_unavailable")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	wantStatus(t, guess("correct-horse-battery-staple"), http.StatusTooManyRequests)
}

func testPublicClient(t *testing.T) {
	c, other := gatewaytest.Register(t, development().URL), gatewaytest.Register(t, development().URL)
	code := c.Code(t)
	form := c.TokenForm(code)
	form.Del("client_id")
	wantError(t, gatewaytest.PostForm(t, c.Base+"/oauth/token", form), http.StatusUnauthorized, "invalid_client")
	form.Set("client_id", other.ID)
	wantError(t, gatewaytest.PostForm(t, c.Base+"/oauth/token", form), http.StatusBadRequest, "invalid_grant")
	wantStatus(t, c.Redeem(t, code), http.StatusOK)
}

func testSecretMethods(t *testing.T) {
	base := development().URL
	conf := &gatewaytest.Client{Base: base, ID: confidentialID, Secret: confidentialSecret, RedirectURI: "http://127.0.0.1/conf", Verifier: strings.Repeat("v", 50)}
	wantStatus(t, sendAs(t, conf, "client_secret_basic", conf.TokenForm(conf.Code(t))), http.StatusOK)

	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}
	unescaped := "Basic " + base64.StdEncoding.EncodeToString([]byte(confidentialID+":"+confidentialSecret))
	for name, header := range map[string]string{
		"wrong secret": basicAuth(confidentialID, "wrong"), "empty secret": basicAuth(confidentialID, ""),
		"unknown client": basicAuth("nobody", "x"), "not urlencoded": unescaped,
		"no colon": "Basic " + base64.StdEncoding.EncodeToString([]byte("abc")), "not base64": "Basic ???",
	} {
		r := gatewaytest.PostForm(t, base+"/oauth/token", form, "Authorization", header)
		wantError(t, r, http.StatusUnauthorized, "invalid_client")
		if challenge := r.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Basic ") {
			t.Errorf("%s: WWW-Authenticate %q", name, challenge)
		}
	}
	named := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_id": {confidentialID}}
	wantInvalidGrant(t, gatewaytest.PostForm(t, base+"/oauth/token", named, "Authorization", basicAuth(confidentialID, confidentialSecret)))
	named.Set("client_id", guessedID)
	wantError(t, gatewaytest.PostForm(t, base+"/oauth/token", named, "Authorization", basicAuth(confidentialID, confidentialSecret)), http.StatusBadRequest, "invalid_request")
	post := registerWith(t, base, "client_secret_post")
	wantStatus(t, sendAs(t, post, "client_secret_post", post.TokenForm(post.Code(t))), http.StatusOK)
	secret := post.Secret
	for _, wrong := range []string{secret[:len(secret)-1], secret + "A", "", strings.ToLower(secret), conf.Secret} {
		post.Secret = wrong
		r := sendAs(t, post, "client_secret_post", form)
		wantError(t, r, http.StatusUnauthorized, "invalid_client")
	}
}

func testConfidentialAlways(t *testing.T) {
	base := development().URL
	for _, method := range []string{"client_secret_post", "client_secret_basic"} {
		c := registerWith(t, base, method)
		code := c.Code(t)
		for _, used := range []string{"none", "client_secret_post", "client_secret_basic"} {
			if used != method {
				wantError(t, sendAs(t, c, used, c.TokenForm(code)), http.StatusUnauthorized, "invalid_client")
			}
		}
		both := c.TokenForm(code)
		wantError(t, gatewaytest.PostForm(t, base+"/oauth/token", both, "Authorization", basicAuth(c.ID, c.Secret)), http.StatusBadRequest, "invalid_request")
		twice := c.TokenForm(code)
		twice.Del("client_secret")
		wantError(t, gatewaytest.PostForm(t, base+"/oauth/token", twice, "Authorization", basicAuth(c.ID, c.Secret),
			"Authorization", basicAuth(c.ID, c.Secret)), http.StatusBadRequest, "invalid_request")
		reply := sendAs(t, c, method, c.TokenForm(code))
		wantStatus(t, reply, http.StatusOK)
		refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {reply.Text(t, "refresh_token")}}
		wantError(t, sendAs(t, c, "none", refresh), http.StatusUnauthorized, "invalid_client")
		wantStatus(t, sendAs(t, c, method, refresh), http.StatusOK)
	}
	// A secret that a public client shows is a mistake, not an ornament.
	public := gatewaytest.Register(t, base)
	public.Secret = "invented"
	wantError(t, public.Redeem(t, public.Code(t)), http.StatusUnauthorized, "invalid_client")
}
