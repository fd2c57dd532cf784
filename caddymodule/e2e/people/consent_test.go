package people_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// subjectOf returns whose token it is.
func subjectOf(tb testing.TB, access string) string {
	tb.Helper()
	var claims struct{ Sub string }
	if json.Unmarshal(claimsOf(tb, access), &claims) != nil {
		tb.Fatal("the claims are not JSON")
	}
	return claims.Sub
}

func claimsOf(tb testing.TB, access string) []byte {
	tb.Helper()
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		tb.Fatalf("not a JWT: %q", access)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// testConsent is what the page says on which people decide.
func testConsent(t *testing.T, g *gatewaytest.Gateway) {
	for _, c := range []destination{
		{"E16, F28 loopback", "http://127.0.0.1:3334/cb", []string{"127.0.0.1:3334", "on this computer"}, "runs on this computer"},
		{"E16, F28 localhost", "http://localhost/cb", []string{"localhost", "on this computer"}, "runs on this computer"},
		{"E16, F28 IPv6 loopback", "http://[::1]/cb", []string{"[::1]", "on this computer"}, "runs on this computer"},
		{"E16, F28 loopback with https", "https://localhost:8443/cb", []string{"localhost:8443", "on this computer"}, "runs on this computer"},
		{"F28 private scheme", private, []string{"cursor:"}, "Another app"},
		{"F28 web", "https://client.example:8443/cb", []string{"client.example:8443"}, "nobody has verified"},
	} {
		t.Run(c.id, func(t *testing.T) { testShown(t, g, c) })
	}
	t.Run("F28 only the scopes that are asked for", func(t *testing.T) {
		c := client(t, g, web)
		p := browser(t).Open(c.AuthorizeURL("scope", "mcp:tools:read")).SignIn("bob", "bob"+passwordOf)
		wantShown(t, "consent", p, "mcp:tools:read", "bob@example.com")
		if strings.Contains(p.Text(), "mcp:tools:execute") {
			t.Error("it shows a scope that nobody asked for")
		}
		access, _ := redeemed(t, c, p.Allow().Result())
		if claims := string(claimsOf(t, access)); strings.Contains(claims, "execute") {
			t.Errorf("more was given than was shown: %s", claims)
		}
	})
	t.Run("F29 a client that the operator knows", func(t *testing.T) {
		c := configuredClient(g, partnerID, "", partnerURI)
		_, p := signedIn(t, c, "alice")
		wantShown(t, "consent", p, "Partner desk", "known to this server", "partner.example")
		if strings.Contains(p.Text(), "not verified") {
			t.Error("it is called not verified")
		}
	})
	t.Run("F28 the answer is no", func(t *testing.T) {
		for _, uri := range []string{loopback, web} {
			_, p := signedIn(t, client(t, g, uri), "alice")
			wantError(t, p.Deny(), "access_denied")
		}
	})
	t.Run("not you? signs in as somebody else", func(t *testing.T) { testNotYou(t, g) })
}

// destination is where a client's answers go, and how the pages say so.
type destination struct {
	id, uri string
	shown   []string // besides what every page shows
	warned  string
}

func testShown(t *testing.T, g *gatewaytest.Gateway, c destination) {
	cl := gatewaytest.RegisterAs(t, g.URL, `{"client_name":"Calendar helper","client_uri":"https://helper.example/about","redirect_uris":["`+c.uri+`"]}`)
	b := browser(t)
	first := b.Open(cl.AuthorizeURL("scope", "mcp:tools:read mcp:tools:execute"))
	consent := first.SignIn("alice", "alice"+passwordOf)
	wantConsent(t, consent)
	for what, p := range map[string]*gatewaytest.Page{"sign-in": first, "consent": consent} {
		shown := append(c.shown, "Calendar helper", "not verified", "Ticket desk", g.URL+"/mcp",
			"mcp:tools:read", "mcp:tools:execute", "Run the tools", "helper.example")
		wantShown(t, what, p, shown...)
	}
	wantShown(t, "consent", consent, "Alice Example", c.warned, "Not you?", "take this back", accountPath)
	if flowOf(consent) == "" || flowOf(consent) == flowOf(first) {
		t.Error("F28: the consent form has no token of its own")
	}
}

func testNotYou(t *testing.T, g *gatewaytest.Gateway) {
	c := client(t, g, web)
	b, p := signedIn(t, c, "alice")
	thief := b.Copy(g.URL)
	p = p.Click("decision", "switch")
	wantSignIn(t, p)
	wantSignIn(t, thief.Open(c.AuthorizeURL())) // the session has ended
	p = p.SignIn("bob", "bob"+passwordOf)
	wantConsent(t, p)
	access, _ := redeemed(t, c, p.Allow().Result())
	if subject := subjectOf(t, access); subject != "bob" {
		t.Errorf("the token is %s's", subject)
	}
}

// wantShown checks that a page's text has these parts.
func wantShown(tb testing.TB, what string, p *gatewaytest.Page, parts ...string) {
	tb.Helper()
	for _, part := range parts {
		if !strings.Contains(p.Text(), part) {
			tb.Errorf("the %s page does not show %q: %s", what, part, p.Text())
		}
	}
}

// testRemembered is SPEC F26 and F27: who need not be asked again.
func testRemembered(t *testing.T, g *gatewaytest.Gateway) {
	for _, c := range []struct {
		name, uri string
		fresh     bool // the second time, it has registered anew
		want      bool
	}{
		{"F27 loopback", loopback, false, false},
		{"F27 localhost", "http://localhost:7777/cb", false, false},
		{"F27 loopback with https", "https://127.0.0.1/cb", false, false},
		{"F27 private scheme", private, false, false},
		{"F27 web client with a live grant", "https://one.example/cb", false, true},
		{"F27 fresh registration", "https://two.example/cb", true, false},
		{"F27 fresh registration of a trusted host", "https://trusted.example/cb", true, true},
		{"F27 trusted host on another port", "https://trusted.example:8443/cb", true, false},
		{"F27 below a trusted host", "https://evil.trusted.example/cb", true, false},
		{"F27 a trusted host as a path", "https://evil.example/trusted.example", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := client(t, g, c.uri)
			b, page := signedIn(t, cl, "alice")
			wantConsent(t, page)
			redeemed(t, cl, answerOf(t, page.Allow()))
			if c.fresh {
				cl = client(t, g, c.uri)
			}
			if asked := isConsent(b.Open(cl.AuthorizeURL())); asked == c.want {
				t.Errorf("asked again: %t", asked)
			}
			wantConsent(t, b.Open(cl.AuthorizeURL("prompt", "consent")))
			_, page = signedIn(t, cl, "bob")
			wantConsent(t, page) // F26: another person
		})
	}
	t.Run("F27 configured clients", func(t *testing.T) {
		for _, c := range []*gatewaytest.Client{configuredClient(g, partnerID, "", partnerURI), configuredClient(g, "cli", cliSecret, cliURI)} {
			b, page := signedIn(t, c, "alice")
			wantConsent(t, page)
			redeemed(t, c, page.Allow().Result())
			wantCode(t, b.Open(c.AuthorizeURL()))
		}
	})
	t.Run("F26, F27 what an approval covers", func(t *testing.T) { testCovers(t, g) })
	t.Run("F27 a code that was never redeemed is no approval", func(t *testing.T) {
		c := client(t, g, web)
		b, page := signedIn(t, c, "alice")
		wantCode(t, page.Allow())
		wantConsent(t, b.Open(c.AuthorizeURL()))
	})
	t.Run("F27 a no is no approval", func(t *testing.T) {
		c := client(t, g, web)
		b, page := signedIn(t, c, "alice")
		wantError(t, page.Deny(), "access_denied")
		wantConsent(t, b.Open(c.AuthorizeURL()))
	})
	t.Run("F26 in another browser too", func(t *testing.T) {
		c := client(t, g, web)
		_, page := signedIn(t, c, "alice")
		redeemed(t, c, page.Allow().Result())
		b := browser(t)
		wantCode(t, b.Open(c.AuthorizeURL()).SignIn("alice", "alice"+passwordOf))
	})
}

