package authserver

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// The markers by which the tests tell pages apart: what their forms post to.
const (
	signInMarker  = `action="` + signInPath + `"`
	consentMarker = `action="` + consentPath + `"`
	accountMarker = `action="` + accountPath + `"`
)

const webClient = `{"client_name":"Web","redirect_uris":["https://client.example/cb"]}`

func TestSignInConsentCode(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	first := b.get(request(id))
	shows(t, first, http.StatusOK, signInMarker)
	if len(b.cookies) != 1 || b.cookies["__Host-mcp_auth_browser"] == "" {
		t.Errorf("SPEC F31: the first page sets %v", b.cookies)
	}
	posted := b.post(signInPath, signInForm(flowOf(t, first), "alice", "right"))
	if posted.Code != http.StatusSeeOther {
		t.Errorf("SPEC F36: the sign-in is answered with %d", posted.Code)
	}
	consent := b.follow(posted)
	shows(t, consent, http.StatusOK, consentMarker)
	answered := b.decide(consent, "allow")
	if answered.Code != http.StatusSeeOther {
		t.Errorf("SPEC F36, O15: the consent is answered with %d", answered.Code)
	}
	code := result(t, answered).Get("code")
	tokens := decode[struct {
		AccessToken string `json:"access_token"`
	}](t, r.form("/oauth/token", codeForm(id, code)), http.StatusOK)
	if tokens.AccessToken == "" {
		t.Error("no access token")
	}
	grants, err := r.store.Grants(t.Context(), r.clock, "alice", 10)
	if err != nil || len(grants) != 1 || grants[0].User.Login != "password" || grants[0].User.Groups[0] != "staff" {
		t.Errorf("grants %+v, %v", grants, err)
	}
}

func TestSignInAtProvider(t *testing.T) {
	r := attended(t, nil)
	b := r.browser(t)
	page := b.get(request(r.register(t, testClient).ClientID))
	gone := b.post(signInPath, url.Values{"flow": {flowOf(t, page)}, "login": {"idp"}})
	state := stateOf(t, gone.Header().Get("Location"))
	if b.cookies["__Host-mcp_auth_upstream_"+state] == "" {
		t.Errorf("SPEC F31: the click sets %v", b.cookies)
	}
	thief := b.twin()
	back := b.get(callbackPath + "idp?state=" + state + "&code=bob")
	if back.Code != http.StatusSeeOther || b.cookies["__Host-mcp_auth_upstream_"+state] != "" {
		t.Errorf("the callback is answered with %d, cookies %v", back.Code, b.cookies)
	}
	shows(t, b.follow(back), http.StatusOK, "https://idp.example|bob")
	t.Run("O4 once only", func(t *testing.T) {
		r.refuses(t, b.get(callbackPath+"idp?state="+state+"&code=bob"), http.StatusBadRequest, "browser")
		r.refuses(t, thief.get(callbackPath+"idp?state="+state+"&code=bob"), http.StatusBadRequest, "used")
	})
}

func stateOf(tb testing.TB, location string) string {
	tb.Helper()
	u, err := url.Parse(location)
	if err != nil || u.Query().Get("state") == "" {
		tb.Fatalf("not sent to a provider: %q", location)
	}
	return u.Query().Get("state")
}

// upstream clicks on a provider and returns the state.
func (b *browser) upstream(target, id string) string {
	b.tb.Helper()
	gone := b.post(signInPath, url.Values{"flow": {flowOf(b.tb, b.get(target))}, "login": {id}})
	return stateOf(b.tb, gone.Header().Get("Location"))
}

