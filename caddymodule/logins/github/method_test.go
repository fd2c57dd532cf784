package github

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

type options = map[string]any

func TestBegin(t *testing.T) {
	f := newFake(t)
	for _, tt := range []struct {
		name    string
		options options
		force   bool
		scope   string
		prompt  []string
	}{
		{name: "plain", scope: "user:email"},
		{name: "forced", force: true, scope: "user:email", prompt: []string{"select_account"}},
		{name: "organizations", options: options{"organizations": []string{"acme"}}, scope: "user:email read:org"},
		{name: "teams", options: options{"teams": []string{"acme/leads"}}, scope: "user:email read:org"},
		{name: "groups", options: options{"groups": true}, scope: "user:email read:org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := f.load(tt.options)
			step, to := f.begin(l, login.Request{CallbackURL: callback, State: "the-state", Force: tt.force})
			q := to.Query()
			want := url.Values{
				"response_type": {"code"}, "client_id": {"the-client"}, "redirect_uri": {callback}, "state": {"the-state"},
				"scope": {tt.scope}, "code_challenge": q["code_challenge"], "code_challenge_method": {"S256"},
			}
			if tt.prompt != nil {
				want["prompt"] = tt.prompt
			}
			if to.Host != strings.TrimPrefix(f.URL, "http://") || to.Path != "/login/oauth/authorize" || !reflect.DeepEqual(q, want) {
				t.Errorf("redirect to %s, want the query %v", to, want)
			}
			if strings.Contains(step.Redirect, testSecret) || strings.Contains(step.Redirect, string(step.Save)) {
				t.Error("the redirect has a secret in it")
			}
		})
	}
	if len(f.asked) > 0 {
		t.Errorf("Begin asked %q", f.asked)
	}
}

func TestBeginNeverRepeatsAVerifier(t *testing.T) {
	f := newFake(t)
	l := f.load(nil)
	a, _ := f.begin(l, login.Request{CallbackURL: callback, State: "s"})
	b, _ := f.begin(l, login.Request{CallbackURL: callback, State: "s"})
	if string(a.Save) == string(b.Save) || len(a.Save) < 43 {
		t.Errorf("verifiers %q and %q", a.Save, b.Save)
	}
}

func TestSignIn(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options options
		change  map[string]string // of good answers
		want    login.Identity
		asked   []string
	}{
		{
			name:  "everyone",
			want:  login.Identity{Subject: "583231", Name: "The Octocat", Email: "octocat@example.com", EmailVerified: true},
			asked: []string{tokenPath, userPath, emailPath},
		},
		{
			name: "groups", options: options{"groups": true},
			want: login.Identity{
				Subject: "583231", Name: "The Octocat", Email: "octocat@example.com", EmailVerified: true,
				Groups: []string{"acme", "acme/leads"},
			},
			asked: []string{tokenPath, userPath, emailPath, orgPath, teamPath},
		},
		{
			// Nothing but the numeric id says who somebody is.
			name: "no name, no address",
			change: map[string]string{
				userPath: `{"login":"octocat","id":9007199254740993,"name":null}`, emailPath: `[]`,
			},
			want: login.Identity{Subject: "9007199254740993", Name: "octocat"},
		},
		{
			name:   "no verified address",
			change: map[string]string{emailPath: `[{"email":"a@example.com","primary":true,"verified":false},{"email":"b@example.com","primary":false,"verified":true}]`},
			want:   login.Identity{Subject: "583231", Name: "The Octocat"},
		},
		{
			name:   "an address with two readings",
			change: map[string]string{emailPath: `[{"email":"a@evil.example@example.com","primary":true,"verified":true}]`},
			want:   login.Identity{Subject: "583231", Name: "The Octocat"},
		},
		{
			name:   "a name that would break lines and turn the text around",
			change: map[string]string{userPath: `{"login":"octocat","id":7,"name":"a\r\nSet-Cookie: b"}`, emailPath: `[]`},
			want:   login.Identity{Subject: "7", Name: "octocat"},
		},
		{
			name:   "a name that would turn the page around",
			change: map[string]string{userPath: `{"login":"octocat","id":7,"name":"\u202eecila"}`, emailPath: `[]`},
			want:   login.Identity{Subject: "7", Name: "octocat"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			for path, body := range tt.change {
				f.on(path, answer(body))
			}
			l := f.load(tt.options)
			l.now = func() time.Time { return testNow }
			got, err := f.signIn(l)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.AuthTime, tt.want.AuthTimeUnknown = testNow, true    // GitHub does not say
			tt.want.GroupsUnknown = !slices.Contains(f.paths(), orgPath) // what was not asked for is not known
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got %+v\nwant %+v", *got, tt.want)
			}
			if tt.asked != nil && !slices.Equal(f.paths(), tt.asked) {
				t.Errorf("asked %q, want %q", f.paths(), tt.asked)
			}
		})
	}
}

