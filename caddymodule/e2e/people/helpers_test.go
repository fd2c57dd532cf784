package people_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// browser returns a browser that checks every answer for what none may lack,
// whatever the test is about (SPEC F2, F30, F33 to F36, O42).
func browser(tb testing.TB) *gatewaytest.Browser {
	tb.Helper()
	b := gatewaytest.NewBrowser(tb)
	b.Seen = func(p *gatewaytest.Page) {
		tb.Helper()
		if !strings.HasPrefix(p.URL.Path, "/oauth/") && p.URL.Path != "/authorize" {
			return // not ours
		}
		checkHeaders(tb, p)
		checkContent(tb, p)
		checkCookies(tb, p)
	}
	return b
}

// strangers counts the addresses and names that were never used before.
var strangers atomic.Int32

// at returns a browser at an address; "" is one where nobody has been.
func at(tb testing.TB, address string) *gatewaytest.Browser {
	tb.Helper()
	b := browser(tb)
	if n := int(strangers.Add(1)); address == "" {
		address = fmt.Sprintf("198.18.%d.%d", n/250, n%250+1)
	}
	b.Header.Set("X-Forwarded-For", address)
	return b
}

// nobody returns a user name that nobody has.
func nobody() string { return "nobody" + itoa(int(strangers.Add(1))) }

// nonce is what a page's policy allows its style by.
var nonce = regexp.MustCompile(`style-src 'nonce-([A-Za-z0-9+/=_-]{16,})'`)

// checkHeaders checks what every answer to a browser has.
func checkHeaders(tb testing.TB, p *gatewaytest.Page) {
	tb.Helper()
	lacks := func(id, what string) {
		tb.Helper()
		tb.Errorf("%s: %s, in the answer %d at %s: %v", id, what, p.Status, p.URL.Path, p.Header)
	}
	h := p.Header
	if h.Get("X-Content-Type-Options") != "nosniff" {
		lacks("F35, O42", "no nosniff")
	}
	if p.Status == http.StatusTemporaryRedirect || p.Status == http.StatusPermanentRedirect {
		lacks("F36", "a redirect that repeats the body")
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") && strings.HasPrefix(h.Get("Content-Type"), "text/html") {
			lacks("F2", "a page that other origins may read")
		}
	}
	if !strings.HasPrefix(h.Get("Content-Type"), "text/html") && p.Location == nil {
		return
	}
	policy := h.Values("Content-Security-Policy")
	if len(policy) != 1 {
		lacks("F34", "not one policy")
		return
	}
	for _, part := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy[0], part) {
			lacks("F33, F34", "a policy without "+part)
		}
	}
	if strings.Contains(policy[0], "script-src") || strings.Contains(policy[0], "unsafe") || strings.Contains(policy[0], "*") {
		lacks("F34", "a policy that allows too much")
	}
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
		if h.Get(name) != want {
			lacks("F33, F35", name+" is not "+want)
		}
	}
	if !strings.Contains(h.Get("Cache-Control"), "no-store") {
		lacks("F35", "may be cached")
	}
}

