package fetch

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxURL bounds an address, in bytes (SPEC E2).
const maxURL = 2048

// CheckURL reports an error, which wraps ErrURL, unless raw may be fetched for
// a stranger: https in lower case, a DNS name of at least two labels for a
// host, no userinfo, no fragment, no dot segments, at most 2 KiB. A query is
// allowed, and so is a path of "/" or none: logo_uri and jwks_uri may be such.
// The port is judged by the client (Options.Ports).
func CheckURL(raw string) error {
	_, err := parsePublic(raw)
	return err
}

// CheckClientID is CheckURL with what an address needs besides to be a client
// identifier: a path that is more than "/"
// (draft-ietf-oauth-client-id-metadata-document section 3).
func CheckClientID(raw string) error {
	u, err := parsePublic(raw)
	if err == nil && (u.Path == "" || u.Path == "/") {
		return refuse("it has no path")
	}
	return err
}

func refuse(why string) error { return fmt.Errorf("%w: %s", ErrURL, why) }

func parsePublic(raw string) (*url.URL, error) {
	u, err := parse(raw)
	switch {
	case err != nil:
		return nil, err
	case !strings.HasPrefix(raw, "https://"):
		return nil, refuse("it does not begin with https://")
	case !dnsName(u.Hostname()):
		return nil, refuse("its host is not a DNS name such as client.example.com")
	}
	return u, nil
}

// parse reads an absolute address that no two parsers read differently.
func parse(raw string) (*url.URL, error) {
	if raw == "" || len(raw) > maxURL {
		return nil, refuse("it must have 1 to " + strconv.Itoa(maxURL) + " characters")
	}
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte("\"\\<>^`{|}", c) >= 0 {
			return nil, refuse("it has a character that does not belong in a URL")
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return nil, refuse("it is not an absolute URL")
	}
	_, rest, _ := strings.Cut(raw, "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	switch {
	case u.User != nil || strings.ContainsAny(authority, "@%"):
		return nil, refuse("it carries user information or an encoded host")
	case authority == "" || u.Host != authority:
		return nil, refuse("it has no host")
	case strings.Contains(raw, "#"):
		return nil, refuse("it has a fragment")
	case !validPort(u):
		return nil, refuse("its port is not 1 to 65535")
	case hasDotSegment(u):
		return nil, refuse("it has dot segments in its path")
	}
	return u, nil
}

func validPort(u *url.URL) bool {
	port := u.Port()
	if port == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil && port[0] != '0'
}

// hasDotSegment also sees segments that only show after decoding once.
func hasDotSegment(u *url.URL) bool {
	path := strings.ToLower(u.EscapedPath())
	path = strings.NewReplacer("%2e", ".", "%2f", "/", "%5c", "/").Replace(path)
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// dnsName accepts plain DNS names. A single label names a machine nearby, and
// one whose last label begins with a digit is a number to some resolvers:
// 127.1, 0x7f.1, 2130706433.
func dnsName(host string) bool {
	labels := strings.Split(host, ".")
	if len(host) > 253 || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if !validLabel(label) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return last[0] < '0' || last[0] > '9'
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
