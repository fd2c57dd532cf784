package gatewaytest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Browser is as much of a browser as a sign-in needs: it keeps cookies, fills
// in forms and says where its requests come from. It runs no scripts and knows
// no styles; tests of those use Chromium.
type Browser struct {
	// Header is added to every request, such as Accept-Language.
	Header http.Header
	// Away lists hosts, with port, besides the first one that it follows
	// redirects to: those of identity providers.
	Away []string
	// Seen is shown every answer, also those that only redirect.
	Seen func(*Page)

	tb     testing.TB
	client *http.Client
}

// NewBrowser returns a browser without cookies.
func NewBrowser(tb testing.TB) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	client := *noRedirect
	client.Jar = jar
	return &Browser{Header: http.Header{}, tb: tb, client: &client}
}

// Trust makes it accept certificates of an authority, whose own certificate is
// in PEM.
func (b *Browser) Trust(authority []byte) {
	b.tb.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		b.tb.Fatal("not a certificate")
	}
	b.client.Transport = fresh{&tls.Config{RootCAs: pool}}
}

// Answers reports whether there is an answer of any kind.
func (b *Browser) Answers(target string) bool {
	resp, err := b.client.Get(target)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}

// Copy returns another browser that got hold of the cookies for a URL: all of
// them, or only those whose names have one of these endings.
func (b *Browser) Copy(target string, endings ...string) *Browser {
	b.tb.Helper()
	c := NewBrowser(b.tb)
	c.client.Transport, c.Header, c.Away, c.Seen = b.client.Transport, b.Header.Clone(), b.Away, b.Seen
	for _, k := range b.Cookies(target) {
		if len(endings) == 0 || slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(k.Name, e) }) {
			c.SetCookie(target, k.Name, k.Value)
		}
	}
	return c
}

// Cookie returns the value of the cookie whose name has this ending, or "".
func (b *Browser) Cookie(target, ending string) string {
	b.tb.Helper()
	for _, k := range b.Cookies(target) {
		if strings.HasSuffix(k.Name, ending) {
			return k.Value
		}
	}
	return ""
}

// Cookies returns the cookies that it would send to a URL.
func (b *Browser) Cookies(target string) []*http.Cookie {
	return b.client.Jar.Cookies(parseURL(b.tb, target))
}

// SetCookie puts a cookie there as if the host had set it.
func (b *Browser) SetCookie(target, name, value string) {
	b.client.Jar.SetCookies(parseURL(b.tb, target), []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

// Page is what a browser shows, or where it was sent.
type Page struct {
	Reply
	// URL is the address of the page.
	URL *url.URL
	// Location is where it was sent if the browser did not follow, because that
	// is another host; else nil.
	Location *url.URL

	browser *Browser
	doc     *html.Node
}

// Browser returns the browser that shows the page.
func (p *Page) Browser() *Browser { return p.browser }

// Open opens an address as a person does who typed it in, and follows
// redirects on the same host.
func (b *Browser) Open(target string) *Page {
	b.tb.Helper()
	return b.Send(http.MethodGet, target, nil, "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate")
}

// Send makes a request with the headers given, as in Once, and follows
// redirects.
func (b *Browser) Send(method, target string, form url.Values, header ...string) *Page {
	b.tb.Helper()
	hosts := append([]string{parseURL(b.tb, target).Host}, b.Away...)
	for range 12 {
		p := b.Once(method, target, form, header...)
		if p.Location == nil || !slices.Contains(hosts, p.Location.Host) {
			return p
		}
		method, target, form, header = http.MethodGet, p.Location.String(), nil, nil
	}
	b.tb.Fatal("the browser is redirected in a circle")
	return nil
}

// Once makes a request and follows nothing. The header lists names and values
// in turn; a later value of a name counts, and "-" is none.
func (b *Browser) Once(method, target string, form url.Values, header ...string) *Page {
	b.tb.Helper()
	if form != nil {
		header = append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)
	}
	return b.SendBody(method, target, form.Encode(), header...)
}

// SendBody is Once for a body of any type.
func (b *Browser) SendBody(method, target, body string, header ...string) *Page {
	b.tb.Helper()
	// A server that finds a body too long closes the connection, perhaps before
	// the whole of it was written; its answer can get lost that way.
	for tries := len(body) >> 15; ; tries-- {
		p, err := b.sendBody(method, target, body, header)
		if err == nil {
			return p
		}
		if tries <= 0 {
			b.tb.Fatal(err)
		}
	}
}

func (b *Browser) sendBody(method, target, body string, header []string) (*Page, error) {
	b.tb.Helper()
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		b.tb.Fatal(err)
	}
	maps.Copy(req.Header, b.Header)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "-" {
			req.Header.Del(header[i])
		}
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return b.page(req.URL, Reply{resp.StatusCode, resp.Header, string(text)}), nil
}

