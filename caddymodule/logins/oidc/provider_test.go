package oidc

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/oidctest"
)

// newProvider runs a real, certified provider that knows this server.
func newProvider(t *testing.T, edit func(*oidctest.Options)) *oidctest.Provider {
	t.Helper()
	o := oidctest.Options{
		Clients: []oidctest.Client{{ID: testClient, Secret: testSecret, RedirectURIs: []string{testCallback}}},
		Accounts: []oidctest.Account{
			{Subject: "alice", Claims: map[string]any{"email": "alice@example.com", "email_verified": true, "name": "Alice", "groups": []string{"staff"}}},
			{Subject: "bob", Claims: map[string]any{"email": "bob@example.com", "email_verified": false}},
		},
	}
	if edit != nil {
		edit(&o)
	}
	return oidctest.Start(t, o)
}

// relying is a login at a real provider, and its clock.
type relying struct {
	*Login
	t     *testing.T
	ahead time.Duration
}

func newReal(t *testing.T, issuer string, options map[string]any) *relying {
	t.Helper()
	config := map[string]any{
		"issuer": issuer, "client_id": testClient, "client_secret": testSecret,
		"scopes": []string{"openid", "email", "profile", "groups"},
	}
	maps.Copy(config, options)
	l, err := load(t, config)
	if err != nil {
		t.Fatal(err)
	}
	r := &relying{Login: l, t: t}
	l.now = func() time.Time { return time.Now().Add(r.ahead) }
	return r
}

func (r *relying) begin(force bool) login.Step {
	r.t.Helper()
	step, err := r.Begin(r.t.Context(), login.Request{State: testState, CallbackURL: testCallback, Force: force})
	if err != nil {
		r.t.Fatal(err)
	}
	return step
}

func (r *relying) finish(step login.Step, callback *url.URL) (login.Step, error) {
	r.t.Helper()
	if !strings.HasPrefix(callback.String(), testCallback+"?") || callback.Query().Get("state") != testState {
		r.t.Fatalf("the browser came back at %s", callback)
	}
	return r.Finish(r.t.Context(), login.Request{
		State: testState, CallbackURL: testCallback, Query: callback.Query(), Saved: step.Save,
	})
}

// signIn goes all the way with a browser.
func (r *relying) signIn(b *oidctest.Browser, subject string) login.Identity {
	r.t.Helper()
	step := r.begin(false)
	done, err := r.finish(step, b.SignIn(r.t, step.Redirect, subject))
	if err != nil {
		r.t.Fatal(err)
	}
	return *done.Identity
}

// TestRealProvider signs in at a certified provider, with every kind of client
// and signature, claims in the ID token or at the userinfo endpoint.
func TestRealProvider(t *testing.T) {
	for name, tt := range map[string]struct {
		edit    func(*oidctest.Options)
		options map[string]any
	}{
		"basic":  {},
		"post":   {func(o *oidctest.Options) { o.Clients[0].AuthMethod = "client_secret_post" }, map[string]any{"client_auth": "post"}},
		"public": {func(o *oidctest.Options) { o.Clients[0].Secret = "" }, map[string]any{"client_secret": ""}},
		"ES256":  {func(o *oidctest.Options) { o.Clients[0].SigningAlg = "ES256" }, nil},
		"PS256":  {func(o *oidctest.Options) { o.Clients[0].SigningAlg = "PS256" }, nil},
		"EdDSA":  {func(o *oidctest.Options) { o.Clients[0].SigningAlg = "EdDSA" }, nil},
		"thin":   {func(o *oidctest.Options) { o.ThinIDTokens = true }, map[string]any{"userinfo": true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, tt.edit)
			r := newReal(t, p.Issuer, tt.options)
			id := r.signIn(p.NewBrowser(t), "alice")
			if id.Subject != "alice" || id.Name != "Alice" || id.Email != "alice@example.com" || !id.EmailVerified || !slices.Equal(id.Groups, []string{"staff"}) {
				t.Errorf("identity %+v", id)
			}
			if id := r.signIn(p.NewBrowser(t), "bob"); id.Subject != "bob" || id.EmailVerified || id.Groups != nil {
				t.Errorf("identity %+v", id)
			}
		})
	}
}

// TestRealRefusal: the person says no at the provider (SPEC F39). Its words are
// for the log, and no more than text there.
func TestRealRefusal(t *testing.T) {
	p := newProvider(t, nil)
	r := newReal(t, p.Issuer, nil)
	step := r.begin(false)
	_, err := r.finish(step, p.NewBrowser(t).Refuse(t, step.Redirect))
	if !errors.Is(err, login.ErrDenied) || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("%v", err)
	}
}

