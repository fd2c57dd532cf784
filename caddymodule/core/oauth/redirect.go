package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// DefaultRedirectSchemes are the private-use schemes that may be registered in
// redirect URIs unless the configuration names others: those of MCP clients
// that are known to use one.
var DefaultRedirectSchemes = []string{
	"cursor", "vscode", "vscode-insiders", "vscodium", "windsurf", "claude",
	"zed", "warp", "raycast", "goose", "jetbrains", "kiro", "trae",
}

// ErrSchemeNotAllowed says that a redirect URI is well formed but uses a
// private-use scheme that the configuration does not list. A registration may
// go on without such a URI.
var ErrSchemeNotAllowed = errors.New("uses a private-use scheme that this server does not allow")

// neverSchemes are schemes that browsers act upon themselves. No configuration
// can allow them.
var neverSchemes = []string{
	"javascript", "data", "vbscript", "file", "blob", "about", "ws", "wss",
	"ftp", "filesystem", "view-source", "mailto", "tel", "sms", "jar", "urn", "chrome", "intent",
}

// responseParams are the names that this server adds to a redirect URI. A
// registered query must not bring its own.
var responseParams = []string{"code", "state", "iss", "error", "error_description", "error_uri"}

// AllowableRedirectScheme reports whether a configuration may list the scheme:
// lower case by RFC 3986 §3.1 and none that a browser acts upon itself.
func AllowableRedirectScheme(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' || s == "http" || s == "https" || slices.Contains(neverSchemes, s) {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}

// CheckRedirectURI reports why a redirect URI can't be registered or asked
// for, or nil. Accepted are https URIs, http URIs on a loopback host
// (RFC 8252 §7.3) and URIs of the given private-use schemes; absolute, without
// fragment, user information, wildcard or anything that two parsers could read
// as two hosts (OAuth 2.1 §2.3, RFC 9700 §2.1).
func CheckRedirectURI(raw string, schemes []string) error {
	if strings.Contains(raw, "#") {
		return errors.New("must not have a fragment")
	}
	scheme, _, ok := strings.Cut(raw, ":")
	if !ok || scheme != strings.ToLower(scheme) {
		return errURISyntax
	}
	switch {
	case scheme == "http", scheme == "https":
	case slices.Contains(neverSchemes, scheme), !AllowableRedirectScheme(scheme):
		return errors.New("uses a scheme that is never allowed")
	default:
		return checkPrivateUse(raw, scheme, schemes)
	}
	u, err := parseStrict(raw)
	if err != nil {
		return err
	}
	if u.Host == "" {
		return errors.New("must have a host")
	}
	if err := checkHost(u); err != nil {
		return err
	}
	if scheme == "http" && !IsLoopbackHost(u.Host) {
		return errors.New("must use https unless its host is 127.0.0.1, [::1] or localhost")
	}
	return checkRest(u)
}

func checkPrivateUse(raw, scheme string, schemes []string) error {
	u, err := parseStrict(raw)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(raw, scheme+":/") {
		return errURISyntax
	}
	if err := checkRest(u); err != nil {
		return err
	}
	if !slices.Contains(schemes, scheme) {
		return fmt.Errorf("%w (%s)", ErrSchemeNotAllowed, scheme)
	}
	return nil
}

func checkRest(u *url.URL) error {
	if strings.Contains(u.Host, "*") {
		return errors.New("must not have a wildcard")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("has a malformed query")
	}
	for _, name := range responseParams {
		if query.Has(name) {
			return fmt.Errorf("must not have a query parameter named %s", name)
		}
	}
	return checkPath(u)
}

// MatchRedirectURI reports whether the requested redirect URI is the
// registered one: equal byte for byte, except that the port of an http
// loopback URI is free (OAuth 2.1 §2.3.1, RFC 8252 §7.3). 127.0.0.1, [::1] and
// localhost are three hosts. The requested URI must have passed
// CheckRedirectURI.
func MatchRedirectURI(registered, requested string) bool {
	if registered == requested {
		return true
	}
	regHost, regRest, ok1 := splitLoopback(registered)
	reqHost, reqRest, ok2 := splitLoopback(requested)
	return ok1 && ok2 && regHost == reqHost && regRest == reqRest
}

// splitLoopback takes an http loopback URI apart into its host without the
// port and everything behind the authority.
func splitLoopback(raw string) (host, rest string, ok bool) {
	after, ok := strings.CutPrefix(raw, "http://")
	if !ok {
		return "", "", false
	}
	for _, h := range []string{"127.0.0.1", "[::1]", "localhost"} {
		tail, found := strings.CutPrefix(after, h)
		if !found {
			continue
		}
		if port, isPort := strings.CutPrefix(tail, ":"); isPort {
			tail = strings.TrimLeft(port, "0123456789")
			if len(tail) == len(port) {
				return "", "", false
			}
		}
		if tail == "" || tail[0] == '/' || tail[0] == '?' {
			return h, tail, true
		}
	}
	return "", "", false
}

// IsLoopbackRedirect reports whether the URI is an http URI on this machine.
func IsLoopbackRedirect(raw string) bool {
	_, _, ok := splitLoopback(raw)
	return ok
}
