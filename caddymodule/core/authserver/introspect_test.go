package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// ask asks about a token, as a client with theSecret.
func (p *machines) ask(id, token string, more ...string) *httptest.ResponseRecorder {
	form := as(id, url.Values{"token": {token}})
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return p.from("192.0.2.7", introspectPath, form)
}

// introspect asks, and wants an answer in order.
func (p *machines) introspect(tb testing.TB, id, token string, more ...string) introspection {
	tb.Helper()
	w := p.ask(id, token, more...)
	got := decode[introspection](tb, w, http.StatusOK)
	if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json" || h.Get("Access-Control-Allow-Origin") != "" {
		tb.Errorf("headers %v", h)
	}
	if !got.Active && w.Body.String() != `{"active":false}` {
		tb.Errorf("I2: not active, and yet %s", w.Body)
	}
	return got
}

func TestIntrospectAccessToken(t *testing.T) {
	p := newMachines(t, nil)
	tokens := p.session(t, anyoneID)
	c := claimsOf(t, tokens.AccessToken)
	want := introspection{
		Active: true, Scope: tokens.Scope, ClientID: anyoneID, TokenType: "Bearer", Expires: c.Expires, IssuedAt: c.IssuedAt,
		Subject: "alice", Audience: testResource, Issuer: testIssuer, JWTID: c.JWTID,
	}
	for _, hint := range []string{"", "access_token", "refresh_token", "zzz"} {
		if got := p.introspect(t, serverID, tokens.AccessToken, "token_type_hint", hint); got != want {
			t.Errorf("hint %q: %+v", hint, got)
		}
	}
	program := p.introspect(t, serverID, p.batch(t).AccessToken)
	if program.Subject != "client|"+batchID || program.ClientID != batchID || !program.Active {
		t.Errorf("of a program: %+v", program)
	}
}

