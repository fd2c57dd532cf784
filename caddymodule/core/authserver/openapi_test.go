package authserver

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// docsResourceServer may ask about tokens.
var docsResourceServer = Client{ID: "rs", AuthMethod: oauth.AuthMethodPost, Secret: "rs-secret", Introspects: true}

// docsConfigs are the configurations that change what the document says.
func docsConfigs() map[string]Config {
	base := func(change func(*Config)) Config {
		c := Config{
			Issuer:    "https://mcp.example.com",
			Resources: []Resource{{URIs: []string{"https://mcp.example.com/mcp", "https://mcp.example.com/sse"}, Scopes: DefaultScopes, Name: "Notes"}},
		}
		change(&c)
		return c
	}
	withPath := func(c *Config) { c.Issuer = "https://mcp.example.com/tenant/a" }
	return map[string]Config{
		"plain":            base(func(*Config) {}),
		"issuer path":      base(withPath),
		"registration off": base(func(c *Config) { c.Registration.Off = true }),
		"management off":   base(func(c *Config) { c.Registration.NoManagement = true }),
		"initial access":   base(func(c *Config) { c.Registration.AccessToken = "letmein" }),
		"root paths":       base(func(c *Config) { c.RootPaths = true }),
		"root paths, registration off": base(func(c *Config) {
			c.RootPaths, c.Registration.Off = true, true
		}),
		"root paths below a path": base(func(c *Config) { withPath(c); c.RootPaths = true }),
		"development":             base(func(c *Config) { c.Development, c.AllowUnattended = true, true }),
		"everything": base(func(c *Config) {
			c.Development, c.AllowUnattended, c.RootPaths = true, true, true
			c.Clients = []Client{docsResourceServer}
		}),
		"development below a path": base(func(c *Config) {
			withPath(c)
			c.Development, c.AllowUnattended = true, true
		}),
		"loopback": base(func(c *Config) {
			c.Issuer = "http://localhost:8080"
			c.Resources = []Resource{{URIs: []string{"http://localhost:8080"}, Scopes: DefaultScopes}}
		}),
	}
}

func docsLoad(t *testing.T, s *Server) *openapi3.T {
	t.Helper()
	w := pageGet(t, s, s.base+"/oauth/openapi.json")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("openapi.json: %d %s", w.Code, w.Header().Get("Content-Type"))
	}
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocsDocumentIsOpenAPI31(t *testing.T) {
	for name, cfg := range docsConfigs() {
		t.Run(name, func(t *testing.T) {
			doc := docsLoad(t, pageServer(t, cfg))
			if !doc.IsOpenAPI31OrLater() {
				t.Errorf("openapi is %q", doc.OpenAPI)
			}
			if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater(), openapi3.EnableExamplesValidation(), openapi3.EnableMultiError()); err != nil {
				t.Error(err)
			}
			if got := doc.Servers[0].URL; got != cfg.Issuer {
				t.Errorf("the server is %q", got)
			}
		})
	}
}

// TestDocsMatchRoutes compares document and route table both ways. Three
// stated rules: HEAD goes with GET; OPTIONS is no method of a route; what is
// below /oauth/docs/ are files of the documentation.
func TestDocsMatchRoutes(t *testing.T) {
	for name, cfg := range docsConfigs() {
		t.Run(name, func(t *testing.T) {
			s := pageServer(t, cfg)
			documented := map[string][]string{}
			for path, item := range docsLoad(t, s).Paths.Map() {
				prefix := s.base
				if len(item.Servers) > 0 {
					prefix = strings.TrimPrefix(item.Servers[0].URL, "https://mcp.example.com")
				}
				for method := range item.Operations() {
					documented[prefix+path] = append(documented[prefix+path], method)
					if method == http.MethodGet {
						documented[prefix+path] = append(documented[prefix+path], http.MethodHead)
					}
				}
			}
			served := map[string][]string{}
			for _, r := range s.Routes() {
				if !strings.HasPrefix(r.Path, s.base+"/oauth/docs/") {
					served[r.Path] = slices.Clone(r.Methods)
				}
			}
			for path, methods := range served {
				slices.Sort(methods)
				slices.Sort(documented[path])
				if !slices.Equal(methods, documented[path]) {
					t.Errorf("%s answers %v, the document says %v", path, methods, documented[path])
				}
			}
			for path := range documented {
				if _, ok := served[path]; !ok {
					t.Errorf("%s is documented and not served", path)
				}
			}
		})
	}
}

