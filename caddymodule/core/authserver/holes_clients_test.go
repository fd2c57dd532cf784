package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/passhash"
)

// Each test here tells of a hole in what clients may do, or of what they could do
// to each other, that this server had before its release.

// Who has a /64 of IPv6 has 2^64 addresses, and each of them had guesses at a
// secret, and questions about tokens, of its own.
func TestOneNetworkIsOneGuesser(t *testing.T) {
	p := newMachines(t, nil)
	for i := range 20 {
		want := http.StatusUnauthorized
		if i >= 10 {
			want = http.StatusTooManyRequests
		}
		ip := fmt.Sprintf("2001:db8:5::%x", i+1)
		if got := p.basicFrom(ip, batchID, "guess", url.Values{"grant_type": {oauth.GrantClientCredentials}}).Code; got != want {
			t.Errorf("guess %d: %d, want %d", i, got, want)
		}
	}
	if got := p.basicFrom("2001:db8:5:1::1", batchID, theSecret, url.Values{"grant_type": {oauth.GrantClientCredentials}}).Code; got != http.StatusOK {
		t.Errorf("the client in another network: %d", got)
	}
	for i := range maxInactive + 10 {
		want := http.StatusOK
		if i >= maxInactive {
			want = http.StatusTooManyRequests
		}
		if got := p.from(fmt.Sprintf("2001:db8:6::%x", i+1), introspectPath, as(serverID, url.Values{"token": {"guess"}})).Code; got != want {
			t.Fatalf("question %d: %d, want %d", i, got, want)
		}
	}
}

