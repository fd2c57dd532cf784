package authserver

import (
	"bytes"
	_ "embed" // openapi.json
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// openAPIText describes every endpoint there can be. What depends on the
// configuration is filled in once, by apiDocument.
//
//go:embed openapi.json
var openAPIText string

// The types below are the part of OpenAPI 3.1 that openapi.json uses. Reading
// it refuses everything else, so that nothing gets lost on the way.
type (
	apiDocument struct {
		OpenAPI    string              `json:"openapi"`
		Info       apiInfo             `json:"info"`
		Servers    []apiServer         `json:"servers"`
		Tags       []apiTag            `json:"tags"`
		Paths      map[string]*apiPath `json:"paths"`
		Components apiComponents       `json:"components"`
	}
	apiInfo struct {
		Title       string            `json:"title"`
		Version     string            `json:"version"`
		Description string            `json:"description"`
		License     map[string]string `json:"license"`
	}
	apiServer struct {
		URL string `json:"url"`
	}
	apiTag struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	apiPath struct {
		// AliasOf is the path that answers the same.
		AliasOf string        `json:"x-alias-of,omitempty"`
		Servers []apiServer   `json:"servers,omitempty"`
		Get     *apiOperation `json:"get,omitempty"`
		Post    *apiOperation `json:"post,omitempty"`
		Put     *apiOperation `json:"put,omitempty"`
		Delete  *apiOperation `json:"delete,omitempty"`
	}
	apiOperation struct {
		Tags        []string               `json:"tags"`
		OperationID string                 `json:"operationId"`
		Summary     string                 `json:"summary"`
		Description string                 `json:"description,omitempty"`
		Deprecated  bool                   `json:"deprecated,omitempty"`
		Security    []map[string][]string  `json:"security,omitempty"`
		Parameters  []apiParameter         `json:"parameters,omitempty"`
		RequestBody *apiBody               `json:"requestBody,omitempty"`
		Responses   map[string]apiResponse `json:"responses"`
	}
	apiParameter struct {
		Name        string    `json:"name"`
		In          string    `json:"in"`
		Required    bool      `json:"required,omitempty"`
		Description string    `json:"description"`
		Schema      apiSchema `json:"schema"`
		Example     any       `json:"example,omitempty"`
	}
	apiBody struct {
		Required bool                `json:"required,omitempty"`
		Content  map[string]apiMedia `json:"content"`
	}
	apiMedia struct {
		Schema   apiSchema             `json:"schema"`
		Example  any                   `json:"example,omitempty"`
		Examples map[string]apiExample `json:"examples,omitempty"`
	}
	apiExample struct {
		Summary string `json:"summary"`
		Value   any    `json:"value"`
	}
	apiResponse struct {
		Ref         string               `json:"$ref,omitempty"`
		Description string               `json:"description,omitempty"`
		Headers     map[string]apiHeader `json:"headers,omitempty"`
		Content     map[string]apiMedia  `json:"content,omitempty"`
	}
	apiHeader struct {
		Ref         string     `json:"$ref,omitempty"`
		Description string     `json:"description,omitempty"`
		Schema      *apiSchema `json:"schema,omitempty"`
	}
	apiSchema struct {
		Ref         string               `json:"$ref,omitempty"`
		Type        string               `json:"type,omitempty"`
		Format      string               `json:"format,omitempty"`
		Description string               `json:"description,omitempty"`
		Const       any                  `json:"const,omitempty"`
		Enum        []string             `json:"enum,omitempty"`
		Pattern     string               `json:"pattern,omitempty"`
		MaxLength   int                  `json:"maxLength,omitempty"`
		Minimum     *int                 `json:"minimum,omitempty"`
		Maximum     *int                 `json:"maximum,omitempty"`
		MinItems    int                  `json:"minItems,omitempty"`
		MaxItems    int                  `json:"maxItems,omitempty"`
		Items       *apiSchema           `json:"items,omitempty"`
		Required    []string             `json:"required,omitempty"`
		Properties  map[string]apiSchema `json:"properties,omitempty"`
		AllOf       []apiSchema          `json:"allOf,omitempty"`
		If          *apiSchema           `json:"if,omitempty"`
		Then        *apiSchema           `json:"then,omitempty"`
	}
	apiComponents struct {
		Schemas         map[string]apiSchema         `json:"schemas"`
		Headers         map[string]apiHeader         `json:"headers"`
		Responses       map[string]apiResponse       `json:"responses"`
		SecuritySchemes map[string]apiSecurityScheme `json:"securitySchemes"`
	}
	apiSecurityScheme struct {
		Type        string `json:"type"`
		Scheme      string `json:"scheme"`
		Description string `json:"description"`
	}
)

// apiDocument returns the description of the server as it is configured. Its
// paths are those of the route table without the issuer's path, which is in
// the server URL.
func (s *Server) apiDocument() (*apiDocument, error) {
	res := s.cfg.Resources[0]
	text := strings.NewReplacer(
		"${issuer}", jsonInner(s.cfg.Issuer),
		"${resource}", jsonInner(res.Audience()),
		"${scope}", jsonInner(res.Scopes.String()),
		"${version}", jsonInner(version()),
	).Replace(openAPIText)
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	var doc apiDocument
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("reading openapi.json: %w", err)
	}
	s.placeMetadata(&doc)
	s.dropUnavailable(&doc)
	doc.alias("/oauth", "/oauth/", "", false)
	if s.cfg.RootPaths && s.base == "" {
		for _, name := range []string{"/authorize", "/token", "/register"} {
			doc.alias(name, "/oauth"+name, "", true)
		}
	}
	return &doc, nil
}

