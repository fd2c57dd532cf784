package mockmcp

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestPages(t *testing.T) {
	tests := []struct {
		path, accept string
		contentType  string
		want         []string
	}{
		{"/", "", "application/json", []string{`"name":"mockmcp"`, `"path":"/mcp"`, `"path":"/sse"`, `"path":"/mcp/tools/call"`, `"path":"/docs"`}},
		{"/", "*/*", "application/json", []string{`"endpoints"`}},
		{"/", "text/html;q=0, application/json", "application/json", []string{`"endpoints"`}},
		{"/", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8", []string{"<h1>Example MCP server</h1>", `<code>/mcp/initialize</code>`, `<a href="/docs">`}},
		{"/docs", "", "text/html", []string{"swagger-ui-bundle.js", `"/docs/`, "openapi.json"}},
		{"/docs/", "", "text/html", []string{"swagger-ui-bundle.js"}},
		{"/docs/swagger-ui-bundle.js", "", "application/javascript", []string{"SwaggerUIBundle"}},
		{"/docs/swagger-ui.css", "", "text/css; charset=utf-8", []string{".swagger-ui"}},
		{"/redoc", "", "text/html; charset=utf-8", []string{"POST /mcp/tools/call", "the weather in Lisbon", "CallToolReply", "-32700"}},
		{"/openapi.json", "", "application/json", []string{`"openapi": "3.1.0"`}},
		{"/health", "", "application/json", []string{`{"status":"healthy"`, `"bearer_tokens_seen":0`, `"transport":"http"`}},
		{"/mcp/health", "", "application/json", []string{`{"status":"healthy"`}},
	}
	s, _ := quiet(t, TransportHTTP)
	for _, tt := range tests {
		t.Run(tt.path+" "+tt.accept, func(t *testing.T) {
			w := do(s.Handler(), "GET", tt.path, "", "Accept", tt.accept)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != tt.contentType {
				t.Errorf("status %d, content type %q", w.Code, w.Header().Get("Content-Type"))
			}
			body := w.Body.String()
			for _, want := range tt.want {
				if !strings.Contains(body, want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			if tt.path == "/redoc" && strings.Contains(body, "<script") {
				t.Error("the reference has a script")
			}
			if strings.HasPrefix(tt.contentType, "text/html") && (strings.Contains(body, `src="http`) || strings.Contains(body, `src="//`) || w.Header().Get("Content-Security-Policy") == "") {
				t.Error("the page loads something from elsewhere, or has no policy against it")
			}
		})
	}
	for _, path := range []string{"/nope", "/docs/nope", "/mcp/tools", "/mcp/nope"} {
		if w := do(s.Handler(), "GET", path, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	if w := do(s.Handler(), "POST", "/health", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("POST /health: status %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestOverviewNamesWhatTheTransportServes(t *testing.T) {
	s, _ := quiet(t, TransportSSE)
	body := do(s.Handler(), "GET", "/", "").Body.String()
	if strings.Contains(body, `"path":"/mcp"`) || !strings.Contains(body, `"path":"/sse"`) {
		t.Errorf("overview %s", body)
	}
}

func loadOpenAPI(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPIDocument)
	if err != nil {
		t.Fatalf("loading: %v", err)
	}
	if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Fatalf("not a valid document: %v", err)
	}
	return doc
}

// The document describes the endpoints there are, no more and no less.
func TestOpenAPIMatchesTheRoutes(t *testing.T) {
	doc := loadOpenAPI(t)
	s, _ := quiet(t, TransportHTTP)
	var routes, described []string
	for _, r := range s.routes {
		if !r.hidden && r.Path != "/mcp" && r.Path != "/sse" { // the transports of MCP have a specification of their own
			routes = append(routes, r.Methods+" "+r.Path)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(routes)
	slices.Sort(described)
	if !slices.Equal(routes, described) {
		t.Errorf("routes    %v\ndescribed %v", routes, described)
	}
	if doc.Info.Version != serverVersion {
		t.Errorf("version %s, want %s", doc.Info.Version, serverVersion)
	}
	var names []any
	for _, tl := range allTools() {
		names = append(names, tl.def.Name)
	}
	for _, got := range [][]any{
		doc.Components.Schemas["Tool"].Value.Properties["name"].Value.Enum,
		doc.Components.Schemas["CallToolRequest"].Value.Properties["params"].Value.Properties["name"].Value.Enum,
	} {
		if !slices.Equal(got, names) {
			t.Errorf("tools %v, want %v", got, names)
		}
	}
}

// Its examples work, and what the endpoints answer fits its schemas.
func TestOpenAPIMatchesTheAnswers(t *testing.T) {
	doc := loadOpenAPI(t)
	s, _ := quiet(t, TransportHTTP)
	check := func(name, method, path, body string, status int) {
		t.Helper()
		w := do(s.Handler(), method, path, body)
		op := doc.Paths.Value(path).GetOperation(method)
		resp := op.Responses.Status(w.Code)
		if w.Code != status || resp == nil {
			t.Errorf("%s: status %d, want %d, described %v", name, w.Code, status, resp != nil)
			return
		}
		var answer any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		schema := resp.Value.Content.Get("application/json").Schema.Value
		if err := schema.VisitJSON(answer, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%s: the answer doesn't fit: %v\n%s", name, err, w.Body)
		}
	}
	for path, item := range doc.Paths.Map() {
		if item.Post == nil {
			continue
		}
		media := item.Post.RequestBody.Value.Content.Get("application/json")
		if len(media.Examples) == 0 {
			t.Errorf("%s has no example", path)
		}
		for name, example := range media.Examples {
			if err := media.Schema.Value.VisitJSON(example.Value.Value, openapi3.EnableJSONSchema2020()); err != nil {
				t.Errorf("%s %s: the example doesn't fit: %v", path, name, err)
			}
			body := string(mustJSON(example.Value.Value))
			check(path+" "+name, "POST", path, body, 200)
			if got := decode[reply](t, do(s.Handler(), "POST", path, body).Body); got.Error != nil {
				t.Errorf("%s %s: %+v", path, name, got.Error)
			}
		}
		check(path+" not JSON", "POST", path, "{", 400)
		check(path+" too large", "POST", path, strings.Repeat(" ", maxBody+1), 413)
	}
	check("unknown tool", "POST", "/mcp/tools/call", `{"jsonrpc":"2.0","id":1,"params":{"name":"nope"}}`, 200)
	check("failed tool", "POST", "/mcp/tools/call", `{"jsonrpc":"2.0","id":"x","params":{"name":"get_user_profile"}}`, 200)
	for _, path := range []string{"/", "/health", "/mcp/health", "/openapi.json"} {
		check(path, "GET", path, "", 200)
	}
}

// The reference page knows every operation of the document.
func TestReferenceIsComplete(t *testing.T) {
	doc := loadOpenAPI(t)
	s, _ := quiet(t, TransportHTTP)
	page := do(s.Handler(), "GET", "/redoc", "").Body.String()
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !strings.Contains(page, "<code>"+method+" "+path+"</code>") || !strings.Contains(page, op.Summary) {
				t.Errorf("the page lacks %s %s", method, path)
			}
		}
	}
	for name := range doc.Components.Schemas {
		if !strings.Contains(page, `id="schema-`+name+`"`) {
			t.Errorf("the page lacks the schema %s", name)
		}
	}
}

// The schemas of the results are true: the SDK's clients check structured content against them.
func TestResultsFitTheirSchemas(t *testing.T) {
	calls := map[string]string{
		"get_weather": `{"location":"Lisbon"}`, "list_files": `{"path":"/"}`, "get_user_profile": `{}`, "hello": `{"name":"Ada"}`, "add_numbers": `{"a":1,"b":2}`,
	}
	for _, tl := range allTools() {
		res, bad := tl.call(nil, http.Header{headerUser: {"ada"}}, []byte(calls[tl.def.Name]))
		if bad != nil || res.IsError {
			t.Errorf("%s: %v", tl.def.Name, bad)
			continue
		}
		checkOutput(t, tl.def, mustJSON(res.StructuredContent))
	}
}

func checkOutput(t *testing.T, def *mcp.Tool, content []byte) {
	t.Helper()
	var schema openapi3.Schema
	if err := json.Unmarshal(mustJSON(def.OutputSchema), &schema); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	if err := schema.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("%s: %v", def.Name, err)
	}
}