// checkContent checks that a page has nothing active, loads nothing from
// elsewhere, and that its forms and links stay here. Only an error page may
// lead back to the client, by a link that says where it goes.
func checkContent(tb testing.TB, p *gatewaytest.Page) {
	tb.Helper()
	if !strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") || p.Body == "" {
		return
	}
	for tag := range strings.FieldsSeq(p.Outline()) {
		if slices.Contains([]string{"<script", "<iframe", "<object", "<embed", "<base", "<svg", "<math"}, strings.TrimSuffix(tag, ">")) {
			tb.Errorf("F34: the page at %s has a %s>", p.URL.Path, tag)
		}
	}
	icons := slices.DeleteFunc(p.Attributes("rel"), func(rel string) bool { return rel != "icon" })
	if strings.Count(p.Outline(), "<link") != len(icons) {
		tb.Errorf("F34: the page at %s has a <link> that is no icon", p.URL.Path)
	}
	for name := range strings.FieldsSeq(p.Outline()) {
		if name = strings.TrimSuffix(name, ">"); strings.HasPrefix(name, "on") || name == "style" || name == "srcdoc" {
			tb.Errorf("F34: the page at %s has an attribute %s", p.URL.Path, name)
		}
	}
	for _, target := range p.Attributes("src", "action", "formaction", "srcset", "poster", "data", "background") {
		if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || strings.Contains(target, `\`) {
			tb.Errorf("F35: the page at %s has to do with %s", p.URL.Path, target)
		}
	}
	for _, target := range p.Attributes("href") {
		if strings.HasPrefix(target, "data:image/svg+xml,") && !slices.Contains(p.Links(), target) {
			continue // the icon
		}
		own := strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "//") && !strings.Contains(target, `\`)
		if !own && !slices.Contains(p.Attributes("rel"), "noreferrer nofollow") {
			tb.Errorf("F35: the page at %s links to %s", p.URL.Path, target)
		}
	}
	if n := nonce.FindStringSubmatch(p.Header.Get("Content-Security-Policy")); n != nil && !slices.Contains(p.Attributes("nonce"), n[1]) {
		tb.Errorf("F34: the page at %s does not have its nonce", p.URL.Path)
	}
}

// checkCookies checks the attributes of every cookie that is set.
func checkCookies(tb testing.TB, p *gatewaytest.Page) {
	tb.Helper()
	secure := p.URL.Scheme == "https"
	for _, line := range p.Header.Values("Set-Cookie") {
		k, err := http.ParseSetCookie(line)
		if err != nil {
			tb.Errorf("F30: %q: %v", line, err)
			continue
		}
		if len(line) > 4096 {
			tb.Errorf("browsers drop a cookie of %d bytes: %s", len(line), k.Name)
		}
		prefixed := strings.HasPrefix(k.Name, "__Host-")
		if k.Secure != secure || prefixed != secure || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Path != "/" || k.Domain != "" {
			tb.Errorf("F30: set by %s: %q", p.URL.Path, line)
		}
	}
}

// The kinds of pages, told apart by what people can do there.
func isSignIn(p *gatewaytest.Page) bool { return p.Has("field_password", "") }

func isConsent(p *gatewaytest.Page) bool { return p.Has("decision", "allow") }

func isAccount(p *gatewaytest.Page) bool { return p.Has("do", "sign_out") }

func isNotInvited(p *gatewaytest.Page) bool {
	return p.Status == http.StatusForbidden && p.Has("decision", "switch") && !isConsent(p)
}

// wants checks that a page is one of these kinds.
func wants(tb testing.TB, p *gatewaytest.Page, kind func(*gatewaytest.Page) bool, what string) {
	tb.Helper()
	if !kind(p) || p.Location != nil {
		tb.Fatalf("not %s: status %d at %s, sent to %v: %.600s", what, p.Status, p.URL.Path, p.Location, p.Text())
	}
}

func wantSignIn(tb testing.TB, p *gatewaytest.Page) {
	tb.Helper()
	wants(tb, p, isSignIn, "the sign-in page")
}

func wantConsent(tb testing.TB, p *gatewaytest.Page) {
	tb.Helper()
	wants(tb, p, isConsent, "the consent page")
}

func wantNotInvited(tb testing.TB, p *gatewaytest.Page) {
	tb.Helper()
	wants(tb, p, isNotInvited, "the page for those who are not invited")
}

// wantRefused checks that a request was answered with an error page that leads
// nowhere and gives nothing away.
func wantRefused(tb testing.TB, p *gatewaytest.Page, status int) {
	tb.Helper()
	if p.Status != status || p.Location != nil {
		tb.Errorf("status %d, want %d, at %s, sent to %v: %.300s", p.Status, status, p.URL.Path, p.Location, p.Text())
	}
	if !strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
		tb.Errorf("a person is answered with %q", p.Header.Get("Content-Type"))
	}
	if strings.Contains(p.Body, "code=") {
		tb.Errorf("the page has a code: %s", p.Body)
	}
}

// wantError checks with which error a client is called back.
func wantError(tb testing.TB, p *gatewaytest.Page, code string) {
	tb.Helper()
	if q := p.Result(); q.Get("error") != code || q.Has("code") {
		tb.Errorf("the client gets %v, want %s", q, code)
	}
}

// wantCode checks that a client is called back with a code.
func wantCode(tb testing.TB, p *gatewaytest.Page) {
	tb.Helper()
	if q := p.Result(); q.Get("code") == "" || q.Has("error") {
		tb.Errorf("the client gets %v, want a code", q)
	}
}

func wantStatus(tb testing.TB, r gatewaytest.Reply, status int) {
	tb.Helper()
	if r.Status != status {
		tb.Errorf("status %d, want %d: %.300s", r.Status, status, r.Body)
	}
}

// wantNoGrant checks that a refresh token is no longer good.
func wantNoGrant(tb testing.TB, c *gatewaytest.Client, refresh string) {
	tb.Helper()
	if r := c.Refresh(tb, refresh); r.Status != http.StatusBadRequest || r.Text(tb, "error") != "invalid_grant" {
		tb.Errorf("the refresh is answered with %d %s", r.Status, r.Body)
	}
}

// flowOf returns what the form of a page carries.
func flowOf(p *gatewaytest.Page) string {
	for _, name := range []string{"decision", "do", "field_password"} {
		if p.Has(name, "") {
			_, fields := p.Form(name, "")
			return fields.Get("flow")
		}
	}
	return ""
}

// Where forms are posted to.
const (
	signInPath  = "/oauth/login"
	consentPath = "/oauth/consent"
	accountPath = "/oauth/account"
)

// paramsOf returns a form, of names and values in turn.
func paramsOf(pairs ...string) url.Values {
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return form
}

// logLine is a line of the gateway's log.
type logLine map[string]any

func (l logLine) text(key string) string {
	s, _ := l[key].(string)
	return s
}

// eventLoggers are those of steps of the protocol, audited or not.
var eventLoggers = []string{"mcp_auth", "http.handlers.mcp_auth.audit"}

// eventLines returns the lines that the gateway wrote about steps of the
// protocol, those of these kinds or all.
func eventLines(g *gatewaytest.Gateway, kinds ...string) []logLine {
	var all []logLine
	for text := range strings.Lines(g.Logs()) {
		var l logLine
		if json.Unmarshal([]byte(text), &l) != nil || !slices.Contains(eventLoggers, l.text("logger")) || l.text("request_id") == "" {
			continue
		}
		if len(kinds) == 0 || slices.Contains(kinds, l.text("msg")) {
			all = append(all, l)
		}
	}
	return all
}

// eventually waits until a condition holds.
func eventually(tb testing.TB, within time.Duration, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; !ok(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s", within, what)
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
