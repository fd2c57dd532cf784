package registration_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

const clientSecret = "a-secret-that-the-operator-gave-out"

// hashes returns a bcrypt and a sha256 hash of the secret.
func hashes(t *testing.T) (slow, fast string) {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(clientSecret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(clientSecret))
	return string(h), "sha256:" + hex.EncodeToString(sum[:])
}

// configured is a client of the configuration.
func configured(g *gatewaytest.Gateway, id, secret, redirectURI string) *gatewaytest.Client {
	return &gatewaytest.Client{Base: g.URL, ID: id, Secret: secret, RedirectURI: redirectURI, Verifier: strings.Repeat("verifier-0123456789.", 3)}
}

// TestConfiguredClients takes each kind through the flow, and past its limits.
func TestConfiguredClients(t *testing.T) {
	slow, fast := hashes(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Env: []string{"CLIENT_SECRET=" + clientSecret, "CLIENT_HASH=" + slow}, Caddyfile: automatic(
		`client public {
			redirect_uri http://127.0.0.1/callback myapp:/cb
		}`,
		`client plain {
			secret {env.CLIENT_SECRET}
			auth_method client_secret_post
			redirect_uri https://c.example/cb
		}`,
		`client bcrypt {
			secret_hash {env.CLIENT_HASH}
			auth_method client_secret_post
			redirect_uri https://c.example/cb
		}`,
		`client sha256 {
			secret_hash `+fast+`
			auth_method client_secret_post
			redirect_uri https://c.example/cb
		}`,
		`client limited {
			redirect_uri http://127.0.0.1/callback
			scopes mcp:tools:read
			resources {URL}/sse
			grants authorization_code
		}`,
		`client nightly {
			secret {env.CLIENT_SECRET}
			auth_method client_secret_post
			grants client_credentials
			scopes mcp:tools:read
		}`,
		`client http://127.0.0.1:1/client.json {
			redirect_uri http://127.0.0.1/callback
		}`,
		`client https://127.0.0.1:1/client.json {
			redirect_uri http://127.0.0.1/callback
		}`,
		"registration off {\n\t\t\tredirect_schemes none\n\t\t\tallow_redirect_hosts nothing.example\n\t\t\tunvetted_scopes mcp:tools:read\n\t\t}",
	)})
	for _, id := range []string{"plain", "bcrypt", "sha256"} {
		t.Run("with a secret: "+id, func(t *testing.T) {
			c := configured(g, id, clientSecret, "https://c.example/cb")
			access, refresh := c.Tokens(t, "scope", "admin")
			wantStatus(t, gatewaytest.Call(t, g.URL, access), http.StatusOK)
			wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
			code := c.Code(t)
			for _, wrong := range []string{"", "wrong", slow, fast} {
				bad := configured(g, id, wrong, "https://c.example/cb")
				wantError(t, bad.Redeem(t, code), http.StatusUnauthorized, "invalid_client")
			}
			wantStatus(t, c.Redeem(t, code), http.StatusOK)
		})
	}
	for _, id := range []string{"public", "http://127.0.0.1:1/client.json", "https://127.0.0.1:1/client.json"} {
		t.Run("public: "+id, func(t *testing.T) {
			c := configured(g, id, "", "http://127.0.0.1/callback")
			access, _ := c.Tokens(t)
			wantStatus(t, gatewaytest.Call(t, g.URL, access), http.StatusOK)
			if _, q := c.Authorize(t, "redirect_uri", "https://c.example/cb"); q != nil {
				t.Errorf("another redirect URI: %v", q)
			}
		})
	}
	t.Run("its own scheme", func(t *testing.T) {
		configured(g, "public", "", "myapp:/cb").Code(t)
	})
	t.Run("limited", func(t *testing.T) {
		c := configured(g, "limited", "", "http://127.0.0.1/callback")
		r := c.Redeem(t, c.Code(t))
		wantStatus(t, r, http.StatusOK)
		if r.Text(t, "scope") != "mcp:tools:read" || r.Text(t, "refresh_token") != "" {
			t.Errorf("%s", r.Body)
		}
		if _, q := c.Authorize(t, "scope", "admin"); q.Get("error") != "invalid_scope" {
			t.Errorf("another scope: %v", q)
		}
	})
	t.Run("for itself", func(t *testing.T) {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"nightly"}, "client_secret": {clientSecret}}
		r := gatewaytest.PostForm(t, g.URL+"/oauth/token", form)
		wantStatus(t, r, http.StatusOK)
		if r.Text(t, "scope") != "mcp:tools:read" || r.Text(t, "refresh_token") != "" {
			t.Errorf("%s", r.Body)
		}
		form.Set("scope", "admin")
		wantError(t, gatewaytest.PostForm(t, g.URL+"/oauth/token", form), http.StatusBadRequest, "invalid_scope")
		if r, q := configured(g, "nightly", "", "https://c.example/cb").Authorize(t); q != nil {
			t.Errorf("it can send people here: %d %v", r.Status, q)
		}
	})
	if strings.Contains(g.Logs(), clientSecret) || strings.Contains(g.Logs(), slow) {
		t.Error("the log holds a secret or its hash")
	}
}

