package resource

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// IdentityHeaders names the request headers that tell the upstream server who
// calls. An empty name leaves that header out.
type IdentityHeaders struct {
	User, Email, Name, Client, Scope string
	// Removed are further headers that never pass: those by which a proxy in
	// front vouches for people, to the authorization server alone.
	Removed []string
}

// DefaultIdentityHeaders are the names unless the configuration has others.
var DefaultIdentityHeaders = IdentityHeaders{
	User: "X-Mcp-User", Email: "X-Mcp-Email", Name: "X-Mcp-Name", Client: "X-Mcp-Client", Scope: "X-Mcp-Scope",
}

// reservedNames and reservedPrefixes are headers that upstream servers commonly
// believe to come from a gateway. A client's copy never passes, whatever names
// are configured.
var (
	reservedNames = []string{
		"remote-user", "remote-email", "remote-name", "remote-groups", "x-remote-user",
		"forwarded", "x-real-ip", "x-original-url", "x-rewrite-url",
	}
	reservedPrefixes = []string{"x-mcp-", "x-auth-", "x-forwarded-"}
	// proxied are the headers that Caddy's proxy sets itself, by its own rules
	// about trusted proxies.
	proxied = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}
	// credentials are what a client may present to the gateway and nobody else.
	credentials = []string{"authorization", "proxy-authorization", "dpop"}
	// connectionOptions are the Connection tokens that keep their meaning. A
	// client could name one of our headers there to have the proxy drop it.
	connectionOptions = []string{"close", "keep-alive", "te"}
)

// Sanitize removes from a request what its sender has no business to send on:
// credentials, the cookies of the authorization server, every spelling of the identity headers, Connection options that
// would remove headers, trailers, protocol upgrades, and an access_token in the
// query. It edits r in place, as Caddy's own handlers do.
func (n IdentityHeaders) Sanitize(r *http.Request) {
	for name := range r.Header {
		if n.reserved(name) {
			delete(r.Header, name)
		}
	}
	if values := r.Header.Values("Connection"); len(values) > 0 {
		r.Header.Del("Connection")
		if kept := keptOptions(values); len(kept) > 0 {
			r.Header.Set("Connection", strings.Join(kept, ", "))
		}
	}
	hideCookies(r.Header)
	r.Header.Del("Upgrade") // a tunnel would outlive its token
	r.Header.Del("Trailer")
	r.Trailer = nil
	if query := withoutAccessToken(r.URL.RawQuery); query != r.URL.RawQuery {
		r.URL.RawQuery = query
		r.RequestURI = r.URL.RequestURI() // what Caddy's proxy logs
	}
}

// reserved reports whether a header name is one that only the gateway may set,
// in any case and with underscores for hyphens (CGI and WSGI fold them).
func (n IdentityHeaders) reserved(name string) bool {
	if slices.Contains(proxied, name) {
		return false
	}
	folded := fold(name)
	for _, own := range append(n.all(), n.Removed...) {
		if own != "" && folded == fold(own) {
			return true
		}
	}
	if slices.Contains(reservedNames, folded) || slices.Contains(credentials, folded) {
		return true
	}
	return slices.ContainsFunc(reservedPrefixes, func(p string) bool { return strings.HasPrefix(folded, p) })
}

func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

func keptOptions(values []string) []string {
	var kept []string
	for option := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if option = textproto.TrimString(option); slices.Contains(connectionOptions, strings.ToLower(option)) {
			kept = append(kept, option)
		}
	}
	return kept
}

func (n IdentityHeaders) all() []string {
	return []string{n.User, n.Email, n.Name, n.Client, n.Scope}
}

// Set adds the identity of a token to a sanitized request. A claim that the
// token lacks leaves its header absent.
func (n IdentityHeaders) Set(h http.Header, t *Token) {
	for _, p := range []struct{ name, value string }{
		{n.User, t.Subject}, {n.Email, t.Email}, {n.Name, t.Name}, {n.Client, t.ClientID}, {n.Scope, t.Scope},
	} {
		if p.name != "" && p.value != "" {
			h.Set(p.name, headerValue(p.value))
		}
	}
}

// headerValue keeps a value on one line. Text beyond ASCII is percent-encoded
// as UTF-8, because header values have no agreed encoding.
func headerValue(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// HasAccessToken reports whether a query carries an access_token parameter,
// which is never accepted and must not be logged (OAuth 2.1 §5.1).
func HasAccessToken(rawQuery string) bool { return withoutAccessToken(rawQuery) != rawQuery }

// withoutAccessToken removes access_token parameters and keeps the rest of the
// query byte for byte. Semicolons separate too, as some servers still read them.
func withoutAccessToken(rawQuery string) string {
	var kept strings.Builder
	for rest := rawQuery; rest != ""; {
		end := strings.IndexAny(rest, "&;") + 1
		if end == 0 {
			end = len(rest)
		}
		if !isAccessToken(strings.TrimRight(rest[:end], "&;")) {
			kept.WriteString(rest[:end])
		}
		rest = rest[end:]
	}
	if kept.Len() == len(rawQuery) {
		return rawQuery
	}
	return strings.TrimRight(kept.String(), "&;")
}

func isAccessToken(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	if unescaped, err := url.QueryUnescape(name); err == nil {
		name = unescaped
	}
	return strings.EqualFold(name, "access_token")
}
