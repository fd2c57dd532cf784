package authserver

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// Each test here tells of a hole that this server had before its release.

// SPEC O12: anyone can register cursor://…/mcp/install?config=…, and errors went
// there without a click, so a link to this server opened any deep link.
func TestNoDeepLinkWithoutClick(t *testing.T) {
	r := attended(t, nil)
	const install = "cursor://anysphere.cursor-deeplink/mcp/install?name=x&config=eyJ9"
	id := r.register(t, `{"client_name":"N","redirect_uris":["`+install+`"]}`).ClientID
	for _, params := range [][]string{{"prompt", "none"}, {"scope", "bogus"}, {"code_challenge", "-"}} {
		w := r.browser(t).get(request(id, params...))
		if w.Header().Get("Location") != "" || strings.Contains(w.Body.String(), "http-equiv") {
			t.Errorf("%v: %d, sent to %s", params, w.Code, w.Header().Get("Location"))
		}
		shows(t, w, w.Code, `href="cursor://anysphere.cursor-deeplink/mcp/install?`) // a link with a name, for a person
	}
}

// A session that began in the same second as a sign-out everywhere had ended
// before it began, because one was kept in milliseconds.
func TestSignInRightAfterEverywhere(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	b.signIn(request(id), "alice")
	for range 50 {
		r.pass(17 * time.Microsecond)
		b.post(accountPath, url.Values{"flow": {flowOf(t, b.get(accountPath))}, "do": {"sign_out_everywhere"}})
		shows(t, b.signIn(request(id), "alice"), http.StatusOK, consentMarker)
	}
}

// A code that was approved and not redeemed yet became a grant after its owner
// had taken everything back.
func TestNoGrantAfterAllWasTakenBack(t *testing.T) {
	for _, do := range []string{"revoke_all", "sign_out_everywhere"} {
		t.Run(do, func(t *testing.T) {
			r := attended(t, nil)
			id := r.register(t, testClient).ClientID
			thief, owner := r.browser(t), r.browser(t)
			code := result(t, thief.decide(thief.signIn(request(id), "alice"), "allow")).Get("code")
			owner.signIn(accountPath, "alice")
			owner.post(accountPath, url.Values{"flow": {flowOf(t, owner.get(accountPath))}, "do": {do}})
			r.pass(10 * time.Second)
			r.refused(t, codeForm(id, code), http.StatusBadRequest, "invalid_grant")
			// What is approved after it is good at once.
			again := result(t, owner.decide(owner.signIn(request(id, "prompt", "login"), "alice"), "allow")).Get("code")
			decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(id, again)), http.StatusOK)
		})
	}
}

// A page that was answered with no could be answered with yes for ten seconds.
func TestNoStaysNo(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, webClient).ClientID
	b := r.browser(t)
	page := b.signIn(request(id), "alice")
	if got := result(t, b.decide(page, "deny")); got.Get("error") != "access_denied" {
		t.Fatalf("the client gets %v", got)
	}
	r.refuses(t, b.decide(page, "allow"), http.StatusBadRequest, "used")
}

// moved is a login whose provider was changed under the same id.
type moved struct{ away }

func (moved) Info() login.Info {
	return login.Info{ID: "idp", Label: "Moved", Namespace: "https://elsewhere.example"}
}

// Sessions and grants of a provider lived on under a made-up name when its
// login came to mean another provider, out of the reach of rules and of the
// account page.
func TestProviderChangedUnderTheSameID(t *testing.T) {
	r := attended(t, nil, away{"idp"})
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	page := b.follow(b.get(callbackPath + "idp?state=" + b.upstream(request(id), "idp") + "&code=bob"))
	code := result(t, b.decide(page, "allow")).Get("code")
	tokens := decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(id, code)), http.StatusOK)
	r.logins[0] = method{Method: moved{}, info: moved{}.Info()}
	r.refused(t, refreshForm(id, tokens.RefreshToken), http.StatusBadRequest, "invalid_grant")
	shows(t, b.get(request(id)), http.StatusOK, signInMarker)
}

// member is a login that looks at groups again, and gives people many of them.
type member struct{ typed }

func (m member) Info() login.Info {
	info := m.typed.Info()
	info.Groups = []string{"needed"}
	return info
}

func (m member) Begin(ctx context.Context, r login.Request) (login.Step, error) {
	step, err := m.typed.Begin(ctx, r)
	if err == nil {
		step.Identity.Groups = []string{"needed"}
		for range 60 {
			step.Identity.Groups = append(step.Identity.Groups, "a-team-with-a-long-name-of-no-use")
		}
	}
	return step, err
}

func (m member) Recheck(_ context.Context, id login.Identity) (login.Identity, error) {
	if !slices.Contains(id.Groups, "needed") {
		return id, login.ErrDenied
	}
	return id, nil
}

// Of people in many groups, those that their login looks at again were dropped,
// so they came back to the sign-in page for ever.
func TestGroupsThatALoginNeedsAreKept(t *testing.T) {
	r := attended(t, nil, member{})
	shows(t, r.browser(t).signIn(request(r.register(t, testClient).ClientID), "alice"), http.StatusOK, consentMarker)
}

