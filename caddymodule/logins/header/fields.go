package header

import (
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// Limits of what a proxy may say about a person.
const (
	maxSubject = 200 // as in login.Identity
	maxValue   = 1024
	maxList    = 16 << 10 // of all groups together
	maxGroups  = 500
)

// fields are the headers that say who the person is; "" for none.
type fields struct{ user, email, name, groups, separator string }

// denied is why somebody does not get in, for the log.
func denied(format string, args ...any) error {
	return fmt.Errorf("%w: %w", login.ErrDenied, fmt.Errorf(format, args...))
}

// fold brings a name to the form in which servers that know no hyphens, such as
// CGI and WSGI, take it for another (THREATS P1).
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			return c
		}
		return '-'
	}, name)
}

// checkSpelling refuses a request that has one of the headers in a second
// spelling: the proxy does not send it, so somebody tries to be somebody else.
func (l *Login) checkSpelling(h http.Header) error {
	for name := range h {
		if known, ok := l.watched[fold(name)]; ok && name != known {
			return denied("the request has a second spelling of header %s", known)
		}
	}
	return nil
}

// take returns the value of a header, or "" if it is not there. A header that
// occurs twice has no value that two readers would agree on.
func take(h http.Header, name string, limit int) (string, error) {
	values := h[name]
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", denied("header %s occurs %d times", name, len(values))
	}
	return values[0], checkText("header "+name, values[0], limit)
}

// checkText refuses text that is too long, not UTF-8, or has characters that
// can't be seen or that turn the text around them.
func checkText(what, s string, limit int) error {
	switch {
	case len(s) > limit:
		return denied("%s has more than %d bytes", what, limit)
	case !utf8.ValidString(s):
		return denied("%s is not UTF-8", what)
	case strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) }):
		return denied("%s has control characters", what)
	}
	return nil
}

// identify reads the person out of the headers.
func (l *Login) identify(h http.Header) (login.Identity, error) {
	id := login.Identity{AuthTime: l.now()}
	for _, f := range []struct {
		name string
		into *string
	}{{l.fields.user, &id.Subject}, {l.fields.email, &id.Email}, {l.fields.name, &id.Name}} {
		if f.name == "" {
			continue
		}
		value, err := l.value(h, f.name)
		if err != nil {
			return login.Identity{}, err
		}
		*f.into = value
	}
	if err := checkSubject("header "+l.fields.user, id.Subject); err != nil {
		return login.Identity{}, err
	}
	// A list in the place of a name: a proxy on the way has put two headers
	// together, and the first one may be the client's.
	if strings.Contains(id.Subject, ",") {
		return login.Identity{}, denied("header %s has a comma", l.fields.user)
	}
	id.EmailVerified = isAddress(id.Email)
	// A login at GitHub or with a passkey looks like an address and is none.
	if _, domain, _ := strings.Cut(id.Email, "@"); l.tailscale && !strings.Contains(domain, ".") {
		id.Email, id.EmailVerified = "", false
	}
	var err error
	id.Groups, err = l.groups(h)
	return id, err
}

// value returns a header as people read it.
func (l *Login) value(h http.Header, name string) (string, error) {
	value, err := take(h, name, maxValue)
	if err != nil || !l.tailscale || !strings.Contains(value, "=?") {
		return strings.TrimSpace(value), err
	}
	// RFC 2047 §6.1. What was encoded is outside text like the rest.
	decoded, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil {
		return "", denied("header %s has encoded words that can't be read", name)
	}
	return strings.TrimSpace(decoded), checkText("header "+name, decoded, maxValue)
}

func (l *Login) groups(h http.Header) ([]string, error) {
	if l.fields.groups == "" {
		return nil, nil
	}
	value, err := take(h, l.fields.groups, maxList)
	if err != nil {
		return nil, err
	}
	return cleanGroups("header "+l.fields.groups, strings.Split(value, l.fields.separator))
}

// cleanGroups sorts groups and leaves out empty and repeated ones.
func cleanGroups(what string, names []string) ([]string, error) {
	var groups []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if err := checkText(what, name, maxValue); err != nil {
			return nil, err
		}
		groups = append(groups, name)
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) > maxGroups {
		// Half of them could leave out the one that a rule denies.
		return nil, denied("%s has more than %d groups", what, maxGroups)
	}
	return groups, nil
}

// checkSubject holds a subject to the contract of login.Identity.
func checkSubject(what, s string) error {
	switch {
	case s == "":
		return denied("%s is missing or empty", what)
	case len(s) > maxSubject || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }):
		return denied("%s is not 1 to %d characters of printable ASCII without space", what, maxSubject)
	}
	return nil
}

// isAddress reports whether text is an e-mail address in its plain form, with
// one reading only. Others are kept, for rules that deny, but not vouched for.
func isAddress(s string) bool {
	local, domain, _ := strings.Cut(s, "@")
	return local != "" && domain != "" && !strings.ContainsAny(domain, "@") &&
		!strings.ContainsFunc(s, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune(`"<>(),;:\`, c) })
}
