package authserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch/fetchtest"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// THREATS T13 (CVE-2020-15222): an assertion is good once until it expires, on
// every node, and nobody uses up another client's jti.
func TestAssertionReplay(t *testing.T) {
	p := newMachines(t, nil)
	second := newMachines(t, func(_ *Config, d *Deps) { d.Store = p.store })
	second.clients[robotID] = p.clients[robotID]
	other := newSigner(t, "k2")
	p.clients["robot2"] = Client{ID: "robot2", AuthMethod: oauth.AuthMethodPrivateKeyJWT, JWKS: other.jwks(t), GrantTypes: []string{oauth.GrantClientCredentials}}

	raw := p.assertion(t, map[string]any{"jti": "once"})
	if got := p.asserts(raw); got != http.StatusOK {
		t.Fatal(got)
	}
	for _, node := range []*machines{p, second} {
		if got := node.asserts(raw); got != http.StatusUnauthorized {
			t.Errorf("used again: %d", got)
		}
	}
	if got := p.asserts(p.assertion(t, map[string]any{"jti": "once", "aud": testIssuer + "/"})); got != http.StatusUnauthorized {
		t.Errorf("the jti in another assertion: %d", got)
	}
	claims := p.claims()
	claims["iss"], claims["sub"], claims["jti"] = "robot2", "robot2", "once"
	text, _ := json.Marshal(claims)
	if got := p.asserts(other.sign(t, nil, string(text))); got != http.StatusOK {
		t.Errorf("another client's jti of the same name: %d", got)
	}
	p.pass(time.Minute + assertionLeeway - time.Second)
	if got := p.asserts(raw); got != http.StatusUnauthorized {
		t.Errorf("at its very end: %d", got)
	}
}

