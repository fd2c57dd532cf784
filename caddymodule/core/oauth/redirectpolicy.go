package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// RedirectPolicy says which redirect URIs clients may have that nobody vouches
// for: those that register themselves and those with a metadata document.
// Clients of the configuration are not held to it.
type RedirectPolicy struct {
	// Schemes are the private-use schemes that are allowed.
	Schemes []string
	// Allow, unless empty, lists all hosts that are allowed, and Deny hosts that
	// are not, whatever Allow says. See [CheckHostPattern]. Private-use URIs have no
	// host in this sense: Schemes decides about them.
	Allow, Deny []string
}

// LoopbackHosts is the pattern that stands for 127.0.0.1, [::1] and localhost.
const LoopbackHosts = "loopback"

// maxRedirectURIs bounds the redirect URIs of one client.
const maxRedirectURIs = 20

// ErrHostNotAllowed says that a redirect URI is well formed but the policy does
// not allow its host. A registration may go on without such a URI.
var ErrHostNotAllowed = errors.New("has a host that this server does not allow")

// Check reports why a client may not have the redirect URI, or nil.
func (p RedirectPolicy) Check(uri string) error {
	if err := CheckRedirectURI(uri, p.Schemes); err != nil {
		return err
	}
	u, err := url.Parse(uri)
	if err != nil {
		return errURISyntax // CheckRedirectURI has parsed it before
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	matches := func(pattern string) bool { return MatchHost(pattern, u) }
	if slices.ContainsFunc(p.Deny, matches) || len(p.Allow) > 0 && !slices.ContainsFunc(p.Allow, matches) {
		return ErrHostNotAllowed
	}
	return nil
}

// Select returns the redirect URIs of a registration that the client may have,
// each once. One whose host or private-use scheme the policy does not allow is
// left out as long as another one is good, because clients send one list for all
// their editions; anything malformed or dangerous refuses the whole list.
func (p RedirectPolicy) Select(uris []string) ([]string, error) {
	switch {
	case len(uris) == 0:
		return nil, Errorf(CodeInvalidRedirectURI, "redirect_uris must be a list of at least one URI")
	case len(uris) > maxRedirectURIs:
		return nil, Errorf(CodeInvalidRedirectURI, "redirect_uris has %d entries, the limit is %d", len(uris), maxRedirectURIs)
	}
	var good []string
	var left error
	for i, uri := range uris {
		err := p.Check(uri)
		switch {
		case errors.Is(err, ErrSchemeNotAllowed):
			left = Errorf(CodeInvalidRedirectURI, "the redirect URI %v; the operator can allow it with redirect_schemes", err)
		case errors.Is(err, ErrHostNotAllowed):
			left = Errorf(CodeInvalidRedirectURI, "redirect_uris[%d] %v; ask the operator to allow it", i, err)
		case err != nil:
			return nil, Errorf(CodeInvalidRedirectURI, "redirect_uris[%d] %v", i, err)
		case !slices.Contains(good, uri):
			good = append(good, uri)
		}
	}
	if len(good) == 0 {
		return nil, left
	}
	return good, nil
}

// CheckHostPattern reports why a text is no pattern of hosts, or nil. It is a host
// such as example.com, with a port if only that port is meant; *.example.com for
// every host below example.com, and not itself; or [LoopbackHosts].
func CheckHostPattern(pattern string) error {
	host := strings.TrimPrefix(pattern, "*.")
	u, err := parseStrict("https://" + host)
	if err == nil && (u.Host != host || pattern != strings.ToLower(pattern)) {
		err = errURISyntax
	}
	if err == nil {
		err = checkHost(u)
	}
	if err != nil || strings.HasPrefix(pattern, "*.") && !strings.Contains(host, ".") {
		return fmt.Errorf("%q is not a host in lower case such as example.com, *.example.com, example.com:8443 or %s", pattern, LoopbackHosts)
	}
	return nil
}

// MatchHost reports whether the host of a checked URI is one that the pattern
// means. A pattern without a port means every port.
func MatchHost(pattern string, u *url.URL) bool {
	host := strings.ToLower(u.Host)
	if pattern == LoopbackHosts {
		return IsLoopbackHost(host)
	}
	below, wildcard := strings.CutPrefix(pattern, "*")
	for _, h := range []string{host, strings.TrimSuffix(host, ":"+u.Port())} {
		if h == pattern || wildcard && strings.HasSuffix(h, below) {
			return true
		}
	}
	return false
}
