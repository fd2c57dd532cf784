package authserver

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// TestRegisterForcedSecret: Perplexity declares that it has no secret, and
// goes no further without one (INTEROP 1.16). It gets one by its redirect URI,
// and must then present it; everyone else gets what they declare.
func TestRegisterForcedSecret(t *testing.T) {
	const perplexity = `"https://www.perplexity.ai/rest/connections/oauth_callback"`
	r := newRig(t, nil)
	for _, tt := range []struct {
		name, metadata, method string
	}{
		{"declares none", `{"redirect_uris":[` + perplexity + `],"token_endpoint_auth_method":"none"}`, oauth.AuthMethodPost},
		{"declares nothing", `{"redirect_uris":[` + perplexity + `]}`, oauth.AuthMethodPost},
		{"declares another", `{"redirect_uris":[` + perplexity + `],"token_endpoint_auth_method":"client_secret_basic"}`, oauth.AuthMethodBasic},
		{"with another's redirect URI", `{"redirect_uris":[` + perplexity + `,"http://localhost/callback"]}`, oauth.AuthMethodNone},
		{"nearly its redirect URI", `{"redirect_uris":["https://www.perplexity.ai.evil.example/rest/connections/oauth_callback"]}`, oauth.AuthMethodNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := r.register(t, tt.metadata)
			if c.TokenEndpointAuthMethod != tt.method || (c.ClientSecret != "") != (tt.method != oauth.AuthMethodNone) {
				t.Errorf("method %q, with a secret: %t", c.TokenEndpointAuthMethod, c.ClientSecret != "")
			}
			if (c.ClientSecretExpiresAt != nil) != (c.ClientSecret != "") {
				t.Error("client_secret_expires_at belongs to a secret (RFC 7591 section 3.2.1)")
			}
		})
	}

	c := r.register(t, `{"redirect_uris":[`+perplexity+`],"token_endpoint_auth_method":"none"}`)
	form := codeForm(c.ClientID, "a code")
	r.refused(t, form, http.StatusUnauthorized, oauth.CodeInvalidClient)
	form.Set("client_secret", c.ClientSecret)
	r.refused(t, form, http.StatusBadRequest, oauth.CodeInvalidGrant)
}

// TestUnknownClientFix: the page for a lost registration tells the fix of the
// program that the request looks like, as a guess: it neither links to the
// redirect URI nor repeats it.
func TestUnknownClientFix(t *testing.T) {
	s := pageServer(t, docsConfigs()["plain"])
	common := []string{"Claude Code", "Claude (web, desktop, mobile) / ChatGPT", "Cursor", "VS Code", "mcp-remote"}
	for _, tt := range []struct {
		uri        string
		says, lack []string
	}{
		{"http://localhost:7777/oauth/callback", []string{"If this is mcp-remote", "rm -rf ~/.mcp-auth", "If this is Gemini CLI", "/mcp auth NAME"}, []string{"ChatGPT", "Cursor", ":7777"}},
		{"http://127.0.0.1:19876/mcp/oauth/callback", []string{"If this is OpenCode", "opencode mcp logout NAME"}, []string{"rm -rf", "19876"}},
		{"cursor://anysphere.cursor-mcp/oauth/callback", []string{"If this is Cursor"}, []string{"anysphere", "Claude"}},
		{"https://chatgpt.com/connector/oauth/OUbdUMlL15Ct", []string{"If this is ChatGPT", "remove the connector"}, []string{"OUbdUMlL15Ct", "Cursor"}},
		{"https://evil.example/cb", common, []string{"If this is", "evil.example"}},
		{"http://localhost/oauth/callback?<script>alert(1)</script>", common, []string{"If this is", "alert(1)"}},
		{"", common, []string{"If this is"}},
	} {
		t.Run(tt.uri, func(t *testing.T) {
			w := pageGet(t, s, pageAuthorize("stale", url.Values{"redirect_uri": {tt.uri}}))
			if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
				t.Errorf("status %d to %q", w.Code, w.Header().Get("Location"))
			}
			pageCheck(t, w, "") // no link but to this server
			text := pageText(t, w)
			for _, want := range append(tt.says, "Any other program", "curl -X POST") {
				if !strings.Contains(text, want) {
					t.Errorf("the page does not say %q:\n%s", want, text)
				}
			}
			for _, never := range tt.lack {
				if strings.Contains(w.Body.String(), never) {
					t.Errorf("the page says %q", never)
				}
			}
		})
	}
}

// TestFixesOnePerAdvice: what several programs share is said once.
func TestFixesOnePerAdvice(t *testing.T) {
	list, guessed := fixes(clients.All())
	seen, programs := map[string]bool{}, 0
	for _, f := range list {
		if seen[f.Text+f.Code] {
			t.Errorf("twice there: %+v", f)
		}
		seen[f.Text+f.Code] = true
		programs += len(f.Programs)
	}
	if !guessed || programs != len(clients.All()) {
		t.Errorf("guessed %t, %d programs", guessed, programs)
	}
}
