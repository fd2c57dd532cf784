package trust_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch/fetchtest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/trust"
)

const (
	host   = "idp.example"
	issuer = "https://idp.example/realms/main"
	mcp    = "https://mcp.example/mcp"
	secret = "MARKER-secret/with:odd%characters"
)

// provider is an identity provider on a host of its own.
type provider struct {
	net *fetchtest.Net
	at  atomic.Int64

	mu       sync.Mutex
	keys     map[string]*ecdsa.PrivateKey
	answers  map[string]any // introspection, by token
	metadata map[string]any
	form     string // where the metadata lies
	down     bool
	asked    map[string]int
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{
		net: fetchtest.New(t), keys: map[string]*ecdsa.PrivateKey{}, answers: map[string]any{}, asked: map[string]int{},
		form: "/.well-known/oauth-authorization-server/realms/main",
		metadata: map[string]any{
			"issuer": issuer, "jwks_uri": "https://idp.example/keys", "introspection_endpoint": "https://idp.example/introspect",
		},
	}
	p.at.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	p.addKey(t, "k1")
	p.net.Handle(host, p.serve)
	return p
}

func (p *provider) now() time.Time          { return time.Unix(0, p.at.Load()) }
func (p *provider) advance(d time.Duration) { p.at.Add(int64(d)) }

func (p *provider) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *provider) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

func (p *provider) addKey(t testing.TB, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.change(func() { p.keys[id] = key })
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path]++
	w.Header().Set("Cache-Control", "max-age=600")
	switch {
	case p.down:
		w.WriteHeader(http.StatusBadGateway)
	case r.URL.Path == p.form:
		_ = json.NewEncoder(w).Encode(p.metadata)
	case r.URL.Path == "/keys":
		set := jwk.NewSet()
		for id, private := range p.keys {
			key, _ := jwk.FromRaw(private.Public())
			_ = key.Set("kid", id)
			_ = set.AddKey(key)
		}
		_ = json.NewEncoder(w).Encode(set)
	case r.URL.Path == "/introspect":
		user, password, _ := r.BasicAuth()
		if r.Method != http.MethodPost || user != "gate%3Away" || password != "MARKER-secret%2Fwith%3Aodd%25characters" || r.URL.RawQuery != "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer, ok := p.answers[r.PostFormValue("token")]
		if !ok {
			answer = map[string]any{"active": false}
		}
		_ = json.NewEncoder(w).Encode(answer)
	default:
		http.NotFound(w, r)
	}
}

