package people_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// want is what the log says about one step.
type want struct {
	kind, login, subject, reason, code string
	family                             bool
}

// steps are what a test does, and the lines that it leaves.
type steps struct {
	*testing.T
	g     *gatewaytest.Gateway
	begin int
	wants []want
	names []string
}

// did notes that a step is done that leaves one line.
func (s *steps) did(name string, w want) {
	s.wants, s.names = append(s.wants, w), append(s.names, name)
}

// kinds are those of the lines that are looked at; request is for everything
// else, such as pages that are only shown.
var kinds = []string{"sign_in", "sign_out", "authorize", "revoke"}

// check compares the lines with the steps.
func (s *steps) check() {
	s.Helper()
	eventually(s, 5*time.Second, "the lines of all steps", func() bool { return len(eventLines(s.g, kinds...))-s.begin >= len(s.wants) })
	lines := eventLines(s.g, kinds...)[s.begin:]
	ids := map[string]int{}
	for i, l := range lines {
		ids[l.text("request_id")]++
		if i >= len(s.wants) {
			s.Errorf("one line too many: %v", l)
			continue
		}
		w, name := s.wants[i], s.names[i]
		s.Run(fmt.Sprintf("%d %s", i+1, name), func(t *testing.T) {
			got := want{l.text("msg"), l.text("login"), l.text("subject"), l.text("reason"), l.text("error"), l.text("family") != ""}
			if got != w {
				t.Errorf("the line says %+v, want %+v: %v", got, w, l)
			}
			if l.text("remote_ip") != "127.0.0.1" {
				t.Errorf("no address: %v", l)
			}
			if w.kind == "authorize" && (l.text("client_id") == "" || l.text("client_name") != "Tester" || l.text("resource") != s.g.URL+"/mcp" || l.text("scope") == "") {
				t.Errorf("the line does not say what for: %v", l)
			}
		})
	}
	for id, n := range ids {
		if n != 1 {
			s.Errorf("%d lines of the request %s", n, id)
		}
	}
}

// TestLog is what the log says about people: a line for each step, and no
// credential.
func TestLog(t *testing.T) {
	g := start(t)
	t.Run("a line for each step", func(t *testing.T) { testSteps(t, g) })
	t.Run("no request goes without a line", func(t *testing.T) { testTraces(t, g) })
	t.Run("L19 no credential", func(t *testing.T) { testMarkers(t, g) })
}

func testSteps(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	s := &steps{T: t, g: g, begin: len(eventLines(g, kinds...))}
	alice := want{login: "password", subject: "alice"}
	as := func(kind, reason, code string) want {
		w := alice
		w.kind, w.reason, w.code = kind, reason, code
		return w
	}
	b := browser(t)
	page := b.Open(c.AuthorizeURL())
	page = page.SignIn("alice", "wrong")
	s.did("wrong password", want{kind: "sign_in", login: "password", reason: "rejected", code: "access_denied"})
	page = page.SignIn("alice", "alice"+passwordOf)
	s.did("sign-in", as("sign_in", "", ""))
	redeemed(t, c, page.Allow().Result())
	s.did("allowed", as("authorize", "approved", ""))
	page.Deny()
	s.did("answered before", as("authorize", "used", "invalid_request"))
	b.Open(c.AuthorizeURL())
	s.did("allowed before", as("authorize", "remembered", ""))
	b.Open(c.AuthorizeURL("prompt", "consent")).Deny()
	s.did("refused", as("authorize", "refused", "access_denied"))
	account(t, b, g).Click("do", "revoke_all")
	revoked := as("revoke", "user", "")
	revoked.family = true
	s.did("revoked", revoked)
	b.Open(c.AuthorizeURL()).Click("decision", "switch")
	s.did("switched account", as("sign_out", "sign_out", ""))
	b.Open(g.URL+accountPath).SignIn("alice", "alice"+passwordOf)
	s.did("sign-in to the account page", as("sign_in", "", ""))
	account(t, b, g).Click("do", "sign_out")
	s.did("signed out", as("sign_out", "sign_out", ""))
	b.Open(g.URL+accountPath).SignIn("dave", "dave"+passwordOf)
	s.did("sign-in of another", want{kind: "sign_in", login: "password", subject: "dave"})
	account(t, b, g).Click("do", "sign_out_everywhere")
	s.did("signed out everywhere", want{kind: "sign_out", login: "password", subject: "dave", reason: "sign_out_everywhere"})
	b.Open(c.AuthorizeURL()).SignIn("mallory", "mallory"+passwordOf)
	s.did("sign-in of somebody who is not invited", want{kind: "sign_in", login: "password", subject: "mallory"})
	s.did("not invited", want{kind: "authorize", login: "password", subject: "mallory", reason: "not_invited", code: "access_denied"})
	s.check()
}

