package pages

import (
	"net/url"
	"slices"
	"strings"
)

// Overview is the page that introduces a server to whoever opens it.
type Overview struct {
	// Resources are the MCP servers behind it. At least one.
	Resources []Resource
	// Metadata and the others are its endpoints.
	Metadata, Keys, Authorize, Token, Health Endpoint
	// Register has no URL where programs can't register themselves.
	Register Endpoint
	// DevelopmentToken is the URL of development tokens, empty where there
	// are none.
	DevelopmentToken string
}

// Resource is a protected MCP server.
type Resource struct {
	Name   string
	URLs   []string
	Scopes []string
}

// Endpoint is one URL of the server.
type Endpoint struct {
	URL string
	// Path is where a browser on this page finds it, empty for an endpoint
	// that is not for browsers.
	Path string
}

type overviewView struct {
	Overview
	Connect   []Step
	Endpoints []endpointRow
}

type endpointRow struct {
	Title string
	Endpoint
}

func (o Overview) draw(_ *Site, t *words) (drawing, error) {
	view := overviewView{Overview: o, Connect: o.connect(t.Connect)}
	view.Resources = slices.Clone(o.Resources)
	for i, r := range view.Resources {
		view.Resources[i].Name = clean(r.Name, maxName)
		view.Resources[i].Scopes = slices.Clone(r.Scopes)
		for k, s := range r.Scopes {
			view.Resources[i].Scopes[k] = clean(s, maxName)
		}
	}
	for _, row := range []endpointRow{
		{t.Overview.Metadata, o.Metadata},
		{t.Overview.Keys, o.Keys},
		{t.Overview.Register, o.Register},
		{t.Overview.Authorize, o.Authorize},
		{t.Overview.Token, o.Token},
		{t.Overview.Health, o.Health},
	} {
		if row.URL != "" {
			view.Endpoints = append(view.Endpoints, row)
		}
	}
	return drawing{template: overviewTemplate, title: t.Overview.Title, page: view, wide: true}, nil
}

// connect says how programs connect to the first resource.
func (o Overview) connect(t connectWords) []Step {
	address := o.Resources[0].URLs[0]
	name, quoted := serverName(address), shellQuote(address)
	type entry struct {
		Name string `json:"name,omitempty"`
		Type string `json:"type,omitempty"`
		URL  string `json:"url"`
	}
	steps := []Step{
		t.ClaudeCode.with("claude mcp add --transport http " + name + " " + quoted),
		t.Connector.with(address),
		t.Cursor.with(jsonText(map[string]map[string]entry{"mcpServers": {name: {URL: address}}}, "  ")),
		t.VSCode.with("code --add-mcp " + shellQuote(jsonText(entry{name, "http", address}, ""))),
		t.Inspector.with("npx @modelcontextprotocol/inspector --transport http --server-url " + quoted),
		t.Curl.with("curl -i " + quoted),
	}
	if o.DevelopmentToken != "" {
		steps = append(steps, t.Development.with("TOKEN=$(curl -s "+shellQuote(o.DevelopmentToken)+" | jq -r .access_token)\n"+
			`curl -i -H "Authorization: Bearer $TOKEN" `+quoted))
	}
	return steps
}

// serverName turns an address into a name that every program takes: letters,
// digits and hyphens.
func serverName(address string) string {
	host := hostOf(address)
	if u, err := url.Parse(address); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, host), "-")
}
