package resource

import (
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file implements the publishing half of protected resource metadata,
// RFC 9728. Left out: signed_metadata and the members of features that are not
// there (see oauth.ResourceMetadata).

// MetadataURL returns where the metadata of a resource lies: the well-known
// name inserted between its host and its path (RFC 9728 §3.1).
func MetadataURL(canonical string) string {
	return oauth.OriginOf(canonical) + oauth.WellKnownResource + oauth.PathOf(canonical)
}

// Metadata returns the document for one of the guard's endpoints. uri is what
// the document names, because clients compare it with the URL that they called
// (RFC 9728 §3.3).
func (g *Guard) Metadata(uri string) oauth.ResourceMetadata {
	return oauth.ResourceMetadata{
		Resource:               uri,
		AuthorizationServers:   g.cfg.AuthorizationServers,
		ScopesSupported:        g.cfg.Scopes,
		BearerMethodsSupported: []string{"header"},
		ResourceName:           g.cfg.Name,
		ResourceDocumentation:  g.cfg.Documentation,
	}
}

// URIs returns the resource's endpoints, the audience first.
func (g *Guard) URIs() []string { return g.cfg.URIs }