// testTraces sends requests that are refused, none of which the access log
// shows: each leaves a line that the number on its page finds.
func testTraces(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	b, consent := signedIn(t, c, "alice")
	page := account(t, b, g)
	for name, p := range map[string]*gatewaytest.Page{
		"foreign form":    b.Post(g.URL+consentPath, paramsOf("flow", "x", "decision", "allow")),
		"other site":      b.Post(g.URL+accountPath, paramsOf("flow", flowOf(page), "do", "revoke_all"), "Sec-Fetch-Site", "cross-site"),
		"other browser":   browser(t).Post(g.URL+consentPath, paramsOf("flow", flowOf(consent), "decision", "allow")),
		"nothing to do":   b.Post(g.URL+accountPath, paramsOf("flow", flowOf(page), "do", "nothing")),
		"wrong method":    b.Once(http.MethodGet, g.URL+consentPath, nil),
		"no client":       b.Open(g.URL + "/oauth/authorize"),
		"unknown client":  b.Open(c.AuthorizeURL("client_id", "x")),
		"bad scope":       b.Open(c.AuthorizeURL("scope", "unknown")),
		"prompt none":     browser(t).Open(c.AuthorizeURL("prompt", "none")),
		"an unknown way":  browser(t).Open(c.AuthorizeURL()).Click("login", "password", "login", "other"),
		"too long a form": b.Post(g.URL+consentPath, paramsOf("flow", strings.Repeat("x", 70<<10))),
	} {
		t.Run(name, func(t *testing.T) {
			var found []logLine
			for _, l := range eventLines(g) {
				if strings.Contains(p.Text(), l.text("request_id")) {
					found = append(found, l)
				}
			}
			if len(found) != 1 || found[0]["status"] != float64(p.Status) || found[0].text("error") == "" {
				t.Errorf("answered with %d, lines: %v", p.Status, found)
			}
		})
	}
	for name, post := range map[string]func() *gatewaytest.Page{
		"revoking what is gone": func() *gatewaytest.Page {
			return b.Post(g.URL+accountPath, paramsOf("flow", flowOf(page), "do", "revoke", "grant", "gone"))
		},
		"revoking all of nothing": func() *gatewaytest.Page {
			return b.Post(g.URL+accountPath, paramsOf("flow", flowOf(page), "do", "revoke_all"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(eventLines(g))
			wantStatus(t, post().Reply, http.StatusOK)
			b.Open(g.URL + accountPath) // whose line comes after
			eventually(t, 5*time.Second, "a line", func() bool { return len(eventLines(g)) > before })
			if n := len(eventLines(g)) - before; n != 2 {
				t.Errorf("%d lines, want 2", n)
			}
		})
	}
}

// spelled lists the forms in which a credential could show up: as it is,
// escaped, in hexadecimal, in Base64, and its last characters alone.
func spelled(s string) []string {
	forms := []string{s, url.QueryEscape(s), hex.EncodeToString([]byte(s)), s[max(len(s)-16, 0):]}
	for shift := range 3 {
		whole := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + s))
		forms = append(forms, strings.NewReplacer("+", "-", "/", "_").Replace(whole[4:len(whole)-4]), whole[4:len(whole)-4])
	}
	return forms
}

// markers are credentials, by what they are.
type markers map[string]string

// keep notes one.
func (m markers) keep(t *testing.T, what, s string) string {
	t.Helper()
	if len(s) < 16 {
		t.Fatalf("%s is no credential: %q", what, s)
	}
	m[fmt.Sprint(what, " ", len(m))] = s
	return s
}

