package people_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// openStream opens an event stream, and returns when its first events are there.
func openStream(tb testing.TB, base, access string) *gatewaytest.Stream {
	tb.Helper()
	s := gatewaytest.OpenStream(tb, http.MethodGet, base+"/mcp", access, "")
	s.GoesOn(tb)
	return s
}

// TestAccount is SPEC F29 and O32: people see what they let in, and take it
// back.
func TestAccount(t *testing.T) {
	port := gatewaytest.FreePort(t)
	dir := t.TempDir()
	options := gatewaytest.Options{Caddyfile: behindProxies(configured()), Env: env(), Upstream: gatewaytest.NewUpstream(t, gatewaytest.FeedOnGet).Addr(), Dir: dir, Port: port}
	g := gatewaytest.Start(t, options)
	t.Run("F29 what it lists", func(t *testing.T) { testListed(t, g) })
	t.Run("F29, O32 revoke one", func(t *testing.T) { testRevokeOne(t, g) })
	t.Run("F29, O32 revoke all", func(t *testing.T) { testRevokeAll(t, g) })
	t.Run("F26 nobody else's", func(t *testing.T) { testRevokeOthers(t, g) })
	t.Run("sign out", func(t *testing.T) { testSignOut(t, g) })
	t.Run("sign out everywhere", func(t *testing.T) { testSignOutEverywhere(t, g) })
	t.Run("more programs than fit", func(t *testing.T) { testMany(t, g) })
	t.Run("after kill -9", func(t *testing.T) { testKilled(t, g, options) })
}

// grantOf returns the id of the first grant on an account page.
func grantOf(tb testing.TB, p *gatewaytest.Page) string {
	tb.Helper()
	if ids := p.Buttons("grant"); len(ids) > 0 {
		return ids[0]
	}
	tb.Fatalf("the page lists no program: %s", p.Text())
	return ""
}

func account(tb testing.TB, b *gatewaytest.Browser, g *gatewaytest.Gateway) *gatewaytest.Page {
	tb.Helper()
	p := b.Open(g.URL + accountPath)
	wants(tb, p, isAccount, "the account page")
	return p
}

func testListed(t *testing.T, g *gatewaytest.Gateway) {
	b := browser(t)
	p := b.Open(g.URL+accountPath).SignIn("alice", "alice"+passwordOf)
	wantShown(t, "account", p, "not let any program in", "Alice Example")
	began := time.Now().UTC().Add(-time.Second)
	desk := gatewaytest.RegisterAs(t, g.URL, `{"client_name":"Desk helper","redirect_uris":["https://client.example:8443/cb"]}`)
	local := gatewaytest.RegisterAs(t, g.URL, `{"client_name":"Local helper","redirect_uris":["http://127.0.0.1/cb"]}`)
	app := gatewaytest.RegisterAs(t, g.URL, `{"client_name":"App helper","redirect_uris":["`+private+`"]}`)
	r := gatewaytest.PostForm(t, g.URL+"/oauth/token",
		desk.TokenForm(b.Open(desk.AuthorizeURL("scope", "mcp:tools:read")).Allow().Result().Get("code")), "X-Forwarded-For", "203.0.113.77")
	wantStatus(t, r, http.StatusOK)
	approved(t, b, local)
	redeemed(t, app, answerOf(t, b.Open(app.AuthorizeURL()).Allow()))
	p = account(t, b, g)
	wantShown(t, "account", p, "Desk helper", "client.example:8443", "Local helper", "127.0.0.1", "App helper", "cursor:", "Ticket desk", g.URL+"/mcp",
		"mcp:tools:read", "mcp:tools:execute", "Run the tools", "from 203.0.113.77", "from 127.0.0.1", "Remove")
	times := p.Attributes("datetime")
	if len(times) != 6 {
		t.Errorf("times %v", times)
	}
	for _, at := range times {
		if when, err := time.Parse(time.RFC3339, at); err != nil || when.Before(began.Truncate(time.Minute)) || when.After(time.Now().Add(time.Minute)) {
			t.Errorf("a time of %s: %v", at, err)
		}
	}
	if strings.Count(p.Text(), "mcp:tools:execute") != 2 {
		t.Error("the scopes of the first program are not those that it was given")
	}
	t.Run("last used moves on", func(t *testing.T) {
		r := gatewaytest.PostForm(t, g.URL+"/oauth/token", url.Values{
			"grant_type": {"refresh_token"}, "client_id": {desk.ID}, "refresh_token": {r.Text(t, "refresh_token")},
		}, "X-Forwarded-For", "203.0.113.88")
		wantStatus(t, r, http.StatusOK)
		wantShown(t, "account", account(t, b, g), "from 203.0.113.88")
	})
	t.Run("in Chinese", func(t *testing.T) {
		b.Header.Set("Accept-Language", "zh-CN")
		defer b.Header.Del("Accept-Language")
		p := account(t, b, g)
		wantShown(t, "account", p, "Desk helper", "client.example:8443")
		if p.Header.Get("Content-Language") == "en" || strings.Contains(p.Text(), "Remove") {
			t.Errorf("in %s: %s", p.Header.Get("Content-Language"), p.Text())
		}
	})
	account(t, b, g).Click("do", "revoke_all")
}

