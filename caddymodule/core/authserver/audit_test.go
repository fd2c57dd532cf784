package authserver

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

// audited are the kinds of which an auditor wants one event for each thing that
// happened.
var audited = []oauth.EventKind{
	oauth.EventSignIn, oauth.EventSignOut, oauth.EventAuthorize, oauth.EventToken, oauth.EventRevoke, oauth.EventPersonalToken, oauth.EventDevToken,
}

// happened is what an event says, in one line.
func happened(e oauth.Event) string {
	s := string(e.Kind) + " " + e.Reason
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Subject != "" {
		s += " of " + e.Subject
	}
	return s
}

// auditTrail watches a rig step by step.
type auditTrail struct {
	*testing.T
	r    *rig
	seen int
}

// wants compares the audited events since the last time, and looks at what each of
// them needs.
func (a *auditTrail) wants(step string, want ...string) {
	a.Helper()
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	var got []string
	for _, e := range a.r.events[a.seen:] {
		if !slices.Contains(audited, e.Kind) {
			continue
		}
		got = append(got, happened(e))
		if (e.Err != nil) != (e.Code != "") || e.Err != nil && e.Status == 0 {
			a.Errorf("%s: error %v, code %q, status %d", step, e.Err, e.Code, e.Status)
		}
		if e.Err == nil && e.Kind != oauth.EventDevToken && e.TokenID == "" && e.Subject != "" && e.Login == "" {
			a.Errorf("%s: nobody knows how the user signed in: %+v", step, e)
		}
	}
	if a.seen = len(a.r.events); !slices.Equal(got, want) {
		a.Errorf("%s: events %q, want %q", step, got, want)
	}
}

// TestAuditOfPeople: sign-ins, consents and sign-outs leave one event each.
func TestAuditOfPeople(t *testing.T) {
	var what fault
	r := newRig(t, func(c *Config, d *Deps) {
		c.AllowUnattended = false
		c.Resources[0].PersonalTokens = true
		c.Clients = []Client{{ID: "ours", Name: "Ours", AuthMethod: oauth.AuthMethodNone, Trusted: true, RedirectURIs: []string{"http://127.0.0.1/cb"}, GrantTypes: []string{oauth.GrantAuthorizationCode}}}
		d.Logins, d.Store = append(d.Logins[:0], typed{}, away{"idp"}), faulty(d.Store, &what)
	})
	web := r.register(t, `{"client_name":"Web","redirect_uris":["https://app.example/cb"]}`).ClientID
	a, b := &auditTrail{T: t, r: r}, r.browser(t)
	try := func(password string) {
		b.post(signInPath, signInForm(flowOf(t, b.get(request(web))), "alice", password))
	}
	atProvider := func(answer string) {
		w := b.post(signInPath, url.Values{"flow": {flowOf(t, b.get(request(web)))}, "login": {"idp"}})
		b.get(callbackPath + "idp?" + answer + "&state=" + stateOf(t, w.Header().Get("Location")))
	}
	a.wants("registration")
	try("wrong")
	a.wants("a wrong password", "sign_in rejected access_denied")
	try("often")
	a.wants("too many attempts", "sign_in throttled access_denied")
	atProvider("code=down")
	a.wants("a provider that is down", "sign_in provider temporarily_unavailable")
	atProvider("code=impostor")
	a.wants("a provider's answer that is forged", "sign_in denied access_denied")
	atProvider("error=access_denied")
	a.wants("a no at the provider", "sign_in denied access_denied", "authorize refused access_denied")
	b.get(request("unknown"))
	a.wants("an unknown client", "authorize  invalid_client")
	b.get(request(web, "prompt", "none"))
	a.wants("nobody and no page", "authorize  login_required")
	page := b.signIn(request(web), "alice")
	a.wants("a sign-in", "sign_in  of alice")
	b.decide(page, "deny")
	a.wants("no", "authorize refused access_denied of alice")
	page = b.get(request(web))
	b.decide(page, "allow")
	a.wants("yes", "authorize approved of alice")
	r.pass(time.Minute)
	b.decide(page, "allow")
	a.wants("yes again", "authorize used invalid_request of alice")
	b.approve(request(web), web)
	a.wants("yes and a token", "authorize approved of alice", "token  of alice")
	result(t, b.get(request(web)))
	a.wants("a remembered yes", "authorize remembered of alice")
	result(t, b.get(request("ours")))
	a.wants("a trusted client", "authorize trusted of alice")
	do := func(what string) {
		b.post(accountPath, url.Values{"flow": {flowOf(t, b.get(accountPath))}, "do": {what}})
	}
	do("revoke_all")
	a.wants("all taken back", "revoke user of alice")
	flow := flowOf(t, b.get(accountPath))
	what = storeFails
	b.post(accountPath, url.Values{"flow": {flow}, "do": {"sign_out_everywhere"}})
	what = noFault
	a.wants("a sign-out that failed", "sign_out sign_out_everywhere temporarily_unavailable of alice")
	do("sign_out_everywhere")
	a.wants("a sign-out everywhere", "sign_out sign_out_everywhere of alice")
	page = b.signIn(request(web), "bob")
	b.decide(page, "switch")
	a.wants("another account", "sign_in  of bob", "sign_out sign_out of bob")
}

