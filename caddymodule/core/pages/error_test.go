package pages

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

func TestUnknownClientSteps(t *testing.T) {
	fixes := []Fix{
		{Programs: []string{"mcp-remote"}, Text: "mcp_remote_folder", Code: "rm -rf ~/.mcp-auth"},
		{Programs: []string{"Claude", "ChatGPT"}, Text: "remove_connector"},
		{Programs: []string{"Nobody"}, Text: "no such words"},
	}
	for accept, w := range accepts {
		for _, guessed := range []bool{false, true} {
			page := Error{Code: oauth.CodeInvalidClient, UnknownClient: true, RegisterURL: "https://mcp.example.com/o'r/register", Fixes: fixes, Guessed: guessed}
			a := show(t, testSite(t, nil), page, accept)
			text := a.text()
			for _, want := range []string{
				w.UnknownClient.Why, w.Fixes["mcp_remote_folder"], w.Fixes["remove_connector"], "Claude / ChatGPT", w.UnknownClient.Steps[0].Text,
				w.RegisterAgain.Text, `curl -X POST 'https://mcp.example.com/o'\''r/register'`,
			} {
				if !strings.Contains(text, want) {
					t.Errorf("%s: the page lacks %q", w.Lang, want)
				}
			}
			if strings.Contains(text, "Nobody") {
				t.Errorf("%s: a program without a fix is named", w.Lang)
			}
			// A guess is worded as one.
			for _, words := range []string{w.Error.Guess, fill(w.Error.IfProgram, "program", "mcp-remote")} {
				if strings.Contains(text, words) != guessed {
					t.Errorf("%s, guessed %t: %q", w.Lang, guessed, words)
				}
			}
			if codes := a.all("code"); !slices.ContainsFunc(codes, func(n *html.Node) bool { return textOf(n) == "rm -rf ~/.mcp-auth" }) {
				t.Errorf("%s: the command is not in a code element", w.Lang)
			}
		}
		if len(w.UnknownClient.Steps) != 1 {
			t.Error("a page changed the catalogue")
		}
	}
}

// TestFixes compares the words with the data: every known client's fix has
// words, and no words are left over.
func TestFixes(t *testing.T) {
	used := map[string]bool{}
	for _, c := range clients.All() {
		used[c.Fix.Text] = true
		for _, w := range languages {
			if w.Fixes[c.Fix.Text] == "" {
				t.Errorf("%s has no words for %s, the fix of %s", w.Lang, c.Fix.Text, c.Name)
			}
		}
	}
	for key := range english.Fixes {
		if !used[key] {
			t.Errorf("no client has the fix %s", key)
		}
	}
}

func TestReturnLink(t *testing.T) {
	for target, host := range map[string]string{
		"https://client.example/cb?error=x&state=%22%3E": "client.example",
		"https://client.example:8443/cb":                 "client.example:8443",
		"http://127.0.0.1:3000/cb":                       "127.0.0.1:3000",
		"javascript:alert(1)":                            "",
		"javascript://client.example/%0aalert(1)":        "",
		"data:text/html,x":                               "",
		"cursor://x/cb?error=y":                          "cursor:",
		"intent://x/cb":                                  "",
		"Cursor://x/cb":                                  "",
		"cursor:x":                                       "",
		"//client.example/cb":                            "",
		"https:///cb":                                    "",
		"":                                               "",
	} {
		a := read(t, Error{Code: oauth.CodeInvalidScope, ReturnURL: target})
		links := a.attributes("href")
		switch {
		case host == "" && !slices.Equal(links, []string{testHome}):
			t.Errorf("%s became a link: %v", target, links)
		case host != "" && (links[0] != target || !strings.Contains(a.text(), "Return to "+host)):
			t.Errorf("%s: link %v", target, links)
		}
		if markup := a.Body.String(); strings.Contains(markup, "javascript:") || strings.Contains(markup, "ZgotmplZ") {
			t.Errorf("%s is in the page", target)
		}
	}
}

// TestRestartLink: a page never offers another place to start again than this
// server.
func TestRestartLink(t *testing.T) {
	for target, want := range map[string]bool{
		"/oauth/account": true, "/oauth/authorize?client_id=a&state=%22": true,
		"https://evil.example/": false, "//evil.example": false, `/\evil.example`: false, "javascript:alert(1)": false, "": false, "/a b": false, "/\tb": false,
	} {
		a := read(t, Error{Problem: ProblemExpired, RestartURL: target})
		if got := slices.Contains(a.attributes("href"), target) && strings.Contains(a.text(), english.Error.Restart); got != want {
			t.Errorf("%q: a link %t", target, got)
		}
	}
}

// TestErrorDetails: only what there is.
func TestErrorDetails(t *testing.T) {
	if text := read(t, Error{Problem: ProblemUsed}).text(); strings.Contains(text, english.Error.Details) {
		t.Error("details without any")
	}
	text := read(t, Error{Problem: ProblemUsed, RequestID: "req-1"}).text()
	if !strings.Contains(text, "req-1") || !strings.Contains(text, english.Error.RequestIDHint) || strings.Contains(text, "error_description") {
		t.Error(text)
	}
}
