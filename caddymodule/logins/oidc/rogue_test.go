package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// What goes between the login and the rogue provider. The secrets are marked:
// no error may have one of them.
const (
	testClient   = "gateway"
	testSecret   = "marker-client-secret"
	testCode     = "marker-code"
	testAccess   = "marker-access-token"
	testState    = "STATE"
	testCallback = "https://mcp.example.com/oauth/callback/oidc"
)

// Keys are slow to make, so that all tests share them.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	otherKey = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
)

func newRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// rogue is an OpenID provider that can be told to lie.
type rogue struct {
	*httptest.Server
	// document is served for discovery, keys as the key set.
	document map[string]any
	keys     any
	// alg, key and kid sign ID tokens.
	alg jose.SignatureAlgorithm
	key any
	kid string
	// claims are added to the ID token's; nil takes one away.
	claims map[string]any
	// forge makes the ID token instead, from its claims.
	forge func(claims map[string]any) string
	// serve answers instead, by path.
	serve map[string]http.HandlerFunc
	// query is added to the answer at the callback.
	query url.Values
	// force is Request.Force, saved what Begin saved.
	force bool
	saved []byte

	t     *testing.T
	now   time.Time
	asked url.Values // the last authorization request

	mu     sync.Mutex
	counts map[string]int
}

// newRogue starts a provider that is honest until told otherwise.
func newRogue(t *testing.T) *rogue {
	t.Helper()
	r := &rogue{
		t: t, alg: jose.RS256, key: rsaKey(), kid: "k1",
		claims: map[string]any{}, serve: map[string]http.HandlerFunc{}, query: url.Values{}, counts: map[string]int{},
		now: time.Now().Truncate(time.Second),
	}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	r.document = map[string]any{
		"issuer": r.URL, "authorization_endpoint": r.URL + "/authorize", "token_endpoint": r.URL + "/token",
		"jwks_uri": r.URL + "/jwks", "userinfo_endpoint": r.URL + "/userinfo",
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "EdDSA", "PS256", "HS256", "none"},
	}
	r.keys = keysOf(publicKey(&rsaKey().PublicKey, "k1", "RS256"))
	return r
}

func publicKey(key any, kid, alg string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: alg, Use: "sig"}
}

func keysOf(keys ...jose.JSONWebKey) jose.JSONWebKeySet { return jose.JSONWebKeySet{Keys: keys} }

// count returns how often a path was asked for.
func (r *rogue) count(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[path]
}

// ServeHTTP implements http.Handler.
func (r *rogue) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.counts[req.URL.Path]++
	r.mu.Unlock()
	if serve, ok := r.serve[req.URL.Path]; ok {
		serve(w, req)
		return
	}
	switch req.URL.Path {
	case "/.well-known/openid-configuration":
		writeJSON(w, http.StatusOK, r.document)
	case "/jwks":
		writeJSON(w, http.StatusOK, r.keys)
	case "/token":
		r.token(w, req)
	case "/userinfo":
		if req.Header.Get("Authorization") != "Bearer "+testAccess {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"sub": "alice"})
	default:
		http.NotFound(w, req)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// token redeems a code, and complains to the test if anything is not as the
// protocol wants it: PKCE, redirect URI, client authentication.
func (r *rogue) token(w http.ResponseWriter, req *http.Request) {
	id, secret, basic := req.BasicAuth()
	sum := sha256.Sum256([]byte(req.PostFormValue("code_verifier")))
	for name, ok := range map[string]bool{
		"grant_type":    req.PostFormValue("grant_type") == "authorization_code",
		"code":          req.PostFormValue("code") == testCode,
		"redirect_uri":  req.PostFormValue("redirect_uri") == r.asked.Get("redirect_uri"),
		"code_verifier": base64.RawURLEncoding.EncodeToString(sum[:]) == r.asked.Get("code_challenge"),
		"client":        basic && id == testClient && secret == testSecret,
		"no resource":   !req.PostForm.Has("resource"),
	} {
		if !ok {
			r.t.Errorf("token request: %s is wrong", name)
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": testAccess, "token_type": "Bearer", "expires_in": 60, "id_token": r.idToken(r.asked.Get("nonce")),
	})
}

// idToken signs an ID token for the last authorization request.
func (r *rogue) idToken(nonce string) string {
	claims := map[string]any{
		"iss": r.URL, "sub": "alice", "aud": testClient, "nonce": nonce,
		"iat": r.now.Unix(), "exp": r.now.Add(time.Minute).Unix(),
	}
	maps.Copy(claims, r.claims)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	if r.forge != nil {
		return r.forge(claims)
	}
	return sign(r.t, r.alg, jose.JSONWebKey{Key: r.key, KeyID: r.kid}, claims)
}

// sign makes a token.
func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// load loads the module as the host does.
func load(t *testing.T, config map[string]any) (*Login, error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	module, err := ctx.LoadModuleByID("mcp_auth.logins.oidc", raw)
	if err != nil {
		return nil, err
	}
	return module.(*Login), nil
}

// login returns a login at the provider; options are JSON names and values in
// turn. Its clock is the provider's.
func (r *rogue) login(options ...any) *Login {
	r.t.Helper()
	config := map[string]any{"issuer": r.URL, "client_id": testClient, "client_secret": testSecret}
	for i := 0; i+1 < len(options); i += 2 {
		config[options[i].(string)] = options[i+1]
	}
	l, err := load(r.t, config)
	if err != nil {
		r.t.Fatal(err)
	}
	l.now = func() time.Time { return r.now }
	return l
}

