package authserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// reference turns the document into the page that people read.
func (d *apiDocument) reference() pages.Reference {
	ref := pages.Reference{
		Title:       d.Info.Title,
		Description: d.Info.Description,
	}
	for _, tag := range d.Tags {
		ref.Groups = append(ref.Groups, pages.Group{Name: tag.Name, Description: tag.Description, Operations: d.operations(tag.Name)})
	}
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		schema := d.Components.Schemas[name]
		ref.Schemas = append(ref.Schemas, pages.Schema{Name: name, Description: schema.Description, Fields: schema.fields()})
	}
	return ref
}

// operations returns those with a tag, sorted by path. Aliases are named at
// what they stand for.
func (d *apiDocument) operations(tag string) []pages.Operation {
	var all []pages.Operation
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		p := d.Paths[path]
		if p.AliasOf != "" {
			continue
		}
		for _, m := range []struct {
			method string
			op     *apiOperation
		}{{http.MethodGet, p.Get}, {http.MethodPost, p.Post}, {http.MethodPut, p.Put}, {http.MethodDelete, p.Delete}} {
			if m.op == nil || !slices.Contains(m.op.Tags, tag) {
				continue
			}
			op := d.operation(m.op)
			op.Method, op.Path, op.Aliases = m.method, d.fullPath(path), d.aliases(path)
			all = append(all, op)
		}
	}
	return all
}

func (d *apiDocument) operation(o *apiOperation) pages.Operation {
	op := pages.Operation{Summary: o.Summary, Description: o.Description, Deprecated: o.Deprecated}
	for _, requirement := range o.Security {
		for scheme := range requirement {
			op.Auth = d.Components.SecuritySchemes[scheme].Description
		}
	}
	for _, p := range o.Parameters {
		op.Parameters = append(op.Parameters, pages.Param{Name: p.Name, Type: p.Schema.name(), Description: p.Description, Required: p.Required})
	}
	if o.RequestBody != nil {
		op.Body = content(o.RequestBody.Content)
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		r := o.Responses[status]
		if r.Ref != "" {
			r = d.Components.Responses[refName(r.Ref)]
		}
		response := pages.Response{Status: status, Description: r.Description, Content: content(r.Content)}
		for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
			h := d.Components.Headers[refName(r.Headers[name].Ref)]
			response.Headers = append(response.Headers, pages.Param{Name: name, Description: h.Description})
		}
		op.Responses = append(op.Responses, response)
	}
	return op
}

// aliases returns the paths that answer the same as another.
func (d *apiDocument) aliases(path string) []string {
	var paths []string
	for _, alias := range slices.Sorted(maps.Keys(d.Paths)) {
		if d.Paths[alias].AliasOf == path {
			paths = append(paths, d.fullPath(alias))
		}
	}
	return paths
}

// fullPath returns a path of the document with that of its server before it.
func (d *apiDocument) fullPath(path string) string {
	server := d.Servers[0]
	if own := d.Paths[path].Servers; len(own) > 0 {
		server = own[0]
	}
	return oauth.PathOf(server.URL) + path
}

// content describes a body, which has one type in this document.
func content(media map[string]apiMedia) pages.Content {
	for name, m := range media {
		c := pages.Content{Type: name, Schema: refName(m.Schema.Ref)}
		if m.Example != nil {
			c.Example = exampleText(m.Example)
		}
		return c
	}
	return pages.Content{}
}

func exampleText(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "" // it was read from JSON
	}
	return string(text)
}

// fields returns the members of an object, required ones first.
func (s apiSchema) fields() []pages.Param {
	var required, optional []pages.Param
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		f := pages.Param{Name: name, Type: p.name(), Description: p.Description, Required: slices.Contains(s.Required, name)}
		if f.Required {
			required = append(required, f)
		} else {
			optional = append(optional, f)
		}
	}
	return append(required, optional...)
}

// name says in a few words what a value looks like.
func (s apiSchema) name() string {
	switch {
	case s.Ref != "":
		return refName(s.Ref)
	case s.Const != nil:
		return fmt.Sprint(s.Const)
	case len(s.Enum) > 0:
		return strings.Join(slices.DeleteFunc(slices.Clone(s.Enum), func(v string) bool { return v == "" }), " | ")
	case s.Items != nil:
		return "list of " + s.Items.name()
	case s.Format != "":
		return s.Format
	}
	return s.Type
}

// refName returns the last part of a reference.
func refName(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }
