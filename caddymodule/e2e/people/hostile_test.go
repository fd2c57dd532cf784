package people_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// hostile are texts that must stay texts (SPEC O39, O41).
var hostile = map[string]string{
	"markup":           `<script>alert(1)</script><img src=x onerror=alert(1)>`,
	"end of attribute": `"><svg onload=alert(1)>`,
	"other quotes":     `' onmouseover='alert(1)' x='`,
	"end of the title": `</title></style></textarea><script>alert(1)</script>`,
	"comment":          `--><script>alert(1)</script><!--`,
	"entities":         `&lt;script&gt;alert(1)&lt;/script&gt;&#60;img src=x&#62;`,
	"templates":        `{{.Site.Issuer}}{{template "flow" "x"}}{{printf "%s" .}}${7*7}<%= 7*7 %>`,
	"placeholders":     `{env.ALICE}{http.request.header.Cookie}{http.vars.x}{file./etc/passwd}{$HOME}`,
	"bidi":             "\u202egpj.\u2066exe\u2069\u200f",
	"zero width":       "Cl\u200bau\u200dde\ufeff",
	"line breaks":      "A\r\nSet-Cookie: x=1\r\n\r\n<p>B\u2028C\u2029D\x00E\x1b[31m\u0085F",
	"ten kilobytes":    strings.Repeat("long ", 2<<10),
	"combining":        "Z" + strings.Repeat("\u0301", 200),
	"format verbs":     `%s%d%!(EXTRA)%n`,
}

// trouble is what must not be on a page that shows hostile text.
var trouble = []string{
	"\u202e", "\u2066", "\u200f", "\u200b", "\u200d", "\ufeff", "\u2028", "\u2029", "\x00", "\x1b", "{{.", "$2a$", "uid=", "root:",
}

// wantInert compares a page that shows hostile text with one that shows none.
func wantInert(t *testing.T, what string, p, plain *gatewaytest.Page) {
	t.Helper()
	if p.Status != plain.Status || p.Outline() != plain.Outline() {
		t.Errorf("O39, O42: the %s page is another one with hostile text: status %d\n%s", what, p.Status, p.Body)
	}
	for _, bad := range trouble {
		if strings.Contains(strings.ReplaceAll(p.Text(), hostile["templates"], ""), bad) {
			t.Errorf("O39: the %s page has %q: %s", what, bad, p.Text())
		}
	}
	if len(p.Header) != len(plain.Header) || len(p.Body) > len(plain.Body)+4<<10 {
		t.Errorf("O41: the %s page has %d headers and %d bytes: %v", what, len(p.Header), len(p.Body), p.Header)
	}
	if !utf8.ValidString(p.Body) {
		t.Errorf("the %s page is not UTF-8", what)
	}
}

// pagesOf shows every page that names a client.
func pagesOf(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client) map[string]*gatewaytest.Page {
	t.Helper()
	first := browser(t).Open(c.AuthorizeURL())
	b, consent := signedIn(t, c, "bob")
	if p := b.Open(g.URL + accountPath); p.Has("do", "revoke_all") {
		p.Click("do", "revoke_all") // so that there is one grant each time
	}
	redeemed(t, c, answerOf(t, consent.Allow()))
	account := b.Open(g.URL + accountPath)
	_, notInvited := signedIn(t, c, "mallory")
	return map[string]*gatewaytest.Page{
		"sign-in": first, "consent": consent, "account": account, "not invited": notInvited,
		"error": browser(t).Open(c.AuthorizeURL("code_challenge", "-")), "leave": b.Open(c.AuthorizeURL("prompt", "consent")).Allow(),
	}
}

// namedClient registers a client that calls itself so.
func namedClient(t *testing.T, g *gatewaytest.Gateway, metadata map[string]any) *gatewaytest.Client {
	t.Helper()
	text, err := json.Marshal(metadata)
	if err != nil {
		t.Fatal(err)
	}
	return gatewaytest.RegisterAs(t, g.URL, string(text))
}

