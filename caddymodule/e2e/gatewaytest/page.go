package gatewaytest

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// What tests read from a page.

// Has reports whether the page has a form with a button or field of that name
// and value.
func (p *Page) Has(name, value string) bool {
	return slices.ContainsFunc(elements(p.doc, "input", "button"), func(e *html.Node) bool {
		return attr(e, "name") == name && (value == "" || attr(e, "value") == value)
	})
}

// Buttons returns the values of all buttons of a name.
func (p *Page) Buttons(name string) []string {
	var values []string
	for _, e := range elements(p.doc, "button") {
		if attr(e, "name") == name {
			values = append(values, attr(e, "value"))
		}
	}
	return values
}

// Section returns the text of the article that has a button with this value.
func (p *Page) Section(value string) string {
	for _, a := range elements(p.doc, "article") {
		for _, e := range elements(a, "button") {
			if attr(e, "value") == value {
				return textOf(a)
			}
		}
	}
	return ""
}

// Text returns the page's text, with single spaces, styles left out.
func (p *Page) Text() string { return textOf(p.doc) }

// inline are the elements that don't part words.
var inline = []string{"wbr", "bdi", "code", "span", "a", "strong", "em", "time"}

func textOf(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		switch {
		case n.Type == html.TextNode:
			b.WriteString(n.Data)
		case !slices.Contains(inline, n.Data):
			b.WriteString(" ")
		}
		for c := n.FirstChild; c != nil && n.Data != "style"; c = c.NextSibling {
			walk(c)
		}
		if n.Type == html.ElementNode && !slices.Contains(inline, n.Data) {
			b.WriteString(" ")
		}
	}
	walk(n)
	return strings.Join(strings.Fields(b.String()), " ")
}

// Links returns the targets of all links.
func (p *Page) Links() []string {
	var links []string
	for _, a := range elements(p.doc, "a") {
		links = append(links, attr(a, "href"))
	}
	return links
}

// Attributes returns the values of all attributes with one of these names.
func (p *Page) Attributes(names ...string) []string {
	var values []string
	for d := range p.doc.Descendants() {
		for _, a := range d.Attr {
			if slices.Contains(names, a.Key) {
				values = append(values, a.Val)
			}
		}
	}
	return values
}

// Outline returns the page's elements and the names of their attributes, in
// their order: what text that a page shows must never change.
func (p *Page) Outline() string {
	var b strings.Builder
	for d := range p.doc.Descendants() {
		if d.Type != html.ElementNode || d.Data == "wbr" {
			continue // where a long word may break depends on the word
		}
		b.WriteString("<" + d.Data)
		for _, a := range d.Attr {
			b.WriteString(" " + a.Key)
		}
		b.WriteString(">\n")
	}
	return b.String()
}

// Result returns the query with which the client was called back.
func (p *Page) Result() url.Values {
	p.browser.tb.Helper()
	if p.Location == nil {
		p.browser.tb.Fatalf("the browser was not sent back to the client: status %d at %s\n%s", p.Status, p.URL.Path, p.Text())
	}
	return p.Location.Query()
}

func elements(n *html.Node, names ...string) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && slices.Contains(names, d.Data) {
			found = append(found, d)
		}
	}
	return found
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func parseURL(tb testing.TB, raw string) *url.URL {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}
