package resource

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// errMalformed says that the Authorization header is not one that RFC 6750
// knows.
var errMalformed = errors.New("the Authorization header is malformed or repeated")

// bearer returns the token of a request, empty if it presents none. Only the
// Authorization header counts (OAuth 2.1 §5.1): never the query, a form or a
// cookie. Another scheme is the same as none.
func bearer(h http.Header) (string, error) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", errMalformed
	}
	scheme, token, found := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		if strings.Contains(values[0], ",") && strings.Contains(strings.ToLower(values[0]), "bearer") {
			return "", errMalformed
		}
		return "", nil
	}
	if !found || !validToken68(token) {
		return "", errMalformed
	}
	return token, nil
}

// validToken68 reports whether s is a b64token of RFC 6750 §2.1.
func validToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" {
		return false
	}
	// Eight at a time: whoever sends kilobytes of garbage shall not be paid for it.
	for ; len(body) >= 8; body = body[8:] {
		if token68[body[0]]&token68[body[1]]&token68[body[2]]&token68[body[3]]&
			token68[body[4]]&token68[body[5]]&token68[body[6]]&token68[body[7]] == 0 {
			return false
		}
	}
	for i := range len(body) {
		if token68[body[i]] == 0 {
			return false
		}
	}
	return true
}

// token68 has a 1 for each character of a b64token.
var token68 = func() (is [256]uint8) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/") {
		is[c] = 1
	}
	return is
}()

// Challenge is a WWW-Authenticate challenge of scheme Bearer (RFC 6750 §3,
// RFC 9728 §5.1). Empty members are left out.
type Challenge struct {
	// ResourceMetadata is the URL of the metadata of the endpoint called.
	ResourceMetadata string
	// Scope is what a client should ask for to make this call.
	Scope oauth.Scope
	// Error is empty if the request presented no token.
	Error string
	// Description is for the developer of the client.
	Description string
}

// String returns the header value: one line of printable ASCII, error first.
func (c Challenge) String() string {
	var b strings.Builder
	b.WriteString("Bearer")
	sep := " "
	for _, p := range []struct{ name, value string }{
		{"error", c.Error},
		{"error_description", c.Description},
		{"resource_metadata", c.ResourceMetadata},
		{"scope", c.Scope.String()},
	} {
		if p.value != "" {
			b.WriteString(sep + p.name + `="` + oauth.Printable(p.value) + `"`)
			sep = ", "
		}
	}
	return b.String()
}
