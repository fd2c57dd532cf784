package pages

import (
	"strings"
	"testing"
)

func TestOverviewCommands(t *testing.T) {
	o := Overview{
		Resources:        []Resource{{URLs: []string{"https://mcp.example.com/mcp?a=1&b=2"}, Scopes: []string{"read", "write"}}, {URLs: []string{"https://other.example"}}},
		Token:            Endpoint{URL: "https://mcp.example.com/oauth/token"},
		DevelopmentToken: "https://mcp.example.com/dev/token",
	}
	a := read(t, o)
	for _, want := range []string{
		"claude mcp add --transport http mcp-example-com 'https://mcp.example.com/mcp?a=1&b=2'",
		`"url": "https://mcp.example.com/mcp?a=1&b=2"`,
		`code --add-mcp '{"name":"mcp-example-com","type":"http","url":"https://mcp.example.com/mcp?a=1&b=2"}'`,
		"npx @modelcontextprotocol/inspector --transport http --server-url 'https://",
		"curl -i 'https://mcp.example.com/mcp?a=1&b=2'",
		"curl -s https://mcp.example.com/dev/token",
		"read, write", "https://other.example", "/oauth/token", english.Overview.ConnectOther, english.Overview.ConnectUnregistrable, "caddy-mcp-auth v1.2.3",
	} {
		if !strings.Contains(a.text(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for address, want := range map[string]string{
		"https://mcp.example.com/mcp": "mcp-example-com", "http://localhost:8080": "localhost", "http://[::1]:80/mcp": "1",
	} {
		if got := serverName(address); got != want {
			t.Errorf("serverName(%s) = %s, want %s", address, got, want)
		}
	}
}

// TestReferenceLanguage: the API is described in English everywhere, and says
// so to programs that read aloud.
func TestReferenceLanguage(t *testing.T) {
	a := show(t, testSite(t, nil), testReference(plainValues), "zh")
	for _, n := range a.elements() {
		text := textOf(n)
		if lang, _ := attr(n, "lang"); n.Data == "p" && strings.HasSuffix(text, "paragraph.") && lang != "en" {
			t.Errorf("%q is in %q", text, lang)
		}
	}
	if text := a.text(); !strings.Contains(text, chinese.Reference.Responses) || !strings.Contains(text, "Ask for a token") {
		t.Error(text)
	}
}