// begin goes to the provider.
func (r *rogue) begin(l *Login) error {
	r.t.Helper()
	step, err := l.Begin(r.t.Context(), login.Request{State: testState, CallbackURL: testCallback, Force: r.force})
	if err != nil {
		return err
	}
	u, err := url.Parse(step.Redirect)
	if err != nil {
		r.t.Fatal(err)
	}
	r.asked, r.saved = u.Query(), step.Save
	return nil
}

// finish comes back with the provider's answer.
func (r *rogue) finish(l *Login) (*login.Identity, error) {
	r.t.Helper()
	query := url.Values{"state": {testState}, "code": {testCode}}
	maps.Copy(query, r.query)
	maps.DeleteFunc(query, func(_ string, values []string) bool { return values == nil })
	step, err := l.Finish(r.t.Context(), login.Request{
		State: testState, CallbackURL: testCallback, Query: query, Saved: r.saved,
	})
	if err != nil {
		r.noSecrets(err)
		return nil, err
	}
	if step.Identity == nil || step.Redirect != "" {
		r.t.Fatalf("Finish returned no identity: %+v", step)
	}
	return step.Identity, nil
}

// noSecrets looks for secrets in an error, and for a text without end.
func (r *rogue) noSecrets(err error) {
	r.t.Helper()
	var s saved
	_ = json.Unmarshal(r.saved, &s)
	for _, secret := range []string{testSecret, testCode, testAccess, s.Verifier, s.Nonce, "eyJ"} {
		if len(secret) > 2 && strings.Contains(err.Error(), secret) {
			r.t.Errorf("the error has a secret: %v", err)
		}
	}
	if len(err.Error()) > 1000 || hasControl(err.Error()) {
		r.t.Errorf("the error is %d bytes long, or not clean: %q", len(err.Error()), err.Error())
	}
}

// signIn goes all the way.
func (r *rogue) signIn(l *Login) (*login.Identity, error) {
	r.t.Helper()
	if err := r.begin(l); err != nil {
		r.noSecrets(err)
		return nil, err
	}
	return r.finish(l)
}

// accepted wants a sign-in to succeed.
func (r *rogue) accepted(l *Login) *login.Identity {
	r.t.Helper()
	id, err := r.signIn(l)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// refused wants a sign-in to be denied for a reason.
func (r *rogue) refused(l *Login, reason string) {
	r.t.Helper()
	id, err := r.signIn(l)
	if id != nil || !errors.Is(err, login.ErrDenied) || !strings.Contains(err.Error(), reason) {
		r.t.Errorf("identity %+v, error %v; want it denied with %q", id, err, reason)
	}
}

// down wants a sign-in to end as an outage, which is no verdict about a person.
func (r *rogue) down(l *Login, reason string) {
	r.t.Helper()
	id, err := r.signIn(l)
	if id != nil || err == nil || errors.Is(err, login.ErrDenied) || !strings.Contains(err.Error(), reason) {
		r.t.Errorf("identity %+v, error %v; want an outage with %q", id, err, reason)
	}
}

// TestHonestProvider shows that the rogue is believed when it tells the truth,
// so that every refusal in the other tests is for its lie.
func TestHonestProvider(t *testing.T) {
	r := newRogue(t)
	r.claims = map[string]any{
		"name": "Alice", "email": "alice@example.com", "email_verified": true, "groups": []string{"staff", "dev"},
		"auth_time": r.now.Add(-time.Hour).Unix(), "azp": testClient,
	}
	l := r.login()
	id := r.accepted(l)
	want := login.Identity{
		Subject: "alice", Name: "Alice", Email: "alice@example.com", EmailVerified: true,
		Groups: []string{"staff", "dev"}, AuthTime: r.now.Add(-time.Hour), Version: l.version,
	}
	if got, want := toJSON(t, id), toJSON(t, want); got != want {
		t.Errorf("identity %s, want %s", got, want)
	}
	if len(r.saved) > 1024 {
		t.Errorf("Begin saves %d bytes, the cookie takes 1024", len(r.saved))
	}
	if got, err := l.Recheck(t.Context(), *id); err != nil || toJSON(t, got) != toJSON(t, id) {
		t.Errorf("Recheck: %+v, %v", got, err)
	}
}

// TestSignatures wants every kind of signature that is accepted to work.
func TestSignatures(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		alg         jose.SignatureAlgorithm
		key, public any
	}{
		{jose.RS256, rsaKey(), rsaKey().Public()},
		{jose.PS256, rsaKey(), rsaKey().Public()},
		{jose.ES256, ec, ec.Public()},
		{jose.EdDSA, ed, edPublic},
	} {
		t.Run(string(tt.alg), func(t *testing.T) {
			r := newRogue(t)
			r.alg, r.key = tt.alg, tt.key
			r.keys = keysOf(publicKey(tt.public, "k1", ""))
			r.claims["at_hash"] = accessHash(tt.alg)
			r.accepted(r.login())
			r.claims["at_hash"] = base64.RawURLEncoding.EncodeToString(make([]byte, 16))
			r.refused(r.login(), "access token hash")
		})
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func fromJSON(t *testing.T, text []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}
