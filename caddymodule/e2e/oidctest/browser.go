package oidctest

import (
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Browser is a person's browser at the provider. It keeps cookies, so that the
// provider knows the person the next time.
type Browser struct {
	provider *Provider
	client   *http.Client
}

// pageLimit bounds a page of the provider, in bytes.
const pageLimit = 1 << 20

// NewBrowser returns a browser without cookies.
func (p *Provider) NewBrowser(tb testing.TB) *Browser {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	b := &Browser{provider: p}
	b.client = &http.Client{
		Jar: jar, Timeout: 30 * time.Second,
		// The browser stops before it leaves the provider.
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case !b.atProvider(req.URL):
				return http.ErrUseLastResponse
			case len(via) > 10:
				return errors.New("the provider redirects in circles")
			}
			return nil
		},
	}
	return b
}

func (b *Browser) atProvider(u *url.URL) bool {
	return u.Scheme+"://"+u.Host == b.provider.Issuer
}

// Page is where a browser stands: at a page of the provider, or about to leave.
type Page struct {
	// Callback is the URL at which the browser leaves the provider, not opened.
	// It is nil while the provider asks something.
	Callback *url.URL
	// Status and Text are the page otherwise.
	Status int
	Text   string

	browser *Browser
	at      *url.URL
}

// Open goes to a URL of the provider.
func (b *Browser) Open(tb testing.TB, target string) Page {
	tb.Helper()
	return b.send(tb, http.MethodGet, target, nil)
}

// SignIn goes to a URL of the provider and signs in as an account, unless the
// provider knows the person already. It returns the URL at which the browser
// leaves.
func (b *Browser) SignIn(tb testing.TB, target, subject string) *url.URL {
	tb.Helper()
	page := b.Open(tb, target)
	if page.Callback == nil {
		page = page.Answer(tb, url.Values{"account": {subject}})
	}
	return page.leave(tb)
}

// Refuse goes to a URL of the provider, which has to ask, and refuses.
func (b *Browser) Refuse(tb testing.TB, target string) *url.URL {
	tb.Helper()
	return b.Open(tb, target).Answer(tb, url.Values{"refuse": {"1"}}).leave(tb)
}

func (p Page) leave(tb testing.TB) *url.URL {
	tb.Helper()
	if p.Callback == nil {
		tb.Fatalf("the provider does not let the browser go: %d %s", p.Status, p.Text)
	}
	return p.Callback
}

// formAction finds where the page's form goes.
var formAction = regexp.MustCompile(`<form method="post" action="([^"]+)"`)

// Answer sends the page's form.
func (p Page) Answer(tb testing.TB, form url.Values) Page {
	tb.Helper()
	action := formAction.FindStringSubmatch(p.Text)
	if p.Callback != nil || action == nil {
		tb.Fatalf("the provider does not ask: %d %s", p.Status, p.Text)
	}
	target, err := p.at.Parse(html.UnescapeString(action[1]))
	if err != nil {
		tb.Fatal(err)
	}
	return p.browser.send(tb, http.MethodPost, target.String(), form)
}

func (b *Browser) send(tb testing.TB, method, target string, form url.Values) Page {
	tb.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		tb.Fatal(err)
	}
	if !b.atProvider(req.URL) {
		tb.Fatalf("%s does not belong to the provider %s", target, b.provider.Issuer)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, pageLimit))
	if err != nil {
		tb.Fatal(err)
	}
	page := Page{Status: resp.StatusCode, Text: string(text), browser: b, at: resp.Request.URL}
	if location, err := resp.Location(); err == nil {
		page.Callback = location
	}
	return page
}
