package upstream_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

const otherConfig = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		LOGIN
	}
}
{URL} {
	log
	mcp_auth {
		public /open
	}
	reverse_proxy {UPSTREAM}
}
`

func startWith(t *testing.T, login, upstream string, env ...string) (*gatewaytest.Gateway, *gatewaytest.Client) {
	t.Helper()
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: strings.Replace(otherConfig, "LOGIN", login, 1), Env: env, Upstream: upstream})
	return g, gatewaytest.RegisterAs(t, g.URL, `{"client_name":"Tester","redirect_uris":["http://127.0.0.1/cb"]}`)
}

// fakeGitHub speaks as GitHub does, and lets everyone in as a member of acme.
func fakeGitHub(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		back := url.Values{"code": {"gh-code"}, "state": q["state"]}
		if q.Get("code_challenge_method") != "S256" {
			t.Errorf("asked with %v", q)
		}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	})
	answer := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		})
	}
	answer("POST /login/oauth/access_token", `{"access_token":"gho_MARKER","token_type":"bearer","scope":"read:org,user:email"}`)
	answer("GET /api/v3/user", `{"id":4711,"login":"octo","name":"Octo Cat","email":null}`)
	answer("GET /api/v3/user/emails", `[{"email":"octo@example.com","primary":true,"verified":true}]`)
	answer("GET /api/v3/user/memberships/orgs", `[{"state":"active","organization":{"login":"Acme","id":1}}]`)
	answer("GET /api/v3/user/teams", `[]`)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestGitHub(t *testing.T) {
	gh := fakeGitHub(t)
	g, c := startWith(t, "login github {\n\t\t\tclient_id id\n\t\t\tclient_secret {env.SECRET}\n\t\t\torganizations acme\n\t\t\tbase_url {env.GITHUB}\n\t\t}",
		"", "SECRET=MARKER-of-the-gateway-at-github", "GITHUB="+gh.URL)
	b := gatewaytest.NewBrowser(t)
	b.Away = []string{strings.TrimPrefix(gh.URL, "http://"), strings.TrimPrefix(g.URL, "http://")}
	consent := b.Open(c.AuthorizeURL()).Click("login", "github")
	if !strings.Contains(consent.Text(), "Octo Cat") {
		t.Fatalf("the consent page does not name the account: %d %s", consent.Status, consent.Text())
	}
	r := c.Redeem(t, consent.Allow().Result().Get("code"))
	if r.Status != http.StatusOK {
		t.Fatalf("no token: %s", r.Body)
	}
	if r := gatewaytest.Call(t, g.URL, r.Text(t, "access_token")); r.Status != http.StatusOK {
		t.Errorf("a call: %d %s", r.Status, r.Body)
	}
	if strings.Contains(g.Logs(), "MARKER") || strings.Contains(g.Logs(), "gh-code") {
		t.Error("the log has a credential")
	}
	gh.Close()
	other := gatewaytest.NewBrowser(t)
	gone := other.Open(c.AuthorizeURL()).Click("login", "github").Location.Query()
	if p := other.Open(g.URL + "/oauth/callback/github?code=x&state=" + gone.Get("state")); p.Status != http.StatusServiceUnavailable {
		t.Errorf("GitHub is down: %d %s", p.Status, p.Text())
	}
}

// A proxy in front vouches for people. Nobody else can, and neither its headers
// nor its secret reach the protected server.
func TestHeader(t *testing.T) {
	const secret = "MARKER-of-the-proxy-0123456789"
	seen := make(chan http.Header, 4)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	t.Cleanup(upstream.Close)
	g, c := startWith(t, "login header {\n\t\t\tpreset authelia\n\t\t\tsecret_header X-Proxy-Secret {env.SECRET}\n\t\t}",
		strings.TrimPrefix(upstream.URL, "http://"), "SECRET="+secret)
	b := gatewaytest.NewBrowser(t)
	b.Header.Set("Remote-User", "alice")
	if p := b.Open(c.AuthorizeURL()); p.Status != http.StatusForbidden || !strings.Contains(p.Text(), "This is not the way in") {
		t.Errorf("without the secret: %d %s", p.Status, p.Text())
	}
	b.Header.Set("X-Proxy-Secret", secret)
	b.Header.Set("Remote-Name", "Alice Example")
	consent := b.Open(c.AuthorizeURL())
	if !strings.Contains(consent.Text(), "Alice Example") || consent.Has("decision", "switch") {
		t.Errorf("%d %s", consent.Status, consent.Text())
	}
	r := c.Redeem(t, consent.Allow().Result().Get("code"))
	if r.Status != http.StatusOK {
		t.Fatalf("no token: %s", r.Body)
	}
	for _, path := range []string{"/mcp", "/open"} {
		gatewaytest.Send(t, http.MethodGet, g.URL+path, "", "Authorization", "Bearer "+r.Text(t, "access_token"),
			"X-Proxy-Secret", secret, "X_Proxy_Secret", secret, "Remote-User", "root", "Cookie", "mcp_auth_session=s; a=1")
		h := <-seen
		for name, values := range h {
			if strings.Contains(strings.Join(values, " "), secret) || strings.HasPrefix(strings.ToLower(name), "remote") {
				t.Errorf("%s: the server gets %s", path, name)
			}
		}
		if h.Get("Cookie") != "a=1" {
			t.Errorf("%s: the server gets the cookies %q", path, h.Get("Cookie"))
		}
	}
	if p := b.Open(g.URL + "/oauth/account"); !strings.Contains(p.Text(), "Tester") || p.Has("do", "sign_out") {
		t.Errorf("the account page: %d %s", p.Status, p.Text())
	}
}
