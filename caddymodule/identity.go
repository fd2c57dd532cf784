package caddymodule

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// IdentityHeadersConfig names the request headers that tell the upstream server
// who calls. `off` leaves one out. A value on one line is told as it is; other
// bytes are percent-encoded as UTF-8. One of more than 4096 bytes is left out, with
// a warning in the log.
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
	// The user's groups, joined by commas; a comma in a group's name is `%2C`, a
	// percent sign `%25`. Default: `X-Mcp-Groups`
	Groups string `json:"groups,omitempty"`
	// Further claims of the token, each with the header that tells it: lists are
	// joined by commas as groups are, objects are JSON, and a claim that the token
	// lacks leaves its header absent. Default: none. Example:
	// `{"department": "X-Mcp-Department"}`
	Claims map[string]string `json:"claims,omitempty"`
}

// headerNames are the headers that a handler sets, and the option that each is
// from: no two may be the same.
type headerNames map[string]string

// add checks a name and returns it in canonical form.
func (n headerNames) add(option, name string, fine ...string) (string, error) {
	canonical := http.CanonicalHeaderKey(name)
	if !validHeaderName(name) && !slices.Contains(fine, canonical) {
		return "", fmt.Errorf("%s: %q is not a header name that can be told to the server behind the gateway: "+
			"letters, digits and hyphens, and none that HTTP or MCP use for something else", option, name)
	}
	if other, taken := n[canonical]; taken {
		return "", fmt.Errorf("%s and %s are both told in the header %s: give each its own", other, option, canonical)
	}
	n[canonical] = option
	return canonical, nil
}

// provisionIdentity finds out all that is told to the server behind the gateway.
func (h *Handler) provisionIdentity() error {
	used := headerNames{}
	names, err := h.IdentityHeaders.names(used)
	if err != nil {
		return err
	}
	if h.asserts, err = h.provisionAssertion(used); err != nil {
		return err
	}
	if h.credentials, err = h.provisionUpstreamHeaders(used); err != nil {
		return err
	}
	names.Removed = slices.Clone(h.back.headers)
	if h.asserts != nil {
		names.Removed = append(names.Removed, h.asserts.header)
	}
	for _, c := range h.credentials {
		names.Removed = append(names.Removed, c.name)
	}
	h.names = names
	return nil
}

func (c *IdentityHeadersConfig) names(used headerNames) (*resource.IdentityHeaders, error) {
	names := resource.DefaultIdentityHeaders
	for _, f := range []struct {
		option, value string
		name          *string
	}{
		{"user", c.User, &names.User},
		{"email", c.Email, &names.Email},
		{"name", c.Name, &names.Name},
		{"client", c.Client, &names.Client},
		{"scope", c.Scope, &names.Scope},
		{"groups", c.Groups, &names.Groups},
	} {
		if f.value == "off" {
			*f.name = ""
			continue
		}
		if f.value == "" {
			f.value = *f.name
		}
		var err error
		if *f.name, err = used.add("identity header "+f.option, f.value); err != nil {
			return nil, err
		}
	}
	for _, claim := range slices.Sorted(maps.Keys(c.Claims)) {
		header, err := used.add("identity claim "+claim, c.Claims[claim])
		if err != nil {
			return nil, err
		}
		names.Claims = append(names.Claims, resource.ClaimHeader{Claim: claim, Header: header})
	}
	return &names, nil
}

// identify tells the server behind the gateway who calls, after everything that
// could be mistaken for it is gone from the request.
func (h *Handler) identify(c *call, r *http.Request, t *resource.Token) {
	h.names.Sanitize(r)
	h.identityOf(t).Set(r.Header, &c.values)
	h.setCredentials(r.Header)
}

// tellsGroups reports whether the server behind hears of groups.
func (h *Handler) tellsGroups() bool {
	_, claim := h.IdentityHeaders.Claims["groups"]
	return h.names.Groups != "" || claim || h.asserts != nil
}

// identityOf returns what the identity headers say of a token, which is made
// once for all calls with it.
func (h *Handler) identityOf(t *resource.Token) *resource.Identity {
	k := seenOf(t)
	if have := k.identity.Load(); have != nil && have.Of(h.names) {
		return have
	}
	made := h.names.Identity(t)
	k.identity.Store(made)
	for _, name := range made.TooLong {
		h.back.observer.logger.Warn("left out an identity header that would be too long",
			zap.String("header", name), zap.String("subject", harmlessText(t.Subject, maxLogWho)), zap.Int("limit", resource.MaxIdentityHeader))
	}
	return made
}

// validHeaderName accepts letters, digits and hyphens, and none of the names
// that HTTP or MCP use for something else.
func validHeaderName(s string) bool {
	name := strings.ToLower(s)
	return plainHeaderName(s) && !slices.Contains(takenHeaders, name) &&
		!strings.HasPrefix(name, "mcp-param-") && !strings.HasPrefix(name, "sec-")
}

// plainHeaderName reports whether a name has nothing but letters, digits and hyphens.
func plainHeaderName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

// takenHeaders mean something else to HTTP or MCP, or are set by Caddy's proxy,
// which a client's value would survive.
var takenHeaders = []string{
	"host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding", "cookie", "authorization",
	"accept", "accept-encoding", "origin", "te", "trailer", "upgrade", "last-event-id", "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "expect", "keep-alive", "proxy-connection",
	"proxy-authorization", "proxy-authenticate", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
}

// upstreamHeader is a header with a credential for the server behind the gateway.
type upstreamHeader struct{ name, value string }

// provisionUpstreamHeaders fills in the credentials. The configuration keeps the
// placeholders, so that the admin endpoint never shows what they stand for.
func (h *Handler) provisionUpstreamHeaders(used headerNames) ([]upstreamHeader, error) {
	var out []upstreamHeader
	repl := caddy.NewReplacer()
	for _, name := range slices.Sorted(maps.Keys(h.UpstreamHeaders)) {
		option := "upstream header " + name
		canonical, err := used.add(option, name, "Authorization")
		if err != nil {
			return nil, err
		}
		value, err := repl.ReplaceOrErr(h.UpstreamHeaders[name], true, true)
		if err != nil {
			return nil, placeholderError(option, h.UpstreamHeaders[name])
		}
		value = strings.TrimRight(value, "\r\n")
		if strings.TrimSpace(value) == "" {
			return nil, fmt.Errorf("%s: it has no value", option)
		}
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return nil, fmt.Errorf("%s: its value has a line break or another control character", option)
		}
		out = append(out, upstreamHeader{canonical, value})
	}
	return out, nil
}

// setCredentials adds the credentials for the server behind the gateway.
func (h *Handler) setCredentials(header http.Header) {
	for i := range h.credentials {
		header[h.credentials[i].name] = []string{h.credentials[i].value}
	}
}
