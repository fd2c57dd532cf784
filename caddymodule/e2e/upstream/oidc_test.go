package upstream_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/oidctest"
)

const clientSecret = "MARKER-secret-of-the-gateway-at-its-provider"

const oidcConfig = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		login oidc {env.ONE} {
			id            one
			label         "Provider One"
			client_id     gateway
			client_secret {env.SECRET}
		}
		login oidc {env.TWO} {
			id            two
			label         "Provider Two"
			client_id     gateway
			client_secret {env.SECRET}
		}
		allow email *@example.com
	}
}
{URL} {
	log
	mcp_auth
	reverse_proxy {UPSTREAM}
}
`

// world is a gateway with two providers.
type world struct {
	*gatewaytest.Gateway
	one, two *oidctest.Provider
	client   *gatewaytest.Client
}

func startWorld(t *testing.T) *world {
	t.Helper()
	port := gatewaytest.FreePort(t)
	provider := func(id string) *oidctest.Provider {
		return oidctest.Start(t, oidctest.Options{
			Clients: []oidctest.Client{{
				ID: "gateway", Secret: clientSecret,
				RedirectURIs: []string{fmt.Sprintf("http://localhost:%d/oauth/callback/%s", port, id)},
			}},
			Accounts: []oidctest.Account{
				{Subject: "alice", Claims: map[string]any{"email": "alice@example.com", "email_verified": true, "name": "Alice at " + id}},
				{Subject: "mallory", Claims: map[string]any{"email": "mallory@evil.example", "email_verified": true}},
				{Subject: "liar", Claims: map[string]any{"email": "liar@example.com", "email_verified": false}},
			},
		})
	}
	w := &world{one: provider("one"), two: provider("two")}
	w.Gateway = gatewaytest.Start(t, gatewaytest.Options{
		Caddyfile: oidcConfig, Port: port,
		Env: []string{"ONE=" + w.one.Issuer, "TWO=" + w.two.Issuer, "SECRET=" + clientSecret},
	})
	w.client = gatewaytest.RegisterAs(t, w.URL, `{"client_name":"Tester","redirect_uris":["http://127.0.0.1/cb"]}`)
	return w
}

// leave clicks on a provider and returns where the browser is sent.
func (w *world) leave(b *gatewaytest.Browser, login string) string {
	return b.Open(w.client.AuthorizeURL()).Click("login", login).Location.String()
}

func TestOIDC(t *testing.T) {
	w := startWorld(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.Logs())
		}
	})
	t.Run("from the client to a call", func(t *testing.T) {
		b := gatewaytest.NewBrowser(t)
		first := b.Open(w.client.AuthorizeURL())
		if !strings.Contains(first.Text(), "Provider One") || !strings.Contains(first.Text(), "Provider Two") || !strings.Contains(first.Text(), "Tester") {
			t.Errorf("the chooser says: %s", first.Text())
		}
		if cookies := b.Cookies(w.URL); len(cookies) != 1 {
			t.Errorf("SPEC F31: before a click there are %v", cookies)
		}
		back := w.one.NewBrowser(t).SignIn(t, first.Click("login", "one").Location.String(), "alice")
		consent := b.Open(back.String())
		if !strings.Contains(consent.Text(), "Alice at one") {
			t.Errorf("the consent page does not name the account: %s", consent.Text())
		}
		if strings.Contains(consent.URL.RawQuery, back.Query().Get("code")) {
			t.Error("the provider's code stays in the address")
		}
		r := w.client.Redeem(t, consent.Allow().Result().Get("code"))
		if r.Status != http.StatusOK {
			t.Fatalf("no token: %s", r.Body)
		}
		if r := gatewaytest.Call(t, w.URL, r.Text(t, "access_token")); r.Status != http.StatusOK {
			t.Errorf("a call: %d %s", r.Status, r.Body)
		}
		for _, secret := range []string{clientSecret, back.Query().Get("code"), back.Query().Get("state")} {
			if strings.Contains(w.Logs(), secret) {
				t.Errorf("the log has %.8s…", secret)
			}
		}
	})
	t.Run("F39 the person refuses there", func(t *testing.T) {
		b := gatewaytest.NewBrowser(t)
		back := w.one.NewBrowser(t).Refuse(t, w.leave(b, "one"))
		result := b.Open(back.String()).Result()
		if result.Get("error") != "access_denied" || result.Get("state") != "st-1" || result.Get("iss") != w.URL {
			t.Errorf("the client gets %v", result)
		}
	})
	t.Run("rules look at verified addresses of the person", func(t *testing.T) {
		for _, who := range []string{"mallory", "liar"} {
			b := gatewaytest.NewBrowser(t)
			p := b.Open(w.one.NewBrowser(t).SignIn(t, w.leave(b, "one"), who).String())
			if p.Status != http.StatusForbidden || p.Has("decision", "allow") || !p.Has("decision", "switch") {
				t.Errorf("%s: %d %s", who, p.Status, p.Text())
			}
		}
	})
	t.Run("switch asks the provider again", func(t *testing.T) {
		b := gatewaytest.NewBrowser(t)
		p := b.Open(w.one.NewBrowser(t).SignIn(t, w.leave(b, "one"), "mallory").String()).Click("decision", "switch")
		again := p.Click("login", "one").Location
		if again.Query().Get("prompt") != "login" {
			t.Errorf("the provider is asked %v", again.Query())
		}
		if p = b.Open(w.one.NewBrowser(t).SignIn(t, again.String(), "alice").String()); !p.Has("decision", "allow") {
			t.Errorf("%d %s", p.Status, p.Text())
		}
	})
	t.Run("O4 replay", func(t *testing.T) {
		b := gatewaytest.NewBrowser(t)
		back := w.one.NewBrowser(t).SignIn(t, w.leave(b, "one"), "alice").String()
		b.Open(back)
		if p := b.Open(back); p.Status != http.StatusBadRequest || p.Location != nil {
			t.Errorf("%d %v", p.Status, p.Location)
		}
	})
	t.Run("D2, O3 another browser", func(t *testing.T) {
		mallory, victim := gatewaytest.NewBrowser(t), gatewaytest.NewBrowser(t)
		back := w.one.NewBrowser(t).SignIn(t, w.leave(mallory, "one"), "mallory").String()
		victim.Open(w.client.AuthorizeURL())
		if p := victim.Open(back); p.Status != http.StatusBadRequest || p.Location != nil || len(victim.Cookies(w.URL)) != 1 {
			t.Errorf("%d %v %v", p.Status, p.Location, victim.Cookies(w.URL))
		}
	})
	t.Run("O23 one provider's answer at the other's door", func(t *testing.T) {
		b := gatewaytest.NewBrowser(t)
		back := w.one.NewBrowser(t).SignIn(t, w.leave(b, "one"), "alice")
		back.Path = strings.Replace(back.Path, "/callback/one", "/callback/two", 1)
		if p := b.Open(back.String()); p.Status != http.StatusBadRequest || p.Has("decision", "allow") {
			t.Errorf("%d %s", p.Status, p.Text())
		}
	})
	t.Run("O22 another issuer in the answer", func(t *testing.T) {
		b := gatewaytest.NewBrowser(t)
		back := w.one.NewBrowser(t).SignIn(t, w.leave(b, "one"), "alice")
		q := back.Query()
		q.Set("iss", w.two.Issuer)
		back.RawQuery = q.Encode()
		if p := b.Open(back.String()); p.Status != http.StatusForbidden || p.Has("decision", "allow") {
			t.Errorf("%d %s", p.Status, p.Text())
		}
	})
	t.Run("the same name at another provider is another person", func(t *testing.T) {
		subject := func(login string, p *oidctest.Provider) string {
			b := gatewaytest.NewBrowser(t)
			result := b.Open(p.NewBrowser(t).SignIn(t, w.leave(b, login), "alice").String()).Allow().Result()
			r := w.client.Redeem(t, result.Get("code"))
			profile := gatewaytest.PostJSON(t, w.URL+"/mcp/tools/call", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_user_profile","arguments":{}}}`,
				"Authorization", "Bearer "+r.Text(t, "access_token"))
			return profile.Body
		}
		one, two := subject("one", w.one), subject("two", w.two)
		if !strings.Contains(one, w.one.Issuer+"|alice") || !strings.Contains(two, w.two.Issuer+"|alice") {
			t.Errorf("the server is told of\n%s\n%s", one, two)
		}
	})
	// The last ones, because they take the providers away.
	t.Run("down in the middle", func(t *testing.T) {
		b := gatewaytest.NewBrowser(t)
		back := w.two.NewBrowser(t).SignIn(t, w.leave(b, "two"), "alice").String()
		w.two.Stop()
		p := b.Open(back)
		if p.Status != http.StatusServiceUnavailable || p.Header.Get("Retry-After") == "" {
			t.Errorf("%d %s", p.Status, p.Text())
		}
		var home, restart bool
		for _, link := range p.Links() {
			u, err := url.Parse(link)
			if err != nil {
				t.Fatal(err)
			}
			home = home || u.Host == "127.0.0.1" && u.Query().Get("error") == "temporarily_unavailable"
			restart = restart || u.Path == "/oauth/authorize"
		}
		if !home || !restart {
			t.Errorf("the page leads to %q", p.Links())
		}
		if !strings.Contains(w.Logs(), `"msg":"sign_in"`) || !strings.Contains(w.Logs(), `"login":"two"`) {
			t.Error("the log does not say so")
		}
	})
	t.Run("and again after it is back", func(t *testing.T) {
		w.two.Restart(t) // with other keys, which the gateway fetches at most every ten seconds
		for deadline := time.Now().Add(time.Minute); ; {
			b := gatewaytest.NewBrowser(t)
			p := b.Open(w.two.NewBrowser(t).SignIn(t, w.leave(b, "two"), "alice").String())
			if p.Has("decision", "allow") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d %s", p.Status, p.Text())
			}
			time.Sleep(500 * time.Millisecond)
		}
	})
}
