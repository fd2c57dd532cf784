package pages

import (
	"bytes"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

func render(t *testing.T, write func(b *bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func renderError(t *testing.T, e Error) string {
	t.Helper()
	e.Issuer, e.Home = "https://mcp.example.com", "/oauth/"
	return render(t, func(b *bytes.Buffer) error { return e.Write(b) })
}

func textOf(t *testing.T, markup string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(markup))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			b.WriteString(n.Data)
		}
	}
	return b.String()
}

// attributes returns the values of an attribute everywhere in the page.
func attributes(t *testing.T, markup, key string) []string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(markup))
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			if a.Key == key {
				values = append(values, a.Val)
			}
		}
	}
	return values
}

func TestSetHeaders(t *testing.T) {
	h := http.Header{}
	SetHeaders(h)
	markup := renderError(t, Error{Code: oauth.CodeServerError})
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(markup)
	if len(style) != 2 {
		t.Fatal("the page has no style sheet")
	}
	if got := h.Get("Content-Security-Policy"); !strings.Contains(got, "style-src '"+SourceHash(style[1])+"';") {
		t.Errorf("the policy does not allow the style sheet: %s", got)
	}
	if strings.Contains(h.Get("Content-Security-Policy"), "unsafe") || strings.Contains(h.Get("Content-Security-Policy"), "script-src") {
		t.Errorf("policy: %s", h.Get("Content-Security-Policy"))
	}
}

// TestSourceHash has the example of CSP Level 3 §8.3.
func TestSourceHash(t *testing.T) {
	if got, want := SourceHash("alert('Hello, world.');"), "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestEveryCodeIsExplained: each error that can be shown has words of its own,
// and they are for people.
func TestEveryCodeIsExplained(t *testing.T) {
	for _, code := range []string{
		oauth.CodeInvalidRequest, oauth.CodeInvalidClient, oauth.CodeUnauthorizedClient, oauth.CodeAccessDenied,
		oauth.CodeUnsupportedResponseType, oauth.CodeInvalidScope, oauth.CodeInvalidTarget, oauth.CodeServerError,
		oauth.CodeTemporarilyUnavailable, oauth.CodeRequestNotSupported, oauth.CodeRequestURINotSupported,
	} {
		says, ok := english.Explanations[code]
		if !ok || says.Title == "" || says.What == "" || says.Why == "" || len(says.Steps) == 0 {
			t.Errorf("%s is not explained", code)
		}
		text := textOf(t, renderError(t, Error{Code: code, Description: "technical words"}))
		for _, want := range []string{says.Title, says.What, says.Why, says.Steps[0].Text, code, "technical words"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the page does not say %q", code, want)
			}
		}
	}
	if text := textOf(t, renderError(t, Error{Code: "unheard_of"})); !strings.Contains(text, english.OtherError.Title) {
		t.Error("an unknown code has no words")
	}
}

func TestUnknownClientSteps(t *testing.T) {
	text := textOf(t, renderError(t, Error{Code: oauth.CodeInvalidClient, UnknownClient: true, RegisterURL: "https://mcp.example.com/o'r/register"}))
	for _, step := range english.UnknownClient.Steps {
		if !strings.Contains(text, step.Who) || !strings.Contains(text, step.Text) || !strings.Contains(text, step.Code) {
			t.Errorf("the page lacks the step for %s", step.Who)
		}
	}
	if !strings.Contains(text, `curl -X POST 'https://mcp.example.com/o'\''r/register'`) {
		t.Error("the page lacks the command to register")
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
		"cursor://x/cb":                                  "",
		"//client.example/cb":                            "",
		"https:///cb":                                    "",
		"":                                               "",
	} {
		markup := renderError(t, Error{Code: oauth.CodeInvalidScope, ReturnURL: target})
		links := attributes(t, markup, "href")
		switch {
		case host == "" && len(links) != 1: // the footer's
			t.Errorf("%s became a link: %v", target, links)
		case host != "" && (links[0] != target || !strings.Contains(textOf(t, markup), "Return to "+host)):
			t.Errorf("%s: link %v", target, links)
		}
		if strings.Contains(markup, "javascript:") || strings.Contains(markup, "ZgotmplZ") {
			t.Errorf("%s is in the page", target)
		}
	}
}

