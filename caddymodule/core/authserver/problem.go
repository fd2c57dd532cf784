package authserver

import (
	"errors"
	"net/http"
	"slices"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/pages"
)

// pageError is an error that is shown to the person and never redirected
// (OAuth 2.1 §4.1.2.1).
type pageError struct {
	cause         *oauth.Error
	unknownClient bool
	// looksLike are the programs that an unknown client could be.
	looksLike []clients.Client
	// problem is one of the Problem constants of pages, or "".
	problem string
	// restart is a path at which the person can start again, or "".
	restart string
	// who is the person that it is shown to, if they are known.
	who login.Person
	// back leads back to the client with an error, if the person wants to.
	back *redirectError
}

func (e pageError) Error() string { return e.cause.Error() }

// redirectError is an error after the redirect URI is proven.
type redirectError struct {
	cause   *oauth.Error
	request authorizationRequest
}

func (e redirectError) Error() string { return e.cause.Error() }

// problem is an error that has words of its own on the page.
func problem(kind string, status int, format string, args ...any) pageError {
	return pageError{cause: oauth.Errorf(oauth.CodeInvalidRequest, format, args...).WithStatus(status), problem: kind}
}

// because returns a copy that remembers why, for the log.
func (e pageError) because(cause error) pageError {
	e.cause = e.cause.WithCause(cause)
	return e
}

// pageErrorOf makes any error one that is shown.
func pageErrorOf(err error) pageError {
	if page, ok := errors.AsType[pageError](err); ok {
		return page
	}
	return pageError{cause: asOAuthError(err)}
}

// refusePending answers what came back from a browser and can't go on. If the
// request behind it is known, the page offers to start again.
func (s *Server) refusePending(w http.ResponseWriter, r *http.Request, p pending, err error) {
	page := pageErrorOf(err)
	page.restart = s.restartURL(p)
	s.refuse(w, r, authorizationRequest{}, page)
}

// restartURL is where a person starts again with the same request, or "".
func (s *Server) restartURL(p pending) string {
	switch {
	case p.Browser == "":
		return "" // nothing was opened
	case p.Query == "":
		return s.base + accountPath
	}
	return s.base + authorizePath + "?" + p.Query
}

// fixes are what makes the programs that a client could be forget a lost
// registration, one for all that have the same; guessed says that it could be
// some. Otherwise they are those of the programs that most people use.
func fixes(looksLike []clients.Client) (list []pages.Fix, guessed bool) {
	guessed = len(looksLike) > 0
	if !guessed {
		looksLike = slices.DeleteFunc(clients.All(), func(c clients.Client) bool { return !c.Common })
	}
	for _, c := range looksLike {
		same := func(f pages.Fix) bool { return f.Text == c.Fix.Text && f.Code == c.Fix.Code }
		if i := slices.IndexFunc(list, same); i >= 0 {
			list[i].Programs = append(list[i].Programs, c.Name)
		} else {
			list = append(list, pages.Fix{Programs: []string{c.Name}, Text: c.Fix.Text, Code: c.Fix.Code})
		}
	}
	return list, guessed
}