func TestProviderAnswers(t *testing.T) {
	r := attended(t, nil, away{"idp"}, away{"other"})
	loopback, web := r.register(t, testClient).ClientID, r.register(t, webClient).ClientID
	t.Run("F39 denial goes to the client", func(t *testing.T) {
		for _, id := range []string{loopback, web} {
			b := r.browser(t)
			state := b.upstream(request(id), "idp")
			if got := result(t, b.get(callbackPath+"idp?state="+state+"&error=access_denied&error_description=%3Cscript%3E")); got.Get("error") != "access_denied" {
				t.Errorf("the client gets %v", got)
			}
		}
	})
	t.Run("outage is a page that leads both ways", func(t *testing.T) {
		b := r.browser(t)
		w := b.get(callbackPath + "idp?state=" + b.upstream(request(web), "idp") + "&code=down")
		r.refuses(t, w, http.StatusServiceUnavailable, "provider")
		shows(t, w, http.StatusServiceUnavailable, "error=temporarily_unavailable")
		shows(t, w, http.StatusServiceUnavailable, `href="`+authorizePath)
	})
	t.Run("F38 a tampered answer gives no code", func(t *testing.T) {
		b := r.browser(t)
		w := b.get(callbackPath + "idp?state=" + b.upstream(request(web), "idp") + "&code=impostor")
		r.refuses(t, w, http.StatusForbidden, "denied")
	})
	t.Run("O3 login CSRF: another browser's state", func(t *testing.T) {
		mallory, victim := r.browser(t), r.browser(t)
		state := mallory.upstream(request(web), "idp")
		victim.get(request(web))
		r.refuses(t, victim.get(callbackPath+"idp?state="+state+"&code=mallory"), http.StatusBadRequest, "browser")
		if victim.cookies["__Host-mcp_auth_session"] != "" {
			t.Error("the victim is signed in")
		}
		// Even with the cookie planted, it is another browser's.
		victim.cookies["__Host-mcp_auth_upstream_"+state] = mallory.cookies["__Host-mcp_auth_upstream_"+state]
		r.refuses(t, victim.get(callbackPath+"idp?state="+state+"&code=mallory"), http.StatusForbidden, "browser")
	})
	t.Run("O23 mix-up", func(t *testing.T) {
		b := r.browser(t)
		r.refuses(t, b.get(callbackPath+"other?state="+b.upstream(request(web), "idp")+"&code=bob"), http.StatusBadRequest, "foreign_form")
	})
	for _, query := range []string{"", "?code=bob", "?state=&code=bob", "?state=x&code=bob", "?state=A&state=B", "?state=" + strings.Repeat("A", 26), "?%zz"} {
		if w := r.browser(t).get(callbackPath + "idp" + query); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", query, w.Code)
		}
	}
}

func TestSignInRejected(t *testing.T) {
	r := attended(t, nil)
	b := r.browser(t)
	page := b.get(request(r.register(t, testClient).ClientID))
	wrong := b.post(signInPath, signInForm(flowOf(t, page), "alice", "wrong"))
	r.refuses(t, wrong, http.StatusForbidden, "rejected")
	shows(t, wrong, http.StatusForbidden, `value="alice"`)
	if strings.Contains(wrong.Body.String(), `"wrong"`) {
		t.Error("the password is on the page")
	}
	often := b.post(signInPath, signInForm(flowOf(t, wrong), "alice", "often"))
	r.refuses(t, often, http.StatusTooManyRequests, "throttled")
	if often.Header().Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q", often.Header().Get("Retry-After"))
	}
	shows(t, b.follow(b.post(signInPath, signInForm(flowOf(t, often), "alice", "right"))), http.StatusOK, consentMarker)
	if b.post(signInPath, url.Values{"flow": {flowOf(t, page)}, "login": {"nothing"}}).Code != http.StatusBadRequest {
		t.Error("a login that does not exist is taken")
	}
}

