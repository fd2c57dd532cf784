package pages

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func write(t *testing.T, method string, status int, p Page) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	testSite(t, nil).Write(w, httptest.NewRequestWithContext(t.Context(), method, testIssuer+"/", nil), status, p)
	return w
}

// TestHeaders: SPEC F33 to F35, and nothing that sends the browser on.
func TestHeaders(t *testing.T) {
	for name, page := range samples(plainValues) {
		w := write(t, http.MethodGet, http.StatusTeapot, page)
		if w.Code != http.StatusTeapot {
			t.Errorf("%s: status %d", name, w.Code)
		}
		for key, want := range map[string]string{
			"X-Frame-Options":            "DENY",
			"Referrer-Policy":            "no-referrer",
			"X-Content-Type-Options":     "nosniff",
			"Cache-Control":              "no-store",
			"Content-Type":               "text/html; charset=utf-8",
			"Content-Language":           "en",
			"Vary":                       "Accept-Language",
			"Cross-Origin-Opener-Policy": "",
			"Location":                   "",
			"Refresh":                    "",
		} {
			if got := w.Header().Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
		policy := w.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none';", "img-src 'self' data:;", "base-uri 'none';", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy lacks %s: %s", name, want, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "script") || strings.Contains(policy, "http") {
			t.Errorf("%s: policy %s", name, policy)
		}
	}
}

// TestFormAction: a page that asks something says nothing about where forms may
// lead, because Chromium would hold every later redirect against it (SPEC F34,
// INTEROP 10). All others forbid forms.
func TestFormAction(t *testing.T) {
	for name, page := range samples(plainValues) {
		w := write(t, http.MethodGet, http.StatusOK, page)
		policy := w.Header().Get("Content-Security-Policy")
		asks := strings.Contains(w.Body.String(), "<form")
		if asks == strings.Contains(policy, "form-action") || !asks && !strings.Contains(policy, "form-action 'none'") {
			t.Errorf("%s: forms %t, policy %s", name, asks, policy)
		}
	}
}

// TestSetHeaders holds that a redirect may show nothing at all.
func TestSetHeaders(t *testing.T) {
	h := http.Header{}
	SetHeaders(h)
	want := "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := h.Get("Content-Security-Policy"); got != want {
		t.Errorf("policy: %s", got)
	}
	for _, key := range []string{"X-Frame-Options", "Referrer-Policy", "X-Content-Type-Options", "Cache-Control"} {
		if h.Get(key) == "" {
			t.Errorf("no %s", key)
		}
	}
}

func TestNonceIsFresh(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		policy := write(t, http.MethodGet, http.StatusOK, SignedOut{}).Header().Get("Content-Security-Policy")
		if seen[policy] {
			t.Fatalf("the same nonce twice: %s", policy)
		}
		seen[policy] = true
	}
}

func TestHead(t *testing.T) {
	for name, page := range samples(plainValues) {
		if w := write(t, http.MethodHead, http.StatusForbidden, page); w.Code != http.StatusForbidden || w.Body.Len() > 0 || w.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d, %d bytes", name, w.Code, w.Body.Len())
		}
	}
}

// brokenPage can't be drawn, or its template can't be executed.
type brokenPage struct{ inTemplate bool }

func (p brokenPage) draw(*Site, *words) (drawing, error) {
	if p.inTemplate {
		return drawing{template: errorTemplate, title: "half a page", page: 1}, nil
	}
	return drawing{}, errForeignForm
}

// TestBrokenPage holds that nobody sees half a page, or a page with another
// status than its own.
func TestBrokenPage(t *testing.T) {
	for _, page := range []Page{
		brokenPage{},
		brokenPage{inTemplate: true},
		SignIn{Action: "https://evil.example/"},
		SignIn{Action: "//evil.example/"},
		Consent{Action: "javascript:alert(1)"},
		Account{},
		NotInvited{Action: `/\evil.example`},
	} {
		w := write(t, http.MethodGet, http.StatusOK, page)
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "<") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("%T: %d %q", page, w.Code, w.Body)
		}
		if policy := w.Header().Get("Content-Security-Policy"); policy != closed {
			t.Errorf("%T: policy %s", page, policy)
		}
	}
}

// TestSourceHash has the example of CSP Level 3 §8.3.
func TestSourceHash(t *testing.T) {
	if got, want := SourceHash("alert('Hello, world.');"), "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestNewSite(t *testing.T) {
	for _, cfg := range []SiteConfig{
		{},
		{Issuer: testIssuer},
		{Issuer: testIssuer, Home: "/oauth"},
		{Issuer: testIssuer, Home: "https://evil.example/"},
		{Issuer: testIssuer, Home: "//evil.example/"},
		{Issuer: testIssuer, Home: testHome, Account: "account"},
	} {
		if _, err := NewSite(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// TestNoAccountPage holds that nothing leads to a page that isn't there.
func TestNoAccountPage(t *testing.T) {
	site := testSite(t, func(c *SiteConfig) { c.Account = "" })
	for name, page := range samples(plainValues) {
		if name == "problem" {
			continue // it leads there by its own field
		}
		if a := show(t, site, page, ""); strings.Contains(a.Body.String(), testAccount) {
			t.Errorf("%s names the account page", name)
		}
	}
}

func FuzzOwnPath(f *testing.F) {
	for _, seed := range []string{"/a", "//h", `/\h`, "/\t/h", "/a?b#c", "https://h/", "/%2f/h", "/..//h", "", "/é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !ownPath(path) {
			return
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://mcp.example.com"+path, nil)
		if err != nil || r.URL.Host != "mcp.example.com" {
			t.Errorf("%q leads to another host", path)
		}
		if strings.ContainsAny(path, "\"<>\\ \t\r\n\x00") || strings.HasPrefix(path, "//") {
			t.Errorf("%q is no plain path", path)
		}
	})
}
