package authserver

import (
	"bytes"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// docs are the documentation pages, made once from the configuration.
type docs struct {
	overview  pages.Overview
	reference pages.Reference
	openAPI   []byte
	swagger   swaggerUI
}

// swaggerUI is the interactive documentation: a page of another project and
// the files that it loads.
type swaggerUI struct {
	page   []byte
	policy string
	files  http.Handler
}

// swaggerFiles are the files that the page loads, below /oauth/docs/.
var swaggerFiles = []string{
	"swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "favicon-16x16.png", "favicon-32x32.png",
}

func newDocs(s *Server) (docs, error) {
	doc, err := s.apiDocument()
	if err != nil {
		return docs{}, err
	}
	var d docs
	if d.openAPI, err = doc.text(); err != nil {
		return docs{}, err
	}
	home := s.base + "/oauth/"
	d.reference, d.overview = doc.reference(), s.overview(home)
	d.swagger, err = newSwaggerUI(doc.Info.Title, home)
	return d, err
}

// mount adds the routes. The overview is at both /oauth and /oauth/, because
// people type either; the same goes for the interactive documentation.
func (d docs) mount(site *pages.Site, root string, add func(path string, h http.HandlerFunc)) {
	overview, swagger := servePage(site, d.overview), d.swagger.servePage
	add(root, overview)
	add(root+"/", overview)
	add(root+"/redoc", servePage(site, d.reference))
	add(root+"/openapi.json", d.serveOpenAPI)
	add(root+"/docs", swagger)
	add(root+"/docs/", swagger)
	for _, name := range swaggerFiles {
		add(root+"/docs/"+name, d.swagger.serveFile)
	}
}

func servePage(site *pages.Site, page pages.Page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { site.Write(w, r, http.StatusOK, page) }
}

func (d docs) serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", metadataCache)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(d.openAPI) // the client is gone if this fails
}

// overview is the page that says what this server is.
func (s *Server) overview(home string) pages.Overview {
	metadata := s.metadataPaths()[0]
	o := pages.Overview{
		Metadata:  pages.Endpoint{URL: oauth.OriginOf(s.cfg.Issuer) + metadata, Path: metadata},
		Keys:      pages.Endpoint{URL: s.url("/oauth/jwks.json"), Path: home + "jwks.json"},
		Authorize: pages.Endpoint{URL: s.url("/oauth/authorize")},
		Token:     pages.Endpoint{URL: s.url("/oauth/token")},
		Health:    pages.Endpoint{URL: s.url("/oauth/health"), Path: home + "health"},
	}
	if !s.cfg.Registration.Off {
		o.Register.URL = s.url("/oauth/register")
	}
	if s.cfg.Development {
		o.DevelopmentToken = s.url("/dev/token")
	}
	for _, res := range s.cfg.Resources {
		o.Resources = append(o.Resources, pages.Resource{Name: res.Name, URLs: res.URIs, Scopes: res.AllScopes()})
	}
	return o
}

// newSwaggerUI renders the page and allows exactly its own inline scripts and
// styles by their hashes.
func newSwaggerUI(title, home string) (swaggerUI, error) {
	h := v5emb.NewHandlerWithConfig(swgui.Config{
		Title:       title,
		SwaggerJSON: home + "openapi.json",
		BasePath:    home + "docs/",
		SettingsUI:  map[string]string{"defaultModelsExpandDepth": "1"},
		AppendHead:  `<meta name="viewport" content="width=device-width, initial-scale=1">`,
	})
	var rec recorder
	h.ServeHTTP(&rec, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: home + "docs/"}})
	page := rec.body.Bytes()
	policy := "default-src 'none'; script-src 'self'" + inlineHashes(page, inlineScript) +
		"; style-src 'self'" + inlineHashes(page, inlineStyle) +
		"; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return swaggerUI{page, policy, h}, nil
}

var (
	inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	inlineStyle  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
)

func inlineHashes(page []byte, element *regexp.Regexp) string {
	var b strings.Builder
	for _, m := range element.FindAllSubmatch(page, -1) {
		b.WriteString(" '" + pages.SourceHash(string(m[1])) + "'")
	}
	return b.String()
}

func (u swaggerUI) servePage(w http.ResponseWriter, r *http.Request) {
	pageHeaders(w)
	w.Header().Set("Content-Security-Policy", u.policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if r.Method != http.MethodHead {
		_, _ = w.Write(u.page) // the client is gone if this fails
	}
}

func (u swaggerUI) serveFile(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", metadataCache)
	u.files.ServeHTTP(w, r)
}

// recorder keeps what a handler writes.
type recorder struct {
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}

func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func (r *recorder) WriteHeader(int) {}
