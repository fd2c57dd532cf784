package authserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// revoke gives a token back, for a public client.
func (p *machines) revoke(clientID, token string, more ...string) *httptest.ResponseRecorder {
	form := url.Values{"client_id": {clientID}, "token": {token}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return p.from("192.0.2.9", revokePath, form)
}

// gone wants an answer that says that a token is no longer good.
func gone(tb testing.TB, w *httptest.ResponseRecorder) {
	tb.Helper()
	if w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		tb.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// codeFor returns a fresh code of a client for the first resource.
func (p *machines) codeFor(tb testing.TB, clientID string) string {
	tb.Helper()
	q := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "code_challenge": {challengeOf(testVerifier)}, "code_challenge_method": {"S256"}, "resource": {testResource},
	}
	u, err := url.Parse(p.do("GET", "/oauth/authorize?"+q.Encode(), "", "").Header().Get("Location"))
	if err != nil || u.Query().Get("code") == "" {
		tb.Fatalf("no code: %v %v", u, err)
	}
	return u.Query().Get("code")
}

// session takes a public client through the whole flow.
func (p *machines) session(tb testing.TB, clientID string) oauth.TokenResponse {
	tb.Helper()
	return decode[oauth.TokenResponse](tb, p.form(tokenPath, codeForm(clientID, p.codeFor(tb, clientID))), http.StatusOK)
}

// events of a kind, so far.
func (p *machines) kinds(kind oauth.EventKind) (found []oauth.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// TestRevokeRefreshToken (SPEC H4): with a refresh token, whichever of the grant,
// all of the grant ends.
func TestRevokeRefreshToken(t *testing.T) {
	for name, hint := range map[string]string{"no hint": "", "the right hint": "refresh_token", "H2 the wrong hint": "access_token", "H2 an unknown hint": "zzz"} {
		t.Run(name, func(t *testing.T) {
			p := newMachines(t, nil)
			first := p.session(t, anyoneID)
			other := p.session(t, anyoneID)
			second := p.refresh(t, anyoneID, first.RefreshToken)
			gone(t, p.revoke(anyoneID, second.RefreshToken, "token_type_hint", hint))
			for _, token := range []string{first.RefreshToken, second.RefreshToken} {
				p.refused(t, refreshForm(anyoneID, token), http.StatusBadRequest, oauth.CodeInvalidGrant)
			}
			if p.alive(t, first.AccessToken) || p.alive(t, second.AccessToken) {
				t.Error("an access token of the grant is alive")
			}
			if !p.alive(t, other.AccessToken) {
				t.Error("THREATS T5: another grant of the same client and person has ended too")
			}
			gone(t, p.revoke(anyoneID, second.RefreshToken)) // H2
			events := p.kinds(oauth.EventRevoke)
			if len(events) != 1 || events[0].Reason != "client" || events[0].Subject != "alice" || events[0].GrantID == "" || events[0].Resource != testResource {
				t.Errorf("events: %+v", events)
			}
		})
	}
	t.Run("one that was rotated away", func(t *testing.T) {
		p := newMachines(t, nil)
		first := p.session(t, anyoneID)
		second := p.refresh(t, anyoneID, first.RefreshToken)
		p.pass(time.Hour)
		gone(t, p.revoke(anyoneID, first.RefreshToken))
		p.refused(t, refreshForm(anyoneID, second.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	})
}

// TestRevokeAccessToken (SPEC J5): an access token ends alone, on every node that
// follows the feed.
func TestRevokeAccessToken(t *testing.T) {
	p := newMachines(t, nil)
	first := p.session(t, anyoneID)
	second := p.refresh(t, anyoneID, first.RefreshToken)
	ended := make(chan struct{})
	c := claimsOf(t, first.AccessToken)
	p.deps.Revoked.Watch(&Watch{Of: &Watched{GrantID: c.GrantID, Token: c.JWTID}, End: func() { close(ended) }})
	gone(t, p.revoke(anyoneID, first.AccessToken, "token_type_hint", "refresh_token"))
	<-ended
	if p.alive(t, first.AccessToken) || !p.alive(t, second.AccessToken) {
		t.Error("not this token, or not this one alone")
	}
	elsewhere := NewRevocationSet()
	if err := elsewhere.Follow(t.Context(), p.clock, p.store); err != nil || !elsewhere.TokenRevoked(c.JWTID) {
		t.Errorf("another node does not know: %v", err)
	}
	// As long as a token could be good, clocks that differ included.
	p.pass(DefaultAccessTokenLifetime + accessLeeway)
	if err := elsewhere.Follow(t.Context(), p.clock, p.store); err != nil || !elsewhere.TokenRevoked(c.JWTID) {
		t.Errorf("forgotten too early: %v", err)
	}
	p.refresh(t, anyoneID, second.RefreshToken)
	gone(t, p.revoke(anyoneID, second.AccessToken)) // expired
	if n := len(p.kinds(oauth.EventRevoke)); n != 1 {
		t.Errorf("%d revocations", n)
	}
	t.Run("of a program", func(t *testing.T) {
		a, b := p.batch(t), p.batch(t)
		gone(t, p.from("x", revokePath, url.Values{"token": {a.AccessToken}}, basicOf(batchID)))
		if p.alive(t, a.AccessToken) || !p.alive(t, b.AccessToken) {
			t.Error("not this token, or not this one alone")
		}
	})
}

// TestRevokeForeign (SPEC H3, THREATS T9): nobody revokes another client's token,
// and the answer says so.
func TestRevokeForeign(t *testing.T) {
	p := newMachines(t, nil)
	tokens, program := p.session(t, anyoneID), p.batch(t)
	thief := p.register(t, testClient).ClientID
	for _, token := range []string{tokens.AccessToken, tokens.RefreshToken, program.AccessToken} {
		fails(t, p.revoke(thief, token), http.StatusBadRequest, oauth.CodeInvalidGrant)
		fails(t, p.from("x", revokePath, as(serverID, url.Values{"token": {token}})), http.StatusBadRequest, oauth.CodeInvalidGrant)
	}
	if !p.alive(t, tokens.AccessToken) || !p.alive(t, program.AccessToken) {
		t.Error("a token was revoked")
	}
	p.refresh(t, anyoneID, tokens.RefreshToken)
}

// TestRevokeNothing (SPEC H2): what is no good token is no error.
func TestRevokeNothing(t *testing.T) {
	p := newMachines(t, nil)
	code, tokens := p.codeFor(t, anyoneID), p.session(t, anyoneID)
	forged := p.robot.sign(t, map[string]any{"typ": "at+jwt"}, `{"iss":"`+testIssuer+`","jti":"x","client_id":"anyone","exp":9999999999}`)
	foreign := newMachines(t, nil).session(t, anyoneID) // of another server, with other keys
	for name, token := range map[string]string{
		"garbage": "x", "a code": code, "a client_id": p.register(t, testClient).ClientID, "a forged token": forged,
		"an assertion": p.assertion(t, nil), "no JWT": "..", "cut short": tokens.RefreshToken[1:], "a bit more": tokens.AccessToken + "x",
		"another server's": foreign.AccessToken, "another server's refresh token": foreign.RefreshToken, "every character": "\x00\xff\u2028<>\"",
	} {
		t.Run(name, func(t *testing.T) { gone(t, p.revoke(anyoneID, token)) })
	}
	// The code was not touched.
	decode[oauth.TokenResponse](t, p.form(tokenPath, codeForm(anyoneID, code)), http.StatusOK)
	if n := len(p.kinds(oauth.EventRevoke)); n != 0 {
		t.Errorf("%d revocations", n)
	}
	p.pass(DefaultRefreshAbsolute + 24*time.Hour)
	gone(t, p.revoke(anyoneID, tokens.RefreshToken))
}

// TestRevokeRefused (SPEC H1, H5): how a request must not look.
func TestRevokeRefused(t *testing.T) {
	p := newMachines(t, nil)
	token := p.session(t, anyoneID).AccessToken
	for name, tt := range map[string]struct {
		form   url.Values
		header []string
		status int
		code   string
	}{
		"no token":              {url.Values{"client_id": {anyoneID}}, nil, 400, oauth.CodeInvalidRequest},
		"an empty token":        {url.Values{"client_id": {anyoneID}, "token": {""}}, nil, 400, oauth.CodeInvalidRequest},
		"two tokens":            {url.Values{"client_id": {anyoneID}, "token": {token, token}}, nil, 400, oauth.CodeInvalidRequest},
		"nobody":                {url.Values{"client_id": {"nobody"}, "token": {token}}, nil, 401, oauth.CodeInvalidClient},
		"no client":             {url.Values{"token": {token}}, nil, 401, oauth.CodeInvalidClient},
		"a confidential client": {url.Values{"client_id": {serverID}, "token": {token}}, nil, 401, oauth.CodeInvalidClient},
		"the token as a bearer": {url.Values{"token": {token}}, []string{"Bearer " + token}, 401, oauth.CodeInvalidClient},
		"two methods":           {as(serverID, url.Values{"token": {token}}), []string{basicOf(serverID)}, 400, oauth.CodeInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			w := p.from(name, revokePath, tt.form, tt.header...)
			fails(t, w, tt.status, tt.code)
			if (tt.status == http.StatusUnauthorized && tt.header != nil) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("WWW-Authenticate: %q", w.Header().Get("WWW-Authenticate"))
			}
		})
	}
	if w := p.do("GET", revokePath, "", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d", w.Code)
	}
	if w := p.do("POST", revokePath+"?token=x&client_id="+anyoneID, "application/x-www-form-urlencoded", ""); w.Code != http.StatusBadRequest {
		t.Errorf("in the URL: %d", w.Code)
	}
	if w := p.do("POST", revokePath, "application/json", `{"token":"x"}`); w.Code != http.StatusBadRequest {
		t.Errorf("JSON: %d", w.Code)
	}
	if w := p.do("OPTIONS", revokePath, "", ""); w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
	if !p.alive(t, token) {
		t.Error("the token was revoked")
	}
}

// mute is a store that takes no revocation while it is broken.
type mute struct {
	store.Store
	broken *atomic.Bool
}

func (m mute) RevokeGrant(ctx context.Context, now time.Time, r store.Revocation) (bool, error) {
	if m.broken.Load() {
		return false, errDisk
	}
	return m.Store.RevokeGrant(ctx, now, r)
}

func (m mute) Announce(ctx context.Context, now time.Time, r store.Revocation) error {
	if m.broken.Load() {
		return errDisk
	}
	return m.Store.Announce(ctx, now, r)
}

// THREATS T6 (CVE-2020-15223): a revocation that is not in the store is not
// reported as one, and not remembered either; the next attempt works.
func TestRevokeOutage(t *testing.T) {
	var broken atomic.Bool
	p := newMachines(t, func(_ *Config, d *Deps) { d.Store = mute{d.Store, &broken} })
	tokens := p.session(t, anyoneID)
	broken.Store(true)
	for _, token := range []string{tokens.RefreshToken, tokens.AccessToken} {
		w := p.revoke(anyoneID, token)
		fails(t, w, http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable)
		if strings.Contains(w.Body.String(), "disk") {
			t.Errorf("the cause is told: %s", w.Body)
		}
	}
	if !p.alive(t, tokens.AccessToken) {
		t.Error("the token is dead on this node and alive on others")
	}
	broken.Store(false)
	gone(t, p.revoke(anyoneID, tokens.AccessToken))
	gone(t, p.revoke(anyoneID, tokens.RefreshToken))
	if p.alive(t, tokens.AccessToken) {
		t.Error("the token is alive")
	}
}

// TestRevokeRace: revoked and refreshed at once 64 times, a grant has ended, and
// so has every access token that came out of the race; one revocation is noted.
func TestRevokeRace(t *testing.T) {
	p := newMachines(t, nil)
	tokens := p.session(t, anyoneID)
	var all sync.WaitGroup
	var mu sync.Mutex
	access := []string{tokens.AccessToken}
	for i := range 64 {
		all.Go(func() {
			if i%2 == 0 {
				if w := p.revoke(anyoneID, tokens.RefreshToken); w.Code != http.StatusOK {
					t.Errorf("revoke: %d %s", w.Code, w.Body)
				}
				return
			}
			w := p.form(tokenPath, refreshForm(anyoneID, tokens.RefreshToken))
			switch w.Code {
			case http.StatusOK:
				mu.Lock()
				access = append(access, decode[oauth.TokenResponse](t, w, http.StatusOK).AccessToken)
				mu.Unlock()
			case http.StatusBadRequest:
			default:
				t.Errorf("refresh: %d %s", w.Code, w.Body)
			}
		})
	}
	all.Wait()
	if slices.ContainsFunc(access, func(token string) bool { return p.alive(t, token) }) {
		t.Error("an access token is alive")
	}
	p.refused(t, refreshForm(anyoneID, tokens.RefreshToken), http.StatusBadRequest, oauth.CodeInvalidGrant)
	if n := len(p.kinds(oauth.EventRevoke)); n != 1 {
		t.Errorf("%d revocations of one grant", n)
	}
}

// paper is a kind of opaque tokens.
type paper struct{ err error }

func (paper) recognizes(raw string) bool { return strings.HasPrefix(raw, "paper_") }

func (k paper) claims(_ context.Context, raw string) (oauth.AccessTokenClaims, error) {
	return oauth.AccessTokenClaims{
		Issuer: testIssuer, Subject: "alice", Audience: testResource, ClientID: "paper", Scope: "mcp:tools:read",
		GrantID: "paper", IssuedAt: 1, Expires: 9_999_999_999,
	}, k.err
}

// TestOpaqueTokens: a further kind is not for clients to revoke, and resource
// servers may ask about it.
func TestOpaqueTokens(t *testing.T) {
	p := newMachines(t, nil)
	gone(t, p.revoke(anyoneID, "paper_1"))
	p.opaque = []opaqueTokens{paper{}}
	fails(t, p.revoke(anyoneID, "paper_1"), http.StatusBadRequest, oauth.CodeUnsupportedTokenType)
	if got := p.introspect(t, serverID, "paper_1"); !got.Active || got.Subject != "alice" || got.Scope != "mcp:tools:read" {
		t.Errorf("%+v", got)
	}
	if got := p.introspect(t, edgeID, "paper_1"); got != (introspection{}) {
		t.Errorf("another resource server learns %+v", got)
	}
	p.opaque = []opaqueTokens{paper{errInactive}}
	if got := p.introspect(t, serverID, "paper_1"); got != (introspection{}) {
		t.Errorf("%+v", got)
	}
	p.opaque = []opaqueTokens{paper{errDisk}}
	fails(t, p.ask(serverID, "paper_1"), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable)
}
