package mockmcp

import (
	"bytes"
	_ "embed" // the page templates and the OpenAPI document
	"encoding/json"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"strings"

	"github.com/swaggest/swgui/v5emb"
)

//go:embed openapi.json
var openAPIDocument []byte

//go:embed pages.tmpl
var pageTemplates string

var pages = template.Must(template.New("pages").Funcs(template.FuncMap{"upper": strings.ToUpper, "indent": indent}).Parse(pageTemplates))

// apiDocument is what the reference page shows of the OpenAPI document.
type apiDocument struct {
	Info struct {
		Title       string `json:"title"`
		Version     string `json:"version"`
		Description string `json:"description"`
	} `json:"info"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]json.RawMessage `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	Summary     string `json:"summary"`
	Description string `json:"description"`
	RequestBody struct {
		Content map[string]media `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Description string           `json:"description"`
		Content     map[string]media `json:"content"`
	} `json:"responses"`
}

type media struct {
	Schema   json.RawMessage `json:"schema"`
	Examples map[string]struct {
		Summary string          `json:"summary"`
		Value   json.RawMessage `json:"value"`
	} `json:"examples"`
}

// health is for machines: load balancers, and tests that assert that no credential got through the gateway.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, struct {
		Status           string `json:"status"`
		Server           string `json:"server"`
		Version          string `json:"version"`
		Transport        string `json:"transport"`
		Tools            int    `json:"tools"`
		BearerTokensSeen int64  `json:"bearer_tokens_seen"`
	}{"healthy", serverName, serverVersion, s.transport, len(s.tools), s.LeakedCredentials()})
}

// overview names the endpoints, as HTML for browsers and as JSON for everybody else.
func (s *Server) overview(w http.ResponseWriter, r *http.Request) {
	view := struct {
		Name      string  `json:"name"`
		Title     string  `json:"title"`
		Version   string  `json:"version"`
		Transport string  `json:"transport"`
		About     string  `json:"about"`
		Endpoints []route `json:"endpoints"`
	}{Name: serverName, Title: serverTitle, Version: serverVersion, Transport: s.transport, About: about}
	for _, rt := range s.routes {
		if !rt.hidden {
			view.Endpoints = append(view.Endpoints, rt)
		}
	}
	w.Header().Set("Vary", "Accept")
	if !wantsHTML(r) {
		writeJSON(w, http.StatusOK, view)
		return
	}
	writeHTML(w, render("overview", view))
}

func wantsHTML(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for kind := range strings.SplitSeq(accept, ",") {
			if base, params, err := mime.ParseMediaType(kind); err == nil && base == "text/html" && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}

func openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPIDocument) // fails only when the client has gone
}

// swaggerPage serves Swagger UI from the assets in the module. The policy holds it to this server: nothing is loaded
// from elsewhere.
func swaggerPage() http.Handler {
	ui := v5emb.New(serverTitle, "/openapi.json", "/docs/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:")
		ui.ServeHTTP(w, r)
	})
}

// referencePage shows the OpenAPI document as one page to read.
func referencePage() http.Handler {
	var doc apiDocument
	if err := json.Unmarshal(openAPIDocument, &doc); err != nil {
		panic(fmt.Sprintf("mockmcp: openapi.json: %v", err)) // a mistake in this package, seen by every test
	}
	page := render("reference", doc)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeHTML(w, page) })
}

// render fills a template with data of this package, which can't fail once a test has passed.
func render(name string, data any) []byte {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		panic(fmt.Sprintf("mockmcp: page %s: %v", name, err))
	}
	return b.Bytes()
}

func writeHTML(w http.ResponseWriter, page []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	_, _ = w.Write(page) // fails only when the client has gone
}

func indent(raw json.RawMessage) (string, error) {
	var b bytes.Buffer
	err := json.Indent(&b, raw, "", "  ")
	return b.String(), err
}
