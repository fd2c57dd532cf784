package readme_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/oidctest"
)

// passwordOf is the password of somebody in these tests.
func passwordOf(user string) string { return user + " knows the way" }

// hashOf returns a cheap hash of it.
func hashOf(t *testing.T, user string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(passwordOf(user)), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// redeemed returns the access token for a page on which somebody said yes.
func redeemed(t *testing.T, c *gatewaytest.Client, p *gatewaytest.Page) string {
	t.Helper()
	result := p.Result()
	r := c.Redeem(t, result.Get("code"))
	if r.Status != http.StatusOK {
		t.Fatalf("no token: %v %s", result, r.Body)
	}
	return r.Text(t, "access_token")
}

// loopbackOnly keeps an example for real hosts on this machine.
func loopbackOnly(text string) string {
	return strings.Replace(text, "{\n", "{\n\tdefault_bind 127.0.0.1\n", 1)
}

var grantButton = regexp.MustCompile(`name="grant" value="([^"]+)"`)

// takeBack removes the first program on an account page.
func takeBack(t *testing.T, account *gatewaytest.Page) {
	t.Helper()
	grant := grantButton.FindStringSubmatch(account.Body)
	if grant == nil {
		t.Fatalf("the account page has no program:\n%s", account.Text())
	}
	account.Click("grant", grant[1])
}

// has fails the test if a page lacks a text.
func has(t *testing.T, p *gatewaytest.Page, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(p.Text(), want) {
			t.Errorf("the page at %s has no %q:\n%s", p.URL.Path, want, p.Text())
		}
	}
}

// TestPassword runs examples/password: one who may use the server, and one who
// may not.
func TestPassword(t *testing.T) {
	t.Parallel()
	port := gatewaytest.FreePort(t)
	_, upstream := gatewaytest.Mock(t)
	g := start(t, gatewaytest.Options{
		Caddyfile: readFile(t, "examples/password/Caddyfile"), Port: port, Upstream: upstream,
		Env: []string{
			fmt.Sprintf("URL=http://localhost:%d", port), "UPSTREAM=" + upstream,
			"ALICE_HASH=" + hashOf(t, "alice"), "BOB_HASH=" + hashOf(t, "bob"),
		},
	})
	c := gatewaytest.Register(t, g.URL)
	b := gatewaytest.NewBrowser(t)
	consent := b.Open(c.AuthorizeURL()).SignIn("alice", passwordOf("alice"))
	has(t, consent, "Ticket desk", "Read your tickets", "Change your tickets, and close them", "Alice Example")
	access := redeemed(t, c, consent.Allow())
	if r := gatewaytest.Call(t, g.URL, access); r.Status != http.StatusOK {
		t.Errorf("alice calls: %d %s", r.Status, r.Body)
	}
	account := b.Open(g.URL + "/oauth/account")
	has(t, account, "Ticket desk", "Test")
	takeBack(t, account)
	if r := gatewaytest.Call(t, g.URL, access); r.Status != http.StatusUnauthorized {
		t.Errorf("a call after alice took it back: %d", r.Status)
	}
	refused := gatewaytest.NewBrowser(t).Open(c.AuthorizeURL()).SignIn("bob", passwordOf("bob"))
	if refused.Status != http.StatusForbidden || !refused.Has("decision", "switch") {
		t.Errorf("bob, who is no lead, gets %d", refused.Status)
	}
	has(t, refused, "not invited", "bob@example.com")
}

