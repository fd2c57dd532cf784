package clients_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// mode is one way in which a program becomes known and comes to a token.
type mode struct {
	name string
	// identify makes the client known, or knows that it is.
	identify func(*testing.T, journey) identity
	// obtain gets the token.
	obtain func(journey, *testing.T, identity) issued
}

// modes are all ways there are; key is that of the configured clients.
func modes(key clientKey) []mode {
	const callback = "http://127.0.0.1:33419/callback"
	return []mode{
		{"dynamic, none", dynamic("none"), journey.signIn},
		{"dynamic, client_secret_post", dynamic("client_secret_post"), journey.signIn},
		{"dynamic, client_secret_basic", dynamic("client_secret_basic"), journey.signIn},
		{"dynamic, private_key_jwt", dynamic("private_key_jwt"), journey.signIn},
		{"pre-registered, public", known("public", "none", callback, key), journey.signIn},
		{"pre-registered, secret", known("secret", "client_secret_basic", callback, key), journey.signIn},
		{"pre-registered, hash of a secret", known("hash", "client_secret_post", callback, key), journey.signIn},
		{"pre-registered, private_key_jwt", known("key", "private_key_jwt", callback, key), journey.signIn},
		{"document, none", document("none", nil), journey.signIn},
		{"document, private_key_jwt", document("private_key_jwt", nil), journey.signIn},
		{"document, keys elsewhere", document("private_key_jwt", inJWKSURI), journey.signIn},
		{"document, negotiated none", document("none", alsoNone), journey.signIn},
		{"document, negotiated private_key_jwt", document("private_key_jwt", alsoNone), journey.signIn},
		{"bundled document, none", known(claudeCode, "none", "http://localhost:33419/callback", key), journey.signIn},
		{"bundled document, negotiated none", known(chatGPT, "none", "https://chatgpt.com/connector_platform_oauth_redirect", key), journey.signIn},
		{"client credentials, secret", known("machine", "client_secret_basic", "", key), journey.alone},
		{"client credentials, private_key_jwt", known("machine-key", "private_key_jwt", "", key), journey.alone},
		{"personal access token", nobody, journey.personalToken},
	}
}

// configuredClients are the clients of the configuration that modes has.
func configuredClients(t *testing.T, key clientKey) []string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(clientSecret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	jwks, redirect := "\tjwks `"+string(key.public(t))+"`", "\tredirect_uri http://127.0.0.1/callback"
	return []string{
		"client public {", redirect, "}",
		"client secret {", redirect, "\tsecret {env.CLIENT_SECRET}", "}",
		"client hash {", redirect, "\tsecret_hash `" + string(hash) + "`", "\tauth_method client_secret_post", "}",
		"client key {", redirect, jwks, "}",
		"client machine {", "\tsecret {env.CLIENT_SECRET}", "\tgrants client_credentials", "}",
		"client machine-key {", jwks, "\tgrants client_credentials", "}",
	}
}

// TestEveryMode is the whole way, from a URL to tool calls, a refresh and the
// end, for every way in which a program can be known and come to a token.
func TestEveryMode(t *testing.T) {
	t.Parallel()
	host := serveDocuments(t)
	env, options := host.options()
	key := newKey(t)
	g := attendedIn(t, env, append(options, configuredClients(t, key)...)...)
	for _, m := range modes(key) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			j := discover(t, g.URL+"/mcp")
			j.documents = host
			by := m.identify(t, j)
			got := m.obtain(j, t, by)
			j.useTools(t, got.access)
			if got.refresh != "" {
				got = j.refresh(t, by, got)
				j.useTools(t, got.access)
			}
			got.revoke(t)
			j.ended(t, got.access)
			if got.refresh == "" {
				return
			}
			r := j.post(t, "token_endpoint", by, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.refresh}})
			if r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant" {
				t.Errorf("refresh after the end: %d %s", r.Status, r.Body)
			}
		})
	}
}

// nobody is no client at all.
func nobody(*testing.T, journey) identity { return identity{} }

// known is a client that need not register: the gateway's configuration or its
// copy of the document has it.
func known(id, method, redirectURI string, key clientKey) func(*testing.T, journey) identity {
	return func(t *testing.T, j journey) identity {
		t.Helper()
		name := map[string]string{claudeCode: "Claude Code", chatGPT: "ChatGPT"}[id]
		if name == "" {
			name = id
		}
		return identity{id: id, name: name, redirectURI: redirectURI, prove: proof(method, id, clientSecret, j.url(t, "issuer"), key)}
	}
}

// dynamic registers a client at the registration endpoint (RFC 7591).
func dynamic(method string) func(*testing.T, journey) identity {
	return func(t *testing.T, j journey) identity {
		t.Helper()
		by, key := identity{name: "Journey", redirectURI: "http://127.0.0.1:33418/callback"}, clientKey{}
		metadata := map[string]any{
			"client_name": by.name, "redirect_uris": []string{by.redirectURI},
			"grant_types": []string{"authorization_code", "refresh_token"}, "token_endpoint_auth_method": method,
		}
		if method == "private_key_jwt" {
			key = newKey(t)
			metadata["jwks"] = key.public(t)
		}
		body, err := json.Marshal(metadata)
		if err != nil {
			t.Fatal(err)
		}
		r := gatewaytest.PostJSON(t, j.url(t, "registration_endpoint"), string(body))
		if r.Status != http.StatusCreated || r.Text(t, "token_endpoint_auth_method") != method {
			t.Fatalf("registration: %d %s", r.Status, r.Body)
		}
		by.id = r.Text(t, "client_id")
		by.prove = proof(method, by.id, r.Text(t, "client_secret"), j.url(t, "issuer"), key)
		return by
	}
}

// document publishes a metadata document for a client that authenticates by a
// method; change, unless nil, says what else is in it.
func document(method string, change func(*testing.T, journey, map[string]any)) func(*testing.T, journey) identity {
	return func(t *testing.T, j journey) identity {
		t.Helper()
		key := newKey(t)
		path := "/" + rand.Text() + "/client.json"
		by := identity{id: j.documents.origin + path, name: "Journey by document", redirectURI: "http://127.0.0.1:33420/callback"}
		content := map[string]any{
			"client_id": by.id, "client_name": by.name, "redirect_uris": []string{"http://127.0.0.1/callback"},
			"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
			"token_endpoint_auth_method": method,
		}
		if method == "private_key_jwt" {
			content["jwks"] = key.public(t)
		}
		if change != nil {
			change(t, j, content)
		}
		j.documents.publish(path, content)
		by.prove = proof(method, by.id, "", j.url(t, "issuer"), key)
		return by
	}
}

// inJWKSURI moves the keys to a place of their own.
func inJWKSURI(_ *testing.T, j journey, content map[string]any) {
	content["jwks_uri"] = j.documents.publish("/"+rand.Text()+"/keys.json", content["jwks"])
	delete(content, "jwks")
}

// alsoNone makes it the document of a client that would rather sign, and can do
// without, as ChatGPT's.
func alsoNone(t *testing.T, _ journey, content map[string]any) {
	t.Helper()
	if content["jwks"] == nil {
		content["jwks"] = newKey(t).public(t)
	}
	content["token_endpoint_auth_method"] = "private_key_jwt"
	content["token_endpoint_auth_methods_supported"] = []string{"none", "private_key_jwt"}
	content["token_endpoint_auth_signing_alg"] = "ES256"
}
