package header

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

const (
	testIssuer   = "https://team.cloudflareaccess.com"
	testAudience = "32eafc7626e737"
	testHeader   = "Cf-Access-Jwt-Assertion"
)

// signer is a key of the proxy.
type signer struct {
	id  string
	alg jwa.SignatureAlgorithm
	key crypto.Signer
}

func newSigner(t testing.TB, id string, alg jwa.SignatureAlgorithm) signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case jwa.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwa.ES384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jwa.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, alg, key}
}

// jwk is what the proxy publishes of the key.
func (s signer) jwk(t testing.TB, more options) json.RawMessage {
	t.Helper()
	key, err := jwk.FromRaw(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	key.Set("kid", s.id)
	key.Set("alg", s.alg)
	key.Set("use", "sig")
	for name, value := range more {
		if value == nil {
			key.Remove(name)
		} else if err := key.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// sign makes a token; more replaces claims, and nil takes them away.
func (s signer) sign(t testing.TB, more options) string {
	t.Helper()
	return s.signWith(t, nil, more)
}

func (s signer) signWith(t testing.TB, header, more options) string {
	t.Helper()
	claims := options{
		"iss": testIssuer, "aud": []string{testAudience}, "sub": "7335d417", "email": "alice@example.com",
		"iat": testNow.Add(-time.Minute).Unix(), "nbf": testNow.Add(-time.Minute).Unix(), "exp": testNow.Add(time.Hour).Unix(),
	}
	payload, err := json.Marshal(merged(claims, more))
	if err != nil {
		t.Fatal(err)
	}
	headers := jws.NewHeaders()
	for name, value := range merged(options{"kid": s.id, "typ": "JWT"}, header) {
		if err := headers.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	token, err := jws.Sign(payload, jws.WithKey(s.alg, s.key, jws.WithProtectedHeaders(headers)))
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

func merged(base, more options) options {
	all := maps.Clone(base)
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// jwks is where the proxy publishes its keys.
type jwks struct {
	*httptest.Server
	fetches atomic.Int32
	mu      sync.Mutex
	answer  http.HandlerFunc
}

func newJWKS(t testing.TB, keys ...json.RawMessage) *jwks {
	t.Helper()
	s := &jwks{}
	s.publish(keys...)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		s.mu.Lock()
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *jwks) on(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *jwks) publish(keys ...json.RawMessage) {
	if keys == nil {
		keys = []json.RawMessage{}
	}
	body, err := json.Marshal(map[string]any{"keys": keys, "public_cert": map[string]string{"kid": "x"}})
	if err != nil {
		panic(err)
	}
	s.on(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// behindSigner loads a login that trusts what the server publishes.
func behindSigner(t testing.TB, server *jwks, more options) (*Login, *clock) {
	t.Helper()
	j := merged(options{"issuer": testIssuer, "audience": []string{"other", testAudience}, "jwks_url": server.URL + "/certs"}, more)
	l := mustLoad(t, options{"preset": "cloudflare", "jwt": j})
	c := &clock{t: testNow}
	l.now, l.verifier.now, l.verifier.keys.now = c.now, c.now, c.now
	t.Cleanup(func() { l.Cleanup() })
	return l, c
}

func begin(t testing.TB, l *Login, token string, headers ...string) (login.Step, error) {
	t.Helper()
	return l.Begin(t.Context(), request("203.0.113.7:1", append(headers, testHeader, token)...))
}

func TestToken(t *testing.T) {
	rs := newSigner(t, "rs", jwa.RS256)
	server := newJWKS(t, rs.jwk(t, nil))
	issued := testNow.Add(-time.Minute)
	for _, tt := range []struct {
		name   string
		option options
		claims options
		want   login.Identity
	}{
		{"cloudflare", nil, nil, login.Identity{Subject: "7335d417", Email: "alice@example.com", EmailVerified: true, AuthTime: issued}},
		{
			"everything", nil,
			options{"name": "Alice", "groups": []string{"b", "a", "b"}, "auth_time": testNow.Add(-time.Hour).Unix(), "aud": testAudience},
			login.Identity{Subject: "7335d417", Name: "Alice", Email: "alice@example.com", EmailVerified: true, Groups: []string{"a", "b"}, AuthTime: testNow.Add(-time.Hour)},
		},
		{
			"other claims",
			options{"claims": options{"user": "uid", "email": "mail", "name": "person.name", "groups": "https://x.example/groups"}},
			options{"uid": "alice", "mail": "a@example.com", "person": options{"name": "Alice"}, "https://x.example/groups": []string{"a"}, "groups": []string{"admins"}},
			login.Identity{Subject: "alice", Name: "Alice", Email: "a@example.com", EmailVerified: true, Groups: []string{"a"}, AuthTime: issued},
		},
		{"one group", nil, options{"groups": "a,b"}, login.Identity{Subject: "7335d417", Email: "alice@example.com", EmailVerified: true, Groups: []string{"a,b"}, AuthTime: issued}},
		{"not verified", nil, options{"email_verified": false}, login.Identity{Subject: "7335d417", Email: "alice@example.com", AuthTime: issued}},
		{"verified in words", nil, options{"email_verified": "true"}, login.Identity{Subject: "7335d417", Email: "alice@example.com", AuthTime: issued}},
		{"verified", nil, options{"email_verified": true}, login.Identity{Subject: "7335d417", Email: "alice@example.com", EmailVerified: true, AuthTime: issued}},
		{"nothing but what is required", nil, options{"email": nil, "iat": nil, "nbf": nil}, login.Identity{Subject: "7335d417", AuthTime: testNow}},
		{"signed in tomorrow", nil, options{"auth_time": testNow.Add(24 * time.Hour).Unix()}, login.Identity{Subject: "7335d417", Email: "alice@example.com", EmailVerified: true, AuthTime: issued}},
		{"issued by a fast clock", nil, options{"iat": testNow.Add(20 * time.Second).Unix()}, login.Identity{Subject: "7335d417", Email: "alice@example.com", EmailVerified: true, AuthTime: testNow}},
		{"expired by a slow clock", nil, options{"exp": testNow.Add(-20 * time.Second).Unix()}, login.Identity{Subject: "7335d417", Email: "alice@example.com", EmailVerified: true, AuthTime: issued}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := behindSigner(t, server, tt.option)
			// Plain headers beside the token count for nothing: who has a token
			// could send another name with it.
			step, err := begin(t, l, rs.sign(t, tt.claims), "Cf-Access-Authenticated-User-Email", "admin@example.com", "Remote-User", "admin")
			if err != nil {
				t.Fatal(err)
			}
			step.Identity.AuthTime = step.Identity.AuthTime.UTC()
			if !reflect.DeepEqual(*step.Identity, tt.want) {
				t.Errorf("got %+v\nwant %+v", *step.Identity, tt.want)
			}
		})
	}
}

func TestAlgorithms(t *testing.T) {
	for _, alg := range []jwa.SignatureAlgorithm{jwa.RS256, jwa.RS512, jwa.PS256, jwa.ES256, jwa.ES384, jwa.EdDSA} {
		s := newSigner(t, "k", alg)
		other := newSigner(t, "other", jwa.ES256)
		for _, more := range []options{nil, {"alg": nil, "use": nil}} {
			l, _ := behindSigner(t, newJWKS(t, other.jwk(t, nil), s.jwk(t, more)), nil)
			step, err := begin(t, l, s.sign(t, nil))
			checkStep(t, step, err, true, "")
		}
	}
}

// TestHostileTokens is THREATS 1.5, with a login that has no other proof.
func TestHostileTokens(t *testing.T) {
	rs, es, stranger := newSigner(t, "rs", jwa.RS256), newSigner(t, "es", jwa.ES256), newSigner(t, "rs", jwa.RS256)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakSigner := signer{"weak", jwa.RS256, weak}
	shared := json.RawMessage(`{"kty":"oct","kid":"oct","alg":"HS256","k":"` + base64.RawURLEncoding.EncodeToString([]byte("sharedsharedsharedsharedshared32")) + `"}`)
	server := newJWKS(t, rs.jwk(t, nil), es.jwk(t, nil), shared, weakSigner.jwk(t, nil),
		newSigner(t, "enc", jwa.RS256).jwk(t, options{"use": "enc"}), json.RawMessage(`{"kty":"new","kid":"new"}`), json.RawMessage(`7`))
	l, _ := behindSigner(t, server, nil)
	good := rs.sign(t, nil)
	step, err := begin(t, l, good)
	checkStep(t, step, err, true, "")
	part := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString

	for _, tt := range []struct {
		name  string
		token string
		want  string
	}{
		{"none at all", "", "missing or empty"},
		{"no token", "alice", "not a signed token"},
		{"unsigned", encode([]byte(`{"alg":"none"}`)) + "." + part[1] + ".", "not a signed token"},
		{"alg none with the old signature", encode([]byte(`{"alg":"none","kid":"rs"}`)) + "." + part[1] + "." + part[2], "not one of a public key"},
		{"alg None", encode([]byte(`{"alg":"None","kid":"rs"}`)) + "." + part[1] + "." + part[2], ""},
		{"alg empty", encode([]byte(`{"kid":"rs"}`)) + "." + part[1] + "." + part[2], ""},
		{"HS256 with the public key (J1)", hs256(t, part[1], "rs", publicPEM(t, rs)), "not one of a public key"},
		{"HS256 with the modulus", hs256(t, part[1], "rs", rs.key.Public().(*rsa.PublicKey).N.Bytes()), "not one of a public key"},
		{"HS256 with a key of the set", hs256(t, part[1], "oct", []byte("sharedsharedsharedsharedshared32")), "not one of a public key"},
		{"another key with the same id", stranger.sign(t, nil), "signature is wrong"},
		{"the key of the wrong algorithm", signer{"es", jwa.RS256, rs.key}.sign(t, nil), "does not publish"},
		{"another algorithm of the same key", signer{"rs", jwa.RS512, rs.key}.sign(t, nil), "does not publish"},
		{"no key id", signer{"", jwa.RS256, stranger.key}.signWith(t, options{"kid": nil}, nil), "signature is wrong"},
		{"a key for encryption", signer{"enc", jwa.RS256, rs.key}.sign(t, nil), "does not publish"},
		{"a weak key", weakSigner.sign(t, nil), "does not publish"},
		{"a key of its own (J7)", stranger.signWith(t, options{"jwk": mustKey(t, stranger), "jku": server.URL + "/evil", "kid": "mine"}, nil), "does not publish"},
		{"signature r=s=0 (J5)", encode([]byte(`{"alg":"ES256","kid":"es"}`)) + "." + part[1] + "." + encode(make([]byte, 64)), "signature is wrong"},
		{"changed claims", part[0] + "." + encode([]byte(`{"iss":"`+testIssuer+`","aud":"`+testAudience+`","sub":"admin","exp":9999999999}`)) + "." + part[2], "signature is wrong"},
		{"cut signature", good[:len(good)-4], "signature is wrong"},
		{"padding", good + "=", "not a signed token"},
		{"two tokens", good + "." + good, "not a signed token"},
		{"many dots (J4)", strings.Repeat(".", 10000), "not a signed token"},
		{"JSON form (J2)", `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`, "not a signed token"},
		{"JSON form without protected (J2)", `{"payload":"` + part[1] + `","signature":"` + part[2] + `"}`, "not a signed token"},
		{"encrypted (J3)", strings.Join([]string{encode([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647}`)), "", "", "", ""}, "."), "not a signed token"},
		{"huge", part[0] + "." + strings.Repeat("a", 20000) + "." + part[2], "more than 16384 bytes"},
		{"bearer", "Bearer " + good, "not a signed token"},
		{"critical extension", rs.signWith(t, options{"crit": []string{"x"}, "x": true}, nil), "extensions"},
		{"unencoded payload", rs.signWith(t, options{"b64": true}, nil), "extensions"},

		{"another issuer", rs.sign(t, options{"iss": "https://evil.cloudflareaccess.com"}), `"iss" not satisfied`},
		{"issuer with a slash", rs.sign(t, options{"iss": testIssuer + "/"}), `"iss" not satisfied`},
		{"no issuer", rs.sign(t, options{"iss": nil}), `"iss" not satisfied`},
		{"another application (J6)", rs.sign(t, options{"aud": "another"}), `"aud" is for another application`},
		{"no audience", rs.sign(t, options{"aud": nil}), `"aud" is for another application`},
		{"empty audience", rs.sign(t, options{"aud": []string{}}), `"aud" is for another application`},
		{"expired", rs.sign(t, options{"exp": testNow.Add(-time.Minute).Unix()}), `"exp" not satisfied`},
		{"no expiry", rs.sign(t, options{"exp": nil}), `"exp" not satisfied`},
		{"expiry 0", rs.sign(t, options{"exp": 0}), `"exp" is not a time`},
		{"expiry in words", rs.sign(t, options{"exp": "tomorrow"}), "can't be read"},
		{"not yet valid", rs.sign(t, options{"nbf": testNow.Add(time.Minute).Unix()}), `"nbf" not satisfied`},
		{"issued in the future", rs.sign(t, options{"iat": testNow.Add(time.Minute).Unix()}), `"iat" not satisfied`},
		{"no subject: a service", rs.sign(t, options{"sub": ""}), "claim sub is missing or empty"},
		{"subject missing", rs.sign(t, options{"sub": nil}), "claim sub is missing or empty"},
		{"subject a number", rs.sign(t, options{"sub": 7}), ""},
		{"subject with a space", rs.sign(t, options{"sub": "a b"}), "printable ASCII without space"},
		{"subject too long", rs.sign(t, options{"sub": strings.Repeat("a", 201)}), "1 to 200 characters"},
		{"address a list", rs.sign(t, options{"email": []string{"a@example.com"}}), "claim email is not a string"},
		{"name with a line break", rs.sign(t, options{"name": "a\nb"}), "control characters"},
		{"groups a number", rs.sign(t, options{"groups": 7}), "not a list of strings"},
		{"groups of numbers", rs.sign(t, options{"groups": []any{"a", 7}}), "something else than strings"},
		{"group with a line break", rs.sign(t, options{"groups": []any{"a\nb"}}), "control characters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			step, err := begin(t, l, tt.token)
			checkStep(t, step, err, false, tt.want)
			if err != nil && len(tt.token) > 40 && strings.Contains(err.Error(), tt.token[:40]) {
				t.Errorf("the reason repeats the token: %v", err)
			}
		})
	}
	for reason, headers := range map[string][]string{
		"occurs 2 times":  {testHeader, good},
		"second spelling": {"Cf_Access_Jwt_Assertion", good},
	} {
		step, err := begin(t, l, good, headers...)
		checkStep(t, step, err, false, reason)
	}
}

// TestTokenAndAddress: a good token does not stand in for the address, and
// strangers never get as far as the keys.
func TestTokenAndAddress(t *testing.T) {
	rs := newSigner(t, "rs", jwa.RS256)
	server := newJWKS(t, rs.jwk(t, nil))
	l := mustLoad(t, options{"trusted_proxies": []string{"10.0.0.1"}, "jwt": options{
		"header": testHeader, "issuer": testIssuer, "audience": []string{testAudience}, "jwks_url": server.URL,
	}})
	l.verifier.now, l.verifier.keys.now = func() time.Time { return testNow }, func() time.Time { return testNow }
	t.Cleanup(func() { l.Cleanup() })
	step, err := begin(t, l, rs.sign(t, nil))
	checkStep(t, step, err, false, "not in trusted_proxies")
	if server.fetches.Load() != 0 {
		t.Error("a stranger made the server fetch keys")
	}
	step, err = l.Begin(t.Context(), request("10.0.0.1:1", testHeader, rs.sign(t, nil)))
	checkStep(t, step, err, true, "")
}

func publicPEM(t testing.TB, s signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func hs256(t testing.TB, payload, kid string, key []byte) string {
	t.Helper()
	head := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"HS256","kid":%q}`, kid))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(head + "." + payload))
	return head + "." + payload + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func mustKey(t testing.TB, s signer) jwk.Key {
	t.Helper()
	key, err := jwk.FromRaw(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func FuzzToken(f *testing.F) {
	rs := newSigner(f, "rs", jwa.RS256)
	l, _ := behindSigner(f, newJWKS(f, rs.jwk(f, nil)), nil)
	good := rs.sign(f, nil)
	f.Add(good)
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		step, err := begin(t, l, token)
		if err == nil && token != good || err != nil && (!errors.Is(err, login.ErrDenied) || step.Identity != nil) {
			t.Errorf("%q: %+v, %v", token, step.Identity, err)
		}
	})
}
