package pages

import (
	_ "embed"
	"fmt"
	"net/url"
	"strings"
)

// The style sheets: what all pages share, and what the two kinds add.
var (
	//go:embed styles/base.css
	baseStyle string
	//go:embed styles/flow.css
	flowStyle string
	//go:embed styles/docs.css
	docsStyle string
)

// Brand is how an operator's pages differ from the product's own. All of it is
// optional.
type Brand struct {
	// Name stands at the top of every page in place of "Sign-in server": at
	// most 60 characters.
	Name string
	// LogoURL is the path of a picture on this server, such as "/logo.svg",
	// shown 40 pixels high. It must be reachable without a token.
	LogoURL string
	// Color is the colour of links and buttons, as #rgb or #rrggbb. Links must
	// be readable on the light background (WCAG 2.2 §1.4.3: 4.5 to 1).
	Color string
	// DarkColor is that for dark screens. Default: Color, made light enough.
	DarkColor string
}

const maxBrand = 60 // characters

// check returns the part of the style sheets that has the colours, or what is
// wrong with an option.
func (b Brand) check() (string, error) {
	if clean(b.Name, maxBrand) != b.Name {
		return "", fmt.Errorf("brand name %q must have at most %d characters, all of them visible, and single spaces", clean(b.Name, maxBrand), maxBrand)
	}
	if b.LogoURL != "" && !ownPath(b.LogoURL) {
		return "", fmt.Errorf("brand logo %q is not a path on this server, such as /logo.svg: pages load nothing from elsewhere", b.LogoURL)
	}
	light, dark := lightScheme, darkScheme
	if b.Color != "" {
		c, err := light.accept(b.Color)
		if err != nil {
			return "", fmt.Errorf("brand color %w", err)
		}
		light.accent, dark.accent = c, dark.lighten(c)
	}
	if b.DarkColor != "" {
		c, err := dark.accept(b.DarkColor)
		if err != nil {
			return "", fmt.Errorf("brand dark_color %w", err)
		}
		dark.accent = c
	}
	return ":root{" + light.variables() + "}\n@media(prefers-color-scheme:dark){:root{" + dark.variables() + "}}\n", nil
}

// scheme is the light colour scheme of a brand that has been checked.
func (b Brand) scheme() scheme {
	s := lightScheme
	if c, err := s.accept(b.Color); err == nil {
		s.accent = c
	}
	return s
}

// ownPath reports whether a link can only lead to this server: a path of plain
// characters that no browser reads as another host.
func ownPath(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || !plainURI(path) {
		return false
	}
	u, err := url.Parse(path)
	return err == nil && u.Scheme == "" && u.Host == ""
}

// plainURI reports whether a text has only characters that may stand in a URI:
// none that ends an attribute, and none that browsers drop or turn around.
func plainURI(uri string) bool {
	for i := range len(uri) {
		if c := uri[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte("\"\\<>^`{|}", c) >= 0 {
			return false
		}
	}
	return true
}