// testCovers asks again in ways that an earlier approval does and does not
// cover.
func testCovers(t *testing.T, g *gatewaytest.Gateway) {
	const second = "https://client.example/other"
	c := gatewaytest.RegisterAs(t, g.URL, `{"client_name":"Tester","redirect_uris":["`+web+`","`+second+`"]}`)
	b, _ := signedIn(t, c, "alice")
	approved(t, b, c, "scope", "mcp:tools:read")
	t.Run("the same", func(t *testing.T) {
		wantCode(t, b.Open(c.AuthorizeURL("scope", "mcp:tools:read", "state", "another")))
	})
	t.Run("a wider scope", func(t *testing.T) {
		wantConsent(t, b.Open(c.AuthorizeURL("scope", "mcp:tools:read mcp:tools:execute")))
		wantConsent(t, b.Open(c.AuthorizeURL()))
	})
	t.Run("another redirect URI", func(t *testing.T) {
		wantConsent(t, b.Open(c.AuthorizeURL("scope", "mcp:tools:read", "redirect_uri", second)))
	})
	t.Run("another client, same name and redirect URI", func(t *testing.T) {
		wantConsent(t, b.Open(client(t, g, web).AuthorizeURL("scope", "mcp:tools:read")))
	})
	t.Run("a narrower scope", func(t *testing.T) {
		approved(t, b, c)
		wantCode(t, b.Open(c.AuthorizeURL("scope", "mcp:tools:execute")))
	})
	t.Run("nothing once it was taken back", func(t *testing.T) {
		_, refresh := approved(t, b, c, "prompt", "consent")
		p := b.Open(g.URL+accountPath).Click("do", "revoke_all")
		wantStatus(t, p.Reply, http.StatusOK)
		wantConsent(t, b.Open(c.AuthorizeURL("scope", "mcp:tools:read")))
		wantNoGrant(t, c, refresh)
	})
}
