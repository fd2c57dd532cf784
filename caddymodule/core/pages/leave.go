package pages

import (
	"errors"
	"fmt"
	"html"
	"html/template"
	"strings"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// Leave is the last page for a program with a private-use scheme: it takes the
// person there, with a link for those whose browser wants a click. A redirect
// would leave nothing in the window to look at, and Chromium follows one to
// such a scheme only under conditions (INTEROP 10).
type Leave struct {
	// Name is what the program calls itself: hostile text. May be empty.
	Name string
	// Scheme is the scheme of URL: one that a redirect URI may have, by
	// [oauth.AllowableRedirectScheme].
	Scheme string
	// URL is the checked redirect URI with the answer. It has to begin with
	// the scheme, a colon and a slash, and to be visible ASCII without
	// characters that don't belong into a URI. Anything else is refused:
	// Site.Write answers 500.
	URL string
}

// SignedOut is the page after signing out.
type SignedOut struct {
	// Everywhere says that the sign-ins of all browsers have ended.
	Everywhere bool
}

// maxLeave bounds the URL, in bytes: a redirect URI and a state of which this
// server takes no more either.
const maxLeave = 20 << 10

type leaveView struct {
	Lead, Open []piece
	// Refresh and Link are attributes with the URL, see attribute.
	Refresh, Link template.HTMLAttr
}

func (p Leave) draw(_ *Site, t *words) (drawing, error) {
	if err := p.check(); err != nil {
		return drawing{}, fmt.Errorf("pages: the URL to leave for %w", err)
	}
	view := leaveView{
		Lead:    say(t.Leave.Nameless),
		Open:    say(t.Leave.Open, "scheme", p.Scheme+":"),
		Refresh: attribute("content", "0;url="+p.URL),
		Link:    attribute("href", p.URL),
	}
	if name := clean(p.Name, maxName); name != "" {
		view.Lead = say(t.Leave.Lead, "program", name)
	}
	return drawing{template: leaveTemplate, title: t.Leave.Title, page: view}, nil
}

// check is the URL filter of this page, in place of the one that html/template
// has: that one takes every scheme but http, https and mailto for an attack.
func (p Leave) check() error {
	switch {
	case !oauth.AllowableRedirectScheme(p.Scheme):
		return errors.New("has a scheme that no program may have")
	case !strings.HasPrefix(p.URL, p.Scheme+":/"):
		return errors.New("has another scheme than it should")
	case len(p.URL) > maxLeave:
		return fmt.Errorf("is longer than %d bytes", maxLeave)
	case !plainURI(p.URL):
		return errors.New("has a character that does not belong in a URI")
	}
	return nil
}

// attribute makes an attribute that html/template does not look into. Only for
// values that have been checked.
func attribute(name, value string) template.HTMLAttr {
	return template.HTMLAttr(name + `="` + html.EscapeString(value) + `"`) //nolint:gosec // escaped here, checked before
}

func (p SignedOut) draw(_ *Site, t *words) (drawing, error) {
	lead := t.SignedOut.Lead
	if p.Everywhere {
		lead = t.SignedOut.LeadEverywhere
	}
	return drawing{template: signedOutTemplate, title: t.SignedOut.Title, page: lead}, nil
}
