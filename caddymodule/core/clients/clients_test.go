package clients

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

var (
	keyShape    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	fixShape    = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	threadShape = regexp.MustCompile(`^[\w.-]+/[\w.-]+#[1-9]\d*$`)
)

// TestRows holds every row complete and true to its own words.
func TestRows(t *testing.T) {
	dec := json.NewDecoder(bytes.NewReader(clientsJSON))
	dec.DisallowUnknownFields()
	var strict []Client
	if err := dec.Decode(&strict); err != nil {
		t.Fatal(err)
	}
	if len(All()) != len(strict) || len(strict) < 13 {
		t.Fatalf("%d rows", len(All()))
	}
	seen, used := map[string]bool{}, map[Flag]bool{}
	for _, c := range All() {
		t.Run(c.Key, func(t *testing.T) {
			if !keyShape.MatchString(c.Key) || c.Name == "" || seen[c.Key] || seen[c.Name] {
				t.Errorf("key %q or name %q is missing, malformed or taken", c.Key, c.Name)
			}
			seen[c.Key], seen[c.Name] = true, true
			checkRecognition(t, c)
			checkFlags(t, c)
			for _, f := range c.Flags {
				used[f] = true
			}
			if !fixShape.MatchString(c.Fix.Text) || len(c.Fix.Code) > 200 {
				t.Errorf("fix %+v", c.Fix)
			}
			checkEvidence(t, c)
		})
	}
	for f := range Notes {
		if !used[f] {
			t.Errorf("no client needs %s", f)
		}
	}
}

func checkRecognition(t *testing.T, c Client) {
	t.Helper()
	if len(c.RedirectURIs) == 0 || len(c.Registers) == 0 {
		t.Error("not recognisable, or no way to register")
	}
	for _, uri := range c.RedirectURIs {
		plain := strings.TrimSuffix(uri, "/*")
		if err := oauth.CheckRedirectURI(plain, oauth.DefaultRedirectSchemes); err != nil {
			t.Errorf("redirect URI %s %v", uri, err)
		}
		if u, _ := url.Parse(plain); oauth.IsLoopbackRedirect(plain) && u.Port() != "" {
			t.Errorf("the port of %s is free: leave it out", uri)
		}
	}
	if c.Has(SecretForRedirect) && !NeedSecret(c.RedirectURIs) {
		t.Error("the secret is given by exact https redirect URIs only")
	}
	for _, way := range c.Registers {
		if !slices.Contains([]string{WayDocument, WayDynamic, WayConfigured, WayToken}, way) {
			t.Errorf("way %q", way)
		}
	}
	if slices.Contains(c.Registers, WayDocument) != (len(c.ClientIDs) > 0) {
		t.Error("a client has the way document exactly if it has a document")
	}
	for _, id := range c.ClientIDs {
		if u, err := url.Parse(id); err != nil || u.Scheme != "https" || len(u.Path) < 2 {
			t.Errorf("%s is no client metadata document's URL", id)
		}
	}
}

func checkFlags(t *testing.T, c Client) {
	t.Helper()
	for i, f := range c.Flags {
		if Notes[f] == "" || slices.Contains(c.Flags[:i], f) {
			t.Errorf("flag %q is unknown or twice there", f)
		}
	}
}

func checkEvidence(t *testing.T, c Client) {
	t.Helper()
	if len(c.Evidence) == 0 {
		t.Error("no evidence")
	}
	for _, e := range c.Evidence {
		if _, err := time.Parse(time.DateOnly, e.Seen); err != nil || e.Says == "" || len(e.Where) == 0 {
			t.Errorf("evidence %+v", e)
		}
		for _, where := range e.Where {
			if !threadShape.MatchString(where) && !strings.HasPrefix(where, "https://") {
				t.Errorf("evidence at %q", where)
			}
		}
	}
}

