package pages

import (
	"bytes"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

//go:embed templates/*.html
var templateFiles embed.FS

var (
	accountTemplate    = parse("account.html", "tokens.html")
	consentTemplate    = parse("consent.html")
	errorTemplate      = parse("error.html")
	leaveTemplate      = parse("leave.html")
	newTokenTemplate   = parse("newtoken.html")
	notInvitedTemplate = parse("notinvited.html")
	overviewTemplate   = parse("overview.html")
	referenceTemplate  = parse("reference.html")
	signedOutTemplate  = parse("signedout.html")
	signInTemplate     = parse("signin.html")
)

// SiteConfig says what all pages of a server have in common.
type SiteConfig struct {
	// Issuer is the issuer identifier, shown at the top of every page.
	// Required.
	Issuer string
	// Home is the path of the overview page, with a slash at the end, such as
	// "/oauth/". Required.
	Home string
	// Account is the path of the account page. Empty: there is none, and no
	// page mentions it.
	Account string
	// Version is that of the software, shown on the documentation pages only.
	Version string
	// Brand is the look. The zero value is the product's own.
	Brand Brand
}

// Site writes the pages of one server. It is safe for concurrent use.
type Site struct {
	cfg SiteConfig
	// flow and docs are the style sheets of the pages that ask something and
	// of those that are read at leisure.
	flow, docs template.CSS
	// accent is the colour of the icon, and on what can be seen on it.
	accent, on string
}

// Page is what a person sees: one of the structs of this package. Write a page
// with [Site.Write].
type Page interface {
	// draw puts the page into the words of one language. An error says that
	// the page must not be shown.
	draw(s *Site, t *words) (drawing, error)
}

// drawing is a page in one language.
type drawing struct {
	template *template.Template
	title    string
	// page is what the template knows as .Page.
	page any
	// asks says that the page has forms.
	asks bool
	// wide says that the page is for reading at leisure: it gets more room and
	// the other style sheet.
	wide bool
}

// sheet is what a template sees.
type sheet struct {
	T     *words
	Site  SiteConfig
	Title string
	Nonce string
	Style template.CSS
	// Accent and On are the colours of the icon, without their #.
	Accent, On string
	Wide       bool
	Page       any
}

// NewSite checks the configuration and prepares what all pages share. An error
// about the brand names the option.
func NewSite(cfg SiteConfig) (*Site, error) {
	if cfg.Issuer == "" || !ownPath(cfg.Home) || !strings.HasSuffix(cfg.Home, "/") || cfg.Account != "" && !ownPath(cfg.Account) {
		return nil, errors.New("pages need the issuer and paths of this server")
	}
	colours, err := cfg.Brand.check()
	if err != nil {
		return nil, err
	}
	icon := cfg.Brand.scheme()
	return &Site{
		cfg:    cfg,
		flow:   template.CSS(colours + baseStyle + flowStyle), //nolint:gosec // embedded, and colours that have been checked
		docs:   template.CSS(colours + baseStyle + docsStyle), //nolint:gosec // the same
		accent: icon.accent[1:],
		on:     icon.on()[1:],
	}, nil
}

// Write answers a request with a page, in the language that the browser asks
// for, with all the headers that it needs: those of [SetHeaders], and a policy
// that allows its own style by a nonce that no other answer has. A HEAD request
// gets the headers. A page that can't be written becomes a plain 500.
func (s *Site) Write(w http.ResponseWriter, r *http.Request, status int, p Page) {
	h := w.Header()
	SetHeaders(h)
	h.Add("Vary", "Accept-Language")
	t, nonce := wordsFor(r.Header.Get("Accept-Language")), rand.Text()
	body, asks, err := s.render(p, t, nonce)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Security-Policy", pagePolicy(nonce, asks))
	h.Set("Content-Language", t.Lang)
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client is gone if this fails
	}
}

// render returns the whole page, and whether it has forms.
func (s *Site) render(p Page, t *words, nonce string) ([]byte, bool, error) {
	d, err := p.draw(s, t)
	if err != nil {
		return nil, false, err
	}
	view := sheet{T: t, Site: s.cfg, Title: d.title, Nonce: nonce, Style: s.flow, Accent: s.accent, On: s.on, Wide: d.wide, Page: d.page}
	if d.wide {
		view.Style = s.docs
	}
	var b bytes.Buffer
	if err := d.template.Execute(&b, view); err != nil {
		return nil, false, fmt.Errorf("writing a page: %w", err)
	}
	return b.Bytes(), d.asks, nil
}

func parse(names ...string) *template.Template {
	files := []string{"templates/layout.html", "templates/parts.html"}
	for _, name := range names {
		files = append(files, "templates/"+name)
	}
	funcs := template.FuncMap{"paragraphs": paragraphs, "parts": parts, "say": say}
	return template.Must(template.New("layout.html").Funcs(funcs).ParseFS(templateFiles, files...))
}

// Interface guards
var (
	_ Page = Account{}
	_ Page = Consent{}
	_ Page = Error{}
	_ Page = Leave{}
	_ Page = NewToken{}
	_ Page = NotInvited{}
	_ Page = Overview{}
	_ Page = Reference{}
	_ Page = SignedOut{}
	_ Page = SignIn{}
)