// TestCompany runs examples/oidc with a real provider: a server for all of the
// company and a guest, and one for a group of them.
func TestCompany(t *testing.T) {
	t.Parallel()
	port := gatewaytest.FreePort(t)
	issuer, payroll := fmt.Sprintf("http://localhost:%d", port), fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(t))
	account := func(name, email string, verified bool, groups ...string) oidctest.Account {
		return oidctest.Account{Subject: name, Claims: map[string]any{"name": name, "email": email, "email_verified": verified, "groups": groups}}
	}
	provider := oidctest.Start(t, oidctest.Options{
		Clients: []oidctest.Client{{ID: "gateway", Secret: "a secret of the gateway's", RedirectURIs: []string{issuer + "/oauth/callback/company"}}},
		Accounts: []oidctest.Account{
			account("alice", "alice@example.com", true, "hr"), account("bob", "bob@example.com", true), account("guest", "guest@partner.example", true, "hr"),
			account("mallory", "mallory@example.com", false, "hr"), account("eve", "eve@elsewhere.example", true, "hr"),
		},
	})
	_, upstream := gatewaytest.Mock(t)
	text := strings.NewReplacer(
		"{\n\tmcp_auth {\n\t\tissuer https://mcp.example.com\n", fmt.Sprintf("{\n\thttp_port %d\n\tmcp_auth {\n\t\tissuer %s\n", gatewaytest.FreePort(t), issuer),
		"https://id.example.com", provider.Issuer, "https://payroll.example.com", payroll,
		"\nmcp.example.com {", "\n"+issuer+" {", "\npayroll.example.com {", "\n"+payroll+" {", "127.0.0.1:9000", upstream, "127.0.0.1:9001", upstream,
	).Replace(readFile(t, "examples/oidc/Caddyfile"))
	g := start(t, gatewaytest.Options{
		Caddyfile: loopbackOnly(text), Port: port, Upstream: upstream,
		Env: []string{"OIDC_CLIENT_ID=gateway", "OIDC_CLIENT_SECRET=a secret of the gateway's"},
	})
	for _, tt := range []struct {
		name           string
		tools, payroll bool
	}{
		{"alice", true, true},
		{"bob", true, false},
		{"guest", true, true},
		{"mallory", false, false}, // her address is not verified
		{"eve", false, false},
	} {
		for site, invited := range map[string]bool{g.URL: tt.tools, payroll: tt.payroll} {
			c := gatewaytest.Register(t, g.URL)
			b := gatewaytest.NewBrowser(t)
			b.Away = []string{strings.TrimPrefix(provider.Issuer, "http://"), strings.TrimPrefix(issuer, "http://")}
			first := b.Open(c.AuthorizeURL("resource", site+"/mcp"))
			has(t, first, "Continue with Example Inc.")
			p := first.Click("login", "company").Click("account", tt.name)
			if !invited {
				if p.Status != http.StatusForbidden || p.Has("decision", "allow") {
					t.Errorf("%s at %s: %d", tt.name, site, p.Status)
				}
				has(t, p, "not invited")
				continue
			}
			if site == payroll {
				has(t, p, "Payroll", "See what everybody earns")
			}
			if r := gatewaytest.Call(t, site, redeemed(t, c, p.Allow())); r.Status != http.StatusOK {
				t.Errorf("%s calls %s: %d %s", tt.name, site, r.Status, r.Body)
			}
		}
	}
}

// TestBehindAuthelia runs examples/behind-authelia with a stand-in for Authelia,
// whose session is a cookie with the person's name.
func TestBehindAuthelia(t *testing.T) {
	t.Parallel()
	authelia := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, err := r.Cookie("session")
		if err != nil || r.URL.Path != "/api/authz/forward-auth" {
			http.Redirect(w, r, "https://auth.example.com/", http.StatusFound)
			return
		}
		groups := map[string]string{"alice": "users,mcp", "bob": "users"}[session.Value]
		w.Header().Set("Remote-User", session.Value)
		w.Header().Set("Remote-Email", session.Value+"@example.com")
		w.Header().Set("Remote-Groups", groups)
	}))
	t.Cleanup(authelia.Close)
	port := gatewaytest.FreePort(t)
	_, upstream := gatewaytest.Mock(t)
	g := start(t, gatewaytest.Options{
		Caddyfile: loopbackOnly(readFile(t, "examples/behind-authelia/Caddyfile")), Port: port, Upstream: upstream,
		Env: []string{
			fmt.Sprintf("URL=http://localhost:%d", port), "UPSTREAM=" + upstream,
			"AUTHELIA=" + strings.TrimPrefix(authelia.URL, "http://"), "PROXY_SECRET=0123456789abcdef",
		},
	})
	c := gatewaytest.Register(t, g.URL)

	alice := gatewaytest.NewBrowser(t)
	if p := alice.Open(c.AuthorizeURL()); p.Location == nil || p.Location.Host != "auth.example.com" {
		t.Errorf("nobody is signed in, and the browser gets %d %s", p.Status, p.Text())
	}
	alice.SetCookie(g.URL, "session", "alice")
	alice.Header.Set("Remote-User", "admin") // forward_auth replaces it
	consent := alice.Open(c.AuthorizeURL())
	has(t, consent, "alice@example.com")
	if r := gatewaytest.Call(t, g.URL, redeemed(t, c, consent.Allow())); r.Status != http.StatusOK {
		t.Errorf("alice calls: %d %s", r.Status, r.Body)
	}
	has(t, alice.Open(g.URL+"/oauth/account"), "alice@example.com", "Test")

	bob := gatewaytest.NewBrowser(t)
	bob.SetCookie(g.URL, "session", "bob")
	refused := bob.Open(c.AuthorizeURL())
	has(t, refused, "not invited", "bob@example.com")

	// A path that only the gateway takes for one of the four, with all headers.
	around := gatewaytest.Send(t, http.MethodPost, g.URL+"/oauth/login", url.Values{}.Encode(),
		"Remote-User", "admin", "Remote-Groups", "mcp", "X-Proxy-Secret", "guessed-guessed-guessed", "Cookie", "session=alice")
	if around.Status == http.StatusOK {
		t.Errorf("around forward_auth: %d %s", around.Status, around.Body)
	}
}
