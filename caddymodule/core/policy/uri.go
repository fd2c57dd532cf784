package policy

import (
	"path"
	"slices"
	"strings"
)

// Servers read URIs in more than one way: one decodes %68, the next cleans dot
// segments or cuts off a query. So a URI is looked at in several forms, and a rule
// is certain to be about it only if they agree; where they don't, the call must
// pass with the rule and without it.
type uriForms struct {
	raw string
	// norm is decoded and has no dot segments, and its scheme and, where that is
	// what the scheme says, host are in lower case.
	norm string
	// bare is norm without query and fragment.
	bare string
	// also are more ways to read it, which only ever add doubt.
	also []string
	// odd says that there is no telling what a server makes of it.
	odd bool
	// template says that raw is the beginning of a template, up to its first
	// variable.
	template bool
}

// newURI returns the forms of a URI.
func newURI(raw string) uriForms {
	if plainURI(raw) {
		return uriForms{raw: raw, norm: raw, bare: raw}
	}
	p, odd := parseURI(raw)
	u := uriForms{raw: raw, odd: odd}
	u.norm = p.String()
	u.bare = withoutQuery(u.norm)
	if trimmed := strings.TrimRight(u.bare, "/"); trimmed != u.bare {
		u.also = append(u.also, trimmed)
	}
	for _, host := range p.otherHosts() {
		p.host = host
		norm := p.String()
		bare := withoutQuery(norm)
		u.also = append(u.also, norm, bare, strings.TrimRight(bare, "/"))
	}
	return u
}

func withoutQuery(norm string) string {
	if i := strings.IndexAny(norm, "?#"); i >= 0 {
		return norm[:i]
	}
	return norm
}

// newTemplate returns the forms of what the URIs of a template begin with.
func newTemplate(template string) uriForms {
	raw, _, variable := strings.Cut(template, "{")
	if !variable {
		return newURI(template)
	}
	u := newURI(raw)
	u.template = true
	if strings.HasSuffix(raw, "/") { // what follows comes after the slash
		u.also = slices.DeleteFunc(u.also, func(form string) bool { return !strings.HasSuffix(form, "/") })
	}
	return u
}

// uriGlob is a pattern for URIs as it was written and in normal form.
type uriGlob struct {
	written, normal glob
	// query says that the pattern is about queries too.
	query bool
}

func newURIGlob(pattern string) uriGlob {
	normal, _ := parseURI(pattern)
	return uriGlob{newGlob(pattern), newGlob(normal.String()), strings.ContainsAny(pattern, "?#")}
}

// match returns Unknown where the forms of the URI disagree.
func (g *uriGlob) match(u *uriForms) Result {
	switch {
	case u.odd:
		return Unknown
	case u.template:
		return g.matchTemplate(u)
	}
	raw, norm, bare := g.written.match(u.raw), g.fits(u.norm), g.fits(u.bare)
	if raw && norm && (bare || g.query) {
		return Yes
	}
	if raw || norm || bare {
		return Unknown
	}
	if slices.ContainsFunc(u.also, g.fits) {
		return Unknown
	}
	return No
}

func (g *uriGlob) fits(form string) bool { return g.written.match(form) || g.normal.match(form) }

// matchTemplate returns Yes if the pattern fits every URI of a template, and
// Unknown if some.
func (g *uriGlob) matchTemplate(u *uriForms) Result {
	switch {
	case g.written.covers(u.raw+"*") && (g.written.covers(u.norm+"*") || g.normal.covers(u.norm+"*")):
		return Yes
	case g.written.meets(u.raw), g.written.meets(u.norm), g.normal.meets(u.norm):
		return Unknown
	}
	if slices.ContainsFunc(u.also, func(form string) bool { return g.written.meets(form) || g.normal.meets(form) }) {
		return Unknown
	}
	return No
}

