package enforce_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// withoutError checks the answer to a request that presents no token.
func withoutError(tb testing.TB, base string, r gatewaytest.Reply) {
	tb.Helper()
	wantStatus(tb, r, http.StatusUnauthorized)
	want := `Bearer resource_metadata="` + base + `/.well-known/oauth-protected-resource/mcp", scope="mcp:basic mcp:more"`
	if c := r.Header.Values("WWW-Authenticate"); len(c) != 1 || c[0] != want {
		tb.Errorf("challenge %q, want %q", c, want)
	}
	if cc := r.Header.Get("Cache-Control"); cc != "no-store" {
		tb.Errorf("Cache-Control %q", cc)
	}
}

func TestBearer(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "scopes mcp:basic mcp:more")
	token := devToken(t, g.URL)
	t.Run("K1 every method needs a token, a session id is none", func(t *testing.T) {
		for _, method := range []string{"GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"} {
			withoutError(t, g.URL, gatewaytest.Send(t, method, g.URL+"/mcp", "", "Mcp-Session-Id", "abc", "Last-Event-ID", "1"))
		}
		u.None(t)
	})
	t.Run("K2 the scheme's case does not matter", func(t *testing.T) {
		for _, scheme := range []string{"Bearer", "bearer", "BEARER", "bEaReR"} {
			wantStatus(t, call(t, g.URL+"/mcp", "Authorization", scheme+" "+token), http.StatusOK)
		}
		u.Take()
	})
	t.Run("K2 K10 O31 two credentials or broken syntax are 400", func(t *testing.T) { malformed(t, u, g.URL, token) })
	t.Run("K2 another scheme is no credential", func(t *testing.T) {
		for _, value := range []string{"Basic " + token, "DPoP " + token, "Token " + token, token, "", "Bearer\t" + token} {
			withoutError(t, g.URL, call(t, g.URL+"/mcp", "Authorization", value))
		}
		u.None(t)
	})
	t.Run("K3 O31 a token elsewhere is none", func(t *testing.T) { elsewhere(t, u, g.URL, token) })
	t.Run("K4 K9 no token, no error", func(t *testing.T) {
		withoutError(t, g.URL, call(t, g.URL+"/mcp"))
		u.None(t)
	})
	t.Run("K5 K10 a bad token is invalid_token", func(t *testing.T) {
		r := call(t, g.URL+"/mcp", bearer("nonsense")...)
		wantInvalid(t, r)
		c := r.Header.Get("WWW-Authenticate")
		for _, part := range []string{`resource_metadata="` + g.URL, `scope="mcp:basic mcp:more"`, `error_description="`} {
			if !strings.Contains(c, part) {
				t.Errorf("challenge lacks %s: %s", part, c)
			}
		}
		u.None(t)
	})
}

func malformed(t *testing.T, u *gatewaytest.Upstream, base, token string) {
	for _, values := range [][]string{
		{"Bearer " + token, "Bearer " + token},
		{"Bearer " + token, "Basic abc"},
		{"Basic abc", "Bearer " + token},
		{"Bearer " + token + ", Bearer " + token},
		{"Basic abc, Bearer " + token},
		{"Bearer  " + token},
		{"Bearer"},
		{"Bearer " + token + " x"},
		{"Bearer \t" + token},
		{`Bearer "` + token + `"`},
		{"Bearer " + token + "\u2028"},
	} {
		var header []string
		for _, v := range values {
			header = append(header, "Authorization", v)
		}
		r := call(t, base+"/mcp", header...)
		if r.Status != http.StatusBadRequest || !strings.Contains(r.Header.Get("WWW-Authenticate"), `error="invalid_request"`) {
			t.Errorf("%.60q: %d %s", values, r.Status, r.Header.Get("WWW-Authenticate"))
		}
	}
	for _, line := range []string{"Authorization: Bearer a\x00b", "Authorization : Bearer " + token, "Authorization: Bearer a\x07"} {
		if r := raw(t, base, "POST /mcp HTTP/1.1\nHost: HOST\nContent-Length: 0\n"+line+"\n\n"); r.Status != http.StatusBadRequest {
			t.Errorf("%q: %d", line, r.Status)
		}
	}
	u.None(t)
}

func elsewhere(t *testing.T, u *gatewaytest.Upstream, base, token string) {
	for _, query := range []string{"access_token=", "a=b&access_token=", "ACCESS_TOKEN=", "access%5ftoken=", "a=b;access_token="} {
		withoutError(t, base, call(t, base+"/mcp?"+query+token))
	}
	form := url.Values{"access_token": {token}}
	withoutError(t, base, gatewaytest.PostForm(t, base+"/mcp", form))
	for _, h := range [][2]string{
		{"Cookie", "access_token=" + token},
		{"Cookie", "Authorization=Bearer " + token},
		{"Sec-WebSocket-Protocol", "bearer, " + token},
		{"Proxy-Authorization", "Bearer " + token},
		{"X-Authorization", "Bearer " + token},
		{"X-Forwarded-Access-Token", token},
		{"X-Access-Token", token},
		{"DPoP", token},
		{"Mcp-Session-Id", token},
		{"X-Mcp-User", "alice"},
		{"Authorization_", "Bearer " + token},
	} {
		withoutError(t, base, call(t, base+"/mcp", h[0], h[1]))
	}
	u.None(t)
}

// K11: one line, Bearer first, printable ASCII, whatever the request says.
func TestChallengeSyntax(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "")
	valid := regexp.MustCompile(`^Bearer [a-z_]+="[\x20\x21\x23-\x5b\x5d-\x7e]*"(, [a-z_]+="[\x20\x21\x23-\x5b\x5d-\x7e]*")*$`)
	for _, target := range []string{"/mcp", `/mcp/%22%0d%0aX-Evil:1`, "/mcp%E2%80%A8", `/mcp"`, "/mcp?scope=%22x", "/"} {
		for _, value := range []string{"", "Bearer", `Bearer "`, "Bearer \u2028", "Bearer x"} {
			t.Run("K11 K12 O41 "+target+" "+value, func(t *testing.T) {
				request := "POST " + target + " HTTP/1.1\nHost: HOST\nX-Forwarded-Host: evil.example\n" +
					"X-Forwarded-Proto: https\nForwarded: host=evil.example\nContent-Length: 0\n"
				if value != "" {
					request += "Authorization: " + value + "\n"
				}
				r := raw(t, g.URL, request+"\n")
				challenges := r.Header.Values("WWW-Authenticate")
				if len(challenges) != 1 || !valid.MatchString(challenges[0]) {
					t.Fatalf("%d, challenge %q", r.Status, challenges)
				}
				if want := `resource_metadata="` + g.URL + `/.well-known/oauth-protected-resource/mcp"`; !strings.Contains(challenges[0], want) {
					t.Errorf("challenge lacks %s: %s", want, challenges[0])
				}
				if strings.Contains(r.Body+challenges[0], "evil") || r.Header.Get("X-Evil") != "" {
					t.Errorf("the request's text came back: %v %s", r.Header, r.Body)
				}
				if r.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("Cache-Control %q", r.Header.Get("Cache-Control"))
				}
			})
		}
	}
	u.None(t)
}
