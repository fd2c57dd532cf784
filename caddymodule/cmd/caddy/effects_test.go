package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// tokenParts returns the header and the claims of a JWT, unchecked.
func tokenParts(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", token)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// TestSecretKey: with JWT_SECRET_KEY, tokens, sessions and clients outlive a
// restart with the same key, and none outlives another key.
func TestSecretKey(t *testing.T) {
	t.Parallel()
	key := "JWT_SECRET_KEY=a \"key\" {with} $everything"
	d := start(t, demoOptions{env: []string{key, "JWT_ALGORITHM=HS256"}})
	c := gatewaytest.Register(t, d.url)
	access, refresh := c.Tokens(t)
	if header, _ := tokenParts(t, access); header["alg"] != "HS256" {
		t.Errorf("signed with %v", header["alg"])
	}
	if r := gatewaytest.Send(t, http.MethodGet, d.url+"/oauth/jwks.json", ""); r.Body != `{"keys":[]}` {
		t.Errorf("a symmetric key is published: %s", r.Body)
	}
	d.stop(t)

	d = start(t, demoOptions{url: d.url, dir: d.dir, env: []string{key}}) // HS256 without being told
	if r := gatewaytest.Call(t, d.url, access); r.Status != http.StatusOK {
		t.Errorf("a token after a restart with the same key: %d %s", r.Status, r.Body)
	}
	r := c.Refresh(t, refresh)
	if r.Status != http.StatusOK {
		t.Errorf("a session after a restart with the same key: %d %s", r.Status, r.Body)
	}
	refresh = r.Text(t, "refresh_token")
	d.stop(t)

	d = start(t, demoOptions{url: d.url, dir: d.dir, env: []string{"JWT_SECRET_KEY=another"}})
	if r := gatewaytest.Call(t, d.url, access); r.Status != http.StatusUnauthorized {
		t.Errorf("a token after a restart with another key: %d %s", r.Status, r.Body)
	}
	if r := c.Refresh(t, refresh); r.Status != http.StatusUnauthorized {
		t.Errorf("a client after a restart with another key: %d %s", r.Status, r.Body)
	}
	gatewaytest.Register(t, d.url).Tokens(t)
}

// TestAlgorithms: JWT_ALGORITHM decides what signs.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "RS256", "EdDSA", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			d := start(t, demoOptions{env: []string{"JWT_ALGORITHM=" + alg}})
			access, _ := gatewaytest.Register(t, d.url).Tokens(t)
			if header, _ := tokenParts(t, access); header["alg"] != alg || header["typ"] != "at+jwt" {
				t.Errorf("the token's header is %v", header)
			}
			if r := gatewaytest.Call(t, d.url, access); r.Status != http.StatusOK {
				t.Errorf("a call: %d %s", r.Status, r.Body)
			}
		})
	}
}

