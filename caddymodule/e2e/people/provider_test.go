package people_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// provider speaks as GitHub does. Everybody has a session there and has let the
// gateway in before, so that it answers at once: what THREATS D1 begins with.
type provider struct {
	*httptest.Server
	mu    sync.Mutex
	asked []url.Values
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := new(provider)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		p.mu.Lock()
		p.asked = append(p.asked, q)
		p.mu.Unlock()
		back := url.Values{"code": {"code-of-the-provider-0123456789"}, "state": q["state"]}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	})
	for path, body := range map[string]string{
		"POST /login/oauth/access_token":    `{"access_token":"gho_of-the-provider-0123456789","token_type":"bearer","scope":"read:org,user:email"}`,
		"GET /api/v3/user":                  `{"id":4711,"login":"octo","name":"Octo Cat","email":null}`,
		"GET /api/v3/user/emails":           `[{"email":"octo@example.com","primary":true,"verified":true}]`,
		"GET /api/v3/user/memberships/orgs": `[{"state":"active","organization":{"login":"Acme","id":1}}]`,
		"GET /api/v3/user/teams":            `[]`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		})
	}
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// requests returns how often somebody was sent there.
func (p *provider) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

// gateway is one with passwords and the provider.
type providerWorld struct {
	*gatewaytest.Gateway
	provider *provider
}

func (w providerWorld) host() string { return strings.TrimPrefix(w.provider.URL, "http://") }

// callback returns where the provider would send a browser that a click sent
// there.
func (w providerWorld) callback(t *testing.T, gone *gatewaytest.Page) string {
	t.Helper()
	if gone.Location == nil || gone.Location.Host != w.host() {
		t.Fatalf("not sent to the provider: %d %v", gone.Status, gone.Location)
	}
	q := gone.Location.Query()
	return q.Get("redirect_uri") + "?code=code-of-the-provider-0123456789&state=" + q.Get("state")
}

// TestProvider is SPEC F25, F31, O1, O3, O4 and THREATS 1.2 with a provider that
// asks nobody anything.
func TestProvider(t *testing.T) {
	w := providerWorld{provider: newProvider(t)}
	text := strings.Replace(configured(), "login password {", "login github {\n\t\t\tclient_id id\n\t\t\tclient_secret secret-of-the-gateway-0123456789\n"+
		"\t\t\torganizations acme\n\t\t\tbase_url "+w.provider.URL+"\n\t\t}\n\t\tlogin password {", 1)
	w.Gateway = gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text, Env: env()})
	t.Run("D1, F25, O1 a session there is no consent here", func(t *testing.T) { testConfusedDeputy(t, w) })
	t.Run("F31 the cookie comes with the click, and goes with the answer", func(t *testing.T) { testUpstreamCookie(t, w) })
	t.Run("F31, O3, O4, D5 answers that are not the browser's own", func(t *testing.T) { testCallbacks(t, w) })
	t.Run("D2 no other site begins a sign-in", func(t *testing.T) { testForeignStart(t, w) })
	t.Run("F39, D7, O39 what the provider says is hostile text", func(t *testing.T) { testProviderSays(t, w) })
	t.Run("two tabs", func(t *testing.T) {
		one, two := client(t, w.Gateway, "https://one.example/cb"), client(t, w.Gateway, "https://two.example/cb")
		b := browser(t)
		first := w.callback(t, b.Open(one.AuthorizeURL("state", "1")).Click("login", "github"))
		second := w.callback(t, b.Open(two.AuthorizeURL("state", "2")).Click("login", "github"))
		wantTo(t, b.Open(second).Allow(), "https://two.example/cb?")
		wantTo(t, b.Open(first).Allow(), "https://one.example/cb?")
	})
	t.Run("sign-ins that were given up do not fill the browser", func(t *testing.T) {
		b := browser(t)
		c := client(t, w.Gateway, web)
		for range 30 {
			b.Open(c.AuthorizeURL()).Click("login", "github")
		}
		if n := len(b.Cookies(w.URL)); n > 10 {
			t.Errorf("%d cookies", n)
		}
		wantConsent(t, b.Open(w.callback(t, b.Open(c.AuthorizeURL()).Click("login", "github"))))
	})
	t.Run("O44, L19 no credential of it in the log", func(t *testing.T) {
		for _, secret := range []string{"code-of-the-provider", "gho_of-the-provider", "secret-of-the-gateway", "mcp_auth_upstream_"} {
			if strings.Contains(w.Logs(), secret) {
				t.Errorf("the log has %s", secret)
			}
		}
	})
}