// placeMetadata puts the metadata document at each of its paths. Those that
// stand before the issuer's path have the bare origin as their server.
func (s *Server) placeMetadata(doc *apiDocument) {
	paths := s.metadataPaths()
	origin := ""
	if s.base != "" {
		origin = oauth.OriginOf(s.cfg.Issuer)
	}
	first := paths[0]
	metadata := doc.Paths[oauth.WellKnownServer]
	delete(doc.Paths, oauth.WellKnownServer)
	if origin != "" {
		metadata.Servers = []apiServer{{origin}}
	}
	doc.Paths[first] = metadata
	for _, path := range paths[1:] {
		if inner, ok := strings.CutPrefix(path, s.base+"/"); ok && s.base != "" {
			doc.alias("/"+inner, first, "", false)
			continue
		}
		doc.alias(path, first, origin, false)
	}
}

// dropUnavailable removes what the configuration turns off.
func (s *Server) dropUnavailable(doc *apiDocument) {
	c := doc.Components
	if s.cfg.Registration.Off || s.cfg.Registration.NoManagement {
		delete(doc.Paths, managePath)
		delete(c.Schemas, "ClientUpdate")
		delete(c.SecuritySchemes, "registrationAccessToken")
		delete(c.Responses, "BadManagement")
		delete(c.Responses, "NotTheClient")
	}
	if s.cfg.Registration.Off {
		delete(doc.Paths, "/oauth/register")
		delete(c.Schemas, "ClientMetadata")
		delete(c.Schemas, "ClientInformation")
	} else if s.cfg.Registration.AccessToken == "" {
		register := doc.Paths["/oauth/register"].Post
		register.Security = nil
		delete(register.Responses, "401")
	}
	if s.cfg.Registration.Off || s.cfg.Registration.AccessToken == "" {
		delete(c.SecuritySchemes, "initialAccessToken")
	}
	if !s.introspects() {
		delete(doc.Paths, introspectPath)
		delete(c.Schemas, "IntrospectionRequest")
		delete(c.Schemas, "Introspection")
	}
	s.placePeople(doc)
	if !s.cfg.Development {
		delete(doc.Paths, "/dev/token")
		delete(c.Schemas, "DevelopmentTokenRequest")
		delete(c.Responses, "Forbidden")
	}
}

// placePeople documents the pages of the logins that there are: the callback
// once for each that comes back to it.
func (s *Server) placePeople(doc *apiDocument) {
	const template = callbackPath + "{login}"
	callback := doc.Paths[template]
	delete(doc.Paths, template)
	for _, m := range s.logins {
		if m.redirects() {
			doc.Paths[callbackPath+m.info.ID] = &apiPath{Get: callback.Get.alias("/"+m.info.ID, false)}
		}
	}
	if c := doc.Components; s.unattended() {
		delete(doc.Paths, signInPath)
		delete(doc.Paths, consentPath)
		delete(c.Schemas, "SignInForm")
		delete(c.Schemas, "ConsentForm")
	}
}

// alias documents a path, below the origin if one is given, that answers the
// same as another. Where the other does not exist there is no alias either.
func (d *apiDocument) alias(path, of, origin string, deprecated bool) {
	original, ok := d.Paths[of]
	if !ok {
		return
	}
	p := &apiPath{AliasOf: of, Get: original.Get.alias(path, deprecated), Post: original.Post.alias(path, deprecated)}
	if origin != "" {
		p.Servers = []apiServer{{origin}}
	}
	d.Paths[path] = p
}

// alias returns a copy with an id of its own, as OpenAPI demands.
func (o *apiOperation) alias(path string, deprecated bool) *apiOperation {
	if o == nil {
		return nil
	}
	c := *o
	c.OperationID += strings.NewReplacer("/", "_", ".", "_", "-", "_").Replace(path)
	c.Deprecated = deprecated
	return &c
}

// text returns the document as it is served.
func (d *apiDocument) text() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return nil, fmt.Errorf("writing openapi.json: %w", err)
	}
	return b.Bytes(), nil
}

// jsonInner returns a string as it stands between the quotes of JSON text.
func jsonInner(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return "" // strings always encode
	}
	return strings.Trim(string(quoted), `"`)
}

// modulePath finds this software among the modules of a program.
const modulePath = "github.com/caddy-mcp/caddy-mcp-auth"

// version returns the module version that the program was built with, or
// "devel".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "devel"
}
