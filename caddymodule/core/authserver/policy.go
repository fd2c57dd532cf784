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
	scope := res.AllScopes()
	if c.Scopes != nil {
		scope = scope.Intersect(c.Scopes)
	}
	if c.Origin != ClientConfigured && s.cfg.Registration.UnvettedScopes != nil {
		scope = scope.Intersect(s.cfg.Registration.UnvettedScopes)
	}
	return scope
}

// byDefault is what a client gets for a resource that asks for no scope: those
// for basic use that it may have (OAuth 2.1 §1.4.1). It can be empty where the
// operator gives it others only.
func (s *Server) byDefault(c Client, res Resource) oauth.Scope {
	return res.Scopes.Intersect(s.grantable(c, res))
}

// Obtainable returns the scopes that a client could get for a resource by asking,
// whatever people then say: there is no use in telling it to ask for others. It
// asks nobody. A client of the configuration has its own limits, a personal access
// token has what it has, and every other client_id may have what strangers may.
func (s *Server) Obtainable(clientID, audience string) oauth.Scope {
	c, known := s.clients[clientID]
	if !known {
		c = Client{ID: clientID, Origin: ClientDynamic}
	}
	res, err := s.configured(audience)
	switch {
	case err != nil, clientID == PersonalClientID, !c.reaches(audience):
		return nil
	case known && len(c.GrantTypes) == 0:
		return nil // it only asks about tokens
	}
	return s.grantable(c, res).WithoutIdentity()
}

// errTarget says that the operator keeps the client from the resource.
var errTarget = oauth.Errorf(oauth.CodeInvalidTarget, "this client may not use the resource asked for: the operator lists its resources")

// resourcesOf returns the resources that a client may use.
func (s *Server) resourcesOf(c Client) []Resource {
	return slices.DeleteFunc(slices.Clone(s.cfg.Resources), func(r Resource) bool { return !c.reaches(r.Audience()) })
}

// unvetted returns those of the scopes that a client can have for which nobody
// vouches.
func (s *Server) unvetted(scope oauth.Scope) oauth.Scope {
	if limit := s.cfg.Registration.UnvettedScopes; limit != nil {
		return scope.Intersect(limit)
	}
	return scope
}