func TestHostileText(t *testing.T) {
	for _, evil := range []string{
		"<script>alert(1)</script>", `"><svg onload=alert(1)>`, "{{template \"x\"}}", "{env.SECRET}", "\u202egpj.exe", "a\u200d\u2069\ufeffb",
		"\x00\x1b[31m\r\nX: y", strings.Repeat("W", 10<<10), strings.Repeat("\u05d0", 10<<10), "\xff\xfe\xfd", "\U000e0041tag",
	} {
		markup := renderError(t, Error{
			Code: evil, Description: evil, ClientName: evil, RequestID: evil,
			ReturnURL: "https://client.example/cb",
		})
		if strings.Contains(markup, "<script") || strings.Contains(markup, "<svg") || len(markup) > 30<<10 {
			t.Errorf("%.20q: not escaped or not cut (%d bytes)", evil, len(markup))
		}
		if strings.Count(markup, "W")+strings.Count(markup, "\u05d0") > 2*maxName+maxDescription+maxRequestID+20 {
			t.Errorf("%.20q: not cut", evil)
		}
		for _, r := range textOf(t, markup) {
			if !unicode.IsPrint(r) && r != '\n' || r == unicode.ReplacementChar {
				t.Errorf("%.20q: the page has %U", evil, r)
			}
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"  Claude \t\n Code ": "Claude Code",
		"a\u202eb\u2066c":     "abc",
		"grüße 日本語 😀":         "grüße 日本語 😀",
		"0123456789abc":       "012345678…",
		"0123456789":          "0123456789",
		"":                    "",
	} {
		limit := 10
		if strings.Contains(in, "日") || strings.Contains(in, "Claude") {
			limit = 20
		}
		if got := clean(in, limit); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"https://mcp.example.com/mcp":     "https://mcp.example.com/mcp",
		"https://h/a?b=1&c":               "'https://h/a?b=1&c'",
		"it's $(x)":                       `'it'\''s $(x)'`,
		"":                                "''",
		"\u00e4":                          "'\u00e4'",
		"https://[::1]:8080/~user/mcp":    "'https://[::1]:8080/~user/mcp'",
		"https://mcp.example.com/a%20b,c": "https://mcp.example.com/a%20b,c",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestOverviewCommands(t *testing.T) {
	o := Overview{
		Issuer: "https://mcp.example.com", Home: "/oauth/", Version: "v1",
		Resources:        []Resource{{URLs: []string{"https://mcp.example.com/mcp?a=1&b=2"}, Scopes: []string{"read", "write"}}, {URLs: []string{"https://other.example"}}},
		Token:            Endpoint{URL: "https://mcp.example.com/oauth/token"},
		DevelopmentToken: "https://mcp.example.com/dev/token",
	}
	text := textOf(t, render(t, func(b *bytes.Buffer) error { return o.Write(b) }))
	for _, want := range []string{
		"claude mcp add --transport http mcp-example-com 'https://mcp.example.com/mcp?a=1&b=2'",
		`"url": "https://mcp.example.com/mcp?a=1&b=2"`,
		`code --add-mcp '{"name":"mcp-example-com","type":"http","url":"https://mcp.example.com/mcp?a=1&b=2"}'`,
		"npx @modelcontextprotocol/inspector --transport http --server-url 'https://",
		"curl -i 'https://mcp.example.com/mcp?a=1&b=2'",
		"curl -s https://mcp.example.com/dev/token",
		"read, write", "https://other.example", "/oauth/token", english.Overview.ConnectOther, english.Overview.ConnectUnregistrable,
	} {
		if !strings.Contains(text, want) {
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

// TestStyle holds that the style sheet loads nothing and knows both schemes,
// and that every pair of colours is readable (WCAG 2.2, 1.4.3: 4.5 to 1).
func TestStyle(t *testing.T) {
	if strings.Contains(style, "url(") || strings.Contains(style, "@import") || strings.Contains(style, "@font-face") {
		t.Error("the style sheet loads something")
	}
	schemes := regexp.MustCompile(`--back: .*`).FindAllString(style, -1)
	if len(schemes) != 2 {
		t.Fatalf("%d colour schemes", len(schemes))
	}
	for _, scheme := range schemes {
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--(\w+): #(\w+);`).FindAllStringSubmatch(scheme, -1) {
			colour[m[1]] = luminance(t, m[2])
		}
		for _, pair := range [][2]string{
			{"text", "back"}, {"text", "card"}, {"soft", "back"}, {"soft", "card"}, {"link", "back"}, {"link", "card"}, {"on", "button"},
		} {
			a, b := colour[pair[0]], colour[pair[1]]
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
				t.Errorf("%v: contrast %.2f in %s", pair, ratio, scheme)
			}
		}
	}
}

// luminance is the relative luminance of WCAG 2.2 of a colour in hexadecimal.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = strings.Join([]string{hex[:1], hex[:1], hex[1:2], hex[1:2], hex[2:], hex[2:]}, "")
	}
	channel := func(i int) float64 {
		n, err := strconv.ParseUint(hex[i:i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(0) + 0.7152*channel(2) + 0.0722*channel(4)
}