// TestTwoResources: a client that is kept from a site can't get a token for it.
func TestTwoResources(t *testing.T) {
	text := automatic("client own {\n\t\t\tredirect_uri http://127.0.0.1/callback\n\t\t\tresources {URL}/other\n\t\t}")
	text += "http://localhost:{PORT} {\n\tmcp_auth {\n\t\tresource {URL}/other\n\t\tscopes read\n\t}\n\treverse_proxy {UPSTREAM}\n}\n"
	port := gatewaytest.FreePort(t)
	text = strings.ReplaceAll(strings.Replace(text, "{URL}/other\n\t\tscopes", "http://localhost:{PORT}/other\n\t\tscopes", 1), "resources {URL}/other", "resources http://localhost:{PORT}/other")
	text = strings.ReplaceAll(text, "{PORT}", strconv.Itoa(port))
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text})
	c := configured(g, "own", "", "http://127.0.0.1/callback")
	if _, q := c.Authorize(t); q.Get("error") != "invalid_target" {
		t.Errorf("the other site: %v", q)
	}
	// It names none and gets the one that it may have.
	code := c.Code(t, "resource", "-")
	form := c.TokenForm(code)
	form.Set("resource", g.URL+"/mcp")
	wantError(t, gatewaytest.PostForm(t, g.URL+"/oauth/token", form), http.StatusBadRequest, "invalid_target")
	r := c.Redeem(t, code)
	wantStatus(t, r, http.StatusOK)
	wantStatus(t, gatewaytest.Call(t, g.URL, r.Text(t, "access_token")), http.StatusUnauthorized)
}

// TestTrusted: nobody is asked, but everybody signs in, rules count, and a
// client may want the question all the same.
func TestTrusted(t *testing.T) {
	text := asking(t,
		"client desk {\n\t\t\tname Desk\n\t\t\tredirect_uri https://desk.example/cb\n\t\t\ttrusted\n\t\t}",
		"client local {\n\t\t\tredirect_uri http://127.0.0.1/callback\n\t\t\ttrusted\n\t\t}",
	)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text})
	b := gatewaytest.NewBrowser(t)
	c := configured(g, "desk", "", "https://desk.example/cb")
	p := b.Open(c.AuthorizeURL())
	if !strings.Contains(p.Text(), "You are not asked again") || len(p.Buttons("decision")) > 0 {
		t.Fatalf("the sign-in page: %d %s", p.Status, p.Text())
	}
	wantStatus(t, c.Redeem(t, p.SignIn("alice", password).Result().Get("code")), http.StatusOK)
	if p := b.Open(c.AuthorizeURL("prompt", "none")); p.Result().Get("code") == "" {
		t.Errorf("prompt=none: %v", p.Result())
	}
	if p := b.Open(c.AuthorizeURL("prompt", "consent")); p.Status != http.StatusOK || p.Allow().Result().Get("code") == "" {
		t.Errorf("prompt=consent: %d", p.Status)
	}
	dynamic := register(t, g, `{"client_name":"Desk",`+loopback+`}`)
	if p := b.Open(dynamic.AuthorizeURL("prompt", "none")); p.Result().Get("error") != "consent_required" && p.Status != http.StatusBadRequest {
		t.Errorf("a stranger of that name: %d %v", p.Status, p.Result())
	}
	if warned := strings.Count(g.Logs(), "any program there can pass for it"); warned != 1 || !strings.Contains(g.Logs(), `client \"local\" is trusted`) {
		t.Errorf("%d warnings", warned)
	}
	if err := g.Reload(strings.Replace(text, "client desk", "deny user alice\n\t\tclient desk", 1), upstreamOf(t, g)); err != nil {
		t.Fatal(err)
	}
	if p := b.Open(c.AuthorizeURL()); p.Status != http.StatusForbidden {
		t.Errorf("somebody who is not invited: %d", p.Status)
	}
}

// TestBrokenClients: what only the whole configuration shows is refused at start,
// with the client's name.
func TestBrokenClients(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "private.json"), `{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}]}`)
	write(t, filepath.Join(dir, "words.json"), `hello`)
	for name, tc := range map[string]struct{ option, want string }{
		"resource":         {"client x {\n redirect_uri https://c.example/cb\n resources https://elsewhere.example/mcp\n}", `client \"x\": no site protects the resource`},
		"scope":            {"client x {\n redirect_uri https://c.example/cb\n scopes nothing\n}", `client \"x\": none of its resources has the scope`},
		"unvetted scope":   {"registration {\n unvetted_scopes nothing\n}", `unvetted_scopes: no resource has the scope`},
		"file of keys":     {"client x {\n jwks " + dir + "/none.json\n grants client_credentials\n}", `client \"x\": reading its keys`},
		"file of words":    {"client x {\n jwks " + dir + "/words.json\n grants client_credentials\n}", `client \"x\": jwks`},
		"private keys":     {"client x {\n jwks " + dir + "/private.json\n grants client_credentials\n}", `client \"x\": jwks: the set shows a secret key`},
		"hash of the env":  {"client x {\n secret_hash {env.CLIENT_HASH}\n redirect_uri https://c.example/cb\n}", `client \"x\": the hash of its secret`},
		"secret not there": {"client x {\n secret {env.NO_SUCH_SECRET}\n redirect_uri https://c.example/cb\n}", `client_secret of client x: the placeholder {env.NO_SUCH_SECRET} has no value`},
		"line":             {"client x {\n redirect_uri javascript:alert(1)\n}", `Caddyfile:`},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := gatewaytest.TryStart(t, gatewaytest.Options{Caddyfile: automatic(tc.option), Env: []string{"CLIENT_HASH=hunter2hunter2"}})
			if err == nil {
				g.Stop()
				t.Fatal("it starts")
			}
			if !strings.Contains(err.Error(), tc.want) && !strings.Contains(err.Error(), strings.ReplaceAll(tc.want, `\"`, `"`)) {
				t.Errorf("%s\nwant %s", err, tc.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error repeats a credential")
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
