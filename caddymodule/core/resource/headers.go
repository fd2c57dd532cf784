package resource

import (
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// IdentityHeaders names the request headers that tell the upstream server who
// calls, in canonical form. An empty name leaves that header out.
type IdentityHeaders struct {
	User, Email, Name, Client, Scope, Groups string
	// Claims are further claims of tokens, each with a header of its own.
	Claims []ClaimHeader
	// Removed are further headers that never pass: those by which a proxy in
	// front vouches for people, to the authorization server alone, and others that
	// the host sets itself.
	Removed []string
}

// ClaimHeader is a claim of tokens and the request header that tells it, in
// canonical form.
type ClaimHeader struct{ Claim, Header string }

// DefaultIdentityHeaders are the names unless the configuration has others.
var DefaultIdentityHeaders = IdentityHeaders{
	User: "X-Mcp-User", Email: "X-Mcp-Email", Name: "X-Mcp-Name", Client: "X-Mcp-Client", Scope: "X-Mcp-Scope",
	Groups: "X-Mcp-Groups",
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
func (n *IdentityHeaders) Sanitize(r *http.Request) {
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
func (n *IdentityHeaders) reserved(name string) bool {
	if slices.Contains(proxied, name) {
		return false
	}
	if strings.IndexByte(name, '_') >= 0 && (hasPrefix(name, "mcp-") || sameName(name, "last-event-id")) {
		return true // what the gateway has checked under its own name
	}
	for _, own := range [...]string{n.User, n.Email, n.Name, n.Client, n.Scope, n.Groups} {
		if own != "" && sameName(name, own) {
			return true
		}
	}
	for i := range n.Claims {
		if sameName(name, n.Claims[i].Header) {
			return true
		}
	}
	same := func(other string) bool { return sameName(name, other) }
	return slices.ContainsFunc(n.Removed, same) || slices.ContainsFunc(reservedNames, same) || slices.ContainsFunc(credentials, same) ||
		slices.ContainsFunc(reservedPrefixes, func(p string) bool { return hasPrefix(name, p) })
}

// hasPrefix compares the beginning of a header name as folded.
func hasPrefix(name, prefix string) bool {
	return len(name) >= len(prefix) && sameName(name[:len(prefix)], prefix)
}

// sameName compares header names as folded. Header names are ASCII.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c | 0x20
	case c == '_':
		return '-'
	}
	return c
}

func keptOptions(values []string) []string {
	var kept []string
	for option := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if option = textproto.TrimString(option); slices.Contains(connectionOptions, strings.ToLower(option)) {
			kept = append(kept, option)
		}
	}
	return kept
}

// HasAccessToken reports whether a query carries an access_token parameter,
// which is never accepted and must not be logged (OAuth 2.1 §5.1).
func HasAccessToken(rawQuery string) bool {
	for rest := rawQuery; rest != ""; {
		var pair string
		if pair, rest = cutPair(rest); isAccessToken(pair) {
			return true
		}
	}
	return false
}

// cutPair takes the first parameter off a query, with what separates it from the
// next one. Semicolons separate too, as some servers still read them.
func cutPair(query string) (pair, rest string) {
	end := strings.IndexAny(query, "&;") + 1
	if end == 0 {
		end = len(query)
	}
	return query[:end], query[end:]
}

// withoutAccessToken removes access_token parameters and keeps the rest of the
// query byte for byte.
func withoutAccessToken(rawQuery string) string {
	if !HasAccessToken(rawQuery) {
		return rawQuery
	}
	var kept strings.Builder
	for rest := rawQuery; rest != ""; {
		var pair string
		if pair, rest = cutPair(rest); !isAccessToken(pair) {
			kept.WriteString(pair)
		}
	}
	return strings.TrimRight(kept.String(), "&;")
}

func isAccessToken(pair string) bool {
	name, _, _ := strings.Cut(strings.TrimRight(pair, "&;"), "=")
	if unescaped, err := url.QueryUnescape(name); err == nil {
		name = unescaped
	}
	return strings.EqualFold(name, "access_token")
}
