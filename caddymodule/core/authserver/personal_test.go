package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const secondServer = "https://pay.example/mcp"

// personalRig is a server with people of a password login, a resource that
// accepts personal access tokens, one with other scopes, and one that doesn't.
func personalRig(tb testing.TB, edit func(*Config, *Deps)) *rig {
	tb.Helper()
	return newRig(tb, func(c *Config, d *Deps) {
		c.AllowUnattended = false
		c.Resources[0].PersonalTokens = true
		c.Resources = append(c.Resources,
			Resource{URIs: []string{secondServer}, Scopes: oauth.Scope{"pay:read"}, PersonalTokens: true, Rules: login.Rules{Deny: login.People{Users: []string{"bob"}}}},
			Resource{URIs: []string{"https://closed.example/mcp"}, Scopes: DefaultScopes},
		)
		d.Logins = []login.Method{typed{}}
		if edit != nil {
			edit(c, d)
		}
	})
}

// order makes a token for somebody, which must work.
func (r *rig) order(tb testing.TB, user string, edit func(*PersonalOrder)) MintedPersonal {
	tb.Helper()
	o := PersonalOrder{User: user, Name: "Nightly report", Resource: testResource, Seconds: 3600 * 24 * 30}
	if edit != nil {
		edit(&o)
	}
	made, err := r.OrderPersonal(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// rested makes it an hour later for those who may not make any more tokens now.
func (r *rig) rested() { r.personal.made.counts.InvalidateAll() }

// denied checks that a token is refused, and not for want of an answer.
func (r *rig) denied(tb testing.TB, token string) {
	tb.Helper()
	if _, err := r.VerifyPersonal(tb.Context(), token); !errors.Is(err, ErrPersonalDenied) {
		tb.Errorf("not denied: %v", err)
	}
}

// accepted checks that a token is good.
func (r *rig) accepted(tb testing.TB, token string) oauth.AccessTokenClaims {
	tb.Helper()
	c, err := r.VerifyPersonal(tb.Context(), token)
	if err != nil {
		tb.Errorf("not accepted: %v", err)
	}
	return c
}

var personalFormat = regexp.MustCompile(`^mcp_pat_[0-9A-Za-z]{49}$`)

func TestPersonalText(t *testing.T) {
	r := newRig(t, nil)
	seen := map[string]bool{}
	for range 200 {
		text := newPersonalText()
		id := personalID(text)
		if !personalFormat.MatchString(text) || !validPersonalText(text) || seen[text] || seen[id] || strings.Contains(text, id) {
			t.Fatalf("%s, id %s", text, id)
		}
		seen[text], seen[id] = true, true
		if token, err := r.refreshToken(id, 0); err == nil {
			t.Fatalf("%s has the refresh token %s", id, token)
		}
	}
	// Worked out by another program, from what docs/tokens.md tells secret scanners.
	if !validPersonalText("mcp_pat_5ZLsz9SkSIbXOuxF0NNpLcIYIuodDpClpDWEuMDiv5a0Ub8yt") {
		t.Error("the checksum is not the one that is documented")
	}
	good := newPersonalText()
	for i := range good {
		for _, c := range []string{"x", "0", "-", ""} {
			if wrong := good[:i] + c + good[i+1:]; wrong != good && validPersonalText(wrong) {
				t.Errorf("%s passes for %s", wrong, good)
			}
		}
	}
	for _, wrong := range []string{"", "mcp_pat_", good + "\n", " " + good, good + good, strings.ToUpper(good), "mcp_pat_" + strings.Repeat("\x00", 49)} {
		if validPersonalText(wrong) {
			t.Errorf("%q passes", wrong)
		}
	}
}

func FuzzPersonalText(f *testing.F) {
	f.Add(newPersonalText())
	f.Add("mcp_pat_")
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30.x")
	f.Fuzz(func(t *testing.T, text string) {
		looks := personalFormat.MatchString(text) && LooksPersonal(text)
		if validPersonalText(text) && !looks {
			t.Errorf("%q is valid", text)
		}
		if PersonalID(text) != text && !validPersonalText(text) {
			t.Errorf("%q has the id %s", text, PersonalID(text))
		}
	})
}

func TestPersonalLife(t *testing.T) {
	r := personalRig(t, nil)
	made := r.order(t, "alice", nil)
	c := r.accepted(t, made.Token)
	if c.Subject != "alice" || c.Audience != testResource || c.ClientID != PersonalClientID || c.ClientName != "Nightly report" ||
		c.Scope != DefaultScopes.String() || c.GrantID != made.ID || c.Expires != r.clock.Add(30*day).Unix() {
		t.Errorf("claims %+v", c)
	}
	e := r.events[len(r.events)-1]
	if e.Kind != oauth.EventPersonalToken || e.GrantID != made.ID || e.Subject != "alice" || strings.Contains(fmt.Sprintf("%+v", r.events), made.Token[len(PersonalPrefix):]) {
		t.Errorf("events %+v", r.events)
	}
	g, err := r.store.Grant(t.Context(), r.clock, made.ID)
	if err != nil || strings.Contains(fmt.Sprintf("%+v", g), made.Token[len(PersonalPrefix):]) {
		t.Errorf("stored is %+v, %v", g, err)
	}
	r.pass(30*day - 2*time.Second)
	r.accepted(t, made.Token)
	r.pass(2 * time.Second)
	r.denied(t, made.Token) // remembered
	again := r.order(t, "alice", nil)
	if _, err := r.RevokePersonal(t.Context(), again.ID); err != nil {
		t.Fatal(err)
	}
	r.denied(t, again.Token)
	if _, err := r.RevokePersonal(t.Context(), again.ID); asOAuthError(err).Code != oauth.CodeInvalidRequest {
		t.Errorf("revoked twice: %v", err)
	}
}

// TestPersonalIsNoGrant: nothing of OAuth can be done with a token or its id, and
// a program's grant is no token.
func TestPersonalIsNoGrant(t *testing.T) {
	r := personalRig(t, func(c *Config, d *Deps) {
		d.Logins, c.AllowUnattended, c.Resources = []login.Method{alice{}}, true, c.Resources[:1]
	})
	made := r.order(t, "alice", func(o *PersonalOrder) { o.Login = "alice" })
	client := r.register(t, testClient).ClientID
	for _, token := range []string{made.Token, made.ID} {
		r.refused(t, refreshForm(client, token), http.StatusBadRequest, oauth.CodeInvalidGrant)
		r.refused(t, refreshForm(PersonalClientID, token), http.StatusUnauthorized, oauth.CodeInvalidClient)
		r.refused(t, codeForm(client, token), http.StatusBadRequest, oauth.CodeInvalidGrant)
	}
	grant := grantOf(t, r, r.tokens(t, client).RefreshToken)
	if _, err := r.RevokePersonal(t.Context(), grant); err == nil {
		t.Error("a program's grant was revoked as a token")
	}
	tokens, err := r.PersonalTokens(t.Context(), "alice")
	if err != nil || len(tokens) != 1 || tokens[0].ID != made.ID {
		t.Errorf("tokens %+v, %v", tokens, err)
	}
}

// watched counts what is asked of a store, and fails if it is broken.
type watched struct {
	brokenStore
	mu    sync.Mutex
	reads int
}

func (w *watched) Grant(ctx context.Context, now time.Time, id string) (store.Grant, error) {
	w.mu.Lock()
	w.reads++
	w.mu.Unlock()
	return w.brokenStore.Grant(ctx, now, id)
}

// watchedRig is a personalRig whose store is watched.
func watchedRig(tb testing.TB, edit func(*Config, *Deps)) (*rig, *watched) {
	w := new(watched)
	return personalRig(tb, func(c *Config, d *Deps) {
		w.Store, d.Store = d.Store, w
		if edit != nil {
			edit(c, d)
		}
	}), w
}

// wantReads checks how often the store was asked since the last time.
func (w *watched) wantReads(tb testing.TB, want int) {
	tb.Helper()
	if w.reads != want {
		tb.Errorf("the store was asked %d times, want %d", w.reads, want)
	}
	w.reads = 0
}

func TestPersonalIsRemembered(t *testing.T) {
	r, w := watchedRig(t, nil)
	made := r.order(t, "alice", nil)
	for range 3 {
		r.accepted(t, made.Token)
	}
	w.wantReads(t, 1)
	r.pass(personalFresh)
	r.accepted(t, made.Token)
	w.wantReads(t, 1)
	// A bad one is remembered for a while too, and a mistyped one never asked for.
	bad := newPersonalText()
	for range 3 {
		r.denied(t, bad)
		r.denied(t, bad[:len(bad)-1])
	}
	w.wantReads(t, 1)
	// What another node has revoked holds as soon as the feed says it.
	if _, err := w.RevokeGrant(t.Context(), r.clock, store.Revocation{GrantID: made.ID, Reason: "user", Until: r.clock.Add(day)}); err != nil {
		t.Fatal(err)
	}
	r.accepted(t, made.Token)
	if err := r.deps.Revoked.Follow(t.Context(), r.clock, w); err != nil {
		t.Fatal(err)
	}
	r.denied(t, made.Token)
	w.wantReads(t, 0)
}

// TestPersonalOutage: an outage is no verdict. What was good lately stays good,
// as long as an access token would, and the store is not asked all the time.
func TestPersonalOutage(t *testing.T) {
	r, w := watchedRig(t, nil)
	made, other := r.order(t, "alice", nil), r.order(t, "alice", nil)
	began := r.clock
	r.accepted(t, made.Token)
	w.broken = true
	if _, err := r.VerifyPersonal(t.Context(), other.Token); err == nil || errors.Is(err, ErrPersonalDenied) {
		t.Errorf("an unknown token in an outage: %v", err)
	}
	w.reads = 0
	r.pass(personalFresh)
	for range 3 {
		r.accepted(t, made.Token)
	}
	w.wantReads(t, 1)
	r.pass(personalRetry)
	r.accepted(t, made.Token)
	w.wantReads(t, 1)
	r.clock = began.Add(personalStale)
	if _, err := r.VerifyPersonal(t.Context(), made.Token); err == nil || errors.Is(err, ErrPersonalDenied) {
		t.Errorf("after %s: %v", personalStale, err)
	}
	w.broken = false
	r.accepted(t, made.Token)
	r.accepted(t, other.Token)
	w.broken = true
	if _, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "alice", Name: "x", Resource: testResource, Seconds: 60}); asOAuthError(err).Status != http.StatusServiceUnavailable {
		t.Errorf("an order in an outage: %v", err)
	}
}