// TestRealReplay: an answer is good once, and only for the sign-in that it
// belongs to (SPEC O3, O4).
func TestRealReplay(t *testing.T) {
	p := newProvider(t, nil)
	r := newReal(t, p.Issuer, nil)
	browser := p.NewBrowser(t)
	mine, other := r.begin(false), r.begin(false)
	callback := browser.SignIn(t, mine.Redirect, "alice")
	if _, err := r.finish(other, callback); !errors.Is(err, login.ErrDenied) {
		t.Errorf("somebody else's code: %v", err)
	}
	callback = browser.SignIn(t, mine.Redirect, "alice")
	if _, err := r.finish(mine, callback); err != nil {
		t.Fatal(err)
	}
	if _, err := r.finish(mine, callback); !errors.Is(err, login.ErrDenied) {
		t.Errorf("the same code again: %v", err)
	}
}

// TestRealForce: with Force the provider asks a person whom it knows.
func TestRealForce(t *testing.T) {
	p := newProvider(t, nil)
	r := newReal(t, p.Issuer, nil)
	browser := p.NewBrowser(t)
	r.signIn(browser, "alice")
	if page := browser.Open(t, r.begin(false).Redirect); page.Callback == nil {
		t.Fatalf("the provider forgot the person: %s", page.Text)
	}
	step := r.begin(true)
	page := browser.Open(t, step.Redirect)
	if page.Callback != nil {
		t.Fatal("the provider did not ask")
	}
	page = page.Answer(t, url.Values{"account": {"alice"}})
	done, err := r.finish(step, page.Callback)
	if err != nil {
		t.Fatal(err)
	}
	if time.Since(done.Identity.AuthTime) > time.Minute {
		t.Errorf("signed in at %s", done.Identity.AuthTime)
	}
	// Without the question the answer is not fresh enough.
	r.ahead = 0
	step = r.begin(true)
	tampered, err := url.Parse(step.Redirect)
	if err != nil {
		t.Fatal(err)
	}
	q := tampered.Query()
	q.Del("prompt")
	q.Set("max_age", "3600")
	tampered.RawQuery = q.Encode()
	var s saved
	fromJSON(t, step.Save, &s)
	s.Started += 3600 // the person signed in an hour before
	step.Save = []byte(toJSON(t, s))
	if _, err := r.finish(step, browser.SignIn(t, tampered.String(), "alice")); !errors.Is(err, login.ErrDenied) {
		t.Errorf("an old sign-in: %v", err)
	}
}

// TestRealOutage: the provider dies between Begin and Finish, and is back (SPEC
// F39, O55).
func TestRealOutage(t *testing.T) {
	p := newProvider(t, nil)
	r := newReal(t, p.Issuer, nil)
	step := r.begin(false)
	callback := p.NewBrowser(t).SignIn(t, step.Redirect, "alice")
	p.Stop()
	_, err := r.finish(step, callback)
	if err == nil || errors.Is(err, login.ErrDenied) {
		t.Errorf("provider down: %v", err)
	}
	fresh := newReal(t, p.Issuer, nil) // loads while the provider is down
	if _, err := fresh.Begin(t.Context(), login.Request{State: testState, CallbackURL: testCallback}); err == nil || errors.Is(err, login.ErrDenied) {
		t.Errorf("provider down: %v", err)
	}
	p.Restart(t)
	fresh.ahead = documentTimes.gap
	for _, l := range []*relying{r, fresh} {
		if id := l.signIn(p.NewBrowser(t), "alice"); id.Subject != "alice" {
			t.Errorf("identity %+v", id)
		}
	}
}

// TestRealKeyRotation: the provider comes back with other keys, and sign-in goes
// on without a restart here.
func TestRealKeyRotation(t *testing.T) {
	p := newProvider(t, nil)
	r := newReal(t, p.Issuer, nil)
	r.signIn(p.NewBrowser(t), "alice")
	p.Restart(t)
	r.ahead = keyTimes.gap
	r.signIn(p.NewBrowser(t), "alice")
}

// TestRealBadCredentials: a wrong secret is the operator's mistake and not the
// person's, and the log says so.
func TestRealBadCredentials(t *testing.T) {
	p := newProvider(t, nil)
	r := newReal(t, p.Issuer, map[string]any{"client_secret": "marker-wrong"})
	step := r.begin(false)
	_, err := r.finish(step, p.NewBrowser(t).SignIn(t, step.Redirect, "alice"))
	if err == nil || errors.Is(err, login.ErrDenied) || !strings.Contains(err.Error(), "refused our client credentials") || strings.Contains(err.Error(), "marker") {
		t.Errorf("%v", err)
	}
}
