package oidc

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// TestAuthorizationRequest looks at what the browser is sent with (SPEC F38).
func TestAuthorizationRequest(t *testing.T) {
	r := newRogue(t)
	r.document["authorization_endpoint"] = r.URL + "/authorize?policy=b2c"
	r.accepted(r.login("authorize_params", map[string]string{"domain_hint": "example.com"}))
	challenge := r.asked.Get("code_challenge")
	r.asked.Del("code_challenge")
	nonce := r.asked.Get("nonce")
	r.asked.Del("nonce")
	want := url.Values{
		"policy": {"b2c"}, "response_type": {"code"}, "client_id": {testClient}, "redirect_uri": {testCallback},
		"scope": {"openid email profile"}, "state": {testState}, "code_challenge_method": {"S256"},
		"domain_hint": {"example.com"},
	}
	if got := r.asked.Encode(); got != want.Encode() || len(challenge) != 43 || len(nonce) < 22 {
		t.Errorf("asked %s, challenge %q, nonce %q; want %s", got, challenge, nonce, want.Encode())
	}
}

// TestAnswerOfAnotherIssuer: the answer of one provider arrives at the door of
// another (SPEC O22, O23; RFC 9207 §2.4). The issuer is looked at before
// anything else, and no code is shown to anybody.
func TestAnswerOfAnotherIssuer(t *testing.T) {
	r := newRogue(t)
	for _, iss := range []string{"https://evil.example", "", r.URL + "/", strings.ToUpper(r.URL), "https://evil.example/" + strings.Repeat("x", 5000)} {
		r.query = url.Values{"iss": {iss}}
		r.refused(r.login(), "issuer")
		r.query.Set("error", "server_error")
		r.query["code"] = nil
		r.refused(r.login(), "issuer")
	}
	r.query = url.Values{"iss": {r.URL}}
	if r.count("/token") > 0 {
		t.Error("a code was redeemed")
	}
	r.accepted(r.login())
}

// TestAnswerWithoutIssuer: a provider that announces iss always sends it, so
// that leaving it out hides where the answer comes from (SPEC O23; RFC 9207
// §2.4).
func TestAnswerWithoutIssuer(t *testing.T) {
	r := newRogue(t)
	r.document["authorization_response_iss_parameter_supported"] = true
	r.refused(r.login(), "names no issuer")
	r.query = url.Values{"error": {"access_denied"}, "code": nil}
	r.refused(r.login(), "names no issuer")
	r.query = url.Values{"iss": {r.URL}}
	r.accepted(r.login())
}

// TestAmbiguousAnswer: what comes twice could be read in two ways (SPEC O23).
func TestAmbiguousAnswer(t *testing.T) {
	r := newRogue(t)
	for _, q := range []url.Values{
		{"iss": {r.URL, "https://evil.example"}},
		{"code": {testCode, "another"}},
		{"error": {"access_denied"}}, // and the code
		{"error": {""}},
		{"code": nil},
		{"code": {""}},
		{"code": {strings.Repeat("c", maxCode+1)}},
	} {
		r.query = q
		r.refused(r.login(), "the answer")
	}
	r.query = url.Values{"code": nil, "error": {"server_error", "access_denied"}}
	r.refused(r.login(), "the answer")
}

// TestErrorAnswers: who is told what when the provider says no (SPEC F39). Its
// words end in the log only, short and clean.
func TestErrorAnswers(t *testing.T) {
	for code, denied := range map[string]bool{
		"access_denied": true, "login_required": true, "consent_required": true, "interaction_required": true,
		"account_selection_required": true,
		"server_error":               false, "temporarily_unavailable": false,
		"invalid_scope": false, "unauthorized_client": false, "invalid_request": false,
		"":                              true,
		"something_new":                 true,
		"ACCESS_DENIED":                 true,
		"<script>alert(1)</script>":     true,
		strings.Repeat("server_er", 99): true,
	} {
		r := newRogue(t)
		r.query = url.Values{
			"code": nil, "error": {code},
			"error_description": {"line\r\nforged: log\x00\x1b[31m \u202e" + strings.Repeat("long ", 2000)},
		}
		if denied {
			r.refused(r.login(), "the provider answered")
		} else {
			r.down(r.login(), code)
		}
	}
}

// FuzzAnswer throws queries at the reader of authorization responses: it never
// takes an answer of another issuer, or one with two readings (SPEC O23).
func FuzzAnswer(f *testing.F) {
	const here = "https://accounts.example.com"
	for _, seed := range []string{
		"code=x", "code=x&iss=" + here, "code=x&iss=https://evil.example", "error=access_denied", "code=x&code=y",
		"error=&code=", "iss=" + here + "&error=server_error&error_description=%0d%0a", "code=x&iss=", "%zz=1&code=x;y",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	l := &Login{}
	l.issuer.text = here
	f.Fuzz(func(t *testing.T, query string, announced bool) {
		q, _ := url.ParseQuery(query) // whatever could be read
		code, err := l.answer(&provider{sendsIssuer: announced}, q)
		if err != nil {
			if code != "" {
				t.Errorf("code %q with error %v", code, err)
			}
			if text := err.Error(); len(text) > 1000 || !utf8.ValidString(text) || hasControl(text) {
				t.Errorf("error %q", text)
			}
			return
		}
		iss, named := q["iss"]
		switch {
		case code == "" || len(q["code"]) != 1 || q.Get("code") != code:
			t.Errorf("code %q of %q", code, query)
		case q.Has("error"):
			t.Errorf("%q is an error", query)
		case announced && !named, named && (len(iss) != 1 || iss[0] != here):
			t.Errorf("%q is of another issuer", query)
		}
	})
}

// TestErrorsStayThemselves wants a shortened error to be found by errors.Is.
func TestErrorsStayThemselves(t *testing.T) {
	cause := errors.New("cause")
	err := denied("because of %w", cause)
	if !errors.Is(err, login.ErrDenied) || !errors.Is(err, cause) || !errors.Is(bounded(err), cause) {
		t.Errorf("%v lost its cause", err)
	}
}