// TestPersonalOfWhomNobodyKnows: with the person goes the token.
func TestPersonalOfWhomNobodyKnows(t *testing.T) {
	gone := []string{}
	r, w := watchedRig(t, func(_ *Config, d *Deps) { d.Logins = []login.Method{typed{&gone}} })
	alices, bobs := r.order(t, "alice", nil), r.order(t, "bob", nil)
	r.accepted(t, alices.Token)
	r.accepted(t, bobs.Token)
	gone = append(gone, "alice")
	r.cfg.Rules.Deny.Users = []string{"bob"}
	r.pass(personalFresh)
	w.reads = 0
	for range 3 {
		r.denied(t, alices.Token)
		r.denied(t, bobs.Token)
	}
	w.wantReads(t, 2)
	gone, r.cfg.Rules.Deny.Users = nil, nil
	r.pass(personalDenied)
	r.accepted(t, alices.Token)
	r.cfg.Resources[0].PersonalTokens = false
	r.pass(personalFresh)
	r.denied(t, alices.Token)
	r.cfg.Resources[0].PersonalTokens, r.cfg.Resources[0].Scopes = true, oauth.Scope{"mcp:tools:read"}
	r.pass(personalFresh)
	if c := r.accepted(t, alices.Token); c.Scope != "mcp:tools:read" {
		t.Errorf("the scope is %s", c.Scope)
	}
	r.cfg.Resources[0].Scopes = oauth.Scope{"other"}
	r.pass(personalFresh)
	r.denied(t, alices.Token)
}

