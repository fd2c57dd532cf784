package pages

import (
	"encoding/json"
	"net/url"
	"strings"
	"unicode"
)

// Bounds of texts that come from outside, in characters.
const (
	maxName        = 100
	maxDescription = 300
	maxRequestID   = 80
	maxHost        = 253 + 6 // RFC 1035 §2.3.4, and a port: no host is ever cut
	maxEmail       = 254     // RFC 5321 §4.5.3.1.3
	maxID          = 200
	maxURL         = 300
	maxAddress     = 60 // an IP address
)

// clean makes text from outside fit to be shown: no control and no format
// characters (which include bidirectional overrides and zero-width ones),
// single spaces, bounded. Escaping is the templates' business.
func clean(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, text)
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > limit {
		runes = append(runes[:limit-1], '…')
	}
	return string(runes)
}

// paragraphs splits a text at its blank lines.
func paragraphs(text string) []string { return strings.Split(text, "\n\n") }

// parts splits a name after its dots: where a line may break.
func parts(name string) []string { return strings.SplitAfter(name, ".") }

// hostOf returns the host of a URL that a link on a page may lead to, or
// nothing: only web addresses may.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return clean(u.Host, maxHost)
}

// shellQuote makes a string one word of a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_./:@%+=,", r))
	}
	if s != "" && strings.TrimLeftFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// jsonText writes a value as JSON for people to copy: indented, and without
// the HTML escapes that encoding/json adds.
func jsonText(v any, indent string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return "" // only maps of strings get here
	}
	return strings.TrimSpace(b.String())
}