// The room that is kept for clients that were right before was theirs for an hour
// after their hash was computed: as long as none had to be computed. A client that
// works all day was a stranger again when it needed the room.
func TestKnownClientHasRoomWhenItsSecretIsForgotten(t *testing.T) {
	p := newHashed(t)
	right := func() int { return p.tries("argon2", theSecret).Code }
	if got := right(); got != http.StatusOK {
		t.Fatal(got)
	}
	p.secrets.known.InvalidateAll() // as time does: its hash was computed long ago
	if got := right(); got != http.StatusOK {
		t.Fatal(got)
	}
	p.secrets.right.InvalidateAll() // and its secret is forgotten
	p.secrets.gate = passhash.NewGate(1)
	leave, err := p.secrets.gate.Enter(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range passhash.RoomPerSlot / 2 {
		go func() { _, _ = p.secrets.gate.Enter(ctx, false) }()
	}
	for p.secrets.gate.Waiting() < passhash.RoomPerSlot/2 {
		runtime.Gosched()
	}
	if got := p.tries("bcrypt", theSecret).Code; got != http.StatusServiceUnavailable {
		t.Errorf("a client that was never right: %d", got)
	}
	told := make(chan int)
	go func() { told <- right() }()
	for p.secrets.gate.Waiting() == passhash.RoomPerSlot/2 {
		select {
		case got := <-told:
			t.Fatalf("strangers took its room: %d", got)
		default:
			runtime.Gosched()
		}
	}
	cancel()
	leave()
	if got := <-told; got != http.StatusOK {
		t.Errorf("the client that was right before: %d", got)
	}
}

// Each unknown client_id is a guess of its own, so one network could have slow
// hashes computed without end. Now it has some in a minute, and whatever needs no
// hash goes on there.
func TestVainHashesAreBounded(t *testing.T) {
	p := newHashed(t)
	try := func(ip, id, secret string) int {
		return p.basicFrom(ip, id, secret, url.Values{"grant_type": {oauth.GrantClientCredentials}}).Code
	}
	if got := try("2001:db8:7::1", "bcrypt", theSecret); got != http.StatusOK {
		t.Fatal(got)
	}
	for i := range maxVainHashes {
		if got := try(fmt.Sprintf("2001:db8:7::%x", i+1), fmt.Sprint("nobody", i), "x"); got != http.StatusUnauthorized {
			t.Fatalf("%d: %d", i, got)
		}
	}
	p.secrets.gate = passhash.NewGate(0) // nothing more may be computed
	for what, c := range map[string]struct {
		id, secret string
		want       int
	}{
		"unknown":                  {"nobody", "x", http.StatusTooManyRequests},
		"a wrong secret":           {"bcrypt", "x", http.StatusTooManyRequests},
		"another kind of secret":   {"sha256", "x", http.StatusTooManyRequests},
		"a wrong method":           {clerkID, "x", http.StatusTooManyRequests},
		"right, to be computed":    {"argon2", theSecret, http.StatusTooManyRequests},
		"right, remembered":        {"bcrypt", theSecret, http.StatusOK},
		"right, without slow hash": {"sha256", theSecret, http.StatusOK},
	} {
		if got := try("2001:db8:7::1", c.id, c.secret); got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
	p.secrets.gate = passhash.NewGate(1)
	if got := try("2001:db8:8::1", "argon2", theSecret); got != http.StatusOK {
		t.Errorf("another network: %d", got)
	}
}

// The grants of a trusted client, which nobody was asked about, counted as people's
// agreement when the operator did not trust it any more: still nobody was asked.
func TestTrustTakenBackIsNoAgreement(t *testing.T) {
	app := Client{
		ID: "app", Name: "App", AuthMethod: oauth.AuthMethodNone, RedirectURIs: []string{"https://app.example/cb"},
		GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, Trusted: true,
	}
	r := attended(t, func(c *Config) { c.Clients = []Client{app} })
	b := r.browser(t)
	code := result(t, b.signIn(request("app"), "alice")).Get("code")
	tokens := decode[oauth.TokenResponse](t, r.form(tokenPath, codeForm("app", code)), http.StatusOK)
	app.Trusted = false
	later := newRig(t, func(c *Config, d *Deps) {
		c.AllowUnattended, c.Clients = false, []Client{app}
		d.Logins = []login.Method{typed{}}
		d.Store, d.Keys, d.Now = r.store, r.deps.Keys, r.now
	})
	b = &browser{later, t, b.cookies, b.header}
	page := b.get(request("app"))
	shows(t, page, http.StatusOK, consentMarker)
	// What they have goes on; what they say now counts.
	later.refresh(t, "app", tokens.RefreshToken)
	code = result(t, b.decide(page, "allow")).Get("code")
	decode[oauth.TokenResponse](t, later.form(tokenPath, codeForm("app", code)), http.StatusOK)
	if result(t, b.get(request("app"))).Get("code") == "" {
		t.Error("the person is asked again after they agreed")
	}
}

// The refresh tokens of a client that was deleted, or taken out of the
// configuration, were active by introspection, though nobody could redeem them.
func TestRefreshTokenOfAClientThatIsGoneIsInactive(t *testing.T) {
	broken := new(brokenClients)
	p := newMachines(t, func(_ *Config, d *Deps) { broken.Store, d.Store = d.Store, broken })
	info := p.register(t, testClient)
	dynamic, configured := p.session(t, info.ClientID).RefreshToken, p.session(t, anyoneID).RefreshToken
	for _, token := range []string{dynamic, configured} {
		if !p.introspect(t, serverID, token).Active {
			t.Fatal("not active")
		}
	}
	broken.read = errors.New("down")
	fails(t, p.ask(serverID, dynamic), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable) // no verdict
	broken.read = nil
	if w := p.manage("DELETE", info.RegistrationClientURI, info.RegistrationAccessToken, ""); w.Code != http.StatusNoContent {
		t.Fatal(w.Code)
	}
	delete(p.clients, anyoneID)
	for name, token := range map[string]string{"deleted": dynamic, "not configured any more": configured} {
		if p.introspect(t, serverID, token).Active {
			t.Errorf("%s: the refresh token is active", name)
		}
	}
}

// A deletion that lost to a change was answered with an error, and had yet ended
// all tokens of the next minutes: the client lived on and could do nothing.
func TestDeleteThatLosesEndsNothing(t *testing.T) {
	broken := new(brokenClients)
	p := newMachines(t, func(_ *Config, d *Deps) { broken.Store, d.Store = d.Store, broken })
	info := p.register(t, testClient)
	broken.before = func() { p.put(t, info, `"client_name":"New",`+loopbackCB) }
	wantNotTheClient(t, p.manage("DELETE", info.RegistrationClientURI, info.RegistrationAccessToken, ""))
	if !p.alive(t, p.session(t, info.ClientID).AccessToken) {
		t.Error("the tokens of a living client are dead")
	}
	if entries, _, err := p.store.Revocations(t.Context(), p.now(), ""); err != nil || len(entries) != 0 {
		t.Errorf("the feed: %+v, %v", entries, err)
	}
}

// The client is deleted before its tokens end, so whoever was told that the second
// step failed has to be able to ask for it again, with the token that they have.
func TestDeleteThatFailedHalfwayIsFinished(t *testing.T) {
	broken := new(brokenClients)
	p := newMachines(t, func(_ *Config, d *Deps) { broken.Store, d.Store = d.Store, broken })
	info := p.register(t, testClient)
	old := info.RegistrationAccessToken
	info = p.put(t, info, `"client_name":"New",`+loopbackCB)
	token := p.session(t, info.ClientID).AccessToken
	remove := func(with string) int { return p.manage("DELETE", info.RegistrationClientURI, with, "").Code }
	broken.announce = errors.New("down")
	for range 2 {
		if got := remove(info.RegistrationAccessToken); got != http.StatusServiceUnavailable {
			t.Fatalf("an outage: %d", got)
		}
	}
	broken.announce = nil
	if got := remove(old); got != http.StatusUnauthorized || !p.alive(t, token) {
		t.Errorf("a token that an update replaced: %d", got)
	}
	p.pass(time.Minute)
	for range 3 {
		if got := remove(info.RegistrationAccessToken); got != http.StatusNoContent || p.alive(t, token) {
			t.Errorf("again: %d, and the token is alive: %v", got, p.alive(t, token))
		}
	}
	if entries, _, err := p.store.Revocations(t.Context(), p.now(), ""); err != nil || len(entries) != 1 {
		t.Errorf("the feed: %+v, %v", entries, err)
	}
	p.pass(48 * time.Hour)
	if got := remove(info.RegistrationAccessToken); got != http.StatusNoContent {
		t.Errorf("days later: %d", got)
	}
}

// Three networks of one customer took the turns of everybody who wants to change
// or delete a registration, and who waited was told about registering.
func TestNobodyIsKeptFromTheirOwnRegistration(t *testing.T) {
	r := newRig(t, nil)
	send := func(ip, method string, info oauth.ClientInformation, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, info.RegistrationClientURI, strings.NewReader(body))
		req = req.WithContext(oauth.WithMeta(req.Context(), oauth.Meta{RemoteIP: ip}))
		req.Header.Set("Authorization", "Bearer "+info.RegistrationAccessToken)
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		return w
	}
	changed := r.put(t, r.register(t, testClient), `"client_name":"New",`+loopbackCB)
	r.pass(time.Minute)
	flood := func(networks string) (taken int) {
		for i := range 4 * changesRate.PerAddress {
			if send(fmt.Sprintf(networks, i/changesRate.PerAddress), "DELETE", r.register(t, testClient), "").Code == http.StatusNoContent {
				taken++
			}
		}
		return taken
	}
	if n := flood("2001:db8:0:%x::1"); n != changesRate.PerAddress {
		t.Errorf("one customer has %d turns", n)
	}
	if w := send("192.0.2.1", "DELETE", r.register(t, testClient), ""); w.Code != http.StatusNoContent {
		t.Errorf("somebody else: %d", w.Code)
	}
	flood("2001:db8:%x::1") // many customers
	w := send("192.0.2.1", "DELETE", r.register(t, testClient), "")
	if fails(t, w, http.StatusTooManyRequests, oauth.CodeTemporarilyUnavailable); !strings.Contains(w.Body.String(), "change or delete") {
		t.Errorf("they are told %s", w.Body)
	}
	body := `{"client_id":"` + changed.ClientID + `","client_name":"Newer",` + loopbackCB + `}`
	changed = decode[oauth.ClientInformation](t, send("192.0.2.1", "PUT", changed, body), http.StatusOK)
	if w := send("192.0.2.1", "DELETE", changed, ""); w.Code != http.StatusNoContent {
		t.Errorf("a client that has a record: %d", w.Code)
	}
}
