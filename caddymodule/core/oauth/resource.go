package oauth

import (
	"errors"
	"strings"
)

// CanonicalResource returns the canonical form of a resource identifier
// (RFC 8707 §2, MCP authorization "canonical server URI"): scheme and host in
// lower case, no default port, no lone trailing slash. Everything else stays
// byte for byte. It refuses what is not an absolute http or https URI, and
// fragments.
func CanonicalResource(raw string) (string, error) {
	if strings.Contains(raw, "#") {
		return "", errors.New("must not have a fragment")
	}
	u, err := parseStrict(raw)
	if err != nil {
		return "", err
	}
	scheme := strings.ToLower(u.Scheme)
	if (scheme != "https" && scheme != "http") || u.Host == "" {
		return "", errors.New("must be an http or https URI with a host")
	}
	if err := checkHost(u); err != nil {
		return "", err
	}
	authority := authorityOf(raw)
	rest := raw[strings.Index(raw, "://")+3+len(authority):]
	host := strings.ToLower(authority)
	if scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	if rest == "/" {
		rest = ""
	}
	return scheme + "://" + host + rest, nil
}

// SameResource reports whether a names the resource whose canonical form is
// given: the two differ at most in what CanonicalResource evens out.
func SameResource(a, canonical string) bool {
	if a == canonical {
		return true
	}
	c, err := CanonicalResource(a)
	return err == nil && c == canonical
}

// OriginOf returns scheme and authority of a canonical URI.
func OriginOf(canonical string) string {
	authority := authorityOf(canonical)
	i := strings.Index(canonical, "://")
	if i < 0 {
		return ""
	}
	return canonical[:i+3] + authority
}

// PathOf returns what stands behind the authority of a canonical URI, without
// its query.
func PathOf(canonical string) string {
	path, _, _ := strings.Cut(canonical[len(OriginOf(canonical)):], "?")
	return path
}