// TestMinutes: JWT_ACCESS_TOKEN_EXPIRE_MINUTES is what clients are told, and
// what the token says.
func TestMinutes(t *testing.T) {
	t.Parallel()
	d := start(t, demoOptions{env: []string{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES=5"}})
	c := gatewaytest.Register(t, d.url)
	for name, r := range map[string]gatewaytest.Reply{
		"code": c.Redeem(t, c.Code(t)), "/dev/token": gatewaytest.Send(t, http.MethodGet, d.url+"/dev/token", ""),
	} {
		_, claims := tokenParts(t, r.Text(t, "access_token"))
		issued, _ := claims["iat"].(float64)
		expires, _ := claims["exp"].(float64)
		if r.JSON(t)["expires_in"] != 300.0 || expires-issued != 300 {
			t.Errorf("%s: expires_in %v, exp-iat %v, want 300", name, r.JSON(t)["expires_in"], expires-issued)
		}
	}
}

// TestClientSecret: CLIENT_SECRET registers demo-client, which has to use it.
func TestClientSecret(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"plain-secret", `with "quotes", {braces} & {env.HOME}`} {
		t.Run(secret, func(t *testing.T) {
			t.Parallel()
			d := start(t, demoOptions{env: []string{"CLIENT_SECRET=" + secret}})
			c := &gatewaytest.Client{
				Base: d.url, ID: "demo-client", Secret: secret, RedirectURI: "http://localhost:7777/callback", Verifier: strings.Repeat("v", 43),
			}
			for _, wrong := range []string{"", "guessed"} {
				form := c.TokenForm(c.Code(t))
				form.Del("client_secret")
				if wrong != "" {
					form.Set("client_secret", wrong)
				}
				if r := gatewaytest.PostForm(t, d.url+"/oauth/token", form); r.Status != http.StatusUnauthorized || r.Text(t, "error") != "invalid_client" {
					t.Errorf("with secret %q: %d %s", wrong, r.Status, r.Body)
				}
			}
			access, refresh := c.Tokens(t)
			if r := gatewaytest.Call(t, d.url, access); r.Status != http.StatusOK {
				t.Errorf("a call: %d %s", r.Status, r.Body)
			}
			if r := c.Refresh(t, refresh); r.Status != http.StatusOK {
				t.Errorf("refreshing: %d %s", r.Status, r.Body)
			}
			if reply, q := c.Authorize(t, "redirect_uri", "https://evil.example/callback"); q != nil {
				t.Errorf("a foreign redirect URI: %d %s", reply.Status, reply.Header.Get("Location"))
			}
		})
	}
	d := start(t, demoOptions{})
	if r := gatewaytest.PostForm(t, d.url+"/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_id": {"demo-client"}}); r.Status != http.StatusUnauthorized {
		t.Errorf("demo-client exists without CLIENT_SECRET: %d %s", r.Status, r.Body)
	}
}

// TestLogLevels: LOG_LEVEL and DEBUG decide how much is logged.
func TestLogLevels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		env       []string
		has, lack string
	}{
		{"nothing", nil, "", `"level":"warn"`},
		{"LOG_LEVEL=warning", []string{"LOG_LEVEL=warning"}, "LOGIN AUTO APPROVES EVERYONE", `"level":"info"`},
		{"LOG_LEVEL=info", []string{"LOG_LEVEL=info"}, `"level":"info"`, `"level":"debug"`},
		{"LOG_LEVEL=debug", []string{"LOG_LEVEL=debug"}, `"level":"debug"`, "PANIC"},
		{"LOG_LEVEL=CRITICAL", []string{"LOG_LEVEL=CRITICAL"}, "", `"level":"warn"`},
		{"DEBUG", []string{"DEBUG=true"}, `"level":"debug"`, "PANIC"},
		{"LOG_LEVEL before DEBUG", []string{"DEBUG=true", "LOG_LEVEL=warning"}, `"level":"warn"`, `"level":"debug"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := start(t, demoOptions{env: tt.env})
			access, refresh := gatewaytest.Register(t, d.url).Tokens(t)
			gatewaytest.Call(t, d.url, access)
			d.stop(t)
			logs := d.stderr.String()
			if !strings.Contains(logs, tt.has) || strings.Contains(logs, tt.lack) {
				t.Errorf("want %s and no %s in\n%s", tt.has, tt.lack, logs)
			}
			if strings.Contains(logs, access) || strings.Contains(logs, refresh) {
				t.Error("a token is in the log")
			}
		})
	}
}

// TestAudience: AUDIENCE is the resource, in its metadata and in tokens.
func TestAudience(t *testing.T) {
	t.Parallel()
	d := startWith(t, func(url string) []string { return []string{"AUDIENCE=" + url + "/mcp/tools " + url + "/other"} })
	audience := d.url + "/mcp/tools"
	r := gatewaytest.Send(t, http.MethodGet, d.url+"/.well-known/oauth-protected-resource/mcp/tools", "")
	if r.Status != http.StatusOK || r.Text(t, "resource") != audience {
		t.Errorf("metadata: %d %s", r.Status, r.Body)
	}
	for _, asked := range []string{audience, d.url + "/other"} {
		access, _ := gatewaytest.Register(t, d.url).Tokens(t, "resource", asked)
		if _, claims := tokenParts(t, access); claims["aud"] != audience {
			t.Errorf("the token is for %v, want %s", claims["aud"], audience)
		}
		if r := gatewaytest.Call(t, d.url, access); r.Status != http.StatusOK {
			t.Errorf("a call: %d %s", r.Status, r.Body)
		}
	}
	if !strings.Contains(d.stdout.String(), "claude mcp add --transport http demo "+audience+"\n") {
		t.Errorf("the welcome does not know: %s", d.stdout)
	}
}

// TestIssuer: ISSUER may have a path, and is in tokens as it was written.
func TestIssuer(t *testing.T) {
	t.Parallel()
	d := startWith(t, func(url string) []string { return []string{"ISSUER=" + url + "/auth"} })
	issuer := d.url + "/auth"
	r := gatewaytest.Send(t, http.MethodGet, d.url+"/.well-known/oauth-authorization-server/auth", "")
	if r.Status != http.StatusOK || r.Text(t, "issuer") != issuer || r.Text(t, "token_endpoint") != issuer+"/oauth/token" {
		t.Errorf("metadata: %d %s", r.Status, r.Body)
	}
	r = gatewaytest.Send(t, http.MethodGet, issuer+"/dev/token", "")
	_, claims := tokenParts(t, r.Text(t, "access_token"))
	if claims["iss"] != issuer {
		t.Errorf("iss is %v, want %s", claims["iss"], issuer)
	}
	if r := gatewaytest.Call(t, d.url, r.Text(t, "access_token")); r.Status != http.StatusOK {
		t.Errorf("a call: %d %s", r.Status, r.Body)
	}
	if out := runShown(t, d.stdout.String()); !strings.Contains(out, "Hello, world!") {
		t.Errorf("the commands of the welcome print\n%s", out)
	}
	for _, page := range []string{issuer + "/oauth/", d.url + "/docs"} {
		if !strings.Contains(d.stdout.String(), page) {
			t.Errorf("the welcome does not name %s", page)
		}
	}
}

// TestAddress: BASE_URL, or ISSUER alone, say where the demo listens.
func TestAddress(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"BASE_URL", "ISSUER"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startWith(t, func(url string) []string { return []string{"SERVER_URL=", name + "=" + url} })
			r := gatewaytest.Send(t, http.MethodGet, d.url+"/.well-known/oauth-authorization-server", "")
			if r.Status != http.StatusOK || r.Text(t, "issuer") != d.url {
				t.Errorf("%d %s", r.Status, r.Body)
			}
			gatewaytest.Register(t, d.url).Tokens(t)
		})
	}
}