// plainURI reports whether a URI has one form only. It errs towards no.
func plainURI(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || strings.IndexFunc(scheme, func(r rune) bool { return r < 'a' || r > 'z' }) >= 0 {
		return false
	}
	host, rest, _ := strings.Cut(rest, "/")
	for i := range len(host) {
		if c := host[i]; c <= ' ' || c > '~' || c >= 'A' && c <= 'Z' || strings.IndexByte(`%?#\@:`, c) >= 0 {
			return false
		}
	}
	if host == "" != (scheme == "file") || strings.HasSuffix(host, ".") || strings.HasPrefix(host, ".") {
		return false
	}
	if _, dns := ports[scheme]; dns && oddAddress(host) {
		return false
	}
	for i := range len(rest) {
		if c := rest[i]; c < ' ' || c == 0x7f || strings.IndexByte(`%?#\`, c) >= 0 {
			return false
		}
	}
	return rest == "" || rest[0] != '/' && rest[len(rest)-1] != '/' && rest[len(rest)-1] != ' ' && !strings.Contains(rest, "//") &&
		!strings.HasPrefix(rest, ".") && !strings.Contains(rest, "/.")
}

// uriParts are the parts of a URI, in the form that most servers would end up with.
type uriParts struct {
	scheme, host string
	hasHost      bool
	path, tail   string // the tail is query and fragment
}

// String puts the parts together.
func (p *uriParts) String() string {
	s := p.path + p.tail
	if p.hasHost {
		s = "//" + p.host + s
	}
	if p.scheme != "" {
		s = p.scheme + ":" + s
	}
	return s
}

// parseURI takes a URI apart. Odd is true where readers are known to part ways
// altogether.
func parseURI(s string) (p uriParts, odd bool) {
	odd = s != strings.TrimSpace(s) || strings.IndexFunc(s, control) >= 0
	p.scheme, s = cutScheme(strings.ReplaceAll(s, `\`, "/"))
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s, p.tail = s[:i], s[i:]
	}
	if s, p.hasHost = strings.CutPrefix(s, "//"); p.hasHost {
		i := strings.IndexByte(s+"/", '/')
		p.host, s = s[:i], s[i:]
	}
	var odds [3]bool
	odds[0] = p.normalHost()
	s, odds[1] = decode(s)
	p.tail, odds[2] = decode(p.tail)
	s = strings.ReplaceAll(s, `\`, "/")
	odd = odd || odds[0] || odds[1] || odds[2] || climbs(s) || disguised(s) || dotted(p.tail)
	if p.scheme == "file" {
		odd = odd || !p.hasHost && !strings.HasPrefix(s, "/")
		p.hasHost = true
	}
	p.path = cleanPath(s)
	return p, odd
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// cutScheme splits the scheme off, in lower case (RFC 3986 §3.1).
func cutScheme(s string) (scheme, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("+-.", r)
	})
	if i <= 0 || s[i] != ':' {
		return "", s
	}
	return strings.ToLower(s[:i]), s[i+1:]
}

// cleanPath resolves dot segments and repeated slashes. A slash at the end stays.
func cleanPath(p string) string {
	if p == "" {
		return ""
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// climbs reports whether dot segments lead out of the path: where to, only the
// server knows.
func climbs(p string) bool {
	depth := 0
	for segment := range strings.SplitSeq(p, "/") {
		switch segment {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// disguised reports whether a dot segment has parameters (..;x), which some servers cut
// off before they resolve it, and others take for a name.
func disguised(p string) bool {
	for segment := range strings.SplitSeq(p, "/") {
		if name, _, found := strings.Cut(segment, ";"); found && (name == "." || name == "..") {
			return true
		}
	}
	return false
}

// dotted reports whether a query or fragment has dot segments. To a server that
// takes ? and # for parts of a file's name they lead out of the path.
func dotted(tail string) bool {
	for segment := range strings.SplitSeq(strings.ReplaceAll(tail, `\`, "/"), "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// decode resolves percent-encoding, also of what was encoded twice. Odd is true
// if there is no end to it, or a control character came out, or a byte that only
// overlong UTF-8 has: %c0%ae is a dot to some.
func decode(s string) (out string, odd bool) {
	for range 4 {
		if !strings.Contains(s, "%") {
			break
		}
		next := decodeOnce(s)
		if next == s {
			break
		}
		s, odd = next, decodeOnce(next) != next
	}
	return s, odd || strings.IndexFunc(s, control) >= 0 || strings.Contains(s, "\xc0")
}

// decodeOnce leaves what is no encoding as it is, as some servers do.
func decodeOnce(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, ok := unhex(s[i+1])
			lo, both := unhex(s[i+2])
			if ok && both {
				b.WriteByte(hi<<4 | lo)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
