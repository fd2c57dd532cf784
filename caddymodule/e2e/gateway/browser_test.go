package gateway

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// browser does what a person's browser does: it keeps cookies, and says which
// site a form was on.
type browser struct {
	origin string
	client *http.Client
}

func newBrowser(t *testing.T, origin string, transport http.RoundTripper) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{origin, &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) send(t *testing.T, req *http.Request) gatewaytest.Reply {
	t.Helper()
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return gatewaytest.Reply{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
}

// get opens a page.
func (b *browser) get(t *testing.T, target string) gatewaytest.Reply {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.origin + target
	}
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.send(t, req)
}

var flowField = regexp.MustCompile(`name="flow" value="([^"]+)"`)

// submit sends the form of a page, with fields given as names and values.
func (b *browser) submit(t *testing.T, page gatewaytest.Reply, path string, fields ...string) gatewaytest.Reply {
	t.Helper()
	flow := flowField.FindStringSubmatch(page.Body)
	if flow == nil {
		t.Fatalf("the page has no form: %d\n%s", page.Status, page.Body)
	}
	form := url.Values{"flow": {html.UnescapeString(flow[1])}}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, b.origin+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", b.origin)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.send(t, req)
}

// signIn fills in the sign-in page.
func (b *browser) signIn(t *testing.T, page gatewaytest.Reply, user, pass string) gatewaytest.Reply {
	t.Helper()
	return b.submit(t, page, "/oauth/login", "login", "password", "field_username", user, "field_password", pass)
}

// code signs alice in, lets the client in, and returns its code.
func (b *browser) code(t *testing.T, c *gatewaytest.Client) string {
	t.Helper()
	page := b.get(t, c.AuthorizeURL())
	if page.Status != http.StatusOK || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("the sign-in page: %d %s", page.Status, page.Body)
	}
	signedIn := b.signIn(t, page, "alice", password)
	if signedIn.Status != http.StatusSeeOther {
		t.Fatalf("signing in: %d %s", signedIn.Status, signedIn.Body)
	}
	consent := b.get(t, signedIn.Header.Get("Location"))
	if consent.Status != http.StatusOK {
		t.Fatalf("the consent page: %d %s", consent.Status, consent.Body)
	}
	allowed := b.submit(t, consent, "/oauth/consent", "decision", "allow")
	back, err := url.Parse(allowed.Header.Get("Location"))
	if err != nil || back.Query().Get("code") == "" {
		t.Fatalf("no code: %d %s\n%s", allowed.Status, allowed.Header.Get("Location"), allowed.Body)
	}
	return back.Query().Get("code")
}
