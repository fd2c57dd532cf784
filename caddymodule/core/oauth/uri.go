package oauth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURI bounds every URI that a client may send, in bytes.
const maxURI = 2048

var errURISyntax = errors.New("is not a valid absolute URI")

// checkURIText reports an error where s is not a URI's alphabet: visible ASCII
// without characters that browsers and servers read differently.
func checkURIText(s string) error {
	if s == "" || len(s) > maxURI {
		return fmt.Errorf("must have 1 to %d characters", maxURI)
	}
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte("\"\\<>^`{|}", c) >= 0 {
			return errors.New("has a character that does not belong in a URI")
		}
	}
	return nil
}

// parseStrict reads an absolute URI whose host no two parsers disagree about:
// no userinfo, no percent-encoded or empty host, no odd IP address.
func parseStrict(raw string) (*url.URL, error) {
	if err := checkURIText(raw); err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil || !u.IsAbs() || u.Opaque != "" {
		return nil, errURISyntax
	}
	authority := authorityOf(raw)
	if u.User != nil || strings.ContainsAny(authority, "@%") {
		return nil, errors.New("must not carry user information or an encoded host")
	}
	if u.Host != authority {
		return nil, errURISyntax
	}
	if strings.HasSuffix(u.Host, ":") {
		return nil, errors.New("has an empty port")
	}
	if p := u.Port(); p != "" {
		if _, err := strconv.ParseUint(p, 10, 16); err != nil || p[0] == '0' {
			return nil, errors.New("has a port that is not 1 to 65535")
		}
	}
	return u, nil
}

// authorityOf cuts the authority out of a URI by RFC 3986 §3.2, without a
// parser's leniency.
func authorityOf(raw string) string {
	_, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// checkHost accepts DNS names in ASCII and IP addresses in their canonical
// form. Names that some resolvers read as numbers (127.1, 0x7f.1, a trailing
// dot) are refused.
func checkHost(u *url.URL) error {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		ip, err := netip.ParseAddr(host)
		if err != nil || !ip.Is6() || ip.Is4In6() || ip.Zone() != "" || ip.String() != host {
			return errors.New("has an IPv6 address that is not in canonical form")
		}
		return nil
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !validLabel(label) {
			return errors.New("has a host that is not a plain DNS name")
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is4() {
			return errors.New("has a host that could be read as a number")
		}
	}
	return nil
}

func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// checkPath refuses dot segments and encoded control characters and
// backslashes, which servers and browsers resolve differently.
func checkPath(u *url.URL) error {
	p := strings.ToLower(u.EscapedPath())
	for seg := range strings.SplitSeq(strings.ReplaceAll(p, "%2e", "."), "/") {
		if seg == "." || seg == ".." {
			return errors.New("has dot segments in its path")
		}
	}
	rest := p + "?" + strings.ToLower(u.RawQuery)
	for _, bad := range []string{"%0", "%1", "%7f", "%5c"} {
		if strings.Contains(rest, bad) {
			return errors.New("has an encoded control character or backslash")
		}
	}
	return nil
}

// IsLoopbackHost reports whether a host, with or without a port, is one of the
// three names of this machine that RFC 8252 §7.3 and §8.3 know: 127.0.0.1,
// [::1] and localhost.
func IsLoopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	switch strings.Trim(host, "[]") {
	case "127.0.0.1", "::1", "localhost":
		return true
	}
	return false
}
