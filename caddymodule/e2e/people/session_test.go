package people_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// cookieNames lists the cookies that an answer sets, and not those it removes.
func cookieNames(tb testing.TB, p *gatewaytest.Page) []string {
	tb.Helper()
	var names []string
	for _, line := range p.Header.Values("Set-Cookie") {
		k, err := http.ParseSetCookie(line)
		if err != nil {
			tb.Fatal(err)
		}
		if k.MaxAge >= 0 {
			names = append(names, k.Name)
		}
	}
	return names
}

// testSession is SPEC F30, F31 and F37 where the issuer has plain http, on
// loopback. What every cookie must be, the browser of these tests checks.
func testSession(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, loopback)
	t.Run("F30 plain names on loopback http", func(t *testing.T) {
		b := browser(t)
		first := b.Once(http.MethodGet, c.AuthorizeURL(), nil)
		if got := cookieNames(t, first); !slices.Equal(got, []string{"mcp_auth_browser"}) {
			t.Errorf("F31: the first page sets %v", got)
		}
		action, fields := first.Form("login", "password")
		fields.Set("field_username", "alice")
		fields.Set("field_password", "alice"+passwordOf)
		if got := cookieNames(t, b.Post(action, fields)); !slices.Equal(got, []string{"mcp_auth_session", "mcp_auth_device"}) {
			t.Errorf("the sign-in sets %v", got)
		}
		if got := cookieNames(t, b.Once(http.MethodGet, c.AuthorizeURL(), nil)); len(got) != 0 {
			t.Errorf("the consent page sets %v", got)
		}
	})
	t.Run("F31 nothing of an upstream before a click", func(t *testing.T) {
		b := browser(t)
		for _, target := range []string{c.AuthorizeURL(), g.URL + accountPath, g.URL + "/oauth/", g.URL + "/oauth/callback/password?state=x&code=y"} {
			p := b.Open(target)
			for _, name := range cookieNames(t, p) {
				if name != "mcp_auth_browser" {
					t.Errorf("%s sets %s", target, name)
				}
			}
		}
		wantStatus(t, b.Open(g.URL+"/oauth/callback/password?state=x&code=y").Reply, http.StatusNotFound)
	})
	t.Run("D4 the first page's cookie is worth nothing", func(t *testing.T) {
		b := browser(t)
		b.Open(c.AuthorizeURL())
		wantSignIn(t, b.Open(c.AuthorizeURL()))
		wantSignIn(t, b.Open(g.URL+accountPath))
	})
	t.Run("F37 no session fixation", func(t *testing.T) { testFixation(t, g, c) })
	t.Run("F37, F30 changed cookies", func(t *testing.T) { testChangedSession(t, g, c) })
	t.Run("O9 credentials in each other's place", func(t *testing.T) { testMisplaced(t, g, c) })
}

func testChangedSession(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client) {
	b, _ := signedIn(t, c, "alice")
	value := b.Cookie(g.URL, "_session")
	for i := 0; i < len(value); i += max(len(value)/24, 1) {
		changed := []byte(value)
		changed[i] = map[bool]byte{true: 'A', false: 'B'}[value[i] != 'A']
		b.SetCookie(g.URL, "mcp_auth_session", string(changed))
		wantSignIn(t, b.Open(c.AuthorizeURL()))
	}
	for _, cut := range []string{value[:len(value)-1], value + "A", value + value, strings.ToUpper(value), value[1:]} {
		b.SetCookie(g.URL, "mcp_auth_session", cut)
		wantSignIn(t, b.Open(c.AuthorizeURL()))
	}
	b.SetCookie(g.URL, "mcp_auth_session", value)
	wantConsent(t, b.Open(c.AuthorizeURL()))
}

// testMisplaced uses a session as a token, and tokens as a session.
func testMisplaced(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client) {
	b, page := signedIn(t, c, "alice")
	access, refresh := redeemed(t, c, page.Allow().Result())
	session := b.Cookie(g.URL, "_session")
	for _, r := range []gatewaytest.Reply{
		gatewaytest.Call(t, g.URL, "", "Cookie", "mcp_auth_session="+session),
		gatewaytest.Call(t, g.URL, session),
		gatewaytest.Call(t, g.URL, "", "Cookie", "__Host-mcp_auth_session="+session),
	} {
		wantStatus(t, r, http.StatusUnauthorized)
	}
	for _, token := range []string{access, refresh, flowOf(page), c.ID} {
		other := browser(t)
		other.Header.Set("Authorization", "Bearer "+token)
		other.SetCookie(g.URL, "mcp_auth_session", token)
		wantSignIn(t, other.Open(c.AuthorizeURL()))
		wantSignIn(t, other.Open(g.URL+accountPath))
	}
}

// testFixation plants a session in a browser before somebody signs in there.
func testFixation(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client) {
	mallory, _ := signedIn(t, c, "mallory")
	planted := mallory.Cookie(g.URL, "_session")
	for _, value := range []string{planted, "chosen-by-mallory"} {
		victim := browser(t)
		victim.SetCookie(g.URL, "mcp_auth_session", value)
		page := victim.Open(c.AuthorizeURL("prompt", "login")).SignIn("alice", "alice"+passwordOf)
		wantConsent(t, page)
		if victim.Cookie(g.URL, "_session") == value {
			t.Error("the session is the one that was planted")
		}
		victim.Open(g.URL + accountPath)
	}
	if p := mallory.Open(g.URL + accountPath); strings.Contains(p.Text(), "Alice") {
		t.Errorf("the planted session is alice's: %s", p.Text())
	}
	// A new sign-in ends the session before it, and only that.
	b, _ := signedIn(t, c, "alice")
	before := b.Copy(g.URL)
	b.Open(c.AuthorizeURL("prompt", "login")).SignIn("alice", "alice"+passwordOf)
	wantSignIn(t, before.Open(g.URL+accountPath))
	wantConsent(t, b.Open(c.AuthorizeURL()))
}