// docsCheck validates a real answer against the schema that the document has
// for it.
func docsCheck(t *testing.T, doc *openapi3.T, path, method string, w *httptest.ResponseRecorder) {
	t.Helper()
	op := doc.Paths.Value(path).GetOperation(method)
	response := op.Responses.Status(w.Code)
	if response == nil {
		t.Fatalf("%s %s: status %d is not documented: %s", method, path, w.Code, w.Body)
	}
	if len(response.Value.Content) == 0 && w.Body.Len() == 0 {
		return
	}
	kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	media := response.Value.Content[kind]
	if media == nil {
		t.Fatalf("%s %s %d: content type %q is not documented", method, path, w.Code, kind)
	}
	if kind == "text/html" {
		return
	}
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.VisitAsResponse()); err != nil {
		t.Errorf("%s %s %d: %v\n%s", method, path, w.Code, err, w.Body)
	}
	object, _ := v.(map[string]any)
	for name := range object {
		if _, ok := media.Schema.Value.Properties[name]; !ok && path != "/oauth/openapi.json" {
			t.Errorf("%s %s %d: member %s is not documented", method, path, w.Code, name)
		}
	}
}

func TestDocsRealAnswers(t *testing.T) {
	s := pageServer(t, docsConfigs()["everything"])
	doc := docsLoad(t, s)
	const formType, jsonType = "application/x-www-form-urlencoded", "application/json"
	for _, c := range []struct {
		method, path, contentType, body string
		status                          int
	}{
		{"GET", "/.well-known/oauth-authorization-server", "", "", 200},
		{"GET", "/.well-known/openid-configuration", "", "", 200},
		{"GET", "/.well-known/oauth-authorization-server/mcp", "", "", 200},
		{"GET", "/oauth/jwks.json", "", "", 200},
		{"GET", "/oauth/health", "", "", 200},
		{"GET", "/oauth", "", "", 200},
		{"GET", "/oauth/", "", "", 200},
		{"GET", "/oauth/docs", "", "", 200},
		{"GET", "/oauth/redoc", "", "", 200},
		{"GET", "/oauth/openapi.json", "", "", 200},
		{"GET", "/oauth/authorize", "", "", 400},
		{"POST", "/oauth/authorize", formType, "", 400},
		{"POST", "/oauth/authorize", formType, strings.Repeat("x", maxBody+1), 413},
		{"POST", "/oauth/register", jsonType, `{"redirect_uris": ["http://127.0.0.1/cb"]}`, 201},
		{"POST", "/oauth/register", jsonType, `{"redirect_uris": ["http://127.0.0.1/cb"], "client_name": "N", "client_uri": "https://a.example",
			"token_endpoint_auth_method": "client_secret_post", "application_type": "native", "scope": "mcp:tools:read"}`, 201},
		{"POST", "/oauth/register", jsonType, `{"redirect_uris": []}`, 400},
		{"POST", "/oauth/register", jsonType, `{`, 400},
		{"POST", "/oauth/register", jsonType, strings.Repeat(" ", maxBody+1), 413},
		{"POST", "/register", jsonType, `{"redirect_uris": ["http://127.0.0.1/cb"]}`, 201},
		{"POST", "/oauth/token", formType, "", 400},
		{"POST", "/oauth/token", formType, "grant_type=authorization_code&client_id=nobody&code=x", 401},
		{"POST", "/oauth/token", formType, "grant_type=password", 400},
		{"POST", "/oauth/token", formType, strings.Repeat("x", maxBody+1), 413},
		{"POST", "/oauth/revoke", formType, "client_id=nobody&token=x", 401},
		{"POST", "/oauth/revoke", formType, "client_id=rs&client_secret=rs-secret", 400},
		{"POST", "/oauth/revoke", formType, "client_id=rs&client_secret=rs-secret&token=x", 200},
		{"POST", "/oauth/introspect", formType, "client_id=nobody&token=x", 401},
		{"POST", "/oauth/introspect", formType, "client_id=rs&client_secret=rs-secret", 400},
		{"POST", "/oauth/introspect", formType, "client_id=rs&client_secret=rs-secret&token=x", 200},
		{"GET", "/dev/token", "", "", 200},
		{"POST", "/dev/token", formType, "expires_in=0", 400},
		{"POST", "/dev/token", formType, "scope=mcp:tools:read", 200},
	} {
		r := httptest.NewRequest(c.method, "https://mcp.example.com"+c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s %s: status %d, want %d: %.200s", c.method, c.path, w.Code, c.status, w.Body)
			continue
		}
		docsCheck(t, doc, c.path, c.method, w)
	}
}

