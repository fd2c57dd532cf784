package mockmcp

import (
	"net/http"
	"net/url"
	"strings"
)

// credentialHeaders are the headers that a gateway must keep to itself: the first two carry a credential, the last one
// the proof that belongs to it (RFC 9449).
var credentialHeaders = []string{"Authorization", "Proxy-Authorization", "Dpop"}

// watch counts the credentials that a request shows, says so in the log, and answers as if nothing had happened.
// The log names where a credential was, never what it was.
func (s *Server) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, where := range leaks(r) {
			s.leaked.Add(1)
			s.log.Error("credential leaked to the MCP server: the gateway must not pass it on", "where", where, "path", r.URL.Path)
		}
		next.ServeHTTP(w, r)
	})
}

// leaks names the places of r that hold a credential.
func leaks(r *http.Request) []string {
	var found []string
	for _, name := range credentialHeaders {
		if len(r.Header.Values(name)) > 0 {
			found = append(found, name+" header")
		}
	}
	if queryNames(r.URL.RawQuery, "access_token") {
		found = append(found, "access_token in the query")
	}
	for _, c := range r.Cookies() {
		if tokenCookie(c.Name) {
			found = append(found, "cookie")
		}
	}
	return found
}

// queryNames finds a parameter also where url.ParseQuery would drop it for a malformed value.
func queryNames(query, want string) bool {
	for pair := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		key, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(key); err == nil && strings.EqualFold(name, want) {
			return true
		}
	}
	return false
}

// tokenCookie knows the usual names of cookies with a token, and those of the gateway itself.
func tokenCookie(name string) bool {
	name = strings.ToLower(strings.NewReplacer("-", "_", ".", "_").Replace(name))
	for _, part := range []string{"access_token", "refresh_token", "id_token", "mcp_auth", "bearer"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
