package github

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/oauth2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// What must never show up in an error.
const (
	testSecret = "MARKER-client-secret"
	testToken  = "gho_MARKERaccesstoken"
	testCode   = "MARKERcode"
)

const (
	tokenPath  = "/login/oauth/access_token"
	userPath   = "/api/v3/user"
	emailPath  = "/api/v3/user/emails"
	orgPath    = "/api/v3/user/memberships/orgs"
	teamPath   = "/api/v3/user/teams"
	callback   = "https://mcp.example.com/oauth/callback/github"
	jsonType   = "application/json; charset=utf-8"
	goodToken  = `{"access_token":"` + testToken + `","scope":"read:org,user:email","token_type":"bearer"}`
	goodUser   = `{"login":"Octocat","id":583231,"type":"User","name":"The Octocat","email":"public@example.com"}`
	goodEmails = `[{"email":"other@example.com","primary":false,"verified":true},` +
		`{"email":"octocat@example.com","primary":true,"verified":true,"visibility":"private"}]`
	goodOrgs  = `[{"state":"active","role":"member","organization":{"login":"Acme","id":1}}]`
	goodTeams = `[{"id":1,"slug":"leads","name":"Leads","organization":{"login":"Acme","id":1}}]`
)

// fake is a GitHub Enterprise Server on loopback. It holds requests to what
// GitHub documents, so that a login which it lets in works with the real one.
type fake struct {
	*httptest.Server
	t *testing.T

	mu        sync.Mutex
	answers   map[string]http.HandlerFunc // by path
	challenge string                      // of the authorization request
	redirect  string
	asked     []string // paths with their query, in order
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, answers: map[string]http.HandlerFunc{
		tokenPath: answer(goodToken), userPath: answer(goodUser), emailPath: answer(goodEmails),
		orgPath: answer(goodOrgs), teamPath: answer(goodTeams),
	}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// answer sends JSON with status 200.
func answer(body string) http.HandlerFunc { return answerStatus(http.StatusOK, body) }

func answerStatus(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// on replaces the answer to a path.
func (f *fake) on(path string, h http.HandlerFunc) { f.answers[path] = h }

// paths returns what was asked, without queries.
func (f *fake) paths() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, a := range f.asked {
		path, _, _ := strings.Cut(a, "?")
		out = append(out, path)
	}
	return out
}

// ServeHTTP implements http.Handler.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.RequestURI())
	h, known := f.answers[r.URL.Path]
	f.mu.Unlock()
	if !known {
		http.NotFound(w, r)
		return
	}
	if r.Header.Get("User-Agent") == "" || !strings.Contains(r.Header.Get("Accept"), "json") {
		f.t.Errorf("%s: User-Agent %q, Accept %q", r.URL.Path, r.Header.Get("User-Agent"), r.Header.Get("Accept"))
	}
	if r.URL.Path == tokenPath {
		f.checkExchange(r)
	} else if r.Header.Get("Authorization") != "Bearer "+testToken {
		f.t.Errorf("%s: Authorization %q", r.URL.Path, r.Header.Get("Authorization"))
	}
	h(w, r)
}

func (f *fake) checkExchange(r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.URL.RawQuery != "" {
		f.t.Errorf("the exchange is a %s with query %q (%v)", r.Method, r.URL.RawQuery, err)
	}
	want := url.Values{
		"grant_type": {"authorization_code"}, "code": {testCode}, "redirect_uri": {f.redirect},
		"client_id": {"the-client"}, "client_secret": {testSecret}, "code_verifier": r.PostForm["code_verifier"],
	}
	if !maps.EqualFunc(r.PostForm, want, slices.Equal[[]string]) {
		f.t.Errorf("the exchange has the parameters %q, want %q", slices.Sorted(maps.Keys(r.PostForm)), slices.Sorted(maps.Keys(want)))
	}
	if got := oauth2.S256ChallengeFromVerifier(r.PostForm.Get("code_verifier")); got != f.challenge {
		f.t.Errorf("the verifier belongs to %q, the challenge was %q", got, f.challenge)
	}
}

// load provisions a login for the fake, as Caddy does.
func (f *fake) load(options map[string]any) *Login {
	f.t.Helper()
	all := map[string]any{"client_id": "the-client", "client_secret": testSecret, "base_url": f.URL}
	maps.Copy(all, options)
	l, err := load(f.t, all)
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

func load(t *testing.T, options map[string]any) (*Login, error) {
	t.Helper()
	raw, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	module, err := ctx.LoadModuleByID("mcp_auth.logins.github", raw)
	if err != nil {
		return nil, err
	}
	return module.(*Login), nil
}

// begin starts a sign-in and takes note of what GitHub would.
func (f *fake) begin(l *Login, r login.Request) (login.Step, *url.URL) {
	f.t.Helper()
	step, err := l.Begin(f.t.Context(), r)
	if err != nil || step.Identity != nil {
		f.t.Fatalf("Begin: %+v, %v", step, err)
	}
	to, err := url.Parse(step.Redirect)
	if err != nil {
		f.t.Fatal(err)
	}
	f.challenge, f.redirect = to.Query().Get("code_challenge"), to.Query().Get("redirect_uri")
	return step, to
}

// signIn goes there and back.
func (f *fake) signIn(l *Login) (*login.Identity, error) {
	f.t.Helper()
	step, to := f.begin(l, login.Request{CallbackURL: callback, State: "the-state"})
	back, err := l.Finish(f.t.Context(), login.Request{
		CallbackURL: callback, State: "the-state", Saved: step.Save,
		Query: url.Values{"code": {testCode}, "state": to.Query()["state"]},
	})
	if err != nil {
		for _, secret := range []string{testSecret, testToken, testCode, string(step.Save)} {
			if strings.Contains(err.Error(), secret) {
				f.t.Errorf("the error has a secret in it: %v", err)
			}
		}
	}
	if (err == nil) != (back.Identity != nil) || back.Redirect != "" {
		f.t.Fatalf("Finish: %+v, %v", back, err)
	}
	return back.Identity, err
}

// testNow is when the tests take place.
var testNow = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
