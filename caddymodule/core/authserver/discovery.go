package authserver

import (
	"net/http"
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file implements authorization server metadata (RFC 8414) and, with the
// same document, the discovery half of OpenID Connect Discovery. ID tokens are
// not issued. Everything comes from the configuration, nothing from the
// request.

// metadataCache is how long clients and proxies may keep a document.
const metadataCache = "public, max-age=300"

// metadataPaths are the well-known paths at which clients look for the
// document: inserted before the issuer's path (RFC 8414 §3.1) and, for OpenID
// and for clients that do it wrong, behind it.
func (s *Server) metadataPaths() []string {
	paths := []string{oauth.WellKnownServer + s.base, oauth.WellKnownOpenID + s.base}
	if s.base != "" {
		paths = append(paths, s.base+oauth.WellKnownOpenID, s.base+oauth.WellKnownServer)
	} else {
		// Clients that build the path from the MCP endpoint's URL.
		for _, res := range s.cfg.Resources {
			for _, uri := range res.URIs {
				if path := oauth.PathOf(uri); path != "" && oauth.OriginOf(uri) == s.cfg.Issuer {
					paths = append(paths, oauth.WellKnownServer+path, oauth.WellKnownOpenID+path)
				}
			}
		}
	}
	return paths
}

func (s *Server) metadata() oauth.ServerMetadata {
	m := oauth.ServerMetadata{
		Issuer:                           s.cfg.Issuer,
		AuthorizationEndpoint:            s.url("/oauth/authorize"),
		TokenEndpoint:                    s.url(tokenPath),
		RevocationEndpoint:               s.url(revokePath),
		JWKSURI:                          s.url("/oauth/jwks.json"),
		ScopesSupported:                  append(s.cfg.basicScopes(), "offline_access"),
		ResponseTypesSupported:           []string{"code"},
		ResponseModesSupported:           []string{"query"},
		GrantTypesSupported:              s.grantTypesOffered(),
		CodeChallengeMethodsSupported:    []string{oauth.MethodS256},
		ServiceDocumentation:             s.url("/oauth/"),
		IssParameterSupported:            true,
		SubjectTypesSupported:            []string{"public"},
		IDTokenSigningAlgValuesSupported: []string{"RS256"},
	}
	m.ClientIDMetadataDocumentSupported = s.documents != nil
	if !s.cfg.Registration.Off {
		m.RegistrationEndpoint = s.url("/oauth/register")
	}
	s.describeClientMethods(&m)
	for _, res := range s.cfg.Resources {
		m.ProtectedResources = append(m.ProtectedResources, res.URIs...)
	}
	return m
}

// describeClientMethods says how clients authenticate, from the table that does it.
func (s *Server) describeClientMethods(m *oauth.ServerMetadata) {
	var algorithms []string
	if s.takesAssertions() {
		algorithms = jose.Algorithms()
	}
	m.TokenEndpointAuthMethodsSupported = s.clientMethodsOffered()
	m.RevocationAuthMethods = m.TokenEndpointAuthMethodsSupported
	m.TokenEndpointAuthAlgorithms, m.RevocationAuthAlgorithms = algorithms, algorithms
	if s.introspects() {
		m.IntrospectionEndpoint = s.url(introspectPath)
		m.IntrospectionAuthMethods = s.clientMethodsOffered(oauth.AuthMethodNone)
		m.IntrospectionAuthAlgorithms = algorithms
	}
}

func (s *Server) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", metadataCache)
	writeJSON(w, http.StatusOK, s.metadata())
}

// serveJWKS publishes the public keys that check access tokens (RFC 7517 §5), and
// those that check assertions, where a resource has any.
func (s *Server) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", metadataCache)
	w.Header().Set("Content-Type", "application/jwk-set+json")
	asserts := slices.ContainsFunc(s.cfg.Resources, func(r Resource) bool { return r.Assertions })
	_, _ = w.Write(s.deps.Keys.Ring().JWKS(asserts))
}