// TestAuditOfTokens: tokens, refreshes and revocations leave one event each, those
// that fail too.
func TestAuditOfTokens(t *testing.T) {
	var what fault
	r := newRig(t, func(c *Config, d *Deps) {
		c.Development = true
		d.Store = faulty(d.Store, &what)
	})
	info := r.register(t, testClient)
	c := info.ClientID
	a := &auditTrail{T: t, r: r}
	a.wants("registration")
	code := r.code(t, c)
	a.wants("a code", "authorize unattended of alice")
	r.form(tokenPath, url.Values{"grant_type": {"password"}})
	a.wants("an unknown grant", "token  unsupported_grant_type")
	r.form(tokenPath, codeForm("unknown", code))
	a.wants("an unknown client", "token  invalid_client")
	first := decode[oauth.TokenResponse](t, r.form(tokenPath, codeForm(c, code)), http.StatusOK)
	a.wants("a token", "token  of alice")
	second := r.refresh(t, c, first.RefreshToken)
	a.wants("a refresh", "token  of alice")
	r.refresh(t, c, first.RefreshToken)
	a.wants("a refresh whose answer was lost", "token repeated of alice")
	what = storeFails
	r.form(tokenPath, refreshForm(c, second.RefreshToken))
	what = noFault
	a.wants("an outage", "token  temporarily_unavailable")
	r.pass(DefaultRefreshGrace + time.Second)
	what = storeReadOnly
	r.form(tokenPath, refreshForm(c, first.RefreshToken))
	what = noFault
	a.wants("theft that could not be stopped", "revoke refresh_reuse temporarily_unavailable of alice", "token  temporarily_unavailable of alice")
	r.form(tokenPath, refreshForm(c, first.RefreshToken))
	a.wants("theft", "revoke refresh_reuse of alice", "token  invalid_grant of alice")
	r.form(tokenPath, refreshForm(c, second.RefreshToken))
	a.wants("what theft ended", "token  invalid_grant of alice")
	code = r.code(t, c)
	third := decode[oauth.TokenResponse](t, r.form(tokenPath, codeForm(c, code)), http.StatusOK)
	r.form(tokenPath, codeForm(c, code))
	a.wants("a code twice", "authorize unattended of alice", "token  of alice", "revoke code_replay of alice", "token  invalid_grant of alice")
	r.form(revokePath, url.Values{"client_id": {c}, "token": {third.RefreshToken}})
	a.wants("revoking what has ended")
	fourth := r.tokens(t, c)
	r.form(revokePath, url.Values{"client_id": {c}, "token": {fourth.AccessToken}})
	r.form(revokePath, url.Values{"client_id": {c}, "token": {fourth.RefreshToken}})
	a.wants("tokens that a client gives back", "authorize unattended of alice", "token  of alice", "revoke client of alice", "revoke client of alice")
	r.form(revokePath, url.Values{"client_id": {"unknown"}, "token": {"x"}})
	a.wants("a revocation by nobody", "revoke client invalid_client")
	r.do("GET", "/dev/token", "", "")
	r.do("GET", "/dev/token?resource=https://other.example/", "", "")
	a.wants("development tokens", "dev_token  of dev", "dev_token  invalid_target")
	r.manage("DELETE", info.RegistrationClientURI, info.RegistrationAccessToken, "")
	a.wants("a client that deletes itself", "revoke client_deleted")
}

// TestAuditOfPersonalTokens: those that people and operators make, or don't get,
// and their end.
func TestAuditOfPersonalTokens(t *testing.T) {
	r := personalRig(t, nil)
	a := &auditTrail{T: t, r: r}
	made := r.order(t, "alice", nil)
	a.wants("an operator's order", "personal_token operator of alice")
	if _, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "bob", Name: "x", Resource: secondServer, Seconds: 60}); err == nil {
		t.Error("bob may not have one there")
	}
	a.wants("an order for somebody who is not allowed", "personal_token operator access_denied of bob")
	if _, err := r.OrderPersonal(t.Context(), PersonalOrder{User: "bob", Login: "none", Name: "x", Resource: testResource, Seconds: 60}); err == nil {
		t.Error("there is no such login")
	}
	a.wants("an order for somebody whom nobody knows", "personal_token operator invalid_request of bob")
	if _, err := r.RevokePersonal(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	a.wants("an operator's revocation", "revoke operator of alice")
	b := r.browser(t)
	page := b.signIn(accountPath, "alice")
	b.post(accountPath, tokenForm(flowOf(t, page), "name", ""))
	a.wants("one without a name", "sign_in  of alice", "personal_token user invalid_request of alice")
	b.post(accountPath, tokenForm(flowOf(t, b.get(accountPath))))
	a.wants("a person's own", "personal_token user of alice")
}