func (p *provider) issuer(t testing.TB, edit func(*trust.Config)) *trust.Issuer {
	t.Helper()
	o := p.net.Options()
	o.AllowPrivate = true
	c := trust.Config{Issuer: issuer, URIs: []string{mcp, "https://mcp.example/sse"}, Client: fetch.New(o), Now: p.now}
	if edit != nil {
		edit(&c)
	}
	i, err := trust.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// claims are those of a good token, edited by name and value; nil removes.
func (p *provider) claims(edits ...any) map[string]any {
	c := map[string]any{
		"iss": issuer, "aud": mcp, "sub": "u1", "client_id": "c1", "scope": "read write", "jti": "j1",
		"iat": p.now().Unix(), "exp": p.now().Add(10 * time.Minute).Unix(),
	}
	for i := 0; i+1 < len(edits); i += 2 {
		if c[edits[i].(string)] = edits[i+1]; edits[i+1] == nil {
			delete(c, edits[i].(string))
		}
	}
	return c
}

func (p *provider) sign(t testing.TB, kid, typ string, claims map[string]any) string {
	t.Helper()
	p.mu.Lock()
	key := p.keys[kid]
	p.mu.Unlock()
	return signWith(t, key, kid, typ, claims)
}

func signWith(t testing.TB, key *ecdsa.PrivateKey, kid, typ string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	h := jws.NewHeaders()
	_ = h.Set("kid", kid)
	if typ != "" {
		_ = h.Set("typ", typ)
	}
	raw, err := jws.Sign(payload, jws.WithKey(jwa.ES256, key, jws.WithProtectedHeaders(h)))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func (p *provider) token(t testing.TB, edits ...any) string {
	t.Helper()
	return p.sign(t, "k1", "at+jwt", p.claims(edits...))
}

func TestGoodToken(t *testing.T) {
	p := newProvider(t)
	var who *resource.Token
	i := p.issuer(t, func(c *trust.Config) { c.Permit = func(a *resource.Token) bool { who = a; return true } })
	raw := p.token(t, "email", "u1@example.com", "email_verified", true, "name", "User One", "groups", []string{"staff", "dev"},
		"auth_time", 1_700_000_000, "realm", map[string]any{"roles": []string{"r"}})
	if !i.Recognizes(raw) {
		t.Fatal("not recognized")
	}
	for range 3 {
		got, err := i.Verify(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		if got.Subject != issuer+"|u1" || got.ClientID != issuer+"|c1" || got.Scope != "read write" || len(got.Scopes) != 2 ||
			got.Audience != mcp || got.Issuer != issuer || got.Email != "u1@example.com" || got.Name != "User One" || got.GrantID != "" {
			t.Errorf("got %+v", got)
		}
		roles, _ := got.Claim("realm.roles").([]any)
		if got.Login != issuer || got.AuthTime != 1_700_000_000 || got.Claim("sub") != issuer+"|u1" || len(roles) != 1 || !got.GroupsKnown("any") {
			t.Errorf("for policy: %+v", got)
		}
		if !who.EmailVerified || strings.Join(who.Groups, " ") != "staff dev" || who.GroupsUnknown {
			t.Errorf("who: %+v", who)
		}
	}
	if p.count("/keys") != 1 || p.count(p.form) != 1 {
		t.Errorf("keys were fetched %d times, metadata %d times", p.count("/keys"), p.count(p.form))
	}
}

// TestBadTokens: one thing wrong each, and none is an outage (SPEC K13 to K18).
func TestBadTokens(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, nil)
	plain := p.issuer(t, func(c *trust.Config) { c.PlainJWT = true })
	rsOnly := p.issuer(t, func(c *trust.Config) { c.Algorithms = []string{"RS256"} })
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	in := func(d time.Duration) int64 { return p.now().Add(d).Unix() }
	typed := func(typ string, edits ...any) string { return p.sign(t, "k1", typ, p.claims(edits...)) }
	good := p.token(t)
	for _, tt := range []struct {
		name string
		at   *trust.Issuer
		raw  string
		ok   bool
	}{
		{"good", i, good, true},
		{"media type in full", i, typed("application/at+jwt"), true},
		{"the other endpoint", i, p.token(t, "aud", "https://mcp.example/sse"), true},
		{"a list of one", i, p.token(t, "aud", []string{mcp}), true},
		{"expired within the leeway", i, p.token(t, "exp", in(-59*time.Second)), true},
		{"not yet, within the leeway", i, p.token(t, "nbf", in(59*time.Second)), true},
		{"without iat", i, p.token(t, "iat", nil), true},
		{"fraction of a second", i, p.token(t, "exp", float64(in(time.Minute))+0.5), true},
		{"without a scope", i, p.token(t, "scope", nil), true},
		{"plain", plain, typed("JWT"), true},
		{"without a type, plain", plain, typed(""), true},

		{"type JWT", i, typed("JWT"), false},
		{"without a type", i, typed(""), false},
		{"type of an assertion", plain, typed("client-authentication+jwt"), false},
		{"type of a logout token", plain, typed("logout+jwt"), false},
		{"expired", i, p.token(t, "exp", in(-60*time.Second)), false},
		{"without exp", i, p.token(t, "exp", nil), false},
		{"exp a string", i, p.token(t, "exp", "2000000000"), false},
		{"exp beyond time", i, p.token(t, "exp", 1e300), false},
		{"exp negative", i, p.token(t, "exp", -1), false},
		{"not yet", i, p.token(t, "nbf", in(61*time.Second)), false},
		{"issued in the future", i, p.token(t, "iat", in(61*time.Second)), false},
		{"another issuer", i, p.token(t, "iss", issuer+"/"), false},
		{"without an issuer", i, p.token(t, "iss", nil), false},
		{"a list of issuers", i, p.token(t, "iss", []string{issuer}), false},
		{"without an audience", i, p.token(t, "aud", nil), false},
		{"an empty audience", i, p.token(t, "aud", ""), false},
		{"no audience in a list", i, p.token(t, "aud", []string{}), false},
		{"another audience", i, p.token(t, "aud", "https://mcp.example/other"), false},
		{"the origin", i, p.token(t, "aud", "https://mcp.example"), false},
		{"longer", i, p.token(t, "aud", mcp+"/x"), false},
		{"for others as well", i, p.token(t, "aud", []string{mcp, "account"}), false},
		{"a number among audiences", i, p.token(t, "aud", []any{mcp, 1}), false},
		{"without a subject", i, p.token(t, "sub", nil), false},
		{"an empty subject", i, p.token(t, "sub", ""), false},
		{"a subject that is a number", i, p.token(t, "sub", 1), false},
		{"a subject with a line", i, p.token(t, "sub", "a\nb"), false},
		{"a long subject", i, p.token(t, "sub", strings.Repeat("a", 201)), false},
		{"a scope that is none", i, p.token(t, "scope", `a"b`), false},
		{"a scope that is a number", i, p.token(t, "scope", 1), false},
		{"groups that are none", i, p.token(t, "groups", map[string]any{"a": 1}), false},
		{"bound to a key", i, p.token(t, "cnf", map[string]any{"jkt": "x"}), false},
		{"an ID token", plain, typed("JWT", "nonce", "n"), false},
		{"an ID token by its hash", plain, typed("JWT", "at_hash", "n"), false},
		{"an ID token of Keycloak", plain, typed("JWT", "typ", "ID"), false},
		{"a refresh token of Keycloak", plain, typed("JWT", "typ", "Refresh"), false},
		{"an ID token of Cognito", plain, typed("", "token_use", "id"), false},
		{"a logout token", plain, typed("JWT", "events", map[string]any{}), false},
		{"a stranger's key", i, signWith(t, stranger, "k1", "at+jwt", p.claims()), false},
		{"a key that is not there", i, signWith(t, stranger, "k2", "at+jwt", p.claims()), false},
		{"an algorithm that is not accepted", rsOnly, good, false},
		{"changed", i, good[:len(good)-10] + "AAAAAAAAAA", false},
		{"no JWT", i, "opaque", false},
		{"too long", i, good + strings.Repeat("A", 20<<10), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // what is refused is not remembered
				_, err := tt.at.Verify(t.Context(), tt.raw)
				if (err == nil) != tt.ok || errors.Is(err, resource.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				if err != nil && strings.Contains(err.Error(), tt.raw) {
					t.Error("the error quotes the token")
				}
			}
		})
	}
}

func TestRecognizes(t *testing.T) {
	p := newProvider(t)
	jwts, asks := p.issuer(t, nil), p.issuer(t, introspected(nil))
	for name, tt := range map[string]struct {
		raw        string
		jwts, asks bool
	}{
		"its own":   {p.token(t), true, true},
		"another's": {p.token(t, "iss", "https://gw.example"), false, false},
		"nobody's":  {p.token(t, "iss", nil), false, false},
		"opaque":    {"opaque", false, true},
		"too long":  {strings.Repeat("a", 20<<10), false, false},
	} {
		if got := jwts.Recognizes(tt.raw); got != tt.jwts {
			t.Errorf("%s: %t", name, got)
		}
		if got := asks.Recognizes(tt.raw); got != tt.asks {
			t.Errorf("%s, with introspection: %t", name, got)
		}
	}
	if p.net.Connections() != 0 {
		t.Error("it asked somebody")
	}
}

// TestExpiryOfRemembered: a token that was good is refused when it expires.
func TestExpiryOfRemembered(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, nil)
	raw := p.token(t)
	for _, step := range []struct {
		after time.Duration
		ok    bool
	}{{0, true}, {10 * time.Minute, true}, {59 * time.Second, true}, {time.Second, false}} {
		p.advance(step.after)
		if _, err := i.Verify(t.Context(), raw); (err == nil) != step.ok {
			t.Errorf("after %s: %v", step.after, err)
		}
	}
}

