package authserver

import (
	"net/http"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// pageHeaders sets the headers of everything that a browser shows.
func pageHeaders(w http.ResponseWriter) {
	noStore(w)
	pages.SetHeaders(w.Header())
}

// errorPage tells a person what went wrong. It is HTML whatever the client asked
// for, and sends nobody anywhere (SPEC F3); where the redirect URI is proven, it
// offers the way back as a link with a name, which only a person can follow
// (OAuth 2.1 §7.12.2).
func (s *Server) errorPage(w http.ResponseWriter, r *http.Request, e pageError) {
	page := pages.Error{
		Code: e.cause.Code, Description: e.cause.Description, RequestID: oauth.MetaFrom(r.Context()).RequestID,
		UnknownClient: e.unknownClient, Problem: e.problem, RestartURL: e.restart,
	}
	if e.unknownClient {
		page.Fixes, page.Guessed = fixes(e.looksLike)
	}
	if e.back != nil {
		page.ClientName = e.back.request.client.Name
		page.ReturnURL = s.redirectTo(e.back.request, errorValues(e.back.cause))
	}
	if !s.cfg.Registration.Off {
		page.RegisterURL = s.url("/oauth/register")
	}
	if e.cause.Status == http.StatusServiceUnavailable || e.cause.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	s.site.Write(w, r, e.cause.Status, page)
}
