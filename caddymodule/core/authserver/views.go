package authserver

import (
	"net/http"
	"net/url"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// This file turns what the server knows into what its pages show.

// privateScheme returns the scheme of a redirect URI that leads to a program
// by a scheme of its own (RFC 8252 §7.1), or "".
func privateScheme(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "http" || u.Scheme == "https" {
		return ""
	}
	return u.Scheme
}

// pageProgram describes a client by what it says of itself and, beside that, by
// what it can't make up: where the answer goes.
func pageProgram(c Client, redirectURI string) pages.Program {
	p := pages.Program{
		Name: c.Name, RedirectURI: redirectURI, Website: c.URI, Verified: c.Origin == ClientConfigured,
		Loopback: oauth.IsLoopbackRedirect(redirectURI), Scheme: privateScheme(redirectURI),
	}
	if u, err := url.Parse(c.ID); err == nil && c.Origin == ClientDocument {
		p.IDHost = u.Host
	}
	if u, err := url.Parse(redirectURI); err == nil && p.Scheme == "" {
		p.Host = u.Host
		p.Loopback = p.Loopback || oauth.IsLoopbackHost(u.Host)
	}
	return p
}

// program is pageProgram with what a page that asks shows besides: the logo of a
// client's document, and warnings about where the document is.
func (s *Server) program(req authorizationRequest) pages.Program {
	p := pageProgram(req.client, req.redirectURI)
	p.LogoURL = s.logoOf(req.client)
	p.OnlyLoopback = req.client.loopbackOnly()
	p.Unfamiliar = p.IDHost != "" && hostIn(s.cfg.Documents.Warn, req.client.ID)
	return p
}

func pageResource(res Resource) pages.Resource {
	return pages.Resource{Name: res.Name, URLs: res.URIs, Scopes: res.AllScopes()}
}

// pageScopes are the scopes in words: the operator's, if there are any.
func pageScopes(res Resource, scope oauth.Scope) []pages.Scope {
	out := make([]pages.Scope, 0, len(scope))
	for _, name := range scope {
		out = append(out, pages.Scope{Name: name, Text: res.ScopeTexts[name]})
	}
	return out
}

func pagePerson(p login.Person) pages.Person {
	return pages.Person{Name: p.Name, Email: p.Email, ID: p.Subject}
}

func pageMethod(info login.Info) pages.Method {
	m := pages.Method{ID: info.ID, Label: info.Label}
	for _, f := range info.Fields {
		m.Fields = append(m.Fields, pages.Field{Name: f.Name, Label: f.Label, Secret: f.Secret, Autocomplete: f.Autocomplete})
	}
	return m
}

const logoPath = "/oauth/logo" // below the issuer

// serveLogo answers with the operator's logo.
func (s *Server) serveLogo(w http.ResponseWriter, r *http.Request) {
	writeLogo(w, r, s.cfg.Logo, metadataCache)
}

// writeLogo answers with a picture. An SVG could hold scripts, so it may do
// nothing at all where somebody opens it by itself.
func writeLogo(w http.ResponseWriter, r *http.Request, logo Logo, cache string) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	h.Set("Cache-Control", cache)
	h.Set("Content-Type", logo.Type)
	if r.Method != http.MethodHead {
		_, _ = w.Write(logo.Data) // the client is gone if this fails
	}
}
