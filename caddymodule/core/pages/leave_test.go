package pages

import (
	"net/http"
	"strings"
	"testing"
)

// TestLeave: the page leads to exactly the URL, by itself and by its link.
func TestLeave(t *testing.T) {
	for scheme, target := range map[string]string{
		"cursor":         testLeave,
		"com.example.my": "com.example.my:/cb?code=a%20b&x=(1)'*;,$@!&iss=https%3A%2F%2Fh#",
		"vscode":         "vscode://vscode.mcp/cb?a=%22%3E%3Cscript%3E&amp;b=&lt;",
	} {
		a := read(t, Leave{Name: "X", Scheme: scheme, URL: target})
		if content := a.attributes("content"); content[len(content)-1] != "0;url="+target {
			t.Errorf("refresh is %v", content)
		}
		if href := a.attributes("href"); href[0] != target {
			t.Errorf("link is %v", href)
		}
		if text := a.text(); !strings.Contains(text, scheme+":") || !strings.Contains(text, "hands you back to X.") {
			t.Errorf("the page says %s", text)
		}
	}
}

// TestLeaveRefuses: the one page that goes around the URL filter of
// html/template has one of its own (SPEC O40, THREATS D8).
func TestLeaveRefuses(t *testing.T) {
	for _, p := range []Leave{
		{Scheme: "javascript", URL: "javascript:/alert(1)"},
		{Scheme: "javascript", URL: "javascript://x/%0aalert(1)"},
		{Scheme: "JavaScript", URL: "JavaScript://x/%0aalert(1)"},
		{Scheme: "data", URL: "data:/text/html,x"},
		{Scheme: "vbscript", URL: "vbscript:/x"},
		{Scheme: "http", URL: "http://evil.example/"},
		{Scheme: "https", URL: "https://evil.example/"},
		{Scheme: "file", URL: "file:///etc/passwd"},
		{Scheme: "blob", URL: "blob:/x"},
		{Scheme: "view-source", URL: "view-source:/x"},
		{Scheme: "cursor", URL: "javascript:/alert(1)"},
		{Scheme: "cursor", URL: "cursor:alert(1)"},
		{Scheme: "cursor", URL: " cursor://x"},
		{Scheme: "cursor", URL: "cursor2://x"},
		{Scheme: "cursor", URL: `cursor://x" onclick="alert(1)`},
		{Scheme: "cursor", URL: "cursor://x/<script>"},
		{Scheme: "cursor", URL: "cursor://x/\njavascript:alert(1)"},
		{Scheme: "cursor", URL: "cursor://x/\u202e"},
		{Scheme: "cursor", URL: "cursor://x/" + strings.Repeat("a", maxLeave)},
		{Scheme: "cursor"},
		{Scheme: "", URL: "://x"},
		{Scheme: "", URL: "/x"},
		{Scheme: "cur sor", URL: "cur sor://x"},
		{},
	} {
		if w := write(t, http.MethodGet, http.StatusOK, p); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "alert") {
			t.Errorf("%q: %d", p.URL, w.Code)
		}
	}
}

func FuzzLeave(f *testing.F) {
	f.Add("cursor", testLeave)
	f.Add("javascript", "javascript://x/%0aalert(1)")
	f.Add("a", `a:/" onclick="`)
	f.Fuzz(func(t *testing.T, scheme, target string) {
		if w := write(t, http.MethodGet, http.StatusOK, Leave{Scheme: scheme, URL: target}); w.Code == http.StatusInternalServerError {
			return
		}
		a := read(t, Leave{Scheme: scheme, URL: target})
		if href := a.attributes("href"); href[0] != target || len(a.all("a")) != 2 || len(a.all("meta")) != 4 {
			t.Errorf("%q became %q", target, href)
		}
		if lower := strings.ToLower(target); strings.HasPrefix(lower, "javascript:") || strings.HasPrefix(lower, "data:") || strings.HasPrefix(lower, "http") && strings.Contains(lower[:6], ":") {
			t.Errorf("%q is no program's", target)
		}
	})
}