// testConfusedDeputy has an attacker send a link to somebody who is signed in
// there, and perhaps here.
func testConfusedDeputy(t *testing.T, w providerWorld) {
	victim := browser(t)
	victim.Away = []string{w.host(), strings.TrimPrefix(w.URL, "http://")}
	evil := client(t, w.Gateway, "https://evil.example/cb")
	before := w.provider.requests()
	first := victim.Open(evil.AuthorizeURL())
	wantSignIn(t, first)
	wantShown(t, "first", first, "evil.example", "not verified", "Continue with GitHub")
	if w.provider.requests() != before {
		t.Error("F25: sent there before anybody was asked")
	}
	consent := first.Click("login", "github")
	wantConsent(t, consent)
	wantShown(t, "consent", consent, "Octo Cat", "evil.example")
	// She lets a program of her own in; the next attacker's link asks again.
	own := client(t, w.Gateway, "https://own.example/cb")
	redeemed(t, own, victim.Open(own.AuthorizeURL()).Allow().Result())
	another := client(t, w.Gateway, "https://evil.example/cb")
	before = w.provider.requests()
	for _, target := range []string{evil.AuthorizeURL(), another.AuthorizeURL(), another.AuthorizeURL("login_hint", "octo", "login", "github")} {
		wantConsent(t, victim.Open(target))
	}
	if p := victim.Open(another.AuthorizeURL("prompt", "none")); p.Location != nil {
		t.Errorf("O12: sent to %s", p.Location)
	}
	if w.provider.requests() != before {
		t.Error("F25: sent there although nobody had to sign in")
	}
}

// testUpstreamCookie follows the cookie of a sign-in at the provider.
func testUpstreamCookie(t *testing.T, w providerWorld) {
	c := client(t, w.Gateway, web)
	b := browser(t)
	first := b.Once(http.MethodGet, c.AuthorizeURL(), nil)
	if names := cookieNames(t, first); strings.Join(names, " ") != "mcp_auth_browser" {
		t.Errorf("the first page sets %v", names)
	}
	action, fields := first.Form("login", "github")
	fields.Set("login", "github")
	gone := b.Post(action, fields)
	state := gone.Location.Query().Get("state")
	if names := cookieNames(t, gone); strings.Join(names, " ") != "mcp_auth_upstream_"+state || gone.Status != http.StatusSeeOther {
		t.Errorf("the click is answered with %d and sets %v", gone.Status, names)
	}
	k, err := http.ParseSetCookie(gone.Header.Get("Set-Cookie"))
	if err != nil || k.MaxAge < 60 || k.MaxAge > 600 || len(state) < 22 {
		t.Errorf("the cookie lives %d s, the state is %q: %v", k.MaxAge, state, err)
	}
	if q := gone.Location.Query(); q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") != w.URL+"/oauth/callback/github" {
		t.Errorf("F38: asked with %v", q)
	}
	again := b.Post(action, fields)
	if again.Location.Query().Get("state") == state {
		t.Error("the state is the same twice")
	}
	back := b.Once(http.MethodGet, w.callback(t, gone), nil)
	if back.Status != http.StatusSeeOther || b.Cookie(w.URL, "_upstream_"+state) != "" || b.Cookie(w.URL, "_session") == "" {
		t.Fatalf("back: %d %v", back.Status, b.Cookies(w.URL))
	}
	if back.Location.Query().Has("state") && back.Location.Query().Get("state") == state || strings.Contains(back.Location.String(), "code-of-the-provider") {
		t.Errorf("what the provider said stays in the address: %s", back.Location)
	}
	// A sign-in for one client says nothing about another.
	other := client(t, w.Gateway, "https://other.example/cb")
	wantConsent(t, b.Open(other.AuthorizeURL()))
}