// TestIntrospectRefreshToken: as long as it can be redeemed, and never as
// something that a resource server could take for an access token (SPEC G28).
func TestIntrospectRefreshToken(t *testing.T) {
	p := newMachines(t, nil)
	first := p.session(t, anyoneID)
	got := p.introspect(t, serverID, first.RefreshToken)
	want := introspection{
		Active: true, Scope: first.Scope, ClientID: anyoneID, Subject: "alice", Audience: testIssuer, Issuer: testIssuer,
		IssuedAt: p.clock.Unix(), Expires: p.clock.Add(DefaultRefreshIdle).Unix(),
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	second := p.refresh(t, anyoneID, first.RefreshToken)
	active := func(token string) bool { return p.introspect(t, serverID, token).Active }
	if !active(first.RefreshToken) || !active(second.RefreshToken) {
		t.Error("not active inside the grace window")
	}
	p.pass(DefaultRefreshGrace + time.Second)
	if active(first.RefreshToken) || !active(second.RefreshToken) {
		t.Error("the old one is active after the grace window, or the new one is not")
	}
	// Asking is no use: the grant is as it was.
	p.refresh(t, anyoneID, second.RefreshToken)
	p.pass(DefaultRefreshIdle)
	if active(second.RefreshToken) {
		t.Error("active after its idle end")
	}
}

// leaver is a login whose people can go.
type leaver struct {
	alice
	err *error
}

func (l leaver) Recheck(ctx context.Context, id login.Identity) (login.Identity, error) {
	if *l.err != nil {
		return id, *l.err
	}
	return l.alice.Recheck(ctx, id)
}

// TestIntrospectPersonalAmongBadOnes: a resource server asks for all its callers
// from its own address, so 30 made-up tokens of a stranger kept everybody's good
// ones out for a minute.
func TestIntrospectPersonalAmongBadOnes(t *testing.T) {
	p := newMachines(t, func(c *Config, _ *Deps) { c.Resources[0].PersonalTokens = true })
	made := p.order(t, "alice", nil)
	for range 2 * maxPersonalUnknown {
		if p.introspect(t, serverID, newPersonalText()).Active {
			t.Fatal("a made-up token is active")
		}
	}
	if got := p.introspect(t, serverID, made.Token); !got.Active || got.Subject != "alice" {
		t.Errorf("a good token that was not seen before: %+v", got)
	}
	// What is said of bad ones is bounded all the same, and good ones go on.
	for range maxInactive - 2*maxPersonalUnknown {
		p.ask(serverID, "x")
	}
	if w := p.ask(serverID, newPersonalText()); w.Code != http.StatusTooManyRequests {
		t.Errorf("one bad token too many: %d %s", w.Code, w.Body)
	}
	if !p.introspect(t, serverID, p.order(t, "alice", nil).Token).Active {
		t.Error("a good token after too many bad ones is not active")
	}
	// Asking for others is no guessing of theirs: calls from there are looked at.
	if _, err := p.VerifyPersonal(oauth.WithMeta(t.Context(), oauth.Meta{RemoteIP: "192.0.2.7"}), newPersonalText()); !errors.Is(err, ErrPersonalDenied) {
		t.Errorf("a call from there: %v", err)
	}
}

// TestIntrospectInactive (SPEC I2, I3): everything that is no good token of the
// asker's looks the same.
func TestIntrospectInactive(t *testing.T) {
	var away error
	p := newMachines(t, func(_ *Config, d *Deps) { d.Logins = []login.Method{leaver{err: &away}} })
	tokens, ended, takenBack := p.session(t, anyoneID), p.session(t, anyoneID), p.session(t, anyoneID)
	gone(t, p.revoke(anyoneID, ended.RefreshToken))
	gone(t, p.revoke(anyoneID, takenBack.AccessToken))
	code := p.codeFor(t, anyoneID)
	foreign := newMachines(t, nil).session(t, anyoneID)
	for name, tt := range map[string]struct{ asker, token string }{
		"unknown":                               {serverID, "x"},
		"forged":                                {serverID, tokens.AccessToken[:len(tokens.AccessToken)-8] + "AAAAAAAA"},
		"signed by somebody":                    {serverID, p.robot.sign(t, map[string]any{"typ": "at+jwt"}, `{}`)},
		"another server's":                      {serverID, foreign.AccessToken},
		"another server's refresh token":        {serverID, foreign.RefreshToken},
		"a code":                                {serverID, code},
		"a client_id":                           {serverID, p.register(t, testClient).ClientID},
		"an assertion":                          {serverID, p.assertion(t, nil)},
		"a revoked grant":                       {serverID, ended.AccessToken},
		"a revoked grant's refresh token":       {serverID, ended.RefreshToken},
		"revoked at once":                       {serverID, takenBack.AccessToken},
		"I3 for another resource":               {edgeID, tokens.AccessToken},
		"I3 refresh token for another resource": {edgeID, tokens.RefreshToken},
		"I3 a program's, for another resource":  {edgeID, p.batch(t).AccessToken},
		"a token with blanks":                   {serverID, " " + tokens.AccessToken},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.introspect(t, tt.asker, tt.token); got.Active {
				t.Errorf("%+v", got)
			}
		})
	}
	if !p.introspect(t, serverID, takenBack.RefreshToken).Active {
		t.Error("the refresh token ended with an access token")
	}
	away = login.ErrDenied
	if p.introspect(t, serverID, tokens.RefreshToken).Active {
		t.Error("the refresh token of somebody who is gone is active")
	}
	away = nil
	p.pass(DefaultAccessTokenLifetime)
	if p.introspect(t, serverID, tokens.AccessToken).Active {
		t.Error("active after its end")
	}
}

// TestIntrospectRefused (SPEC I1): who may ask.
func TestIntrospectRefused(t *testing.T) {
	p := newMachines(t, nil)
	token := p.session(t, anyoneID).AccessToken
	with := func(id string) url.Values { return url.Values{"token": {token}, "client_id": {id}} }
	for name, tt := range map[string]struct {
		form   url.Values
		header []string
		status int
		code   string
	}{
		"anonymous":              {url.Values{"token": {token}}, nil, 401, oauth.CodeInvalidClient},
		"a public client":        {with(anyoneID), nil, 401, oauth.CodeInvalidClient},
		"nobody":                 {with("nobody"), nil, 401, oauth.CodeInvalidClient},
		"without its secret":     {with(serverID), nil, 401, oauth.CodeInvalidClient},
		"an end user's token":    {url.Values{"token": {token}}, []string{"Bearer " + token}, 401, oauth.CodeInvalidClient},
		"a wrong secret":         {with(serverID), []string{"Basic c2VydmVyOng="}, 401, oauth.CodeInvalidClient},
		"a client that may not":  {as(clerkID, url.Values{"token": {token}}), nil, 403, oauth.CodeUnauthorizedClient},
		"a program that may not": {url.Values{"token": {token}}, []string{basicOf(batchID)}, 403, oauth.CodeUnauthorizedClient},
		"no token":               {as(serverID, url.Values{}), nil, 400, oauth.CodeInvalidRequest},
		"two tokens":             {as(serverID, url.Values{"token": {token, token}}), nil, 400, oauth.CodeInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			w := p.from(name, introspectPath, tt.form, tt.header...)
			fails(t, w, tt.status, tt.code)
			if tt.status == http.StatusUnauthorized && tt.header != nil && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("WWW-Authenticate: %q", w.Header().Get("WWW-Authenticate"))
			}
		})
	}
	for _, method := range []string{"GET", "OPTIONS"} {
		if w := p.do(method, introspectPath, "", ""); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	without := newMachines(t, func(c *Config, _ *Deps) { c.Clients = c.Clients[:2] })
	if w := without.ask(serverID, token); w.Code != http.StatusNotFound {
		t.Errorf("B16: nobody may ask, and yet %d", w.Code)
	}
}

