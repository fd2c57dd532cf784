package pages

import (
	"io"
	"net/url"
	"strings"
)

// Overview is the page that introduces a server to whoever opens it.
type Overview struct {
	// Issuer is the issuer identifier, and Home the path of this page.
	Issuer, Home string
	// Version is the version of the software.
	Version string
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
	layout
	Page      Overview
	Connect   []Step
	Endpoints []endpointRow
}

type endpointRow struct {
	Title string
	Endpoint
}

// Write writes the page.
func (o Overview) Write(w io.Writer) error {
	t := english.Overview
	view := overviewView{
		layout:  layout{T: english, Title: t.Title, Home: o.Home, Server: o.Issuer, Version: o.Version},
		Page:    o,
		Connect: o.connect(english.Connect),
	}
	for _, row := range []endpointRow{
		{t.Metadata, o.Metadata},
		{t.Keys, o.Keys},
		{t.Register, o.Register},
		{t.Authorize, o.Authorize},
		{t.Token, o.Token},
		{t.Health, o.Health},
	} {
		if row.URL != "" {
			view.Endpoints = append(view.Endpoints, row)
		}
	}
	return write(w, overviewTemplate, view)
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
