package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed style.css
var style string

var (
	errorTemplate     = parse("error.html")
	overviewTemplate  = parse("overview.html")
	referenceTemplate = parse("reference.html")
)

// policy allows the embedded style sheet and pictures of this host, and
// nothing else.
var policy = fmt.Sprintf("default-src 'none'; style-src '%s'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	SourceHash(style))

// SourceHash returns the source expression that lets a Content-Security-Policy
// allow one inline script or style sheet (CSP Level 3 §2.3.1), without quotes.
func SourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// SetHeaders sets the headers of every page, also of those that only redirect:
// no framing (OAuth 2.1 §7.10), no referrer that would carry a code or state
// away (RFC 9700 §4.2.4), no caching, no guessing of types, no foreign content.
//
// Cross-Origin-Opener-Policy is left out on purpose. Web clients open the
// sign-in as a popup; any value but the default, even
// same-origin-allow-popups, would cut the popup off from the page that opened
// it, which would then take the sign-in for cancelled.
func SetHeaders(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}

// layout is what every page has.
type layout struct {
	T     words
	Title string
	// Home is the path of the overview page, with a slash at the end.
	Home string
	// Server is the server's address, shown at the top.
	Server string
	// Version of the software is shown at the bottom, except on error pages.
	Version string
}

func parse(name string) *template.Template {
	funcs := template.FuncMap{
		"style":      func() template.CSS { return template.CSS(style) }, //nolint:gosec // embedded, not input
		"paragraphs": paragraphs,
	}
	return template.Must(template.New("layout.html").Funcs(funcs).ParseFS(templateFiles, "templates/layout.html", "templates/"+name))
}

func write(w io.Writer, t *template.Template, view any) error {
	if err := t.Execute(w, view); err != nil {
		return fmt.Errorf("writing a page: %w", err)
	}
	return nil
}