// lives checks a grant from all sides.
func lives(t *testing.T, g *gatewaytest.Gateway, access string, want bool) {
	t.Helper()
	status := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[want]
	wantStatus(t, gatewaytest.Call(t, g.URL, access), status)
}

func testRevokeOne(t *testing.T, g *gatewaytest.Gateway) {
	one, two := client(t, g, "https://one.example/cb"), client(t, g, "https://two.example/cb")
	b, _ := signedIn(t, one, "alice")
	keptAccess, keptRefresh := approved(t, b, two)
	kept := openStream(t, g.URL, keptAccess)
	access, refresh := approved(t, b, one)
	open := openStream(t, g.URL, access)
	lives(t, g, access, true)
	var id string
	p := account(t, b, g)
	for _, grant := range p.Buttons("grant") {
		if strings.Contains(p.Section(grant), "one.example") {
			id = grant
		}
	}
	p = p.Click("grant", id)
	wantShown(t, "account", p, "was removed", "two.example")
	if strings.Contains(p.Text(), "one.example") {
		t.Error("it is still listed")
	}
	lives(t, g, access, false)
	open.Ends(t, 5*time.Second)
	wantNoGrant(t, one, refresh)
	wantConsent(t, b.Open(one.AuthorizeURL()))
	kept.GoesOn(t)
	lives(t, g, keptAccess, true)
	wantStatus(t, two.Refresh(t, keptRefresh), http.StatusOK)
	t.Run("again", func(t *testing.T) {
		p := b.Post(g.URL+accountPath, paramsOf("flow", flowOf(p), "do", "revoke", "grant", id))
		wantStatus(t, p.Reply, http.StatusOK)
		wantShown(t, "account", p, "not there any more")
	})
}

func testRevokeAll(t *testing.T, g *gatewaytest.Gateway) {
	one, two := client(t, g, "https://one.example/cb"), client(t, g, loopback)
	b, _ := signedIn(t, one, "alice")
	bob, _ := signedIn(t, one, "bob")
	bobs, _ := approved(t, bob, one)
	var open []*gatewaytest.Stream
	var tokens [][2]string
	for _, c := range []*gatewaytest.Client{one, two, two} {
		access, refresh := approved(t, b, c)
		open, tokens = append(open, openStream(t, g.URL, access)), append(tokens, [2]string{access, refresh})
	}
	p := account(t, b, g).Click("do", "revoke_all")
	wantShown(t, "account", p, "were removed", "not let any program in")
	for i, c := range []*gatewaytest.Client{one, two, two} {
		lives(t, g, tokens[i][0], false)
		open[i].Ends(t, 5*time.Second)
		wantNoGrant(t, c, tokens[i][1])
	}
	lives(t, g, bobs, true)
	wantStatus(t, account(t, b, g).Reply, http.StatusOK) // still signed in
}