// TestMembership is who gets in where only members do.
func TestMembership(t *testing.T) {
	acme, leads := options{"organizations": []string{"acme"}}, options{"teams": []string{"acme/leads"}}
	for _, tt := range []struct {
		name    string
		options options
		orgs    string
		teams   string
		in      bool
	}{
		{name: "member", options: acme, in: true},
		{name: "configured in other case", options: options{"organizations": []string{"ACME"}}, in: true},
		{name: "one of several", options: options{"organizations": []string{"other", "acme"}}, in: true},
		{name: "team or organization", options: options{"organizations": []string{"other"}, "teams": []string{"Acme/Leads"}}, in: true},
		{name: "team", options: leads, in: true},
		{name: "no memberships", options: acme, orgs: `[]`, teams: `[]`},
		{name: "invited, not yet a member", options: acme, orgs: `[{"state":"pending","organization":{"login":"acme"}}]`},
		{name: "membership without a state", options: acme, orgs: `[{"organization":{"login":"acme"}}]`},
		{name: "another organization whose name begins the same", options: acme, orgs: `[{"state":"active","organization":{"login":"acme-friends"}}]`, teams: `[]`},
		{name: "another team", options: leads, teams: `[{"slug":"guests","organization":{"login":"acme"}}]`},
		{name: "the team of another organization", options: leads, teams: `[{"slug":"leads","organization":{"login":"evil"}}]`},
		{name: "an own organization with such a team", options: leads, orgs: `[{"state":"active","organization":{"login":"evil"}}]`, teams: `[{"slug":"leads","organization":{"login":"evil"}}]`},
		{name: "a team without the organization", options: leads, orgs: `[]`},
		{name: "invited, but in the team", options: leads, orgs: `[{"state":"pending","organization":{"login":"acme"}}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			if tt.orgs != "" {
				f.on(orgPath, answer(tt.orgs))
			}
			if tt.teams != "" {
				f.on(teamPath, answer(tt.teams))
			}
			l := f.load(tt.options)
			id, err := f.signIn(l)
			if tt.in {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := l.Recheck(t.Context(), *id); err != nil {
					t.Errorf("Recheck: %v", err)
				}
				return
			}
			if !errors.Is(err, login.ErrDenied) || !strings.Contains(err.Error(), "583231") {
				t.Errorf("got %+v, %v", id, err)
			}
		})
	}
}

// TestMembershipOnALaterPage wants every page to be read, and only those that
// there are.
func TestMembershipOnALaterPage(t *testing.T) {
	f := newFake(t)
	f.on(orgPath, func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("state") != "active" || q.Get("per_page") != "100" {
			t.Errorf("asked %s", r.URL)
		}
		page := r.URL.Query().Get("page")
		if page != "3" {
			// Relative to another host: only the word next is taken from it.
			w.Header().Set("Link", `<https://evil.example/steal?page=2>; rel="next", <https://evil.example/>; rel="last"`)
		}
		fmt.Fprintf(w, `[{"state":"active","organization":{"login":"org%s"}}]`, page)
	})
	id, err := f.signIn(f.load(options{"organizations": []string{"org3"}}))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"org1", "org2", "org3"}; !slices.Equal(id.Groups, want) {
		t.Errorf("groups %q, want %q", id.Groups, want)
	}
}

