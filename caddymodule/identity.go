package caddymodule

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// IdentityHeadersConfig names the request headers that tell the upstream server
// who calls. `off` leaves one out.
type IdentityHeadersConfig struct {
	// The user's id. Default: `X-Mcp-User`
	User string `json:"user,omitempty"`
	// The user's e-mail address. Default: `X-Mcp-Email`
	Email string `json:"email,omitempty"`
	// The user's full name. Default: `X-Mcp-Name`
	Name string `json:"name,omitempty"`
	// The OAuth client identifier. Default: `X-Mcp-Client`
	Client string `json:"client,omitempty"`
	// The token's scope. Default: `X-Mcp-Scope`
	Scope string `json:"scope,omitempty"`
}

func (c *IdentityHeadersConfig) names() (resource.IdentityHeaders, error) {
	names := resource.DefaultIdentityHeaders
	for _, f := range []struct {
		value string
		name  *string
	}{{c.User, &names.User}, {c.Email, &names.Email}, {c.Name, &names.Name}, {c.Client, &names.Client}, {c.Scope, &names.Scope}} {
		switch {
		case f.value == "off":
			*f.name = ""
		case f.value != "":
			*f.name = http.CanonicalHeaderKey(f.value)
			if !validHeaderName(f.value) {
				return names, fmt.Errorf("identity header %q is not a header name that can carry an identity", f.value)
			}
		}
	}
	return names, nil
}

// validHeaderName accepts letters, digits and hyphens, and none of the names
// that HTTP or MCP use for something else.
func validHeaderName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' {
			return false
		}
	}
	return !slices.Contains(takenHeaders, strings.ToLower(s))
}

// takenHeaders mean something else to HTTP or MCP.
var takenHeaders = []string{
	"host", "connection", "content-length", "content-type", "transfer-encoding", "cookie", "authorization",
	"accept", "origin", "te", "trailer", "upgrade", "mcp-session-id", "mcp-protocol-version", "last-event-id",
}