func (b *Browser) page(at *url.URL, r Reply) *Page {
	b.tb.Helper()
	p := &Page{Reply: r, URL: at, browser: b}
	var err error
	if p.doc, err = html.Parse(strings.NewReader(p.Body)); err != nil {
		b.tb.Fatal(err)
	}
	if next := p.Header.Get("Location"); next != "" {
		p.Location = at.ResolveReference(parseURL(b.tb, next))
	}
	if b.Seen != nil {
		b.Seen(p)
	}
	return p
}

// Form returns the action and the hidden and preset fields of the first form
// that has a button or field of this name, with this value unless it is "".
func (p *Page) Form(name, value string) (action string, fields url.Values) {
	p.browser.tb.Helper()
	for _, form := range elements(p.doc, "form") {
		fields, found := url.Values{}, false
		for _, e := range elements(form, "input", "button", "select", "textarea") {
			n, v := attr(e, "name"), attr(e, "value")
			if n == name && (value == "" || v == value) {
				found = true
			}
			if n != "" && e.Data == "input" && attr(e, "type") != "submit" {
				fields.Add(n, v)
			}
		}
		if found {
			return p.URL.ResolveReference(parseURL(p.browser.tb, attr(form, "action"))).String(), fields
		}
	}
	p.browser.tb.Fatalf("no form with %s=%s on the page at %s: status %d\n%s", name, value, p.URL.Path, p.Status, p.Body)
	return "", nil
}

// Click presses the button of that name and value, with fields filled in: name
// and value in turn.
func (p *Page) Click(name, value string, filled ...string) *Page {
	p.browser.tb.Helper()
	action, fields := p.Form(name, value)
	fields.Set(name, value)
	for i := 0; i+1 < len(filled); i += 2 {
		fields.Set(filled[i], filled[i+1])
	}
	return p.browser.Submit(action, fields)
}

// Submit posts a form as a page of the same host does. Our pages have no
// referrer, and browsers then send a null origin.
func (b *Browser) Submit(action string, fields url.Values, header ...string) *Page {
	b.tb.Helper()
	return b.Send(http.MethodPost, action, fields, append(OwnPage(), header...)...)
}

// Post is Submit, and follows nothing.
func (b *Browser) Post(action string, fields url.Values, header ...string) *Page {
	b.tb.Helper()
	return b.Once(http.MethodPost, action, fields, append(OwnPage(), header...)...)
}

// OwnPage returns the headers by which a browser says that a page of the same
// host posts a form.
func OwnPage() []string {
	return []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Origin", "null"}
}

// SignIn fills in the password form of a sign-in page.
func (p *Page) SignIn(user, password string) *Page {
	p.browser.tb.Helper()
	return p.Click("login", "password", "field_username", user, "field_password", password)
}

// Allow lets the program in, and Deny does not.
func (p *Page) Allow() *Page { return p.Click("decision", "allow") }

// Deny says no on a consent page.
func (p *Page) Deny() *Page { return p.Click("decision", "deny") }