// TestEndlessPages: a list without an end may hide the group that a rule
// denies, so nobody gets in by half of it.
func TestEndlessPages(t *testing.T) {
	for _, path := range []string{emailPath, orgPath, teamPath} {
		f := newFake(t)
		good := f.answers[path]
		f.on(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<https://github.example/?page=2>; rel="next"`)
			good(w, r)
		})
		id, err := f.signIn(f.load(options{"organizations": []string{"acme"}}))
		if err == nil || errors.Is(err, login.ErrDenied) || !strings.Contains(err.Error(), "more than 10 pages") {
			t.Errorf("%s: %+v, %v", path, id, err)
		}
		if len(f.asked) > 20 {
			t.Errorf("%s: asked %d times", path, len(f.asked))
		}
	}
}

// TestHostileAnswers: whatever GitHub answers, nobody gets in by mistake, and
// only what is about the person is a denial.
func TestHostileAnswers(t *testing.T) {
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>"+testToken)
	}
	huge := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"id":1,"login":"a","name":"`+strings.Repeat("a", 2<<20)+`"}`)
	}
	token := func(body string) http.HandlerFunc { return answer(body) }
	for _, tt := range []struct {
		name   string
		path   string
		answer http.HandlerFunc
		denied bool
		want   string
	}{
		{"code used before, status 200", tokenPath, token(`{"error":"bad_verification_code","error_description":"The code passed is incorrect or expired.","error_uri":"https://docs.github.com/"}`), true, "bad_verification_code"},
		{"code used before, as a form", tokenPath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
			fmt.Fprint(w, "error=bad_verification_code&error_description=x")
		}, true, "bad_verification_code"},
		{"wrong verifier", tokenPath, answerStatus(400, `{"error":"invalid_grant"}`), true, "invalid_grant"},
		{"unverified person", tokenPath, token(`{"error":"unverified_user_email"}`), true, "not verified"},
		{"wrong secret", tokenPath, token(`{"error":"incorrect_client_credentials"}`), false, "client_id and client_secret"},
		{"wrong callback", tokenPath, token(`{"error":"redirect_uri_mismatch"}`), false, "callback URL"},
		{"error and token at once", tokenPath, token(`{"error":"odd","access_token":"` + testToken + `","token_type":"bearer"}`), false, "odd"},
		{"an error that is no code", tokenPath, token(`{"error":"<script>` + testToken + `"}`), false, "an unknown error"},
		{"token type mac", tokenPath, token(`{"access_token":"` + testToken + `","token_type":"mac"}`), false, "bearer"},
		{"token type missing", tokenPath, token(`{"access_token":"` + testToken + `"}`), false, "bearer"},
		{"token missing", tokenPath, token(`{"token_type":"bearer"}`), false, "no token"},
		{"token with a line break", tokenPath, token(`{"access_token":"` + testToken + `\r\nX: y","token_type":"bearer"}`), false, "token that is none"},
		{"token too long", tokenPath, token(`{"access_token":"` + strings.Repeat("a", 5000) + `","token_type":"bearer"}`), false, "token that is none"},
		{"token is a number", tokenPath, token(`{"access_token":12345,"token_type":"bearer"}`), false, "no token"},
		{"token endpoint down", tokenPath, answerStatus(502, `{"access_token":"`+testToken+`","token_type":"bearer"}`), false, "status 502"},
		{"token endpoint in HTML", tokenPath, html, false, "no token"},
		{"token endpoint with a broken form", tokenPath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "access_token="+testToken+"%zz")
		}, false, "no token"},

		{"id missing", userPath, answer(`{"login":"octocat"}`), false, "without the person's id"},
		{"id 0", userPath, answer(`{"login":"octocat","id":0}`), false, "without the person's id"},
		{"id negative", userPath, answer(`{"login":"octocat","id":-1}`), false, "without the person's id"},
		{"id null", userPath, answer(`{"login":"octocat","id":null}`), false, "without the person's id"},
		{"id a string", userPath, answer(`{"login":"octocat","id":"583231"}`), false, "something else"},
		{"id a fraction", userPath, answer(`{"login":"octocat","id":1.5}`), false, "something else"},
		{"id too large", userPath, answer(`{"login":"octocat","id":9223372036854775808}`), false, "something else"},
		{"null", userPath, answer(`null`), false, "without the person's id"},
		{"a list", userPath, answer(`[]`), false, "something else"},
		{"two documents", userPath, answer(goodUser + goodUser), false, "something else"},
		{"cut off", userPath, answer(goodUser[:40]), false, "something else"},
		{"empty", userPath, answer(""), false, "something else"},
		{"HTML", userPath, html, false, "something else"},
		{"huge", userPath, huge, false, "too large"},
		{"token refused", userPath, answerStatus(401, `{"message":"Bad credentials"}`), false, "status 401"},
		{"rate limit, primary", userPath, answerStatus(403, `{}`, "X-RateLimit-Remaining", "0"), false, "rate limit"},
		{"rate limit, secondary", userPath, answerStatus(403, `{}`, "Retry-After", "60"), false, "rate limit"},
		{"rate limit, 429", userPath, answerStatus(429, `{}`), false, "rate limit"},
		{"down", userPath, answerStatus(500, goodUser), false, "status 500"},
		{"not there", userPath, answerStatus(204, ""), false, "status 204"},

		{"addresses refused", emailPath, answerStatus(404, `{}`), false, "lack a permission"},
		{"addresses an object", emailPath, answer(`{}`), false, "something else"},
		{"addresses null", emailPath, answer(`null`), false, "something else"},
		{"addresses of another kind", emailPath, answer(`["a@example.com"]`), false, "something else"},
		{"organizations refused", orgPath, answerStatus(403, `{}`), false, "lack a permission"},
		{"organizations null", orgPath, answer(`null`), false, "something else"},
		{"organization without a name", orgPath, answer(`[{"state":"active"}]`), false, "no name"},
		{"organization called like a team", orgPath, answer(`[{"state":"active","organization":{"login":"acme/leads"}}]`), false, "no name"},
		{"teams down", teamPath, answerStatus(503, `[]`), false, "status 503"},
		{"team without a name", teamPath, answer(`[{"organization":{"login":"acme"}}]`), false, "no name"},
		{"team with a slash", teamPath, answer(`[{"slug":"a/b","organization":{"login":"acme"}}]`), false, "no name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.on(tt.path, tt.answer)
			id, err := f.signIn(f.load(options{"organizations": []string{"acme"}}))
			if err == nil || errors.Is(err, login.ErrDenied) != tt.denied || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v; want denied %t with %q", id, err, tt.denied, tt.want)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("the error has %d characters", len(err.Error()))
			}
		})
	}
}

// TestRedirectsStayOnTheHost: a redirect must not take the token or the client
// secret to somebody else.
func TestRedirectsStayOnTheHost(t *testing.T) {
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stolen.Add(1)
		fmt.Fprint(w, goodUser)
	}))
	t.Cleanup(thief.Close)
	for _, path := range []string{tokenPath, userPath, orgPath} {
		for _, status := range []int{301, 302, 307, 308} {
			f := newFake(t)
			f.on(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, status) })
			if id, err := f.signIn(f.load(options{"groups": true})); err == nil || errors.Is(err, login.ErrDenied) {
				t.Errorf("%s by %d: %+v, %v", path, status, id, err)
			}
		}
	}
	if n := stolen.Load(); n > 0 {
		t.Errorf("the other host was asked %d times", n)
	}

	f := newFake(t)
	f.on(userPath, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/moved", http.StatusMovedPermanently)
	})
	f.on("/moved", answer(goodUser))
	if _, err := f.signIn(f.load(nil)); err != nil {
		t.Errorf("a redirect on the same host: %v", err)
	}
	f.on("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/moved", http.StatusFound) })
	if _, err := f.signIn(f.load(nil)); err == nil || !strings.Contains(err.Error(), "status 302") {
		t.Errorf("a redirect in circles: %v", err)
	}
}

// TestOutage: no answer is an outage, never a denial.
func TestOutage(t *testing.T) {
	f := newFake(t)
	l := f.load(nil)
	step, _ := f.begin(l, login.Request{CallbackURL: callback, State: "s"})
	f.Close()
	r := login.Request{CallbackURL: callback, Saved: step.Save, Query: url.Values{"code": {testCode}}}
	_, err := l.Finish(t.Context(), r)
	if _, refused := errors.AsType[*net.OpError](err); !refused || errors.Is(err, login.ErrDenied) {
		t.Errorf("connection refused: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Finish(gone, r); !errors.Is(err, context.Canceled) || errors.Is(err, login.ErrDenied) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestCallback is what can come back in the browser's URL, before GitHub is
// asked anything.
func TestCallback(t *testing.T) {
	f := newFake(t)
	l := f.load(nil)
	for query, want := range map[string]struct {
		denied bool
		text   string
	}{
		"error=access_denied&error_description=The+user+has+denied": {true, "access_denied"},
		"error=access_denied&code=" + testCode:                      {true, "access_denied"},
		"error=application_suspended":                               {false, "application_suspended"},
		"error=redirect_uri_mismatch":                               {false, "redirect_uri_mismatch"},
		"error=%3Cscript%3E":                                        {false, "an unknown error"},
		"error=&code=" + testCode:                                   {false, "an unknown error"},
		"":                                                          {true, "one code"},
		"code=":                                                     {true, "one code"},
		"code=a&code=b":                                             {true, "one code"},
		"code=" + strings.Repeat("a", 600):                          {true, "one code"},
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Finish(t.Context(), login.Request{CallbackURL: callback, Query: q, Saved: []byte("v")})
		if err == nil || errors.Is(err, login.ErrDenied) != want.denied || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v, want denied %t with %q", query, err, want.denied, want.text)
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("GitHub was asked %q", f.asked)
	}
}

// TestRecheck holds sessions to the configuration of today.
func TestRecheck(t *testing.T) {
	f := newFake(t)
	member := login.Identity{Subject: "1", Groups: []string{"acme", "acme/leads"}, AuthTime: testNow}
	stranger := login.Identity{Subject: "2"}
	for _, tt := range []struct {
		name             string
		options          options
		member, stranger bool
	}{
		{"everyone", nil, true, true},
		{"organization", options{"organizations": []string{"acme"}}, true, false},
		{"team", options{"teams": []string{"acme/leads"}}, true, false},
		{"another organization now", options{"organizations": []string{"other"}}, false, false},
	} {
		l := f.load(tt.options)
		if id, err := l.Recheck(t.Context(), member); tt.member && !reflect.DeepEqual(id, member) || !tt.member && !errors.Is(err, login.ErrDenied) {
			t.Errorf("%s: member %+v, %v", tt.name, id, err)
		}
		if _, err := l.Recheck(t.Context(), stranger); tt.stranger != (err == nil) || !tt.stranger && !errors.Is(err, login.ErrDenied) {
			t.Errorf("%s: stranger %v", tt.name, err)
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("Recheck asked %q", f.asked)
	}
}

func FuzzPlainText(f *testing.F) {
	for _, s := range []string{"", "The Octocat", " a ", "\x00", "\xff", "\u202e", "張偉", strings.Repeat("a", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := plainText(s); got != strings.TrimSpace(s) && got != "" || len(got) > 4*maxText || strings.ContainsFunc(got, unprintable) {
			t.Errorf("plainText(%q) = %q", s, got)
		}
	})
}
