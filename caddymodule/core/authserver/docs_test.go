package authserver

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// TestDocsIgnoreTheRequest holds that nothing of a request gets into a page.
func TestDocsIgnoreTheRequest(t *testing.T) {
	s := pageServer(t, docsConfigs()["plain"])
	for _, path := range []string{"/oauth", "/oauth/", "/oauth/docs", "/oauth/redoc", "/oauth/openapi.json"} {
		r := httptest.NewRequest("GET", "https://evil.example"+path+"?url=https://evil.example/x.json", nil)
		r.Header.Set("X-Forwarded-Host", "evil.example")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 200 || strings.Contains(w.Body.String(), "evil.example") {
			t.Errorf("%s: %d, mentions the request's host", path, w.Code)
		}
	}
}

// TestDocsSwaggerUI holds that the page loads the files that have routes, that
// they are there, and that its policy allows its inline code by hash only.
func TestDocsSwaggerUI(t *testing.T) {
	for _, name := range []string{"plain", "issuer path"} {
		s := pageServer(t, docsConfigs()[name])
		root := s.base + "/oauth/docs"
		w := pageGet(t, s, root)
		page, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
		if other := pageGet(t, s, root+"/").Body.String(); other != page {
			t.Error("docs and docs/ differ")
		}
		var loaded []string
		for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			file, ok := strings.CutPrefix(m[1], root+"/")
			if !ok {
				t.Errorf("the page loads %q", m[1])
			}
			loaded = append(loaded, file)
			f := pageGet(t, s, m[1])
			if f.Code != http.StatusOK || f.Body.Len() < 100 || f.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %d, %d bytes", m[1], f.Code, f.Body.Len())
			}
			if ct := f.Header().Get("Content-Type"); strings.Contains(ct, "html") || ct == "" {
				t.Errorf("%s has the content type %q", m[1], ct)
			}
		}
		slices.Sort(loaded)
		if want := slices.Sorted(slices.Values(swaggerFiles)); !slices.Equal(slices.Compact(loaded), want) {
			t.Errorf("the page loads %v, routes exist for %v", loaded, want)
		}
		if !strings.Contains(page, `"swaggerJsonUrl":"`+s.base+`/oauth/openapi.json"`) {
			t.Error("the page does not load the document")
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("policy: %s", policy)
		}
		inline := regexp.MustCompile(`(?s)<(?:script|style)>(.*?)</`).FindAllStringSubmatch(page, -1)
		if len(inline) != 3 {
			t.Errorf("%d inline elements", len(inline))
		}
		for _, m := range inline {
			if !strings.Contains(policy, "'"+pages.SourceHash(m[1])+"'") {
				t.Errorf("the policy forbids %.60q", m[1])
			}
		}
		if regexp.MustCompile(`\son[a-z]+=|\sstyle=`).MatchString(page) {
			t.Error("the page has inline handlers or style attributes, which no hash allows")
		}
	}
}

func TestDocsSwaggerFilesForOldClients(t *testing.T) {
	s := pageServer(t, docsConfigs()["plain"])
	r := httptest.NewRequest("GET", "https://mcp.example.com/oauth/docs/swagger-ui.css", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("headers: %v", w.Header())
	}
	plain := pageGet(t, s, "/oauth/docs/swagger-ui.css")
	if text, _ := io.ReadAll(plain.Body); plain.Header().Get("Content-Encoding") != "" || !strings.Contains(string(text), ".swagger-ui") {
		t.Error("without Accept-Encoding the file is not plain")
	}
	if w := pageGet(t, s, "/oauth/docs/oauth2-redirect.html"); w.Code != http.StatusNotFound {
		t.Errorf("a file that nothing loads is served: %d", w.Code)
	}
}

// TestDocsReferenceIsComplete holds that the page names what the document does.
func TestDocsReferenceIsComplete(t *testing.T) {
	s := pageServer(t, docsConfigs()["everything"])
	text := pageText(t, pageGet(t, s, "/oauth/redoc"))
	for path, item := range docsLoad(t, s).Paths.Map() {
		if !strings.Contains(text, " "+path) {
			t.Errorf("%s is missing", path)
		}
		for _, op := range item.Operations() {
			for _, p := range op.Parameters {
				if !strings.Contains(text, p.Value.Name) {
					t.Errorf("%s: parameter %s is missing", path, p.Value.Name)
				}
			}
		}
	}
}

// TestDocsHostileConfiguration: an operator's texts can't break a page or the
// document either.
func TestDocsHostileConfiguration(t *testing.T) {
	cfg := docsConfigs()["plain"]
	cfg.Resources[0].Name = `<script>"${issuer}"</script>{{template "x"}}`
	cfg.Resources[0].URIs = append([]string{"https://mcp.example.com/it's/a;$(b)"}, cfg.Resources[0].URIs...)
	s := pageServer(t, cfg)
	docsLoad(t, s)
	w := pageGet(t, s, "/oauth/")
	pageCheck(t, w, "mcp.example.com")
	text := pageText(t, w)
	for _, want := range []string{`<script>"${issuer}"</script>`, `mcp-example-com 'https://mcp.example.com/it'\''s/a;$(b)'`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
}