// testCallbacks comes back in every wrong way.
func testCallbacks(t *testing.T, w providerWorld) {
	c := client(t, w.Gateway, web)
	begin := func() (*gatewaytest.Browser, string) {
		b := browser(t)
		return b, w.callback(t, b.Open(c.AuthorizeURL()).Click("login", "github"))
	}
	refused := func(name string, p *gatewaytest.Page) {
		t.Helper()
		if p.Status != http.StatusBadRequest && p.Status != http.StatusForbidden || p.Location != nil || isConsent(p) || p.Browser().Cookie(w.URL, "_session") != "" {
			t.Errorf("%s: %d %v %v", name, p.Status, p.Location, p.Browser().Cookies(w.URL))
		}
	}
	b, back := begin()
	refused("without a cookie", browser(t).Open(back))
	victim := browser(t)
	victim.Open(c.AuthorizeURL())
	refused("login CSRF, with the attacker's answer", victim.Open(back))
	state := back[strings.LastIndex(back, "=")+1:]
	victim.SetCookie(w.URL, "mcp_auth_upstream_"+state, b.Cookie(w.URL, "_upstream_"+state))
	refused("with the attacker's cookie planted", victim.Open(back))
	for _, wrong := range []string{
		w.URL + "/oauth/callback/github", w.URL + "/oauth/callback/github?code=x", strings.Replace(back, state, strings.Repeat("A", 26), 1),
		strings.Replace(back, state, "", 1), back + "&state=" + state, strings.Replace(back, state, state+"x", 1), strings.Replace(back, state, strings.ToLower(state), 1),
		strings.Replace(back, state, "..%2f..%2fsession", 1), back + "&%zz",
	} {
		refused(wrong, b.Open(wrong))
	}
	if p := b.Once(http.MethodHead, back, nil); p.Status != http.StatusOK || p.Location != nil {
		t.Errorf("HEAD: %d %v", p.Status, p.Location)
	}
	if p := b.Once(http.MethodPost, back, url.Values{"state": {state}}); p.Status != http.StatusMethodNotAllowed || p.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", p.Status, p.Location)
	}
	thief := b.Copy(w.URL)
	wantConsent(t, b.Open(back))
	b.SetCookie(w.URL, "mcp_auth_session", "")
	refused("again", b.Open(back))
	refused("again, with a copy of all cookies", thief.Open(back))
}

// testForeignStart has another site press the button, which would sign the
// victim in as somebody of its choice.
func testForeignStart(t *testing.T, w providerWorld) {
	c := client(t, w.Gateway, web)
	b := browser(t)
	flow := flowOf(b.Open(c.AuthorizeURL()))
	before := w.provider.requests()
	form := paramsOf("flow", flow, "login", "github")
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "-", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "-", "Origin", "-"}} {
		wantRefused(t, b.Post(w.URL+signInPath, form, header...), http.StatusForbidden)
	}
	wantRefused(t, browser(t).Post(w.URL+signInPath, form), http.StatusForbidden)
	wantRefused(t, b.Open(w.URL+signInPath+"?"+form.Encode()), http.StatusMethodNotAllowed)
	if w.provider.requests() != before {
		t.Error("sent there")
	}
	for _, k := range b.Cookies(w.URL) {
		if strings.Contains(k.Name, "upstream") {
			t.Errorf("F31: the cookie %s", k.Name)
		}
	}
}

// testProviderSays has the provider answer with errors.
func testProviderSays(t *testing.T, w providerWorld) {
	for name, text := range hostile {
		text = text[:min(len(text), 1<<10)]
		for _, code := range []string{"access_denied", "server_error", text} {
			c := client(t, w.Gateway, loopback)
			b := browser(t)
			back := w.callback(t, b.Open(c.AuthorizeURL()).Click("login", "github"))
			back = strings.Replace(back, "code=code-of-the-provider-0123456789", url.Values{
				"error": {code}, "error_description": {text}, "error_uri": {"javascript:alert(1)"},
			}.Encode(), 1)
			p := b.Open(back)
			if p.Location != nil {
				wantError(t, p, "access_denied")
				if q := p.Result(); q.Get("iss") != w.URL || q.Get("state") != "st-1" || strings.Contains(q.Get("error_description"), "alert") {
					t.Errorf("%s: the client gets %q", name, q)
				}
			} else if p.Status < http.StatusBadRequest || strings.Contains(p.Body, "alert(1)") {
				t.Errorf("%s: %d %s", name, p.Status, p.Text())
			}
		}
	}
}
