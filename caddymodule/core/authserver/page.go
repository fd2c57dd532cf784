package authserver

import (
	"bytes"
	"net/http"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// pageHeaders sets the headers of everything that a browser shows.
func pageHeaders(w http.ResponseWriter) {
	noStore(w)
	pages.SetHeaders(w.Header())
}

// errorPage tells a person what went wrong before the redirect URI was proven.
// It is HTML whatever the client asked for, and leads nowhere (SPEC F3).
func (s *Server) errorPage(w http.ResponseWriter, r *http.Request, e pageError) {
	page := s.newErrorPage(r, e.cause)
	page.UnknownClient = e.unknownClient
	showError(w, r, e.cause.Status, page)
}

// returnPage tells a person about an error behind a proven redirect URI that
// nobody vouches for, and offers the way back as a link with a name: only
// a person may follow it (OAuth 2.1 §7.12.2).
func (s *Server) returnPage(w http.ResponseWriter, r *http.Request, e redirectError) {
	page := s.newErrorPage(r, e.cause)
	page.ClientName = e.request.client.Name
	page.ReturnURL = s.redirectTo(e.request, errorValues(e.cause))
	showError(w, r, e.cause.Status, page)
}

func (s *Server) newErrorPage(r *http.Request, cause *oauth.Error) pages.Error {
	page := pages.Error{
		Issuer:      s.cfg.Issuer,
		Home:        s.base + "/oauth/",
		Code:        cause.Code,
		Description: cause.Description,
		RequestID:   oauth.MetaFrom(r.Context()).RequestID,
	}
	if !s.cfg.Registration.Off {
		page.RegisterURL = s.url("/oauth/register")
	}
	return page
}

func showError(w http.ResponseWriter, r *http.Request, status int, page pages.Error) {
	var body bytes.Buffer
	if err := page.Write(&body); err != nil {
		http.Error(w, http.StatusText(status), status)
		return
	}
	pageHeaders(w)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	writePage(w, r, status, body.Bytes())
}

func writePage(w http.ResponseWriter, r *http.Request, status int, page []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(page) // the client is gone if this fails
	}
}
