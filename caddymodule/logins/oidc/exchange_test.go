package oidc

import (
	"net/http"
	"strings"
	"testing"
)

// TestTokenEndpoint: who is to blame when the code is not redeemed (SPEC F39).
func TestTokenEndpoint(t *testing.T) {
	leak := testCode + " " + testSecret + " " + strings.Repeat("x", 5000) + "\n"
	for _, tt := range []struct {
		name   string
		status int
		body   any
		denied bool
		want   string
	}{
		{"used code", 400, map[string]string{"error": "invalid_grant", "error_description": leak}, true, "refused the code"},
		{"bad credentials", 401, map[string]string{"error": "invalid_client", "error_description": leak}, false, "refused our client credentials"},
		{"not allowed", 400, map[string]string{"error": "unauthorized_client"}, false, "refused our client credentials"},
		{"unauthorized without a word", 401, leak, false, "refused our client credentials"},
		{"bad request", 400, map[string]string{"error": "invalid_request"}, false, "invalid_request"},
		{"error with status 200", 200, map[string]string{"error": "invalid_grant"}, true, "refused the code"},
		{"broken", 500, leak, false, "500"},
		{"overloaded", 503, map[string]string{"error": "temporarily_unavailable"}, false, "temporarily_unavailable"},
		{"garbage", 200, "<html>" + leak, false, "redeeming the code"},
		{"no ID token", 200, map[string]string{"access_token": testAccess}, false, "no ID token"},
		{"no token", 200, map[string]string{}, false, "redeeming the code"},
		{"ID token of another type", 200, map[string]any{"access_token": testAccess, "id_token": 7}, false, "no ID token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRogue(t)
			r.serve["/token"] = func(w http.ResponseWriter, _ *http.Request) {
				if text, ok := tt.body.(string); ok {
					w.WriteHeader(tt.status)
					_, _ = w.Write([]byte(text))
					return
				}
				writeJSON(w, tt.status, tt.body)
			}
			if tt.denied {
				r.refused(r.login(), tt.want)
			} else {
				r.down(r.login(), tt.want)
			}
			if n := r.count("/token"); n != 1 {
				t.Errorf("the code was shown %d times", n)
			}
		})
	}
}

// TestTokenEndpointRedirects: a code and a secret go where the document says and
// nowhere else (SPEC F38).
func TestTokenEndpointRedirects(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := newRogue(t)
		r.serve["/token"] = func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, r.URL+"/evil", status) }
		r.down(r.login(), "redirects")
		if r.count("/evil") > 0 {
			t.Errorf("status %d was followed", status)
		}
	}
}

// TestClientAuthentication: the secret goes the way that the document or the
// operator says, and once.
func TestClientAuthentication(t *testing.T) {
	const basic, post, none = "basic", "post", "none"
	for _, tt := range []struct {
		listed any
		option string
		secret string
		want   string
	}{
		{nil, "", testSecret, basic},
		{[]string{"client_secret_post", "client_secret_basic"}, "", testSecret, basic},
		{[]string{"client_secret_post"}, "", testSecret, post},
		{[]string{"client_secret_post"}, "basic", testSecret, basic},
		{[]string{"client_secret_basic"}, "post", testSecret, post},
		{[]string{"client_secret_basic"}, "", "", none},
	} {
		r := newRogue(t)
		r.document["token_endpoint_auth_methods_supported"] = tt.listed
		r.serve["/token"] = func(w http.ResponseWriter, req *http.Request) {
			got := none
			if _, secret, ok := req.BasicAuth(); ok && secret == testSecret {
				got = basic
			}
			if req.PostFormValue("client_secret") == testSecret {
				got = strings.TrimPrefix(got+post, none)
			}
			if got != tt.want || got != basic && req.PostFormValue("client_id") != testClient {
				t.Errorf("%+v: the secret came %s", tt, got)
			}
			writeJSON(w, 200, map[string]any{"access_token": testAccess, "id_token": r.idToken(r.asked.Get("nonce"))})
		}
		r.accepted(r.login("client_auth", tt.option, "client_secret", tt.secret))
	}
	r := newRogue(t)
	r.document["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"}
	r.down(r.login(), "private_key_jwt")
}