// planting is an answer of the upstream server that sets cookies with our names.
func planting(w http.ResponseWriter, _ *http.Request) {
	for _, name := range []string{"mcp_auth_session", "__Host-mcp_auth_session", "mcp_auth_browser"} {
		http.SetCookie(w, &http.Cookie{Name: name, Value: "planted", Path: "/"})
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{}`))
}

// TestTLS is SPEC F30 and F37 where the issuer has https, as in production.
func TestTLS(t *testing.T) {
	up := gatewaytest.NewUpstream(t, planting)
	g, authority := startTLS(t, up.Addr())
	trusting := func(t *testing.T) *gatewaytest.Browser {
		b := browser(t)
		b.Trust(authority)
		return b
	}
	c := registerTLS(t, trusting(t), g)
	b := trusting(t)
	page := b.Open(c.AuthorizeURL()).SignIn("alice", "alice"+passwordOf)
	wantConsent(t, page)
	t.Run("F30 __Host- names", func(t *testing.T) {
		var names []string
		for _, k := range b.Cookies(g.URL) {
			names = append(names, k.Name)
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"__Host-mcp_auth_browser", "__Host-mcp_auth_device", "__Host-mcp_auth_session"}) {
			t.Errorf("cookies %v", names)
		}
	})
	t.Run("F30 nothing without the prefix counts", func(t *testing.T) {
		other := trusting(t)
		for _, name := range []string{"session", "browser"} {
			other.SetCookie(g.URL, "mcp_auth_"+name, b.Cookie(g.URL, "_"+name))
			other.SetCookie(g.URL, "__host-mcp_auth_"+name, b.Cookie(g.URL, "_"+name))
			other.SetCookie(g.URL, "__Secure-mcp_auth_"+name, b.Cookie(g.URL, "_"+name))
		}
		wantSignIn(t, other.Open(c.AuthorizeURL()))
	})
	t.Run("F37 the MCP server sees no cookie of ours, and sets none", func(t *testing.T) { testHiddenCookies(t, g, c, page, up) })
	t.Run("F37 a session is no credential at the MCP server", func(t *testing.T) {
		wantStatus(t, b.SendBody(http.MethodPost, g.URL+"/mcp", `{}`, "Content-Type", "application/json").Reply, http.StatusUnauthorized)
		up.None(t)
	})
	t.Run("O5 the plain http origin of the same host", func(t *testing.T) {
		form := paramsOf("flow", flowOf(b.Open(c.AuthorizeURL("prompt", "consent"))), "decision", "allow")
		plain := strings.Replace(g.URL, "https:", "http:", 1)
		wantRefused(t, b.Post(g.URL+consentPath, form, "Sec-Fetch-Site", "-", "Origin", plain), http.StatusForbidden)
		wantCode(t, b.Post(g.URL+consentPath, form, "Sec-Fetch-Site", "-", "Origin", g.URL))
	})
	t.Run("account page and sign-out", func(t *testing.T) {
		p := b.Open(g.URL + accountPath)
		wants(t, p, isAccount, "the account page")
		wantStatus(t, p.Click("do", "sign_out").Reply, http.StatusOK)
		if b.Cookie(g.URL, "__Host-mcp_auth_session") != "" {
			t.Error("the cookie is still there")
		}
		wantSignIn(t, b.Open(c.AuthorizeURL()))
	})
}

// testHiddenCookies calls the MCP server from a browser that is signed in.
func testHiddenCookies(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client, page *gatewaytest.Page, up *gatewaytest.Upstream) {
	b := page.Browser()
	code := page.Allow().Result().Get("code")
	r := b.Once(http.MethodPost, g.URL+"/oauth/token", c.TokenForm(code))
	access := r.Reply.Text(t, "access_token")
	b.SetCookie(g.URL, "theirs", "1")
	b.SetCookie(g.URL, "mcp_auth_session", "a-copy")
	p := b.SendBody(http.MethodPost, g.URL+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`,
		"Authorization", "Bearer "+access, "Content-Type", "application/json")
	wantStatus(t, p.Reply, http.StatusOK)
	if s := up.One(t); s.Header.Get("Cookie") != "theirs=1" {
		t.Errorf("reached the server: %v", s)
	}
	if got := p.Header.Values("Set-Cookie"); len(got) != 0 {
		t.Errorf("the server set %v", got)
	}
}

// registerTLS registers a client through a browser that trusts the gateway.
func registerTLS(tb testing.TB, b *gatewaytest.Browser, g *gatewaytest.Gateway) *gatewaytest.Client {
	tb.Helper()
	r := b.SendBody(http.MethodPost, g.URL+"/oauth/register", `{"client_name":"Tester","redirect_uris":["`+web+`"]}`, "Content-Type", "application/json")
	wantStatus(tb, r.Reply, http.StatusCreated)
	return configuredClient(g, r.Reply.Text(tb, "client_id"), "", web)
}