// blind is a store that finds no grant while it is broken.
type blind struct {
	store.Store
	broken bool
}

func (b *blind) Grant(ctx context.Context, now time.Time, id string) (store.Grant, error) {
	if b.broken {
		return store.Grant{}, errDisk
	}
	return b.Store.Grant(ctx, now, id)
}

// TestIntrospectOutage: whether a refresh token is good can't be known without
// the store; for an access token it is not needed.
func TestIntrospectOutage(t *testing.T) {
	b := new(blind)
	p := newMachines(t, func(_ *Config, d *Deps) { b.Store = d.Store; d.Store = b })
	tokens := p.session(t, anyoneID)
	b.broken = true
	fails(t, p.ask(serverID, tokens.RefreshToken), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable)
	if !p.introspect(t, serverID, tokens.AccessToken).Active {
		t.Error("not active")
	}
}

// TestIntrospectScan (SPEC I3, O44): who asks about one bad token after the other
// has to wait, and is still told about good ones.
func TestIntrospectScan(t *testing.T) {
	p := newMachines(t, nil)
	good := p.session(t, anyoneID).AccessToken
	for i := range maxInactive {
		p.introspect(t, serverID, fmt.Sprint("guess", i))
	}
	fails(t, p.ask(serverID, "guess"), http.StatusTooManyRequests, oauth.CodeTemporarilyUnavailable)
	if !p.introspect(t, serverID, good).Active {
		t.Error("a good token is not told any more")
	}
	if got := p.introspect(t, edgeID, "guess"); got.Active {
		t.Error("active")
	}
}

// ownSigner has the key with which the server signs its access tokens.
func (p *machines) ownSigner(tb testing.TB) signer {
	tb.Helper()
	ring, _, err := p.store.KeyRing(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var stored struct {
		Ring struct {
			Signing []struct{ Key json.RawMessage }
		}
	}
	if err := json.Unmarshal(ring, &stored); err != nil {
		tb.Fatal(err)
	}
	key, err := jwk.ParseKey(stored.Ring.Signing[0].Key)
	if err != nil {
		tb.Fatal(err)
	}
	return signer{key, jwa.ES256, key.KeyID()}
}

// TestOwnSignatureIsNotEnough: with the right key, and yet not an access token of
// this server: another kind of token (SPEC O27), or one of another issuer on the
// same keys (O28).
func TestOwnSignatureIsNotEnough(t *testing.T) {
	p := newMachines(t, nil)
	own := p.ownSigner(t)
	with := func(typ, issuer, jti string) string {
		return own.sign(t, map[string]any{"typ": typ}, fmt.Sprintf(
			`{"iss":%q,"sub":"alice","aud":%q,"client_id":"anyone","grant_id":"g","jti":%q,"iat":1,"exp":9999999999}`, issuer, testResource, jti))
	}
	for _, tt := range []struct {
		token string
		want  bool
	}{
		{with("at+jwt", testIssuer, "1"), true},
		{with("application/at+jwt", testIssuer, "2"), true},
		{with("JWT", testIssuer, "3"), false},
		{with("", testIssuer, "4"), false},
		{with("logout+jwt", testIssuer, "5"), false},
		{with("at+jwt", testIssuer+"/", "6"), false},
		{with("at+jwt", "https://as.example", "7"), false},
		{with("at+jwt", testIssuer, ""), false},
	} {
		if got := p.introspect(t, serverID, tt.token).Active; got != tt.want {
			t.Errorf("%s is active: %v", tt.token, got)
		}
		gone(t, p.revoke(anyoneID, tt.token))
	}
	if n := len(p.kinds(oauth.EventRevoke)); n != 2 {
		t.Errorf("%d were revoked, want 2", n)
	}
}