// Four tabs with long requests threw each other out, because a cookie of three
// parts counted as three sign-ins, and all were dropped at once.
func TestManyTabs(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	var states []string
	for range 8 {
		states = append(states, b.upstream(request(id, "state", strings.Repeat("s", 4000)), "idp"))
	}
	finished := 0 // which ones the test's browser, unlike a real one, leaves to chance
	for _, state := range states {
		if b.get(callbackPath+"idp?state="+state+"&code=bob").Code == http.StatusSeeOther {
			finished++
		}
	}
	if finished != maxUpstream {
		t.Errorf("%d tabs of %d finish", finished, len(states))
	}
	for name := range b.cookies {
		if strings.Contains(name, "upstream") {
			t.Errorf("%s is left", name)
		}
	}
}

// Grants of the version without logins ended with the upgrade.
func TestGrantFromBeforeLogins(t *testing.T) {
	r := newRig(t, nil)
	id := r.register(t, testClient).ClientID
	g := store.Grant{
		ID: "AAAAAAAAAAAAAAAAAAAAAA", ClientID: id, User: store.User{Subject: "alice"}, Resource: testResource, Scope: DefaultScopes.String(),
		Created: r.clock, RotatedAt: r.clock, Expires: r.clock.Add(time.Hour), NotAfter: r.clock.Add(time.Hour),
	}
	if err := r.store.CreateGrant(t.Context(), r.clock, g); err != nil {
		t.Fatal(err)
	}
	token, err := r.refreshToken(g.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.refresh(t, id, token)
}

// Rules that name more groups than a session holds are refused when they are
// loaded, not when somebody who is in all of them signs in.
func TestTooManyNamedGroups(t *testing.T) {
	var cfg Config
	for range 100 {
		cfg.Rules.Allow.Groups = append(cfg.Rules.Allow.Groups, strings.Repeat("g", 100))
	}
	cfg.Resources = []Resource{{}}
	if _, err := newMethods([]login.Method{typed{}}, cfg); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("%v", err)
	}
}

// A new sign-in ends the session that it replaces: a copy of its cookie is good
// no longer.
func TestReplacedSessionEnds(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	b.signIn(request(id), "alice")
	copied := b.twin()
	b.signIn(request(id, "prompt", "login"), "alice")
	shows(t, copied.get(request(id)), http.StatusOK, signInMarker)
	shows(t, b.get(request(id)), http.StatusOK, consentMarker)
}

// The device cookie says who signed in with the browser before, and nothing
// more.
func TestDevice(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	b.signIn(request(id), "alice")
	b.post(accountPath, url.Values{"flow": {flowOf(t, b.get(accountPath))}, "do": {"sign_out"}})
	req, err := http.NewRequest(http.MethodGet, testIssuer, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: "__Host-" + cookieDevice, Value: b.cookies["__Host-"+cookieDevice]})
	var known, other login.Request
	r.knownDevice(req, r.logins[0], &known)
	r.knownDevice(req, r.logins[1], &other)
	if known.Device == "" || known.DeviceSubject != "alice" || other.Device != "" {
		t.Errorf("known %q of %q, at another login %q", known.Device, known.DeviceSubject, other.Device)
	}
	shows(t, b.get(request(id)), http.StatusOK, signInMarker)
}

// A session with a short idle time ended while it was in use, because its cookie
// was renewed once a minute only.
func TestShortIdleTime(t *testing.T) {
	r := attended(t, func(c *Config) { c.Sessions.Idle = time.Minute })
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	b.signIn(request(id), "alice")
	for range 10 {
		r.pass(30 * time.Second)
		shows(t, b.get(request(id)), http.StatusOK, consentMarker)
	}
}

// Somebody who clicks three times gets the answer three times, and one grant.
func TestThreeClicks(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, webClient).ClientID
	b := r.browser(t)
	page := b.signIn(request(id), "alice")
	for range 3 {
		if result(t, b.decide(page, "allow")).Get("code") == "" {
			t.Error("no code")
		}
	}
}

// meanwhile is a store in which something happens just before a grant is
// created.
type meanwhile struct {
	store.Store
	happens func()
}

func (m *meanwhile) CreateGrant(ctx context.Context, now time.Time, g store.Grant) error {
	m.happens()
	return m.Store.CreateGrant(ctx, now, g)
}

// A code that was being redeemed while its owner took all back slipped through
// between the look at the mark and the creation of the grant.
func TestAllTakenBackWhileRedeeming(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	code := result(t, b.decide(b.signIn(request(id), "alice"), "allow")).Get("code")
	form := url.Values{"flow": {flowOf(t, b.get(accountPath))}, "do": {"revoke_all"}}
	r.deps.Store = &meanwhile{r.store, func() { b.post(accountPath, form) }}
	r.refused(t, codeForm(id, code), http.StatusBadRequest, "invalid_grant")
	grants, err := r.store.Grants(t.Context(), r.clock, "alice", 10)
	if err != nil || len(grants) != 0 {
		t.Errorf("%d grants live, %v", len(grants), err)
	}
}
