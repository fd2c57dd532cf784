package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

const (
	testIssuer   = "https://gw.example"
	testResource = "https://gw.example/mcp"
	testVerifier = "verifier-0123456789-0123456789-0123456789-01"
)

// rig is a server whose clock and store belong to the test.
type rig struct {
	*Server
	mu     sync.Mutex
	clock  time.Time
	store  store.Store
	events []oauth.Event
}

// alice is a login that lets everyone in as alice.
type alice struct{}

func (alice) Info() login.Info { return login.Info{ID: "alice", Ambient: true, Unattended: true} }

func (alice) Begin(context.Context, login.Request) (login.Step, error) {
	return login.Step{Identity: &login.Identity{Subject: "alice", AuthTime: time.Unix(1, 0)}}, nil
}

func (alice) Finish(context.Context, login.Request) (login.Step, error) {
	return login.Step{}, login.ErrDenied
}

func (alice) Recheck(_ context.Context, id login.Identity) (login.Identity, error) { return id, nil }

func (r *rig) Observe(_ context.Context, e oauth.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(d)
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock
}

func newRig(tb testing.TB, edit func(*Config, *Deps)) *rig {
	tb.Helper()
	r := &rig{clock: time.Unix(1_800_000_000, 123_456_789), store: store.NewMemory()}
	ring, err := keys.Open(tb.Context(), r.clock, r.store, keys.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	cfg := Config{Issuer: testIssuer, Resources: []Resource{{URIs: []string{testResource}, Scopes: DefaultScopes}}, AllowUnattended: true}
	cfg.Registration.Rate = Rate{PerAddress: -1, Total: -1}
	deps := Deps{Store: r.store, Keys: ring, Revoked: NewRevocationSet(), Logins: []login.Method{alice{}}, Observer: r, Now: r.now}
	if edit != nil {
		edit(&cfg, &deps)
	}
	if r.Server, err = New(cfg, deps); err != nil {
		tb.Fatal(err)
	}
	return r
}

func (r *rig) do(method, target, contentType, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, testIssuer+target, strings.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

func (r *rig) form(target string, form url.Values) *httptest.ResponseRecorder {
	return r.do("POST", target, "application/x-www-form-urlencoded", form.Encode())
}

// register registers a client and returns its answer.
func (r *rig) register(tb testing.TB, metadata string) oauth.ClientInformation {
	tb.Helper()
	return decode[oauth.ClientInformation](tb, r.do("POST", "/oauth/register", "application/json", metadata), http.StatusCreated)
}

const testClient = `{"client_name":"Test","redirect_uris":["http://127.0.0.1/cb"]}`

// code returns a fresh code for a client.
func (r *rig) code(tb testing.TB, clientID string) string {
	tb.Helper()
	q := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "code_challenge": {challengeOf(testVerifier)}, "code_challenge_method": {"S256"},
	}
	w := r.do("GET", "/oauth/authorize?"+q.Encode(), "", "")
	u, err := url.Parse(w.Header().Get("Location"))
	if err != nil || u.Query().Get("code") == "" {
		tb.Fatalf("no code: %d %s", w.Code, w.Header().Get("Location"))
	}
	return u.Query().Get("code")
}

func codeForm(clientID, code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "client_id": {clientID}, "code": {code}, "code_verifier": {testVerifier}}
}

func refreshForm(clientID, token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID}, "refresh_token": {token}}
}

// tokens takes a client through the whole flow.
func (r *rig) tokens(tb testing.TB, clientID string) oauth.TokenResponse {
	tb.Helper()
	return decode[oauth.TokenResponse](tb, r.form("/oauth/token", codeForm(clientID, r.code(tb, clientID))), http.StatusOK)
}

// refresh redeems a refresh token, which must work.
func (r *rig) refresh(tb testing.TB, clientID, token string) oauth.TokenResponse {
	tb.Helper()
	return decode[oauth.TokenResponse](tb, r.form("/oauth/token", refreshForm(clientID, token)), http.StatusOK)
}

// refused checks that a form is answered with an error.
func (r *rig) refused(tb testing.TB, form url.Values, status int, code string) {
	tb.Helper()
	if e := decode[errorBody](tb, r.form("/oauth/token", form), status); e.Error != code {
		tb.Errorf("error %s, want %s", e.Error, code)
	}
}

func decode[T any](tb testing.TB, w *httptest.ResponseRecorder, status int) (v T) {
	tb.Helper()
	if w.Code != status {
		tb.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		tb.Fatal(err)
	}
	return v
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
