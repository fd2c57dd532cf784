package caddymodule

import (
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// registry collects the resources of all handlers while they are provisioned.
type registry struct {
	mu        sync.Mutex
	resources []protected
}

// protected is a resource of a handler.
type protected struct {
	authserver.Resource
	guard *resource.Guard
	// options are the others that a caller could get around at another site.
	options string
}

func (g *registry) list() []authserver.Resource {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]authserver.Resource, len(g.resources))
	for i, p := range g.resources {
		all[i] = p.Resource
	}
	return all
}

// add notes a handler's resource. The same one may come twice, because a
// site block with several addresses becomes several handlers; another one
// under the same URI is a mistake.
func (g *registry) add(p protected) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, have := range g.resources {
		if reflect.DeepEqual(have.Resource, p.Resource) && have.options == p.options {
			return nil
		}
		for _, uri := range p.URIs {
			if slices.Contains(have.URIs, uri) {
				return fmt.Errorf("resource %s is claimed by two mcp_auth directives with different options: give each its own with the resource option", uri)
			}
		}
	}
	g.resources = append(g.resources, p)
	return nil
}

// metadata returns the protected resource metadata at a path of an origin, or
// false. The origin itself stands for the only resource that lives there; with
// several it would be ambiguous (RFC 9728 §3.3).
func (g *registry) metadata(origin, path string) (oauth.ResourceMetadata, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var atOrigin []protected
	for _, p := range g.resources {
		for _, uri := range p.URIs {
			if uri == origin+path {
				return p.guard.Metadata(uri), true
			}
		}
		if oauth.OriginOf(p.Audience()) == origin {
			atOrigin = append(atOrigin, p)
		}
	}
	if path == "" && len(atOrigin) == 1 {
		return atOrigin[0].guard.Metadata(origin), true
	}
	return oauth.ResourceMetadata{}, false
}
