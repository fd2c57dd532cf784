package authserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestRefreshGrace walks the clock through DESIGN idea 3: the same token again
// inside the window, theft outside of it.
func TestRefreshGrace(t *testing.T) {
	r := newRig(t, nil)
	c := r.register(t, testClient).ClientID
	first := r.tokens(t, c)
	second := r.refresh(t, c, first.RefreshToken)
	if second.RefreshToken == first.RefreshToken {
		t.Error("the refresh token is not rotated")
	}
	r.pass(DefaultRefreshGrace)
	again := r.refresh(t, c, first.RefreshToken)
	if again.RefreshToken != second.RefreshToken {
		t.Error("a lost answer is not given again")
	}
	if again.AccessToken == second.AccessToken {
		t.Error("the access token is the same")
	}
	third := r.refresh(t, c, second.RefreshToken)
	r.pass(time.Second)
	r.refresh(t, c, second.RefreshToken) // inside its own window
	r.refused(t, refreshForm(c, first.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	r.refused(t, refreshForm(c, third.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	r.refused(t, refreshForm(c, second.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	if !r.deps.Revoked.Revoked(grantOf(t, r, third.RefreshToken)) {
		t.Error("the access tokens live on after theft")
	}
}

func grantOf(t *testing.T, r *rig, refresh string) string {
	t.Helper()
	d, err := r.openRefresh(refresh)
	if err != nil {
		t.Fatal(err)
	}
	return d.grantID
}

func TestOldRefreshTokenAfterTheWindowIsTheft(t *testing.T) {
	r := newRig(t, nil)
	c := r.register(t, testClient).ClientID
	first := r.tokens(t, c)
	second := r.refresh(t, c, first.RefreshToken)
	r.pass(DefaultRefreshGrace + time.Second)
	r.refused(t, refreshForm(c, first.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	r.refused(t, refreshForm(c, second.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	last := r.events[len(r.events)-3]
	if last.Kind != oauth.EventRevoke || last.Reason != "refresh_reuse" {
		t.Errorf("events end with %+v", last)
	}
}

// TestRevocationOutlivesAShortenedLifetime: tokens that were made when the
// lifetime was longer must not come back to life.
func TestRevocationOutlivesAShortenedLifetime(t *testing.T) {
	const long = 30 * 24 * time.Hour
	r := newRig(t, func(c *Config, _ *Deps) { c.Lifetimes.AccessToken = long })
	c := r.register(t, testClient).ClientID
	first := r.tokens(t, c)
	second := r.refresh(t, c, first.RefreshToken)
	r.cfg.Lifetimes.AccessToken = time.Hour // a new configuration
	r.pass(DefaultRefreshGrace + time.Second)
	r.refused(t, refreshForm(c, first.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	grant := grantOf(t, r, second.RefreshToken)
	r.pass(long - time.Hour)
	if err := r.deps.Revoked.Follow(t.Context(), r.clock, r.store); err != nil || !r.deps.Revoked.Revoked(grant) {
		t.Errorf("the revocation is forgotten while a token could live: %v", err)
	}
}

// TestRedirectKeepsItsQuery: the code must arrive in the query, once (SPEC F9).
func TestRedirectKeepsItsQuery(t *testing.T) {
	r := newRig(t, nil)
	for registered, want := range map[string]string{
		"http://127.0.0.1/cb": "http://127.0.0.1/cb?code=", "http://127.0.0.1/cb?": "http://127.0.0.1/cb?code=",
		"http://127.0.0.1/cb?x=1": "http://127.0.0.1/cb?x=1&code=", "http://127.0.0.1": "http://127.0.0.1?code=",
	} {
		c := r.register(t, `{"redirect_uris":["`+registered+`"]}`).ClientID
		q := url.Values{"response_type": {"code"}, "client_id": {c}, "code_challenge": {challengeOf(testVerifier)}, "code_challenge_method": {"S256"}}
		if got := r.do("GET", "/oauth/authorize?"+q.Encode(), "", "").Header().Get("Location"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", registered, got)
		}
	}
}

func TestGraceTurnedOff(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) { c.Lifetimes.RefreshGrace = -1 })
	c := r.register(t, testClient).ClientID
	first := r.tokens(t, c)
	second := r.refresh(t, c, first.RefreshToken)
	r.refused(t, refreshForm(c, first.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	r.refused(t, refreshForm(c, second.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
}

func TestGrantEnds(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		r := newRig(t, nil)
		c := r.register(t, testClient).ClientID
		token := r.tokens(t, c).RefreshToken
		r.pass(DefaultRefreshIdle - time.Second)
		token = r.refresh(t, c, token).RefreshToken
		r.pass(DefaultRefreshIdle)
		r.refused(t, refreshForm(c, token), http.StatusBadRequest, oauth.CodeInvalidGrant)
	})
	t.Run("absolute", func(t *testing.T) {
		r := newRig(t, nil)
		c := r.register(t, testClient).ClientID
		token := r.tokens(t, c).RefreshToken
		for range 6 {
			r.pass(DefaultRefreshAbsolute/6 - time.Minute)
			token = r.refresh(t, c, token).RefreshToken
		}
		r.pass(4 * time.Minute)
		if resp := r.refresh(t, c, token); resp.ExpiresIn > 2*60 {
			t.Errorf("an access token outlives its grant: %d s", resp.ExpiresIn)
		}
		r.pass(3 * time.Minute)
		r.refused(t, refreshForm(c, token), http.StatusBadRequest, oauth.CodeInvalidGrant)
	})
}

// TestReplayedCode: a valid replay ends the grant, also after the code has
// expired; an invalid one does no harm (SPEC G16, THREATS K6).
func TestReplayedCode(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at once": 0, "after its expiry": time.Hour} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.register(t, testClient).ClientID
			code := r.code(t, c)
			tokens := decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(c, code)), http.StatusOK)
			r.pass(wait)
			bad := codeForm(c, code)
			bad.Set("code_verifier", strings.Repeat("x", 43))
			r.refused(t, bad, http.StatusBadRequest, oauth.CodeInvalidGrant)
			other := r.register(t, testClient).ClientID
			r.refused(t, codeForm(other, code), http.StatusBadRequest, oauth.CodeInvalidGrant)
			tokens = r.refresh(t, c, tokens.RefreshToken)
			r.refused(t, codeForm(c, code), http.StatusBadRequest, oauth.CodeInvalidGrant)
			r.refused(t, refreshForm(c, tokens.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
		})
	}
}

func TestThreeAttemptsForACode(t *testing.T) {
	r := newRig(t, nil)
	c := r.register(t, testClient).ClientID
	code := r.code(t, c)
	bad := codeForm(c, code)
	bad.Set("code_verifier", strings.Repeat("x", 43))
	r.refused(t, bad, http.StatusBadRequest, oauth.CodeInvalidGrant)
	r.refused(t, bad, http.StatusBadRequest, oauth.CodeInvalidGrant)
	decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(c, code)), http.StatusOK)
	code = r.code(t, c)
	bad.Set("code", code)
	for range 3 {
		r.refused(t, bad, http.StatusBadRequest, oauth.CodeInvalidGrant)
	}
	r.refused(t, codeForm(c, code), http.StatusBadRequest, oauth.CodeInvalidGrant)
}

// brokenStore fails every call after break is set.
type brokenStore struct {
	store.Store
	broken bool
}

var errDisk = errors.New("disk on fire at /secret/path")

func (b *brokenStore) CreateGrant(ctx context.Context, now time.Time, g store.Grant) error {
	if b.broken {
		return errDisk
	}
	return b.Store.CreateGrant(ctx, now, g)
}

func (b *brokenStore) Grant(ctx context.Context, now time.Time, id string) (store.Grant, error) {
	if b.broken {
		return store.Grant{}, errDisk
	}
	return b.Store.Grant(ctx, now, id)
}

func (b *brokenStore) RevokeGrant(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
	if b.broken {
		return false, errDisk
	}
	return b.Store.RevokeGrant(ctx, now, r)
}

func (b *brokenStore) Ping(context.Context) error {
	if b.broken {
		return errDisk
	}
	return nil
}

// TestOutage: a broken store is 503 with Retry-After for everything that needs
// it, never a verdict about the client, and its text stays inside (SPEC G5).
func TestOutage(t *testing.T) {
	b := new(brokenStore)
	r := newRig(t, func(_ *Config, d *Deps) { b.Store = d.Store; d.Store = b })
	c := r.register(t, testClient).ClientID
	code, refresh := r.code(t, c), r.tokens(t, c).RefreshToken
	b.broken = true
	for name, answer := range map[string]func() *httptestRecorder{
		"code":    func() *httptestRecorder { return r.form("/oauth/token", codeForm(c, code)) },
		"refresh": func() *httptestRecorder { return r.form("/oauth/token", refreshForm(c, refresh)) },
		"health":  func() *httptestRecorder { return r.do("GET", "/oauth/health", "", "") },
	} {
		w := answer()
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "disk") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	b.broken = false
	decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(c, code)), http.StatusOK)
	r.refresh(t, c, refresh)
}

// TestOutageDuringTheft: a revocation that did not happen is not reported as
// one, and the next attempt finds the thief again (THREATS T6).
func TestOutageDuringTheft(t *testing.T) {
	b := new(brokenStore)
	r := newRig(t, func(_ *Config, d *Deps) { b.Store = d.Store; d.Store = b })
	c := r.register(t, testClient).ClientID
	code := r.code(t, c)
	refresh := decode[oauth.TokenResponse](t, r.form("/oauth/token", codeForm(c, code)), http.StatusOK).RefreshToken
	b.broken = true
	r.refused(t, codeForm(c, code), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable)
	b.broken = false
	r.refused(t, codeForm(c, code), http.StatusBadRequest, oauth.CodeInvalidGrant)
	r.refused(t, refreshForm(c, refresh), http.StatusBadRequest, oauth.CodeInvalidGrant)
}
