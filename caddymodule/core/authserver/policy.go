package authserver

import (
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file says what a client may have, whatever people approve.

// grantable is the scope that a client can have at most for a resource: nothing
// that the operator keeps from it or from clients that nobody vouches for
// (OAuth 2.1 §7.9).
func (s *Server) grantable(c Client, res Resource) oauth.Scope {
	scope := res.Scopes
	if c.Scopes != nil {
		scope = scope.Intersect(c.Scopes)
	}
	if c.Origin != ClientConfigured && s.cfg.Registration.UnvettedScopes != nil {
		scope = scope.Intersect(s.cfg.Registration.UnvettedScopes)
	}
	return scope
}

// errTarget says that the operator keeps the client from the resource.
var errTarget = oauth.Errorf(oauth.CodeInvalidTarget, "this client may not use the resource asked for: the operator lists its resources")

// resourcesOf returns the resources that a client may use.
func (s *Server) resourcesOf(c Client) []Resource {
	return slices.DeleteFunc(slices.Clone(s.cfg.Resources), func(r Resource) bool { return !c.reaches(r.Audience()) })
}

// unvettedScopes are all scopes that a client can have for which nobody vouches.
func (s *Server) unvettedScopes() oauth.Scope {
	all := s.cfg.scopesSupported()
	if limit := s.cfg.Registration.UnvettedScopes; limit != nil {
		return all.Intersect(limit)
	}
	return all
}