// testHostileNames is SPEC O39 and O40 for what a client says of itself.
func testHostileNames(t *testing.T, g *gatewaytest.Gateway) {
	for _, uri := range []string{web, private} {
		plain := pagesOf(t, g, namedClient(t, g, map[string]any{"client_name": "Plain", "redirect_uris": []string{uri}}))
		for name, text := range hostile {
			t.Run("O39 "+name+" in a name, "+uri, func(t *testing.T) {
				c := namedClient(t, g, map[string]any{
					"client_name": text, "redirect_uris": []string{uri}, "software_id": text, "scope": "mcp:tools:read", "contacts": []string{text},
				})
				for what, p := range pagesOf(t, g, c) {
					if what == "leave" && uri == web {
						continue // it is a redirect
					}
					wantInert(t, what, p, plain[what])
				}
			})
		}
	}
	for name, uri := range map[string]string{
		"script": "javascript:alert(1)//https://", "data": "data:text/html,<script>alert(1)</script>", "plain http": "http://tracker.example/",
		"markup": `https://helper.example/"><script>alert(1)</script>`, "user information": "https://helper.example@evil.example/",
		"svg": "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+", "tracking": "https://tracker.example/pixel.gif?id=1",
	} {
		t.Run("O40 "+name, func(t *testing.T) {
			metadata := map[string]any{"client_name": "Plain", "redirect_uris": []string{web}}
			for _, member := range []string{"client_uri", "logo_uri", "tos_uri", "policy_uri"} {
				metadata[member] = uri
			}
			for what, p := range pagesOf(t, g, namedClient(t, g, metadata)) {
				targets := append(p.Attributes("href", "src", "action", "content", "srcset"), p.Links()...)
				if slices.ContainsFunc(targets, func(s string) bool {
					return strings.Contains(s, "evil") || strings.Contains(s, "tracker") || strings.Contains(s, "alert")
				}) {
					t.Errorf("the %s page leads there: %q", what, targets)
				}
			}
		})
	}
}

// testHostileStates is SPEC F12, F23, O39 and O41 for what a client sends along
// with a request.
func testHostileStates(t *testing.T, g *gatewaytest.Gateway) {
	states := map[string]string{
		"parameters": "x&code=evil&iss=https://evil.example&error=none#fragment", "all bytes": everyByte(), "long": strings.Repeat("é/", 1365),
	}
	for name, text := range hostile {
		states[name] = text[:min(len(text), 4<<10)]
	}
	for _, uri := range []string{loopback, private} {
		c := client(t, g, uri)
		for name, state := range states {
			t.Run("O39, O41, F12 "+name+", "+uri, func(t *testing.T) {
				first := browser(t).Open(c.AuthorizeURL("state", state))
				wantSignIn(t, first)
				consent := first.SignIn("alice", "alice"+passwordOf)
				wantConsent(t, consent)
				for _, p := range []*gatewaytest.Page{first, consent} {
					if len(state) > 10 && (strings.Contains(p.Body, state) || strings.Contains(p.Text(), "alert(1)")) {
						t.Errorf("the page shows the state: %s", p.Text())
					}
				}
				p := consent.Allow()
				q := answerOf(t, p)
				if len(q["state"]) != 1 || q.Get("state") != state || len(q["iss"]) != 1 || q.Get("iss") != g.URL || len(q["code"]) != 1 || q.Has("error") {
					t.Errorf("the client gets %q", q)
				}
				if p.Location != nil && strings.ContainsAny(p.Header.Get("Location"), "\r\n\x00 <>\"") {
					t.Errorf("Location: %q", p.Header.Get("Location"))
				}
			})
		}
	}
	for name, text := range hostile {
		t.Run("O39 "+name+" in a scope", func(t *testing.T) {
			stranger := client(t, g, web)
			plain := browser(t).Open(stranger.AuthorizeURL("scope", "unknown"))
			p := browser(t).Open(stranger.AuthorizeURL("scope", text[:min(len(text), 2<<10)]))
			wantRefused(t, p, http.StatusBadRequest)
			wantInert(t, "error", p, plain)
			q := browser(t).Open(client(t, g, loopback).AuthorizeURL("scope", text[:min(len(text), 2<<10)])).Result()
			if q.Get("error") != "invalid_scope" || strings.Contains(q.Get("error_description"), "alert") || strings.ContainsAny(q.Get("error_description"), "\r\n\"\\") {
				t.Errorf("the client gets %q", q)
			}
			// Beside a scope that exists it is dropped.
			p = browser(t).Open(stranger.AuthorizeURL("scope", "mcp:tools:read "+strings.Map(scopeCharacter, text[:min(len(text), 2<<10)])))
			wantSignIn(t, p)
			if strings.Contains(p.Text(), "alert") {
				t.Errorf("the page shows it: %s", p.Text())
			}
		})
	}
}

// scopeCharacter keeps what RFC 6749 §3.3 allows in a scope.
func scopeCharacter(r rune) rune {
	if r <= ' ' || r > '~' || r == '"' || r == '\\' {
		return -1
	}
	return r
}

func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}
