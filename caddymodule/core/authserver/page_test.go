package authserver

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// pageLogin is a login that answers the same to everybody.
type pageLogin struct {
	alice
	err error
}

func (l pageLogin) Begin(context.Context, login.Request) (login.Step, error) {
	return login.Step{Identity: &login.Identity{Subject: "alice", AuthTime: time.Now()}}, l.err
}

type pageObserver struct{}

func (pageObserver) Observe(context.Context, oauth.Event) {}

func pageServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	return pageServerWith(t, cfg, pageLogin{})
}

func pageServerWith(t *testing.T, cfg Config, l login.Method) *Server {
	t.Helper()
	cfg.AllowUnattended = true
	st := store.NewMemory()
	ring, err := keys.Open(t.Context(), time.Now(), st, keys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, Deps{Store: st, Keys: ring, Revoked: NewRevocationSet(), Logins: []login.Method{l}, Observer: pageObserver{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const pageRequestID = "req-4711"

func pageGet(t *testing.T, s *Server, target string) *httptest.ResponseRecorder {
	t.Helper()
	return pageDo(t, s, http.MethodGet, target)
}

func pageDo(t *testing.T, s *Server, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, oauth.OriginOf(s.cfg.Issuer)+target, nil)
	r = r.WithContext(oauth.WithMeta(r.Context(), oauth.Meta{RequestID: pageRequestID, RemoteIP: "192.0.2.1"}))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func pageWalk(n *html.Node, visit func(*html.Node)) {
	visit(n)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		pageWalk(c, visit)
	}
}

func pageParse(t *testing.T, w *httptest.ResponseRecorder) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// pageText returns what a person reads.
func pageText(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var b strings.Builder
	pageWalk(pageParse(t, w), func(n *html.Node) {
		if n.Type == html.TextNode && (n.Parent == nil || n.Parent.Data != "style") {
			b.WriteString(n.Data)
		}
	})
	return b.String()
}

// pageLinks returns the targets of all links.
func pageLinks(t *testing.T, w *httptest.ResponseRecorder) []string {
	t.Helper()
	var links []string
	pageWalk(pageParse(t, w), func(n *html.Node) {
		for _, a := range n.Attr {
			if n.Type == html.ElementNode && n.Data == "a" && a.Key == "href" {
				links = append(links, a.Val)
			}
		}
	})
	return links
}

// pageCheck holds what is true of every page: its headers, its policy, that it
// is accessible, light and alone. Links may lead to the named host only.
func pageCheck(t *testing.T, w *httptest.ResponseRecorder, host string) {
	t.Helper()
	pageCheckHeaders(t, w)
	if n := w.Body.Len(); n == 0 || n > 48<<10 { // the reference of all endpoints is the longest
		t.Errorf("the page has %d bytes", n)
	}
	policy := w.Header().Get("Content-Security-Policy")
	elements, mains, headings, styles := map[string]int{}, 0, 0, 0
	pageWalk(pageParse(t, w), func(n *html.Node) {
		if n.Type != html.ElementNode {
			return
		}
		elements[n.Data]++
		switch n.Data {
		case "main":
			mains++
		case "h1":
			headings++
		case "style":
			styles++
			if len(n.Attr) != 1 || n.Attr[0].Key != "nonce" || !strings.Contains(policy, "style-src 'nonce-"+n.Attr[0].Val+"'") {
				t.Errorf("the policy forbids the page's own style: %s", policy)
			}
		case "html":
			if len(n.Attr) != 1 || n.Attr[0].Key != "lang" || n.Attr[0].Val != "en" {
				t.Errorf("html has %v", n.Attr)
			}
		case "script", "form", "iframe", "object", "embed", "img", "base", "button", "input":
			t.Errorf("the page has a %s", n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "src", a.Key == "srcset", a.Key == "http-equiv":
				t.Errorf("%s has %s=%q", n.Data, a.Key, a.Val)
			case n.Data == "link":
				if a.Key == "rel" && a.Val != "icon" || a.Key == "href" && !strings.HasPrefix(a.Val, "data:image/svg+xml,") {
					t.Errorf("a link element with %s=%q", a.Key, a.Val)
				}
			case a.Key == "href":
				u, err := url.Parse(a.Val)
				if err != nil || u.Host != "" && u.Host != host || u.Scheme != "" && u.Scheme != "https" {
					t.Errorf("link to %q", a.Val)
				}
			}
		}
	})
	if mains != 1 || headings != 1 || styles != 1 || elements["title"] != 1 || elements["header"] != 1 || elements["footer"] != 1 {
		t.Errorf("landmarks: %v", elements)
	}
}

func pageCheckHeaders(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Frame-Options":            "DENY",
		"Referrer-Policy":            "no-referrer",
		"X-Content-Type-Options":     "nosniff",
		"Cache-Control":              "no-store",
		"Cross-Origin-Opener-Policy": "",
		"Location":                   "",
		"Refresh":                    "",
		"Content-Type":               "text/html; charset=utf-8",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	policy := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
}

const (
	pageChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	pageRLO       = "\u202e" // right-to-left override
)

func pageRegister(t *testing.T, s *Server, name, redirectURI string) string {
	t.Helper()
	id, err := s.sealClient(Client{Name: name, RedirectURIs: []string{redirectURI}, AuthMethod: oauth.AuthMethodNone, Issued: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func pageAuthorize(id string, change url.Values) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {id}, "code_challenge": {pageChallenge},
		"code_challenge_method": {"S256"}, "state": {"st"},
	}
	maps.Copy(q, change)
	return "/oauth/authorize?" + q.Encode()
}

func TestPageEveryPage(t *testing.T) {
	for name, cfg := range docsConfigs() {
		t.Run(name, func(t *testing.T) {
			s := pageServer(t, cfg)
			for _, path := range []string{"", "/", "/redoc"} {
				w := pageGet(t, s, s.base+"/oauth"+path)
				pageCheck(t, w, "mcp.example.com")
				if w.Code != http.StatusOK || !strings.Contains(pageText(t, w), cfg.Issuer) {
					t.Errorf("%s: %d", path, w.Code)
				}
				for _, link := range pageLinks(t, w) {
					if id, ok := strings.CutPrefix(link, "#"); ok {
						if !strings.Contains(w.Body.String(), `id="`+id+`"`) {
							t.Errorf("%s links to %s, which is not there", path, link)
						}
					} else if got := pageGet(t, s, link); got.Code != http.StatusOK {
						t.Errorf("%s links to %s: %d", path, link, got.Code)
					}
				}
				if head := pageDo(t, s, http.MethodHead, s.base+"/oauth"+path); head.Code != http.StatusOK || head.Body.Len() > 0 {
					t.Errorf("HEAD %s: %d, %d bytes", path, head.Code, head.Body.Len())
				}
			}
			pageCheckHeaders(t, pageGet(t, s, s.base+"/oauth/docs"))
			pageCheck(t, pageGet(t, s, s.base+"/oauth/authorize"), "")
			pageCheck(t, pageGet(t, s, s.base+"/oauth/authorize?client_id=stale"), "")
		})
	}
}

func TestPageUnknownClient(t *testing.T) {
	s := pageServer(t, docsConfigs()["plain"])
	target := pageAuthorize("stale", url.Values{"redirect_uri": {"https://evil.example/cb"}})
	w := pageGet(t, s, target)
	if w.Code != http.StatusBadRequest {
		t.Errorf("status %d", w.Code)
	}
	pageCheck(t, w, "")
	text := pageText(t, w)
	for _, want := range []string{
		"rm -rf ~/.mcp-auth", "/mcp", "Clear authentication", "remove the connector", "Cursor", "VS Code",
		"curl -X POST https://mcp.example.com/oauth/register", "invalid_client", pageRequestID,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(text, "evil.example") {
		t.Error("the page names the unproven redirect URI")
	}
	head := pageDo(t, s, http.MethodHead, target)
	if head.Code != http.StatusBadRequest || head.Body.Len() > 0 {
		t.Errorf("HEAD: %d, %d bytes", head.Code, head.Body.Len())
	}
	r := httptest.NewRequest(http.MethodGet, "https://mcp.example.com"+target, nil)
	r.Header.Set("Accept", "application/json")
	asJSON := httptest.NewRecorder()
	s.ServeHTTP(asJSON, r)
	pageCheckHeaders(t, asJSON)
	// Where nobody can register, the steps for it would be no help.
	off := pageText(t, pageGet(t, pageServer(t, docsConfigs()["registration off"]), target))
	if strings.Contains(off, "rm -rf") || strings.Contains(off, "oauth/register") || !strings.Contains(off, "client_id") {
		t.Error("with registration off, the page tells to register")
	}
}

func TestPageReturn(t *testing.T) {
	s := pageServer(t, docsConfigs()["plain"])
	id := pageRegister(t, s, "Notes", "https://client.example/cb?k=1")
	for name, c := range map[string]struct {
		change url.Values
		code   string
		title  string
	}{
		"scope":         {url.Values{"scope": {"bogus"}}, "invalid_scope", "permissions"},
		"response type": {url.Values{"response_type": {"token"}}, "unsupported_response_type", "does not exist here"},
		"resource":      {url.Values{"resource": {"https://other.example"}}, "invalid_target", "address"},
		"no PKCE":       {url.Values{"code_challenge": {""}}, "invalid_request", "does not work"},
		"request":       {url.Values{"request": {"x"}}, "request_not_supported", "form"},
	} {
		t.Run(name, func(t *testing.T) {
			w := pageGet(t, s, pageAuthorize(id, c.change))
			if w.Code != http.StatusBadRequest {
				t.Errorf("status %d", w.Code)
			}
			pageCheck(t, w, "client.example")
			text := pageText(t, w)
			for _, want := range []string{"Return to client.example", "calls itself Notes", c.code, c.title, pageRequestID} {
				if !strings.Contains(text, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
			links := pageLinks(t, w)
			u, err := url.Parse(links[0])
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			if u.Host != "client.example" || q.Get("error") != c.code || q.Get("state") != "st" || q.Get("iss") != s.cfg.Issuer || q.Get("k") != "1" {
				t.Errorf("the link is %s", links[0])
			}
			if !strings.Contains(w.Body.String(), `rel="noreferrer nofollow"`) {
				t.Error("the link has no rel")
			}
		})
	}
}

func TestPageReturnStatus(t *testing.T) {
	denied := pageServerWith(t, docsConfigs()["plain"], pageLogin{err: login.ErrDenied})
	w := pageGet(t, denied, pageAuthorize(pageRegister(t, denied, "N", "https://client.example/cb"), nil))
	pageCheck(t, w, "client.example")
	if !strings.Contains(pageText(t, w), "This is not the way in") {
		t.Error("the page does not say so")
	}
	down := pageServerWith(t, docsConfigs()["plain"], pageLogin{err: context.DeadlineExceeded})
	w = pageGet(t, down, pageAuthorize(pageRegister(t, down, "N", "https://client.example/cb"), nil))
	pageCheck(t, w, "client.example")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("an outage is %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}

func TestPageHostileText(t *testing.T) {
	s := pageServer(t, docsConfigs()["plain"])
	for _, evil := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `{{template "x"}}`, `{{.Page}}`,
		`{env.SECRET}`, `</style><script>`, `javascript:alert(1)`, `abc` + pageRLO + `gpj.exe`, "a\u200b\u2066b\x00\r\nc", strings.Repeat("A", 1<<10),
		strings.Repeat("\u0301", 512), "\xff\xfe",
	} {
		id := pageRegister(t, s, evil, "https://client.example/cb")
		w := pageGet(t, s, pageAuthorize(id, url.Values{"scope": {"bogus"}, "state": {evil[:min(len(evil), 400)]}}))
		pageCheck(t, w, "client.example")
		text := pageText(t, w)
		if strings.ContainsAny(text, pageRLO+"\u2066\u200b\x00\r") {
			t.Errorf("%.20q: the page has invisible characters", evil)
		}
		if strings.Count(text, "A") > 200 || strings.Count(text, "\u0301") > 100 {
			t.Errorf("%.20q: the text is not cut", evil)
		}
		if link := pageLinks(t, w)[0]; !strings.HasPrefix(link, "https://client.example/cb?error=") {
			t.Errorf("%.20q: the link is %.80s", evil, link)
		}
		if strings.HasPrefix(evil, "{") && !strings.Contains(text, evil) {
			t.Errorf("%q is not shown as it is", evil)
		}
	}
}

// TestPageHostileRequests: nothing of a request that proves nothing is shown.
func TestPageHostileRequests(t *testing.T) {
	s := pageServer(t, docsConfigs()["plain"])
	for _, target := range []string{
		"/oauth/authorize?client_id=%3Cscript%3Ealert(1)%3C/script%3E&redirect_uri=javascript:alert(1)",
		"/oauth/authorize?%3Cscript%3E=1&client_id=a&client_id=b",
		"/oauth/authorize?client_id=%zz<script>",
		pageAuthorize(pageRegister(t, s, "N", "https://client.example/cb"), url.Values{"redirect_uri": {"javascript:alert(1)"}}),
		pageAuthorize(pageRegister(t, s, "N", "https://client.example/cb"), url.Values{"redirect_uri": {"https://evil.example/<script>"}}),
		pageAuthorize(pageRegister(t, s, "N", "https://client.example/cb"), url.Values{"redirect_uri": {"https://client.example.evil.example/cb"}}),
	} {
		r := httptest.NewRequest(http.MethodGet, "https://mcp.example.com/", nil)
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%.80s: %d", target, w.Code)
		}
		pageCheck(t, w, "")
		if body := w.Body.String(); strings.Contains(body, "alert") || strings.Contains(body, "evil") {
			t.Errorf("%.80s: the page repeats the request", target)
		}
	}
}

// TestPageLanguage: pages follow the browser, and nothing else of the request.
func TestPageLanguage(t *testing.T) {
	s := pageServer(t, docsConfigs()["plain"])
	for _, target := range []string{"/oauth/", "/oauth/redoc", "/oauth/authorize?client_id=stale"} {
		r := httptest.NewRequest(http.MethodGet, "https://mcp.example.com"+target, nil)
		r.Header.Set("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), `<html lang="zh-Hans">`) || w.Header().Get("Vary") != "Accept-Language" {
			t.Errorf("%s: headers %v", target, w.Header())
		}
	}
}
