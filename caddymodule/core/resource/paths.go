package resource

import (
	"fmt"
	"net/url"
	"path"
	"strings"
)

// pathSet is a list of path patterns: an exact path, or a prefix that ends
// with "/*".
type pathSet []string

// CheckPathPattern reports why a string can't be a path pattern, or nil. A
// pattern is an absolute path in plain form, such as /health, or everything
// below a path, such as /docs/*. A trailing slash counts.
func CheckPathPattern(p string) error {
	base := strings.TrimSuffix(p, "/*")
	ascii := strings.IndexFunc(p, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
	switch {
	case !ascii:
		return fmt.Errorf("path %q may have visible ASCII characters only", p)
	case !strings.HasPrefix(p, "/"):
		return fmt.Errorf("path %q must begin with a slash", p)
	case strings.ContainsAny(base, "*%?#;\\"):
		return fmt.Errorf("path %q may only have a wildcard at its end, as in /docs/*, and no encoded or special characters", p)
	case base != "" && path.Clean(base) != base && path.Clean(base)+"/" != base:
		return fmt.Errorf("path %q must be in plain form, without // or dots", p)
	}
	return nil
}

// matches reports whether a path is one of the set, byte for byte.
func (s pathSet) matches(p string) bool {
	for _, pattern := range s {
		if base, prefix := strings.CutSuffix(pattern, "/*"); prefix {
			if p == base || strings.HasPrefix(p, base+"/") {
				return true
			}
		} else if p == pattern {
			return true
		}
	}
	return false
}

// touches reports whether a path could be taken for one of the set by an
// upstream that folds case, drops path parameters or ignores what follows.
func (s pathSet) touches(p string) bool {
	p = strings.ToLower(p)
	for _, pattern := range s {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(pattern), "*"), "/")
		rest, ok := strings.CutPrefix(p, base)
		if ok && (rest == "" || !isWordByte(rest[0])) {
			return true
		}
	}
	return false
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '~'
}

// plain reports whether a request's path means the same to every server: in
// clean form, and with nothing encoded that would not need to be.
func plain(u *url.URL) bool {
	p := u.Path
	if p == "" || p[0] != '/' || strings.ContainsAny(p, "\\;%") {
		return false
	}
	for i := range len(p) {
		if p[i] < 0x20 || p[i] >= 0x7f {
			return false // beyond ASCII are overlong and look-alike dots and slashes
		}
	}
	if u.RawPath != "" && u.RawPath != p {
		return false
	}
	clean := path.Clean(p)
	return clean == p || clean+"/" == p
}