func TestSession(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	b.signIn(request(id), "alice")
	first := b.cookies["__Host-mcp_auth_session"]
	shows(t, b.get(request(id)), http.StatusOK, consentMarker)
	t.Run("F37 a sign-in is a new session", func(t *testing.T) {
		b.signIn(request(id, "prompt", "login"), "alice")
		if b.cookies["__Host-mcp_auth_session"] == first || sessionID(t, r, b) == "" {
			t.Error("the session stayed the same")
		}
	})
	t.Run("idle", func(t *testing.T) {
		for range 10 {
			r.pass(7 * time.Hour)
			shows(t, b.get(request(id)), http.StatusOK, consentMarker)
		}
		r.pass(8 * time.Hour)
		shows(t, b.get(request(id)), http.StatusOK, signInMarker)
	})
	t.Run("absolute", func(t *testing.T) {
		b.signIn(request(id), "alice")
		for range 23 {
			r.pass(7 * time.Hour)
			b.get(request(id))
		}
		shows(t, b.get(request(id)), http.StatusOK, consentMarker)
		r.pass(7 * time.Hour)
		shows(t, b.get(request(id)), http.StatusOK, signInMarker)
	})
	t.Run("the clock jumps back", func(t *testing.T) {
		b.signIn(request(id), "alice")
		r.pass(-time.Hour)
		shows(t, b.get(request(id)), http.StatusOK, consentMarker)
	})
	t.Run("changed", func(t *testing.T) {
		value := b.cookies["__Host-mcp_auth_session"]
		for _, i := range []int{0, 10, len(value) / 2, len(value) - 1} {
			flipped := []byte(value)
			flipped[i] ^= 1
			b.cookies["__Host-mcp_auth_session"] = string(flipped)
			shows(t, b.get(request(id)), http.StatusOK, signInMarker)
		}
	})
}

func sessionID(tb testing.TB, r *rig, b *browser) string {
	tb.Helper()
	req, err := http.NewRequest(http.MethodGet, testIssuer, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for name, value := range b.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	c, _ := r.openSession(req)
	return c.ID
}

func TestSignOut(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	do := func(b *browser, what string) {
		t.Helper()
		page := b.get(accountPath)
		shows(t, b.post(accountPath, url.Values{"flow": {flowOf(t, page)}, "do": {what}}), http.StatusOK, "")
	}
	one, two := r.browser(t), r.browser(t)
	one.signIn(request(id), "alice")
	two.signIn(request(id), "alice")
	stolen := one.twin()
	do(one, "sign_out")
	shows(t, stolen.get(request(id)), http.StatusOK, signInMarker)
	shows(t, two.get(request(id)), http.StatusOK, consentMarker)
	one.signIn(request(id), "alice")
	other := r.browser(t)
	other.signIn(request(id), "bob")
	do(one, "sign_out_everywhere")
	shows(t, two.get(request(id)), http.StatusOK, signInMarker)
	shows(t, other.get(request(id)), http.StatusOK, consentMarker)
	// A sign-in right after it holds, although the margin has not passed.
	shows(t, one.signIn(request(id), "alice"), http.StatusOK, consentMarker)
	shows(t, one.get(request(id)), http.StatusOK, consentMarker)
}

func TestPrompt(t *testing.T) {
	r := attended(t, nil)
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	if got := result(t, b.get(request(id, "prompt", "none"))); got.Get("error") != "login_required" {
		t.Errorf("nobody is signed in: %v", got)
	}
	b.signIn(request(id), "alice")
	if got := result(t, b.get(request(id, "prompt", "none"))); got.Get("error") != "consent_required" {
		t.Errorf("nobody has agreed: %v", got)
	}
	if got := result(t, b.get(request(id, "prompt", "none login"))); got.Get("error") != "invalid_request" {
		t.Errorf("none and login: %v", got)
	}
	shows(t, b.get(request(id, "prompt", "login")), http.StatusOK, signInMarker)
	shows(t, b.get(request(id, "prompt", "select_account")), http.StatusOK, signInMarker)
	shows(t, b.get(request(id, "prompt", "hologram")), http.StatusOK, consentMarker)
	// O12: to a host that nobody vouches for, an error is a page.
	web := r.register(t, webClient).ClientID
	if w := r.browser(t).get(request(web, "prompt", "none")); w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
		t.Errorf("an open redirector: %d %s", w.Code, w.Header().Get("Location"))
	}
	// A provider is asked to sign the person in anew.
	page := b.get(request(id, "prompt", "login"))
	gone := b.post(signInPath, url.Values{"flow": {flowOf(t, page)}, "login": {"idp"}})
	if !strings.Contains(gone.Header().Get("Location"), "force=true") {
		t.Errorf("sent to %s", gone.Header().Get("Location"))
	}
}