func TestOptions(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, func(c *trust.Config) {
		c.Audiences = []string{"api://mcp", mcp}
		c.OtherAudiences = true
		c.Leeway = -1
		c.Claims = trust.Claims{
			User: "oid", Name: "display", Email: "mail", Groups: "realm_access.roles", Client: "cid", Scope: "https://x.example/scope", TrustEmail: true,
		}
		c.Permit = func(a *resource.Token) bool { return a.EmailVerified && len(a.Groups) == 2 }
	})
	more := []any{
		"oid", "o-1", "display", "One", "mail", "one@example.com", "cid", "web", "https://x.example/scope",
		[]string{"a", "b"},
		"realm_access",
		map[string]any{"roles": []string{"r1", "r2"}},
		"aud",
		[]string{"account", "api://mcp"},
	}
	got, err := i.Verify(t.Context(), p.token(t, more...))
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != issuer+"|o-1" || got.Name != "One" || got.Email != "one@example.com" || got.ClientID != issuer+"|web" || got.Scope != "a b" {
		t.Errorf("got %+v", got)
	}
	if _, err := i.Verify(t.Context(), p.token(t, append(more, "exp", p.now().Unix())...)); err == nil {
		t.Error("without leeway, an expired token is good")
	}
	if _, err := i.Verify(t.Context(), p.token(t, append(more, "email_verified", false)...)); !errors.Is(err, resource.ErrForbidden) {
		t.Errorf("an address that the provider does not vouch for: %v", err)
	}
	scp := p.issuer(t, nil)
	for _, v := range []any{"a b", []string{"a", "b"}} {
		if got, err := scp.Verify(t.Context(), p.token(t, "scope", nil, "scp", v)); err != nil || got.Scope != "a b" {
			t.Errorf("scp %v: %+v, %v", v, got, err)
		}
	}
	if got, err := scp.Verify(t.Context(), p.token(t, "client_id", nil, "azp", "other")); err != nil || got.ClientID != issuer+"|other" {
		t.Errorf("azp: %+v, %v", got, err)
	}
}

