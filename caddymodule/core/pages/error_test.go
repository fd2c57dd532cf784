package pages

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

func TestUnknownClientSteps(t *testing.T) {
	text := read(t, Error{Code: oauth.CodeInvalidClient, UnknownClient: true, RegisterURL: "https://mcp.example.com/o'r/register"}).text()
	for _, step := range english.UnknownClient.Steps {
		if !strings.Contains(text, step.Who) || !strings.Contains(text, step.Text) || !strings.Contains(text, step.Code) {
			t.Errorf("the page lacks the step for %s", step.Who)
		}
	}
	if !strings.Contains(text, `curl -X POST 'https://mcp.example.com/o'\''r/register'`) {
		t.Error("the page lacks the command to register")
	}
	if len(english.UnknownClient.Steps) != 5 {
		t.Error("a page changed the catalogue")
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