// TestAssertionRace: of 64 uses at once exactly one succeeds, the others are
// told that they are not authenticated, and nobody sees a fault.
func TestAssertionRace(t *testing.T) {
	p := newMachines(t, nil)
	raw := p.assertion(t, nil)
	var all sync.WaitGroup
	var good, refused atomic.Int64
	for range 64 {
		all.Go(func() {
			switch p.asserts(raw) {
			case http.StatusOK:
				good.Add(1)
			case http.StatusUnauthorized:
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 || refused.Load() != 63 {
		t.Errorf("%d succeeded, %d were refused", good.Load(), refused.Load())
	}
}

// TestAssertionAlgorithms: every algorithm that the metadata list works, and one
// that they don't is refused.
func TestAssertionAlgorithms(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := func(c elliptic.Curve) any {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	keys := map[string]any{
		"ES256": curve(elliptic.P256()), "ES384": curve(elliptic.P384()), "ES512": curve(elliptic.P521()),
		"RS256": rsaKey, "PS256": rsaKey, "EdDSA": edKey,
	}
	p := newMachines(t, nil)
	listed := p.metadata().TokenEndpointAuthAlgorithms
	// Ed25519 is the new name of EdDSA, which the signing library does not know yet.
	if len(listed) != len(keys)+1 || !slices.Contains(listed, "Ed25519") {
		t.Errorf("listed are %v", listed)
	}
	for alg, key := range keys {
		c := p.clients[robotID]
		p.robot = signer{key, jwa.SignatureAlgorithm(alg), "k1"}
		c.JWKS = p.robot.jwks(t)
		p.clients[robotID] = c
		if got := p.asserts(p.assertion(t, nil)); got != http.StatusOK {
			t.Errorf("%s: %d", alg, got)
		}
	}
	c := p.clients[robotID]
	p.robot = signer{rsaKey, jwa.RS512, "k1"}
	c.JWKS = p.robot.jwks(t)
	p.clients[robotID] = c
	if got := p.asserts(p.assertion(t, nil)); got != http.StatusUnauthorized {
		t.Errorf("RS512, which is not listed: %d", got)
	}
}

// TestLenientAudience: the switch for older clients adds the token endpoint, and
// nothing that is not this server.
func TestLenientAudience(t *testing.T) {
	p := newMachines(t, func(c *Config, _ *Deps) { c.LenientAssertionAudience = true })
	endpoint := testIssuer + "/oauth/token"
	for _, tt := range []struct {
		aud  any
		want int
	}{
		{testIssuer, 200},
		{endpoint, 200},
		{[]string{testIssuer, endpoint}, 200},
		{[]string{endpoint}, 200},
		{endpoint + "/", 401},
		{testIssuer + "/oauth/revoke", 401},
		{[]string{testIssuer, "https://as.example"}, 401},
		{"https://as.example/oauth/token", 401},
		{[]string{}, 401},
	} {
		if got := p.asserts(p.assertion(t, map[string]any{"aud": tt.aud})); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.aud, got, tt.want)
		}
	}
}

// finder is a KeyFinder that answers what a test wants.
type finder func() ([]jose.Key, error)

func (f finder) Keys(context.Context, string, string, string) ([]jose.Key, error) { return f() }

// TestAssertionOutage: keys that can't be fetched and a store that does not
// answer are an outage, and no verdict (SPEC G5).
func TestAssertionOutage(t *testing.T) {
	var broken atomic.Bool
	var answer error
	p := newMachines(t, func(_ *Config, d *Deps) {
		d.Store = useless{d.Store, &broken}
		d.ConfiguredKeys = finder(func() ([]jose.Key, error) { return nil, answer })
	})
	raw := p.assertion(t, nil)
	broken.Store(true)
	fails(t, p.from("a", tokenPath, asserted(raw)), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable)
	broken.Store(false)
	decode[oauth.TokenResponse](t, p.from("a", tokenPath, asserted(raw)), http.StatusOK)

	c := p.clients[robotID]
	c.JWKS, c.JWKSURI = nil, "https://robot.example/jwks"
	p.clients[robotID] = c
	for cause, status := range map[error]int{
		jose.ErrUnavailable: 503, errors.New("something else"): 503, context.DeadlineExceeded: 503, jose.ErrNoKey: 401,
	} {
		answer = fmt.Errorf("looking: %w", cause)
		if got := p.asserts(p.assertion(t, nil)); got != status {
			t.Errorf("%v: %d, want %d", cause, got, status)
		}
	}
}

// useless is a store that can't mark keys while it is broken.
type useless struct {
	store.Store
	broken *atomic.Bool
}

func (u useless) Use(ctx context.Context, now time.Time, key string, until time.Time) (time.Time, error) {
	if u.broken.Load() {
		return time.Time{}, errDisk
	}
	return u.Store.Use(ctx, now, key, until)
}

// TestAssertionKeysAtAnAddress goes through real key sets: fetched, rotated, and
// refused where a document or a dynamic client names a private place (SPEC E11).
func TestAssertionKeysAtAnAddress(t *testing.T) {
	internet := fetchtest.New(t)
	var published atomic.Pointer[[]byte]
	publish := func(s signer) { text := s.jwks(t); published.Store(&text) }
	internet.Handle("robot.example", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*published.Load()) })
	internet.Handle("rebound.example", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*published.Load()) })
	internet.Resolve("rebound.example", netip.MustParseAddrPort("127.0.0.2:0"))
	remote := jose.NewRemote(fetch.New(internet.Options()), jose.RemoteOptions{})
	t.Cleanup(remote.Close)
	p := newMachines(t, func(_ *Config, d *Deps) { d.ClientKeys = remote })
	document := func(uri string) {
		p.clients[robotID] = Client{
			ID: robotID, Origin: ClientDocument, AuthMethod: oauth.AuthMethodPrivateKeyJWT, JWKSURI: uri,
			GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
		}
	}
	// A refresh token of nobody is ours all the same: a client that is known gets
	// as far as 400 invalid_grant.
	asserts := func() int {
		return p.from(fmt.Sprintf("2001:db8:0:%x::1", addresses.Add(1)), tokenPath, p.refreshing(t, p.assertion(t, nil))).Code
	}
	p.clients["keeper"] = Client{ID: "keeper", AuthMethod: oauth.AuthMethodBasic, Secret: "x", GrantTypes: []string{oauth.GrantClientCredentials}}
	publish(p.robot)
	document("https://robot.example/jwks")
	if got := asserts(); got != http.StatusBadRequest {
		t.Errorf("a published key: %d", got)
	}
	old := p.robot
	p.robot = newSigner(t, "k2")
	if got := asserts(); got != http.StatusUnauthorized {
		t.Errorf("a key that is not published: %d", got)
	}
	p.robot = old
	for _, uri := range []string{
		"https://127.0.0.1/jwks", "https://localhost/jwks", "http://robot.example/jwks", "https://[::1]/jwks", "https://169.254.169.254/",
		"https://rebound.example/jwks", "file:///etc/passwd", "https://robot.example:2019/config/", "https://user@robot.example/jwks", "",
	} {
		before := internet.Connections()
		document(uri)
		if got := asserts(); got != http.StatusUnauthorized || internet.Connections() != before {
			t.Errorf("%q: status %d, %d connections", uri, got, internet.Connections()-before)
		}
	}
}