func TestRules(t *testing.T) {
	gone := []string{}
	r := attended(t, func(c *Config) {
		c.Rules.Allow.Emails = []string{"*@example.com"}
		c.Rules.Deny.Users = []string{"mallory"}
		c.Resources[0].Rules.Allow.Groups = []string{"staff"}
	}, typed{&gone})
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	page := b.signIn(request(id), "mallory")
	r.refuses(t, page, http.StatusForbidden, "not_invited")
	t.Run("no answer of theirs gives a code", func(t *testing.T) {
		r.refuses(t, b.decide(page, "allow"), http.StatusForbidden, "not_invited")
	})
	t.Run("back to the client", func(t *testing.T) {
		if got := result(t, b.decide(page, "deny")); got.Get("error") != "access_denied" {
			t.Errorf("the client gets %v", got)
		}
	})
	t.Run("as somebody else", func(t *testing.T) {
		page = b.follow(b.decide(b.get(request(id)), "switch"))
		shows(t, page, http.StatusOK, signInMarker)
		page = b.follow(b.post(signInPath, signInForm(flowOf(t, page), "alice", "right")))
		shows(t, page, http.StatusOK, consentMarker)
	})
	code := result(t, b.decide(page, "allow")).Get("code")
	tokens := decode[struct {
		RefreshToken string `json:"refresh_token"`
	}](t, r.form("/oauth/token", codeForm(id, code)), http.StatusOK)
	t.Run("checked again at refresh", func(t *testing.T) {
		form := refreshForm(id, tokens.RefreshToken)
		r.cfg.Rules.Deny.Emails = []string{"ALICE@*"}
		r.refused(t, form, http.StatusBadRequest, "invalid_grant")
		r.cfg.Rules.Deny.Emails = nil
		gone = append(gone, "alice")
		r.refused(t, form, http.StatusBadRequest, "invalid_grant")
		shows(t, b.get(request(id)), http.StatusOK, signInMarker)
		gone = nil
		if w := r.form("/oauth/token", form); w.Code != http.StatusOK {
			t.Errorf("it should work again: %d %s", w.Code, w.Body)
		}
	})
}

func TestAmbient(t *testing.T) {
	r := attended(t, nil, proxied{})
	id := r.register(t, testClient).ClientID
	b := r.browser(t)
	r.refuses(t, b.get(request(id)), http.StatusForbidden, "proxy")
	b.header.Set("Remote-User", "carol")
	page := b.get(request(id))
	shows(t, page, http.StatusOK, "proxy|carol")
	if b.cookies["__Host-mcp_auth_session"] != "" {
		t.Error("an ambient login has a session")
	}
	t.Run("another person at the answer", func(t *testing.T) {
		b.header.Set("Remote-User", "mallory")
		if w := b.decide(page, "allow"); w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), authorizePath) {
			t.Errorf("%d %s", w.Code, w.Header().Get("Location"))
		}
		b.header.Del("Remote-User")
		if w := b.decide(page, "allow"); !strings.HasPrefix(w.Header().Get("Location"), authorizePath) {
			t.Errorf("%d %s", w.Code, w.Header().Get("Location"))
		}
		b.header.Set("Remote-User", "carol")
	})
	if result(t, b.decide(page, "allow")).Get("code") == "" {
		t.Error("no code")
	}
}

func TestLoginsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		logins []login.Method
		want   string
	}{
		"none":             {nil, "no login is configured"},
		"same id":          {[]login.Method{away{"a"}, away{"a"}}, "two logins are called a"},
		"bad id":           {[]login.Method{away{"A/b"}}, "an id has"},
		"auto and another": {[]login.Method{alice{}, typed{}}, "no other login"},
		"two bare":         {[]login.Method{typed{}, bare{}}, "plain user names"},
		"open":             {[]login.Method{open{}}, "say who may come in"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newMethods(c.logins, Config{Resources: []Resource{{}}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	cfg := Config{Resources: []Resource{{}}, Rules: login.Rules{Allow: login.People{Logins: []string{"pasword"}}}}
	if _, err := newMethods([]login.Method{typed{}}, cfg); err == nil || !strings.Contains(err.Error(), "pasword") {
		t.Errorf("a rule about a login that does not exist: %v", err)
	}
}

type bare struct{ proxied }

func (bare) Info() login.Info { return login.Info{ID: "bare", Ambient: true} }

type open struct{ away }

func (open) Info() login.Info { return login.Info{ID: "open", Namespace: "x", Open: true} }
