package trust_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

const head = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
}
`

// echo is an upstream server that answers with the headers it got.
func echo(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.Header)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func start(t *testing.T, caddyfile string, env ...string) *gatewaytest.Gateway {
	t.Helper()
	return gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile, Upstream: echo(t), Env: env})
}

// want checks an answer, and that 503 says when to come back.
func want(t *testing.T, what string, r gatewaytest.Reply, status int, code string) {
	t.Helper()
	challenge := r.Header.Get("WWW-Authenticate")
	switch {
	case r.Status != status:
		t.Errorf("%s: %d %s, want %d", what, r.Status, r.Body, status)
	case code != "" && !strings.Contains(r.Body, `"`+code+`"`):
		t.Errorf("%s: %s, want %s", what, r.Body, code)
	case (challenge != "") != (status == http.StatusUnauthorized):
		t.Errorf("%s: challenge %q with status %d", what, challenge, status)
	case (r.Header.Get("Retry-After") != "") != (status == http.StatusServiceUnavailable):
		t.Errorf("%s: Retry-After %q with status %d", what, r.Header.Get("Retry-After"), status)
	}
}

// identity returns a header that the upstream server got.
func identity(t *testing.T, r gatewaytest.Reply, name string) string {
	t.Helper()
	var h http.Header
	if err := json.Unmarshal([]byte(r.Body), &h); err != nil {
		t.Fatalf("%s: %v", r.Body, err)
	}
	if h.Get("Authorization") != "" {
		t.Error("the upstream server got the token")
	}
	return h.Get(name)
}

func servers(t *testing.T, g *gatewaytest.Gateway) string {
	t.Helper()
	return strings.Join(texts(gatewaytest.Send(t, http.MethodGet, g.URL+"/.well-known/oauth-protected-resource/mcp", "").JSON(t)["authorization_servers"]), " ")
}

func texts(v any) (out []string) {
	list, _ := v.([]any)
	for _, e := range list {
		s, _ := e.(string)
		out = append(out, s)
	}
	return out
}

// TestAlone: a resource without an authorization server of ours.
func TestAlone(t *testing.T) {
	t.Parallel()
	p, other := startProvider(t), startProvider(t)
	g := start(t, head+`{URL} {
	log
	mcp_auth {
		resource {URL}/mcp
		trust {env.ISSUER}
		deny group contractors
	}
	reverse_proxy {UPSTREAM}
}
`, "ISSUER="+p.Issuer)
	mcp := g.URL + "/mcp"
	r := gatewaytest.Call(t, g.URL, "")
	want(t, "no token", r, http.StatusUnauthorized, "")
	if c := r.Header.Get("WWW-Authenticate"); !strings.Contains(c, g.URL+"/.well-known/oauth-protected-resource/mcp") || strings.Contains(c, "scope") {
		t.Errorf("challenge %s", c)
	}
	if got := servers(t, g); got != p.Issuer {
		t.Errorf("authorization_servers %s", got)
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		if r := gatewaytest.Send(t, http.MethodGet, g.URL+path, ""); r.Status != http.StatusNotFound || !strings.Contains(r.Body, p.Issuer) {
			t.Errorf("%s: %d %s", path, r.Status, r.Body)
		}
	}
	for _, path := range []string{"/oauth/authorize", "/oauth/token", "/register", "/token", "/dev/token"} {
		if r := gatewaytest.Send(t, http.MethodGet, g.URL+path, ""); r.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d", path, r.Status)
		}
	}

	p.setDown(true)
	want(t, "outage at the first call", gatewaytest.Call(t, g.URL, p.token(t, mcp)), http.StatusServiceUnavailable, "temporarily_unavailable")
	p.setDown(false)
	// The provider is left alone for a few seconds after a failure; a reload
	// begins anew.
	if err := g.Reload(head+`{URL} {
	log
	mcp_auth {
		resource {URL}/mcp
		trust {env.ISSUER}
		deny group contractors
	}
	reverse_proxy {UPSTREAM}
	# another configuration
	header X-Reloaded yes
}
`, echo(t)); err != nil {
		t.Fatal(err)
	}
	good := p.token(t, mcp)
	r = gatewaytest.Call(t, g.URL, good, "X-Mcp-User", "root")
	want(t, "good", r, http.StatusOK, "")
	for name, value := range map[string]string{
		"X-Mcp-User": p.Issuer + "|alice", "X-Mcp-Client": p.Issuer + "|web", "X-Mcp-Email": "alice@corp.example",
		"X-Mcp-Name": "Alice Elsewhere", "X-Mcp-Scope": "read",
	} {
		if got := identity(t, r, name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	want(t, "another audience", gatewaytest.Call(t, g.URL, p.token(t, g.URL+"/other")), http.StatusUnauthorized, "invalid_token")
	want(t, "another issuer", gatewaytest.Call(t, g.URL, other.token(t, mcp)), http.StatusUnauthorized, "invalid_token")
	want(t, "a lie about the issuer", gatewaytest.Call(t, g.URL, other.token(t, mcp, "iss", p.Issuer)), http.StatusUnauthorized, "invalid_token")
	want(t, "opaque", gatewaytest.Call(t, g.URL, "opaque"), http.StatusUnauthorized, "invalid_token")
	want(t, "denied by a rule", gatewaytest.Call(t, g.URL, p.token(t, mcp, "groups", []string{"contractors"})), http.StatusForbidden, "access_denied")
	want(t, "groups left out", gatewaytest.Call(t, g.URL, p.token(t, mcp, "groups", nil)), http.StatusForbidden, "access_denied")
	want(t, "no groups", gatewaytest.Call(t, g.URL, p.token(t, mcp, "groups", []string{})), http.StatusOK, "")
	p.setDown(true)
	want(t, "keys in memory", gatewaytest.Call(t, g.URL, p.token(t, mcp)), http.StatusOK, "")
	if strings.Contains(g.Logs(), good) || strings.Contains(g.Logs(), strings.Split(good, ".")[2]) {
		t.Error("the log has a token")
	}
	if !strings.Contains(g.Logs(), p.Issuer+"|alice") {
		t.Error("the log does not name the user")
	}
}

// TestBeside: tokens of others and ours open the same resource, and nobody is
// taken for somebody else.
func TestBeside(t *testing.T) {
	t.Parallel()
	p, q := startProvider(t), startProvider(t)
	g := start(t, `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		login auto {
			user alice
			email alice@example.com
		}
		deny email mallory@*
		allow login auto `+p.Issuer+" "+q.Issuer+`
	}
}
{URL} {
	log
	mcp_auth {
		trust {env.P} {
			audience api://tools
			claim groups roles
		}
		trust {env.Q} {
			introspection {
				client_id gateway
				client_secret {env.SECRET}
			}
		}
		max_calls 1
	}
	reverse_proxy {UPSTREAM}
}
`, "P="+p.Issuer, "Q="+q.Issuer, "SECRET="+secret)
	mcp := g.URL + "/mcp"
	if got := servers(t, g); got != strings.Join([]string{g.URL, p.Issuer, q.Issuer}, " ") {
		t.Errorf("authorization_servers %s", got)
	}
	own, _ := gatewaytest.Register(t, g.URL).Tokens(t)
	opaque := q.opaque("MARKER-opaque", mcp, "sub", "alice")
	for token, user := range map[string]string{own: "alice", p.token(t, "api://tools"): p.Issuer + "|alice", opaque: q.Issuer + "|alice"} {
		for range 2 {
			r := gatewaytest.Call(t, g.URL, token)
			want(t, user, r, http.StatusOK, "")
			if got := identity(t, r, "X-Mcp-User"); got != user {
				t.Errorf("the user is %s, want %s", got, user)
			}
		}
	}
	want(t, "an audience that is not accepted", gatewaytest.Call(t, g.URL, p.token(t, mcp)), http.StatusUnauthorized, "invalid_token")
	want(t, "not active", gatewaytest.Call(t, g.URL, "MARKER-unknown"), http.StatusUnauthorized, "invalid_token")
	want(t, "denied by a rule of the app", gatewaytest.Call(t, g.URL, p.token(t, "api://tools", "email", "mallory@corp.example")), http.StatusForbidden, "access_denied")
	want(t, "our issuer, their key", gatewaytest.Call(t, g.URL, p.token(t, mcp, "iss", g.URL)), http.StatusUnauthorized, "invalid_token")
	q.setDown(true)
	want(t, "introspection is out", gatewaytest.Call(t, g.URL, "MARKER-new"), http.StatusServiceUnavailable, "temporarily_unavailable")
	want(t, "ours meanwhile", gatewaytest.Call(t, g.URL, own), http.StatusOK, "")
	if logs := g.Logs(); strings.Contains(logs, "MARKER") {
		t.Error("the log has a token or a secret")
	}
}

// TestOursStayHere: a provider that is asked about tokens is not sent what can be
// seen to be ours, whether it opens anything here or not.
func TestOursStayHere(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := start(t, `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		login auto {
			user alice
		}
	}
}
{URL} {
	mcp_auth {
		trust {env.ISSUER} {
			introspection {
				client_id gateway
				client_secret {env.SECRET}
			}
		}
	}
	reverse_proxy {UPSTREAM}
}
`, "ISSUER="+p.Issuer, "SECRET="+secret)
	own, _ := gatewaytest.Register(t, g.URL).Tokens(t)
	parts := strings.Split(own, ".")
	want(t, "ours", gatewaytest.Call(t, g.URL, own), http.StatusOK, "")
	for name, token := range map[string]string{
		"a personal access token":   "mcp_pat_" + strings.Repeat("a", 49),
		"a part of one":             "mcp_pat_a",
		"ours with padding":         own + "=",
		"ours with something after": own + ".x",
		"ours without a signature":  parts[0] + "." + parts[1],
		"ours cut and padded":       parts[0] + "." + parts[1] + "==",
		"ours without its header":   "." + parts[1] + "." + parts[2],
	} {
		want(t, name, gatewaytest.Call(t, g.URL, token), http.StatusUnauthorized, "invalid_token")
	}
	if asked := p.tokens(); len(asked) > 0 {
		t.Errorf("the provider was sent %q", asked)
	}
	want(t, "theirs", gatewaytest.Call(t, g.URL, p.opaque("theirs", g.URL+"/mcp")), http.StatusOK, "")
	if asked := p.tokens(); len(asked) != 1 || asked[0] != "theirs" {
		t.Errorf("the provider was asked about %q", asked)
	}
}

// TestRefusedConfigurations: mistakes end when the configuration is loaded.
func TestRefusedConfigurations(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ options, want string }{
		"no TLS":       {"trust http://idp.example.com", "https"},
		"twice":        {"trust https://idp.example.com\n\t\ttrust https://idp.example.com", "occurs twice"},
		"an algorithm": {"trust https://idp.example.com {\n\t\t\talgorithms HS256\n\t\t}", "HS256"},
		"a user by address": {
			"trust https://idp.example.com {\n\t\t\tclaim user email\n\t\t}", "can change hands",
		},
		"two that are asked": {
			"trust https://a.example {\n\t\t\tintrospection {\n\t\t\t\tclient_id a\n\t\t\t\tclient_secret b\n\t\t\t}\n\t\t}\n" +
				"\t\ttrust https://b.example {\n\t\t\tintrospection {\n\t\t\t\tclient_id a\n\t\t\t\tclient_secret b\n\t\t\t}\n\t\t}", "both have introspection",
		},
		"a secret that is not there": {
			"trust https://a.example {\n\t\t\tintrospection {\n\t\t\t\tclient_id a\n\t\t\t\tclient_secret {env.NOT_SET}\n\t\t\t}\n\t\t}", "NOT_SET",
		},
		"when an address is verified": {"trust https://a.example {\n\t\t\temail_verified always\n\t\t}", "claim or trust"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := gatewaytest.TryStart(t, gatewaytest.Options{
				Caddyfile: head + "{URL} {\n\tmcp_auth {\n\t\tresource {URL}/mcp\n\t\t" + tt.options + "\n\t}\n}\n", Upstream: "127.0.0.1:1",
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