// refreshing is a request with an assertion and a refresh token that is ours, of a
// grant that nobody has.
func (p *machines) refreshing(tb testing.TB, assertion string) url.Values {
	tb.Helper()
	token, err := p.refreshToken(base64.RawURLEncoding.EncodeToString(newNonce()), 0)
	if err != nil {
		tb.Fatal(err)
	}
	form := asserted(assertion)
	form.Set("grant_type", oauth.GrantRefreshToken)
	form.Set("refresh_token", token)
	return form
}

// TestAlsoPublic (SPEC G10, THREATS G7): a document that allows none too may come
// with nothing, and what it presents has to be right.
func TestAlsoPublic(t *testing.T) {
	p := newMachines(t, nil)
	c := Client{
		ID: robotID, Origin: ClientDocument, AuthMethod: oauth.AuthMethodPrivateKeyJWT, AlsoPublic: true, JWKS: p.robot.jwks(t),
		GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, RedirectURIs: []string{"http://127.0.0.1/cb"},
	}
	p.clients[robotID] = c
	form := url.Values{"grant_type": {oauth.GrantRefreshToken}, "refresh_token": {"x"}, "client_id": {robotID}}
	fails(t, p.from("a", tokenPath, form), http.StatusBadRequest, oauth.CodeInvalidGrant)
	fails(t, p.from("a", tokenPath, as(robotID, form)), http.StatusUnauthorized, oauth.CodeInvalidClient)
	fails(t, p.from("a", tokenPath, p.refreshing(t, p.assertion(t, nil))), http.StatusBadRequest, oauth.CodeInvalidGrant)
	wrong := p.refreshing(t, p.assertion(t, map[string]any{"aud": "https://as.example"}))
	fails(t, p.from("a", tokenPath, wrong), http.StatusUnauthorized, oauth.CodeInvalidClient)
	c.AlsoPublic = false
	p.clients[robotID] = c
	fails(t, p.from("a", tokenPath, url.Values{"grant_type": {oauth.GrantRefreshToken}, "refresh_token": {"x"}, "client_id": {robotID}}),
		http.StatusUnauthorized, oauth.CodeInvalidClient)
}

// FuzzAssertion wants any text to be refused in order, and to say nothing of what
// is inside.
func FuzzAssertion(f *testing.F) {
	p := newMachines(f, nil)
	good := p.assertion(f, nil)
	f.Add(good, robotID)
	f.Add(p.robot.sign(f, nil, `{"iss":"robot","sub":"robot","aud":[],"exp":1e400}`), "")
	f.Add(p.robot.sign(f, nil, `{"aud":{"":[[[[]]]]},"jti":null}`), robotID)
	f.Add("..", "")
	f.Add("e30.e30.", "nobody")
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb2JvdCJ9.", "")
	var n atomic.Int64
	f.Fuzz(func(t *testing.T, assertion, id string) {
		form := asserted(assertion)
		form.Set("client_id", id)
		w := p.from(fmt.Sprint(n.Add(1)), tokenPath, form)
		switch w.Code {
		case http.StatusBadRequest, http.StatusUnauthorized:
			if e := decode[errorBody](t, w, w.Code); e.Error != oauth.CodeInvalidClient && e.Error != oauth.CodeInvalidRequest {
				t.Errorf("%q: %s", assertion, e.Error)
			}
		case http.StatusOK:
			if assertion != good {
				t.Errorf("%q is taken", assertion)
			}
		default:
			t.Errorf("%q: %d", assertion, w.Code)
		}
	})
}