// TestPersonalGuessing: guesses of one address end before the store; nobody else
// is kept out, and nothing is taken for a verdict.
func TestPersonalGuessing(t *testing.T) {
	r, w := watchedRig(t, nil)
	known, fresh := r.order(t, "alice", nil), r.order(t, "alice", nil)
	from := func(ip, token string) error {
		_, err := r.VerifyPersonal(oauth.WithMeta(t.Context(), oauth.Meta{RemoteIP: ip}), token)
		return err
	}
	if err := from("2001:db8::1", known.Token); err != nil {
		t.Fatal(err)
	}
	w.reads = 0
	for i := range 3 * maxPersonalUnknown {
		if err := from(fmt.Sprintf("2001:db8::%x", i), newPersonalText()); errors.Is(err, ErrPersonalDenied) != (i < maxPersonalUnknown) || errors.Is(err, ErrPersonalThrottled) == (i < maxPersonalUnknown) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	w.wantReads(t, maxPersonalUnknown)
	for ip, denied := range map[string]bool{"2001:db8::1": true, "2001:db8:0:1::1": false, "192.0.2.1": false, "": false} {
		if err := from(ip, fresh.Token); (err != nil) != denied || errors.Is(err, ErrPersonalDenied) {
			t.Errorf("from %q: %v", ip, err)
		}
		r.personal.good.Invalidate(fresh.ID)
	}
	if err := from("2001:db8::1", known.Token); err != nil {
		t.Errorf("a known token: %v", err)
	}
}
