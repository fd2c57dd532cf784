package resource

import (
	"net/http"
	"slices"
	"strings"
)

// The authorization server's cookies live on the host of the MCP server too,
// where both share one. They are nothing for it: it must not
// see them, and its own Set-Cookie never passes.

// ownCookie reports whether a cookie name is one of the authorization server's.
func ownCookie(name string) bool {
	name = strings.ToLower(strings.TrimSpace(name))
	return strings.HasPrefix(strings.TrimPrefix(name, "__host-"), "mcp_auth_")
}

// hideCookies removes the authorization server's cookies from a request. The
// others stay byte for byte.
func hideCookies(h http.Header) {
	values := h.Values("Cookie")
	if len(values) == 0 {
		return
	}
	h.Del("Cookie")
	for _, value := range values {
		pairs := strings.Split(value, ";")
		kept := slices.DeleteFunc(pairs, func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			return ownCookie(name)
		})
		if len(kept) > 0 {
			h.Add("Cookie", strings.TrimLeft(strings.Join(kept, ";"), " "))
		}
	}
}