func TestByRedirectURI(t *testing.T) {
	for _, tt := range []struct {
		uris string
		want string
	}{
		{"cursor://anysphere.cursor-mcp/oauth/callback", "cursor"},
		{"cursor://anysphere.cursor-mcp/oauth/callback https://www.cursor.com/agents/mcp/oauth/callback http://localhost:8787/callback", "cursor"},
		{"https://claude.ai/api/mcp/auth_callback", "claude"},
		{"https://chatgpt.com/connector/oauth/OUbdUMlL15Ct", "chatgpt"},
		{"http://127.0.0.1:33418/", "vscode copilot-cli"},
		{"http://127.0.0.1:1455/callback/AbC-1_2", "codex"},
		{"http://localhost:7777/oauth/callback", "gemini-cli inspector mcp-remote"},
		{"http://localhost:6274/oauth/callback/debug", "inspector"},
		{"http://localhost:3118/callback", "claude-code cursor codex opencode"},
		{"https://www.perplexity.ai/rest/connections/oauth_callback", "perplexity"},
		// Two clients' URIs together are neither's.
		{"https://claude.ai/api/mcp/auth_callback https://vscode.dev/redirect", ""},
		{"", ""},
		// Nearly.
		{"https://claude.ai.evil.example/api/mcp/auth_callback", ""},
		{"https://claude.ai/api/mcp/auth_callback?x=1", ""},
		{"https://claude.ai:8443/api/mcp/auth_callback", ""},
		{"https://claude.ai@evil.example/api/mcp/auth_callback", ""},
		{"https://chatgpt.com/connector/oauth/", ""},
		{"https://chatgpt.com/connector/oauth/a/b", ""},
		{"https://chatgpt.com/connector/oauth/a?b=c", ""},
		{"https://chatgpt.com/connector/oauth/..", ""},
		{"http://127.0.0.1:1455/callback/a/b", ""},
		{"http://localhost.evil.example/callback", ""},
		{"javascript:alert(1)", ""},
		{"no URI", ""},
	} {
		t.Run(tt.uris, func(t *testing.T) {
			var got []string
			for _, c := range ByRedirectURIs(strings.Fields(tt.uris)) {
				got = append(got, c.Key)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if uris := strings.Fields(tt.uris); len(uris) == 1 && len(ByRedirectURI(uris[0])) != len(got) {
				t.Error("ByRedirectURI says something else")
			}
		})
	}
}

func TestByClientID(t *testing.T) {
	for id, want := range map[string]string{
		"https://claude.ai/oauth/claude-code-client-metadata": "claude-code",
		"https://vscode.dev/oauth/client-metadata.json":       "vscode",
		"https://vscode.dev/oauth/client-metadata.json?":      "",
		"": "",
	} {
		if c, ok := ByClientID(id); c.Key != want || ok != (want != "") {
			t.Errorf("ByClientID(%q) = %q, %t", id, c.Key, ok)
		}
	}
}

func TestNeedSecret(t *testing.T) {
	const perplexity = "https://www.perplexity.ai/rest/connections/oauth_callback"
	for _, tt := range []struct {
		name string
		uris []string
		want bool
	}{
		{"Perplexity", []string{perplexity}, true},
		{"both its hosts", []string{perplexity, "https://enterprise.perplexity.ai/rest/connections/oauth_callback"}, true},
		{"another client", []string{"https://claude.ai/api/mcp/auth_callback"}, false},
		{"Perplexity's among others", []string{perplexity, "http://localhost/callback"}, false},
		{"nearly", []string{perplexity + "/"}, false},
		{"none", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := NeedSecret(tt.uris); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// TestDocuments holds the copies whole: each could be what its URL serves.
func TestDocuments(t *testing.T) {
	if len(documents()) < 5 {
		t.Fatalf("%d documents", len(documents()))
	}
	for _, d := range documents() {
		t.Run(d.clientID, func(t *testing.T) {
			raw, seen, ok := Document(d.clientID)
			var m struct {
				ClientID     string   `json:"client_id"`
				Name         string   `json:"client_name"`
				RedirectURIs []string `json:"redirect_uris"`
				AuthMethod   string   `json:"token_endpoint_auth_method"`
			}
			if err := json.Unmarshal(raw, &m); err != nil || !ok {
				t.Fatal(ok, err)
			}
			if m.ClientID != d.clientID || m.Name == "" || m.AuthMethod == "" {
				t.Errorf("not whole: %+v", m)
			}
			if seen.Before(time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)) || seen.Location() != time.UTC {
				t.Errorf("seen %s", seen)
			}
			c, ok := ByClientID(d.clientID)
			if !ok {
				t.Fatal("no row has this document")
			}
			for _, uri := range m.RedirectURIs {
				if !c.uses(uri) {
					t.Errorf("the row %s has no redirect URI like %s", c.Key, uri)
				}
			}
			raw[0] = 'x'
			if again, _, _ := Document(d.clientID); again[0] == 'x' {
				t.Error("a caller can change the copy")
			}
		})
	}
	if _, _, ok := Document("https://evil.example/client.json"); ok {
		t.Error("a document that nobody published")
	}
}

func TestReadDocuments(t *testing.T) {
	for _, text := range []string{`{}`, `[{"seen":"today","document":{}}]`, `[{"seen":"2026-09-01","document":[]}]`} {
		if _, err := readDocuments([]byte(text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

// FuzzByRedirectURI: whatever a client sends, a match is a URI that could have
// been registered.
func FuzzByRedirectURI(f *testing.F) {
	for _, c := range All() {
		for _, uri := range c.RedirectURIs {
			f.Add(uri)
		}
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if len(ByRedirectURI(uri)) > 0 && oauth.CheckRedirectURI(uri, oauth.DefaultRedirectSchemes) != nil {
			t.Errorf("%q matches", uri)
		}
	})
}