func TestEmailVerified(t *testing.T) {
	p := newProvider(t)
	for _, tt := range []struct {
		says  any
		claim trust.Claims
		want  bool
	}{
		{true, trust.Claims{}, true},
		{"true", trust.Claims{}, true},
		{false, trust.Claims{}, false},
		{nil, trust.Claims{}, false},
		{"yes", trust.Claims{}, false},
		{nil, trust.Claims{TrustEmail: true}, true},
		{false, trust.Claims{TrustEmail: true}, false},
		{"no", trust.Claims{TrustEmail: true}, false},
		{true, trust.Claims{Email: "mail"}, false},
	} {
		var got bool
		i := p.issuer(t, func(c *trust.Config) {
			c.Claims = tt.claim
			c.Permit = func(a *resource.Token) bool { got = a.EmailVerified; return true }
		})
		if _, err := i.Verify(t.Context(), p.token(t, "email", "a@b.example", "mail", "a@b.example", "email_verified", tt.says)); err != nil || got != tt.want {
			t.Errorf("%v, %+v: %t, %v", tt.says, tt.claim, got, err)
		}
	}
}

// TestGroupsLeftOut: whoever brings a token that does not name their groups does
// not pass a rule that keeps a group out. It is enough for that to leave out the
// scope that the groups come with.
func TestGroupsLeftOut(t *testing.T) {
	p := newProvider(t)
	var who *resource.Token
	see := func(c *trust.Config) { c.Permit = func(a *resource.Token) bool { who = a; return true } }
	flat := p.issuer(t, see)
	deep := p.issuer(t, func(c *trust.Config) { see(c); c.Claims.Groups = "realm_access.roles" })
	for _, tt := range []struct {
		name    string
		at      *trust.Issuer
		edits   []any
		unknown bool
	}{
		{"named", flat, []any{"groups", []string{"staff"}}, false},
		{"one", flat, []any{"groups", "staff"}, false},
		{"none", flat, []any{"groups", []string{}}, false},
		{"no claim", flat, nil, true},
		{"null", flat, []any{"groups", json.RawMessage("null")}, true},
		{"elsewhere", flat, []any{"_claim_names", map[string]any{"groups": "src1"}}, true},
		{"some of many", flat, []any{"groups", []string{"staff"}, "hasgroups", true}, true},
		{"named by a path", deep, []any{"realm_access", map[string]any{"roles": []string{}}}, false},
		{"half a path", deep, []any{"realm_access", map[string]any{}}, true},
	} {
		if _, err := tt.at.Verify(t.Context(), p.token(t, tt.edits...)); err != nil || who.GroupsUnknown != tt.unknown {
			t.Errorf("%s: unknown %t, %v", tt.name, who.GroupsUnknown, err)
		}
	}
}