// page notes what a page's form carries, and the cookies of its browser.
func (m markers) page(t *testing.T, g *gatewaytest.Gateway, p *gatewaytest.Page) *gatewaytest.Page {
	t.Helper()
	if flow := flowOf(p); flow != "" {
		m.keep(t, "flow", flow)
	}
	for _, k := range p.Browser().Cookies(g.URL) {
		m.keep(t, "cookie "+k.Name, k.Value)
	}
	return p
}

// testMarkers goes through everything with credentials that can be recognised,
// and looks for them where none may be.
func testMarkers(t *testing.T, g *gatewaytest.Gateway) {
	m := markers{}
	for range 2 {
		c := client(t, g, web)
		state := m.keep(t, "state", fmt.Sprintf("zqMarkerStateThatNobodyMaySee%dxy", len(m)))
		b := browser(t)
		b.Header.Set("Referer", "https://evil.example/?"+m.keep(t, "referrer", "zqMarkerReferrerThatNobodyMaySee"))
		first := m.page(t, g, b.Open(c.AuthorizeURL("state", state, "login_hint", m.keep(t, "hint", "zqMarkerHintThatNobodyMaySee"))))
		wrong := m.keep(t, "wrong password", fmt.Sprintf("zqMarkerPasswordThatNobodyMaySee%d", len(m)))
		m.page(t, g, first.SignIn("alice", wrong))
		m.page(t, g, first.SignIn(m.keep(t, "password in the wrong field", "zqMarkerNameThatIsAPassword"), "x"))
		first.Browser().Post(g.URL+signInPath+"?password="+wrong, url.Values{"field_password": {wrong}})
		first.Browser().Once(http.MethodGet, g.URL+signInPath+"?field_password="+wrong, nil)
		consent := m.page(t, g, first.SignIn("alice", "alice"+passwordOf))
		browser(t).Post(g.URL+consentPath, paramsOf("flow", flowOf(consent), "decision", "allow"))
		b.Post(g.URL+consentPath, paramsOf("flow", flowOf(consent)+"x", "decision", m.keep(t, "decision", "zqMarkerDecisionThatNobodyMaySee")))
		result := consent.Allow().Result()
		m.keep(t, "code", result.Get("code"))
		access, refresh := redeemed(t, c, result)
		m.keep(t, "access token", access)
		m.keep(t, "refresh token", refresh)
		m.keep(t, "code", b.Open(c.AuthorizeURL("state", state)).Result().Get("code"))
		page := m.page(t, g, account(t, b, g))
		b.Post(g.URL+accountPath, paramsOf("flow", flowOf(page), "do", "revoke", "grant", m.keep(t, "grant", "zqMarkerGrantThatIsNone")))
		gatewaytest.Call(t, g.URL, access, "Cookie", "mcp_auth_session="+b.Cookie(g.URL, "_session")+"; mcp_auth_upstream_X="+m.keep(t, "upstream", "zqMarkerUpstreamCookie"))
		gatewaytest.Call(t, g.URL, "", "Cookie", "mcp_auth_session="+b.Cookie(g.URL, "_session"))
		over := outage(t, g)
		m.page(t, g, b.Open(c.AuthorizeURL("prompt", "consent", "state", state))).Allow()
		over()
		m.page(t, g, account(t, b, g)).Click("do", "sign_out")
	}
	metrics := gatewaytest.Send(t, http.MethodGet, "http://"+g.Admin+"/metrics", "").Body
	config := gatewaytest.Send(t, http.MethodGet, "http://"+g.Admin+"/config/", "").Body
	g.Stop()
	stored, err := os.ReadFile(filepath.Join(g.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	logs := g.Logs()
	for _, part := range []string{`"level":"debug"`, "http.log.access", `"msg":"sign_in"`, `"msg":"authorize"`, "upstream roundtrip", `"uri":"/mcp`} {
		if !strings.Contains(logs, part) {
			t.Errorf("the log has no %s, so this shows nothing", part)
		}
	}
	for where, text := range map[string]string{"log": logs, "metrics": metrics, "configuration": config, "store": string(stored)} {
		t.Run(where, func(t *testing.T) {
			for what, s := range m {
				for _, form := range spelled(s) {
					if i := strings.Index(text, form); i >= 0 {
						t.Errorf("the %s shows the %s: …%.300s", where, what, text[max(i-200, 0):min(i+len(form)+20, len(text))])
						break
					}
				}
			}
		})
	}
}
