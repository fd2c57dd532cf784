package authserver

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// This file shows the logos that clients' documents name. A browser never asks
// their hosts for them: they are fetched by this server, kept, and served from
// its own origin (draft -01 §6.7).

const (
	maxClientLogo  = 100 << 10 // bytes
	maxClientLogos = 64        // in memory
)

// rasterTypes are the pictures that are shown. An SVG is a document with
// scripts and links, and not a picture.
var rasterTypes = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}

const logoTypes = "image/png, image/jpeg, image/gif, image/webp"

// decodeLogo accepts what is a picture by its first bytes, whatever its host
// says that it is.
func decodeLogo(_ string, r *fetch.Response) (Logo, error) {
	kind := http.DetectContentType(r.Body)
	if !slices.Contains(rasterTypes, kind) {
		return Logo{}, errors.New("the logo is not a PNG, JPEG, GIF or WebP picture")
	}
	return Logo{Type: kind, Data: r.Body}, nil
}

const (
	clientLogoPath = "/oauth/client-logo" // below the issuer
	// clientLogoLife is how long the address of a client's logo is good.
	clientLogoLife = time.Hour
)

// logoOf returns the address of a client's logo on this server, or "" if there
// is none in memory. It never waits: a logo that is not there yet is fetched
// for the next page.
func (s *Server) logoOf(c Client) string {
	if s.documents == nil || c.Origin != ClientDocument || c.LogoURI == "" {
		return ""
	}
	_, status, ok := s.documents.logos.Peek(c.LogoURI)
	if (!ok || status.Source == fetch.Stale) && s.documents.pictures.take(c.LogoURI) {
		s.documents.logos.Revalidate(c.LogoURI)
	}
	if !ok {
		return ""
	}
	sealed, err := s.sealer().Seal(keys.PurposeLogo, []byte(c.LogoURI), s.now().Add(clientLogoLife))
	if err != nil {
		return ""
	}
	return s.base + clientLogoPath + "?logo=" + sealed
}

// serveClientLogo answers with a logo whose address a page of this server
// names. It fetches nothing.
func (s *Server) serveClientLogo(w http.ResponseWriter, r *http.Request) {
	uri, err := s.sealer().Open(keys.PurposeLogo, r.URL.Query().Get("logo"), s.now())
	if err != nil {
		s.errorPage(w, r, pageError{cause: oauth.Errorf(oauth.CodeInvalidRequest, "this is not the address of a logo, or an old one").WithCause(err)})
		return
	}
	logo, _, ok := s.documents.logos.Peek(string(uri))
	if !ok {
		s.notFound(w, r)
		return
	}
	writeLogo(w, r, logo, "private, max-age=3600")
}

// loopbackOnly reports whether all that a client's document lists is on the
// person's own computer: then any program there can pass itself off as it.
func (c Client) loopbackOnly() bool {
	return c.Origin == ClientDocument && !slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return !oauth.IsLoopbackRedirect(uri) })
}
