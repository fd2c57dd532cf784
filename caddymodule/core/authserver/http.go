package authserver

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

const (
	maxURL    = 16 << 10 // bytes of a request target
	maxBody   = 64 << 10 // bytes of a request body
	maxParams = 64       // parameters of a request
)

// corsHeaders are the request headers that SDKs in a browser send.
const corsHeaders = "Authorization, Content-Type, Accept, MCP-Protocol-Version"

// allowOrigins opens an endpoint to scripts of every origin. No credentials
// are allowed, so a browser sends no cookies.
func allowOrigins(h http.Header, methods []string) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", ")+", OPTIONS")
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
	h.Set("Access-Control-Max-Age", "3600")
}

func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, `{"error":"server_error"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone if this fails
}

// errorBody is the error answer of RFC 6749 §5.2 and RFC 7591 §3.2.2.
type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// writeError answers with an OAuth error and returns its code and status. An
// error of another kind is ours: the client learns that, and nothing more.
func (s *Server) writeError(w http.ResponseWriter, err error) (string, int) {
	e := asOAuthError(err)
	noStore(w)
	again := e.Status == http.StatusServiceUnavailable || e.Status == http.StatusTooManyRequests
	if again && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "5")
	}
	writeJSON(w, e.Status, errorBody{e.Code, e.Description})
	return e.Code, e.Status
}

func asOAuthError(err error) *oauth.Error {
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		return e
	}
	return oauth.Errorf(oauth.CodeServerError, "something went wrong on this server").WithCause(err)
}

func (s *Server) notFound(w http.ResponseWriter, _ *http.Request) {
	noStore(w)
	writeJSON(w, http.StatusNotFound, errorBody{"not_found", "there is no endpoint at this path"})
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the body is longer than %d bytes", maxBody).
			WithStatus(http.StatusRequestEntityTooLarge)
	case err != nil:
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the body could not be read").WithCause(err)
	}
	return body, nil
}

// params are the parameters of an authorization or token request.
type params url.Values

// parseParams reads a query or form strictly: what the standard library would
// skip with an error is refused.
func parseParams(raw string) (params, error) {
	v, err := url.ParseQuery(raw)
	if err != nil {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the parameters are not valid application/x-www-form-urlencoded data")
	}
	if len(v) > maxParams {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the request has more than %d parameters", maxParams)
	}
	return params(v), nil
}

// get returns a parameter. An empty value is the same as none (OAuth 2.1 §3.1).
func (p params) get(name string) string {
	if v := p[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// aboutToken returns the parameters without those of the token endpoint, which
// mean nothing where a request is about a token.
func (p params) aboutToken() params {
	p = maps.Clone(p)
	for _, name := range []string{"grant_type", "code", "refresh_token"} {
		delete(p, name)
	}
	return p
}

// all returns the non-empty values of a parameter that may repeat.
func (p params) all(name string) []string {
	return slices.DeleteFunc(slices.Clone(p[name]), func(v string) bool { return v == "" })
}

// repeated returns a parameter that occurs twice although it must not
// (OAuth 2.1 §3.1). Only resource may (RFC 8707 §2).
func (p params) repeated(names ...string) string {
	for _, name := range names {
		if len(p[name]) > 1 && name != "resource" {
			return name
		}
	}
	return ""
}

// formParams reads a posted form. Parameters in the URL are refused, because
// URLs end up in logs (OAuth 2.1 §2.4.1), and so is what occurs twice.
func formParams(w http.ResponseWriter, r *http.Request) (params, error) {
	if !isForm(r) {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "send the parameters as application/x-www-form-urlencoded (OAuth 2.1 section 3.2)")
	}
	if r.URL.RawQuery != "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "send the parameters in the body, not in the URL")
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	p, err := parseParams(string(body))
	if err != nil {
		return nil, err
	}
	for name := range p {
		if p.repeated(name) != "" {
			return nil, oauth.Errorf(oauth.CodeInvalidRequest, "a parameter occurs twice")
		}
	}
	return p, nil
}