// TestDocsTokenAnswers goes through one real sign-in and a refresh.
func TestDocsTokenAnswers(t *testing.T) {
	s := pageServer(t, docsConfigs()["plain"])
	doc := docsLoad(t, s)
	id, err := s.sealClient(Client{
		RedirectURIs: []string{"http://127.0.0.1/cb"}, AuthMethod: oauth.AuthMethodNone,
		GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, Issued: s.now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := pageGet(t, s, pageAuthorize(id, nil))
	back, err := url.Parse(w.Header().Get("Location"))
	if err != nil || doc.Paths.Value("/oauth/authorize").Get.Responses.Status(w.Code) == nil {
		t.Fatalf("authorize: %d %v", w.Code, err)
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {id}, "code": {back.Query().Get("code")},
		"code_verifier": {"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
	}
	for range 2 {
		r := httptest.NewRequest("POST", "https://mcp.example.com/oauth/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", form.Get("grant_type"), w.Code, w.Body)
		}
		docsCheck(t, doc, "/oauth/token", "POST", w)
		var tokens oauth.TokenResponse
		if err := json.Unmarshal(w.Body.Bytes(), &tokens); err != nil {
			t.Fatal(err)
		}
		form = url.Values{"grant_type": {"refresh_token"}, "client_id": {id}, "refresh_token": {tokens.RefreshToken}}
	}
}

// TestDocsSchemasNameEveryMember compares schemas with the types that are sent.
func TestDocsSchemasNameEveryMember(t *testing.T) {
	doc := docsLoad(t, pageServer(t, docsConfigs()["everything"]))
	for name, v := range map[string]any{
		"ServerMetadata":    oauth.ServerMetadata{},
		"ClientInformation": oauth.ClientInformation{},
		"TokenResponse":     oauth.TokenResponse{},
		"Introspection":     introspection{},
		"Health":            health{},
		"Error":             errorBody{},
	} {
		schema := doc.Components.Schemas[name].Value
		var members, required []string
		for field := range reflect.TypeOf(v).Fields() {
			member, opts, _ := strings.Cut(field.Tag.Get("json"), ",")
			members = append(members, member)
			if opts == "" {
				required = append(required, member)
			}
		}
		slices.Sort(members)
		if documented := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(members, documented) {
			t.Errorf("%s has %v, the document says %v", name, members, documented)
		}
		for _, member := range schema.Required {
			if !slices.Contains(required, member) {
				t.Errorf("%s: %s is documented as required, and may be left out", name, member)
			}
		}
	}
	documented := doc.Components.Schemas["TokenRequest"].Value.Properties["grant_type"].Value.Enum
	if len(grants) != len(documented) {
		t.Errorf("%d grant types, the document says %v", len(grants), documented)
	}
	for i, g := range grants {
		if i < len(documented) && documented[i] != g.name {
			t.Errorf("grant type %s, the document says %v", g.name, documented)
		}
	}
}

func TestDocsRegistrationSecurity(t *testing.T) {
	open := docsLoad(t, pageServer(t, docsConfigs()["plain"]))
	if sec := open.Paths.Value("/oauth/register").Post.Security; sec != nil {
		t.Errorf("open registration asks for %v", *sec)
	}
	closed := docsLoad(t, pageServer(t, docsConfigs()["initial access"]))
	if sec := closed.Paths.Value("/oauth/register").Post.Security; sec == nil || len(*sec) != 1 {
		t.Error("the initial access token is not documented")
	}
}