// TestRotation: a new key is found without a wait, and one that was withdrawn
// ends the tokens that it signed.
func TestRotation(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, nil)
	old := p.token(t, "exp", p.now().Add(time.Hour).Unix())
	if _, err := i.Verify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	p.advance(time.Minute)
	p.addKey(t, "k2")
	if _, err := i.Verify(t.Context(), p.sign(t, "k2", "at+jwt", p.claims())); err != nil {
		t.Errorf("a new key: %v", err)
	}
	p.change(func() { delete(p.keys, "k1") })
	p.advance(10 * time.Minute)
	if _, err := i.Verify(t.Context(), old); err == nil || errors.Is(err, resource.ErrUnavailable) {
		t.Errorf("a key that was withdrawn: %v", err)
	}
	// Another key of the same name is another key.
	p.addKey(t, "k1")
	p.advance(10 * time.Minute)
	if _, err := i.Verify(t.Context(), old); err == nil {
		t.Error("a remembered token outlives its key")
	}
}

// TestOutage: what can't be checked is not bad (SPEC K19), keys are good for a
// while, and a provider that is down is not asked with every call.
func TestOutage(t *testing.T) {
	p := newProvider(t)
	p.change(func() { p.down = true })
	i := p.issuer(t, nil)
	for range 20 {
		if _, err := i.Verify(t.Context(), p.token(t)); !errors.Is(err, resource.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
	}
	if n := p.count(p.form); n != 1 {
		t.Errorf("asked %d times", n)
	}
	p.change(func() { p.down = false })
	p.advance(5 * time.Second)
	if _, err := i.Verify(t.Context(), p.token(t)); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
	p.change(func() { p.down = true })
	long := p.token(t, "exp", p.now().Add(24*time.Hour).Unix())
	p.advance(time.Hour)
	if _, err := i.Verify(t.Context(), long); err != nil {
		t.Errorf("with stale keys: %v", err)
	}
	if _, err := i.Verify(t.Context(), p.sign(t, "k1", "at+jwt", p.claims("iss", "https://else.example"))); err == nil || errors.Is(err, resource.ErrUnavailable) {
		t.Errorf("a bad token during the outage: %v", err)
	}
	p.advance(time.Hour)
	for _, raw := range []string{long, p.token(t)} {
		if _, err := i.Verify(t.Context(), raw); !errors.Is(err, resource.ErrUnavailable) {
			t.Errorf("beyond stale_keys: %v", err)
		}
	}
}

func TestDiscovery(t *testing.T) {
	for _, tt := range []struct {
		name, form string
		change     map[string]any
		ok         bool
	}{
		{"RFC 8414", "/.well-known/oauth-authorization-server/realms/main", nil, true},
		{"OpenID", "/realms/main/.well-known/openid-configuration", nil, true},
		{"OpenID as RFC 8414 has it", "/.well-known/openid-configuration/realms/main", nil, true},
		{"elsewhere", "/.well-known/openid-configuration", nil, false},
		{"of another issuer", "/realms/main/.well-known/openid-configuration", map[string]any{"issuer": "https://idp.example"}, false},
		{"with a slash more", "/realms/main/.well-known/openid-configuration", map[string]any{"issuer": issuer + "/"}, false},
		{"keys without TLS", "/realms/main/.well-known/openid-configuration", map[string]any{"jwks_uri": "http://idp.example/keys"}, false},
		{"without keys", "/realms/main/.well-known/openid-configuration", map[string]any{"jwks_uri": ""}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t)
			p.form = tt.form
			maps.Copy(p.metadata, tt.change)
			_, err := p.issuer(t, nil).Verify(t.Context(), p.token(t))
			if (err == nil) != tt.ok || !tt.ok && !errors.Is(err, resource.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("not needed", func(t *testing.T) {
		p := newProvider(t)
		p.form = ""
		i := p.issuer(t, func(c *trust.Config) { c.JWKSURL = "https://idp.example/keys" })
		if _, err := i.Verify(t.Context(), p.token(t)); err != nil {
			t.Error(err)
		}
	})
}

func introspected(edit func(*trust.Introspection)) func(*trust.Config) {
	return func(c *trust.Config) {
		c.Introspection = &trust.Introspection{ClientID: "gate:way", Secret: secret}
		if edit != nil {
			edit(c.Introspection)
		}
	}
}

func (p *provider) answer(raw string, edits ...any) {
	answer := p.claims(edits...)
	if _, set := answer["active"]; !set {
		answer["active"] = true
	}
	p.change(func() { p.answers[raw] = answer })
}

func TestIntrospection(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, introspected(nil))
	p.answer("tok", "token_type", "Bearer", "username", "One")
	for range 5 {
		got, err := i.Verify(t.Context(), "tok")
		if err != nil || got.Subject != issuer+"|u1" || got.Scope != "read write" {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if n := p.count("/introspect"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	// Revoked there: it works for as long as the answer counts.
	p.change(func() { delete(p.answers, "tok") })
	p.advance(29 * time.Second)
	if _, err := i.Verify(t.Context(), "tok"); err != nil {
		t.Error(err)
	}
	p.advance(time.Second)
	for range 2 {
		if _, err := i.Verify(t.Context(), "tok"); err == nil || errors.Is(err, resource.ErrUnavailable) {
			t.Errorf("revoked: %v", err)
		}
	}
	// That a token is not active is remembered for 5 s.
	p.answer("tok")
	p.advance(5 * time.Second)
	if _, err := i.Verify(t.Context(), "tok"); err != nil {
		t.Errorf("active again: %v", err)
	}
	// JWTs of the issuer are asked about as well.
	if _, err := i.Verify(t.Context(), p.token(t)); err == nil {
		t.Error("a JWT that the provider does not know is good")
	}
}

func TestIntrospectionNeverOutlivesTheToken(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, introspected(func(n *trust.Introspection) { n.Remember = 10 * time.Minute }))
	p.answer("tok", "exp", p.now().Add(time.Minute).Unix())
	if _, err := i.Verify(t.Context(), "tok"); err != nil {
		t.Fatal(err)
	}
	p.advance(2 * time.Minute)
	if _, err := i.Verify(t.Context(), "tok"); err == nil {
		t.Error("an expired token is good because it is remembered")
	}
}

func TestIntrospectionAnswers(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, introspected(nil))
	for n, tt := range []struct {
		name   string
		answer any
		outage bool
	}{
		{"not active", map[string]any{"active": false}, false},
		{"active by text", map[string]any{"active": "true"}, true},
		{"nothing", map[string]any{}, true},
		{"a list", []string{}, true},
		{"another issuer", p.claims("active", true, "iss", "https://else.example"), false},
		{"another audience", p.claims("active", true, "aud", "https://else.example"), false},
		{"without an audience", p.claims("active", true, "aud", nil), false},
		{"without exp", p.claims("active", true, "exp", nil), false},
		{"a DPoP token", p.claims("active", true, "token_type", "DPoP"), false},
		{"bound to a certificate", p.claims("active", true, "cnf", map[string]any{"x5t#S256": "x"}), false},
		{"a refresh token", p.claims("active", true, "token_use", "refresh_token"), false},
	} {
		raw := fmt.Sprintf("tok%d", n)
		p.change(func() { p.answers[raw] = tt.answer })
		if _, err := i.Verify(t.Context(), raw); err == nil || errors.Is(err, resource.ErrUnavailable) != tt.outage {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	p.answer("noiss", "iss", nil)
	if _, err := i.Verify(t.Context(), "noiss"); err != nil {
		t.Errorf("iss is optional: %v", err)
	}
	// That our own secret is wrong says nothing about the token.
	wrong := p.issuer(t, introspected(func(n *trust.Introspection) { n.Secret = "MARKER-other" }))
	_, err := wrong.Verify(t.Context(), "tok0")
	if !errors.Is(err, resource.ErrUnavailable) || strings.Contains(err.Error(), "MARKER") || strings.Contains(err.Error(), "tok0") {
		t.Errorf("a wrong secret: %v", err)
	}
	p.change(func() { p.down = true })
	if _, err := i.Verify(t.Context(), "tok-new"); !errors.Is(err, resource.ErrUnavailable) {
		t.Errorf("outage: %v", err)
	}
}

func TestOneQuestionForAll(t *testing.T) {
	p := newProvider(t)
	i := p.issuer(t, introspected(nil))
	p.answer("tok")
	var wg sync.WaitGroup
	p.mu.Lock() // the provider takes its time
	for range 50 {
		wg.Go(func() {
			if _, err := i.Verify(t.Context(), "tok"); err != nil {
				t.Error(err)
			}
		})
	}
	p.mu.Unlock()
	wg.Wait()
	if n := p.count("/introspect"); n < 1 || n > 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, edit := range map[string]func(*trust.Config){
		"no issuer":                func(c *trust.Config) { c.Issuer = "" },
		"http":                     func(c *trust.Config) { c.Issuer = "http://idp.example" },
		"a query":                  func(c *trust.Config) { c.Issuer += "?x" },
		"a fragment":               func(c *trust.Config) { c.Issuer += "#x" },
		"userinfo":                 func(c *trust.Config) { c.Issuer = "https://u:p@idp.example" },
		"no resource":              func(c *trust.Config) { c.URIs = nil },
		"empty audience":           func(c *trust.Config) { c.Audiences = []string{""} },
		"HS256":                    func(c *trust.Config) { c.Algorithms = []string{"HS256"} },
		"none":                     func(c *trust.Config) { c.Algorithms = []string{"none"} },
		"much leeway":              func(c *trust.Config) { c.Leeway = time.Hour },
		"stale for long":           func(c *trust.Config) { c.StaleFor = 48 * time.Hour },
		"keys without TLS":         func(c *trust.Config) { c.JWKSURL = "http://idp.example/keys" },
		"users by address":         func(c *trust.Config) { c.Claims.User = "email" },
		"introspection, no secret": func(c *trust.Config) { c.Introspection = &trust.Introspection{ClientID: "a"} },
		"introspection over http": func(c *trust.Config) {
			c.Introspection = &trust.Introspection{ClientID: "a", Secret: "b", URL: "http://idp.example"}
		},
		"introspection for long": func(c *trust.Config) {
			c.Introspection = &trust.Introspection{ClientID: "a", Secret: "b", Remember: time.Hour}
		},
	} {
		c := trust.Config{Issuer: issuer, URIs: []string{mcp}}
		edit(&c)
		if i, err := trust.New(c); err == nil {
			i.Close()
			t.Errorf("%s is accepted", name)
		}
	}
	if i, err := trust.New(trust.Config{Issuer: "http://localhost:8080/realms/a", URIs: []string{mcp}}); err != nil {
		t.Error(err)
	} else {
		i.Close()
	}
}
