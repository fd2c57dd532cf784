package resource

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

const (
	issuer = "https://gw.example"
	mcp    = "https://gw.example/mcp"
)

// bench is a guard with a key and a clock of the test's own.
type bench struct {
	key     *ecdsa.PrivateKey
	now     time.Time
	keys    map[string]bool
	revoked map[string]bool
	guard   *Guard
	lookups int

	verifier *Verifier
}

func newBench(t testing.TB, edit func(*Config)) *bench {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{key: key, now: time.Now().Truncate(time.Second), keys: map[string]bool{"k1": true}, revoked: map[string]bool{}}
	cfg := Config{
		URIs: []string{mcp, "https://gw.example/sse"}, Scopes: oauth.Scope{"read", "write"}, AuthorizationServers: []string{issuer},
		TrustedOrigins: []string{"https://app.example"},
	}
	if edit != nil {
		edit(&cfg)
	}
	b.verifier = &Verifier{Issuer: issuer, Cache: NewCache(), Now: func() time.Time { return b.now }, Keys: func(kid string) (string, any, bool) {
		b.lookups++
		return "ES256", key.Public(), b.keys[kid]
	}}
	if b.guard, err = NewGuard(cfg, func(t *Token) bool {
		return b.revoked[t.GrantID] || b.revoked[t.JWTID] || b.revoked[t.ClientKey]
	}, b.verifier); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) claims() map[string]any {
	return map[string]any{
		"iss": issuer, "aud": mcp, "sub": "alice", "client_id": "c1", "grant_id": "g1", "jti": "j1", "scope": "read",
		"iat": b.now.Unix(), "exp": b.now.Add(time.Hour).Unix(),
	}
}

// token signs claims, changed by edits of name and value; a nil value removes.
func (b *bench) token(t testing.TB, header map[string]any, edits ...any) string {
	t.Helper()
	claims := b.claims()
	for i := 0; i+1 < len(edits); i += 2 {
		if edits[i+1] == nil {
			delete(claims, edits[i].(string))
		} else {
			claims[edits[i].(string)] = edits[i+1]
		}
	}
	payload, _ := json.Marshal(claims)
	h := jws.NewHeaders()
	for name, value := range map[string]any{"kid": "k1", "typ": "at+jwt"} {
		if _, other := header[name]; !other {
			_ = h.Set(name, value)
		}
	}
	for name, value := range header {
		if value != nil {
			_ = h.Set(name, value)
		}
	}
	token, err := jws.Sign(payload, jws.WithKey(jwa.ES256, b.key, jws.WithProtectedHeaders(h)))
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

func (b *bench) check(method, target string, header ...string) Decision {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return b.guard.Check(r)
}

func TestGoodToken(t *testing.T) {
	b := newBench(t, nil)
	raw := b.token(t, nil)
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER "} {
		d := b.check("POST", mcp, "Authorization", scheme+raw)
		if d.Token == nil || d.Token.Subject != "alice" || d.Token.Scopes.String() != "read" {
			t.Errorf("scheme %q: %+v", scheme, d.Deny)
		}
	}
	if d := b.check("GET", "https://gw.example/sse", "Authorization", "Bearer "+raw); d.Token == nil {
		t.Error("the token does not open the resource's other endpoint")
	}
}

// TestBadTokens has one token for every clause of RFC 9068 §4 and of SPEC K13
// to K18, O24 to O29.
func TestBadTokens(t *testing.T) {
	b := newBench(t, nil)
	good := b.token(t, nil)
	part := strings.Split(good, ".")
	enc := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, raw := range map[string]string{
		"other issuer":         b.token(t, nil, "iss", "https://evil.example"),
		"issuer with slash":    b.token(t, nil, "iss", issuer+"/"),
		"other audience":       b.token(t, nil, "aud", "https://gw.example/other"),
		"audience prefix":      b.token(t, nil, "aud", mcp+"-admin"),
		"audience below":       b.token(t, nil, "aud", mcp+"/x"),
		"audience is issuer":   b.token(t, nil, "aud", issuer),
		"audience slash":       b.token(t, nil, "aud", mcp+"/"),
		"audience case":        b.token(t, nil, "aud", "https://gw.example/MCP"),
		"audience encoded":     b.token(t, nil, "aud", "https://gw.example/%6dcp"),
		"second endpoint":      b.token(t, nil, "aud", "https://gw.example/sse"),
		"audience list":        b.token(t, nil, "aud", []string{mcp, "https://evil.example"}),
		"no audience":          b.token(t, nil, "aud", nil),
		"no expiry":            b.token(t, nil, "exp", nil),
		"expiry is a string":   b.token(t, nil, "exp", "9999999999"),
		"expiry is fractional": b.token(t, nil, "exp", 99999999999.5),
		"expired":              b.token(t, nil, "exp", b.now.Add(-90*time.Second).Unix()),
		"issued in the future": b.token(t, nil, "iat", b.now.Add(5*time.Minute).Unix()),
		"not valid yet":        b.token(t, nil, "nbf", b.now.Add(5*time.Minute).Unix()),
		"no subject":           b.token(t, nil, "sub", nil),
		"no client":            b.token(t, nil, "client_id", nil),
		"no grant":             b.token(t, nil, "grant_id", nil),
		"bad scope":            b.token(t, nil, "scope", `a"b`),
		"id token":             b.token(t, map[string]any{"typ": "JWT"}),
		"no type":              b.token(t, map[string]any{"typ": nil}),
		"unknown key":          b.token(t, map[string]any{"kid": "k2"}),
		"path as key":          b.token(t, map[string]any{"kid": "../../etc/passwd"}),
		"no key":               b.token(t, map[string]any{"kid": nil}),
		"not a token":          "abc",
		"four parts":           good + ".x",
		"no signature":         part[0] + "." + part[1] + ".",
		"zero signature":       part[0] + "." + part[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"changed claims":       part[0] + "." + enc(`{"sub":"root"}`) + "." + part[2],
		"alg none":             enc(`{"alg":"none","typ":"at+jwt","kid":"k1"}`) + "." + part[1] + ".",
		"alg nOnE":             enc(`{"alg":"nOnE","typ":"at+jwt","kid":"k1"}`) + "." + part[1] + "." + part[2],
		"alg HS256":            enc(`{"alg":"HS256","typ":"at+jwt","kid":"k1"}`) + "." + part[1] + "." + part[2],
		"critical extension":   enc(`{"alg":"ES256","typ":"at+jwt","kid":"k1","crit":["x"],"x":1}`) + "." + part[1] + "." + part[2],
		"unencoded payload":    enc(`{"alg":"ES256","typ":"at+jwt","kid":"k1","b64":false}`) + "." + part[1] + "." + part[2],
		"duplicate member":     enc(`{"alg":"ES256","typ":"at+jwt","kid":"k1","kid":"k1"}`) + "." + part[1] + "." + part[2],
		"member in capitals":   enc(`{"ALG":"ES256","typ":"at+jwt","kid":"k1"}`) + "." + part[1] + "." + part[2],
		"kid is a list":        enc(`{"alg":"ES256","typ":"at+jwt","kid":["k1"]}`) + "." + part[1] + "." + part[2],
		"too long":             good + strings.Repeat("A", maxToken),
	} {
		d := b.check("POST", mcp, "Authorization", "Bearer "+raw)
		if d.Token != nil || d.Deny == nil || d.Deny.Status != 401 || d.Deny.Code != oauth.CodeInvalidToken {
			t.Errorf("%s: %+v", name, d)
			continue
		}
		if !strings.HasPrefix(d.Deny.Challenge, `Bearer error="invalid_token", `) {
			t.Errorf("%s: challenge %s", name, d.Deny.Challenge)
		}
	}
	b.verifier.Cache.tokens.CleanUp()
	for token := range b.verifier.Cache.tokens.Values() {
		if token.Issuer != issuer || token.Subject != "alice" || token.Audience == mcp {
			t.Errorf("a refused token is remembered: %+v", token.AccessTokenClaims)
		}
	}
}

func TestAudienceEquivalences(t *testing.T) {
	b := newBench(t, nil)
	for _, aud := range []string{"HTTPS://GW.example/mcp", "https://gw.example:443/mcp"} {
		if d := b.check("POST", mcp, "Authorization", "Bearer "+b.token(t, nil, "aud", aud)); d.Token == nil {
			t.Errorf("%s: %v", aud, d.Deny.Cause)
		}
	}
}

// TestRememberedTokenIsCheckedAgain: what can change counts on every call.
func TestRememberedTokenIsCheckedAgain(t *testing.T) {
	for name, change := range map[string]func(*bench){
		"expiry":                   func(b *bench) { b.now = b.now.Add(time.Hour + Leeway) },
		"revocation":               func(b *bench) { b.revoked["g1"] = true },
		"revocation of the token":  func(b *bench) { b.revoked["j1"] = true },
		"revocation of the client": func(b *bench) { b.revoked[oauth.ClientKey("c1")] = true },
		"retirement":               func(b *bench) { delete(b.keys, "k1") },
	} {
		b := newBench(t, nil)
		raw := b.token(t, nil)
		for range 2 {
			if d := b.check("POST", mcp, "Authorization", "Bearer "+raw); d.Token == nil {
				t.Fatalf("%s: refused before: %v", name, d.Deny.Cause)
			}
		}
		change(b)
		if d := b.check("POST", mcp, "Authorization", "Bearer "+raw); d.Token != nil {
			t.Errorf("%s is not noticed", name)
		}
	}
}

func TestLeeway(t *testing.T) {
	b := newBench(t, nil)
	raw := b.token(t, nil, "exp", b.now.Add(-30*time.Second).Unix(), "iat", b.now.Add(-time.Hour).Unix())
	if d := b.check("POST", mcp, "Authorization", "Bearer "+raw); d.Token == nil {
		t.Errorf("expired 30 s ago: %v", d.Deny.Cause)
	}
}

func TestCredentialForms(t *testing.T) {
	b := newBench(t, nil)
	raw := b.token(t, nil)
	for _, tc := range []struct {
		name   string
		header []string
		status int
		code   string
	}{
		{"none", nil, 401, ""},
		{"another scheme", []string{"Authorization", "Basic YTpi"}, 401, ""},
		{"scheme alone", []string{"Authorization", "Bearer"}, 400, "invalid_request"},
		{"empty token", []string{"Authorization", "Bearer "}, 400, "invalid_request"},
		{"two spaces", []string{"Authorization", "Bearer  " + raw}, 400, "invalid_request"},
		{"two tokens", []string{"Authorization", "Bearer " + raw + ", Bearer " + raw}, 400, "invalid_request"},
		{"two headers", []string{"Authorization", "Bearer " + raw, "Authorization", "Bearer " + raw}, 400, "invalid_request"},
		{"two schemes", []string{"Authorization", "Basic YTpi, Bearer " + raw}, 400, "invalid_request"},
		{"quotes", []string{"Authorization", `Bearer "` + raw + `"`}, 400, "invalid_request"},
		{"cookie", []string{"Cookie", "access_token=" + raw}, 401, ""},
		{"websocket protocol", []string{"Sec-WebSocket-Protocol", "bearer, " + raw}, 401, ""},
	} {
		d := b.check("POST", mcp+"?access_token="+raw, tc.header...)
		if d.Deny == nil || d.Deny.Status != tc.status || d.Deny.Code != tc.code {
			t.Errorf("%s: %+v", tc.name, d.Deny)
		}
	}
}

func TestChallengeNamesTheEndpointCalled(t *testing.T) {
	b := newBench(t, nil)
	for target, want := range map[string]string{
		mcp:                              "/.well-known/oauth-protected-resource/mcp",
		mcp + "/x":                       "/.well-known/oauth-protected-resource/mcp",
		"https://gw.example/sse":         "/.well-known/oauth-protected-resource/sse",
		"https://gw.example/mcpx":        "/.well-known/oauth-protected-resource/mcp",
		"https://gw.example/":            "/.well-known/oauth-protected-resource/mcp",
		"https://gw.example/sse/message": "/.well-known/oauth-protected-resource/sse",
	} {
		d := b.check("GET", target)
		if got := `Bearer resource_metadata="` + issuer + want + `", scope="read write"`; d.Deny == nil || d.Deny.Challenge != got {
			t.Errorf("%s: %+v, want %s", target, d.Deny, got)
		}
	}
}

func TestOrigins(t *testing.T) {
	b := newBench(t, nil)
	raw := "Bearer " + b.token(t, nil)
	for origin, ok := range map[string]bool{
		"https://gw.example": true, "https://app.example": true, "https://evil.example": false, "null": false,
		"https://gw.example.evil": false, "http://gw.example": false, "https://APP.example": false,
	} {
		d := b.check("POST", mcp, "Origin", origin, "Authorization", raw)
		if (d.Token != nil) != ok || (d.AllowOrigin == origin) != ok {
			t.Errorf("%s: %+v", origin, d)
		}
		p := b.check("OPTIONS", mcp, "Origin", origin, "Access-Control-Request-Method", "POST")
		if p.Preflight != ok {
			t.Errorf("preflight of %s: %+v", origin, p)
		}
	}
	if d := b.check("POST", mcp, "Origin", "https://app.example", "Origin", "https://evil.example", "Authorization", raw); d.Token != nil {
		t.Error("two Origin headers pass")
	}
	if d := b.check("OPTIONS", mcp); d.Deny == nil || d.Deny.Status != 401 {
		t.Error("OPTIONS that is no preflight passes")
	}
	if d := b.check("OPTIONS", mcp, "Access-Control-Request-Method", "POST"); d.Preflight {
		t.Error("a preflight without Origin passes")
	}
}

func TestLoopbackHost(t *testing.T) {
	b := newBench(t, func(c *Config) { c.URIs = []string{"http://localhost:8080/mcp"} })
	for host, status := range map[string]int{"localhost:8080": 401, "127.0.0.1:8080": 401, "[::1]:8080": 401, "evil.example:8080": 403, "localhost.evil": 403} {
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.Host = host
		if d := b.guard.Check(r); d.Deny == nil || d.Deny.Status != status {
			t.Errorf("Host %s: %+v", host, d.Deny)
		}
	}
}

func TestNewGuardRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"no resource":         func(c *Config) { c.URIs = nil },
		"http":                func(c *Config) { c.URIs = []string{"http://gw.example/mcp"} },
		"capitals":            func(c *Config) { c.URIs = []string{"https://GW.example/mcp"} },
		"lone slash":          func(c *Config) { c.URIs = []string{"https://gw.example/"} },
		"query":               func(c *Config) { c.URIs = []string{"https://gw.example/mcp?x"} },
		"fragment":            func(c *Config) { c.URIs = []string{"https://gw.example/mcp#x"} },
		"relative":            func(c *Config) { c.URIs = []string{"/mcp"} },
		"scope with quote":    func(c *Config) { c.Scopes = oauth.Scope{`a"b`} },
		"relative path":       func(c *Config) { c.Paths = []string{"mcp"} },
		"wildcard inside":     func(c *Config) { c.Public = []string{"/a/*/b"} },
		"encoded path":        func(c *Config) { c.Public = []string{"/a%2fb"} },
		"dots in path":        func(c *Config) { c.Public = []string{"/a/../b"} },
		"origin with path":    func(c *Config) { c.TrustedOrigins = []string{"https://app.example/x"} },
		"origin with slash":   func(c *Config) { c.TrustedOrigins = []string{"https://app.example/"} },
		"origin without host": func(c *Config) { c.TrustedOrigins = []string{"app.example"} },
	} {
		cfg := Config{URIs: []string{mcp}, AuthorizationServers: []string{issuer}}
		edit(&cfg)
		if _, err := NewGuard(cfg, nil, &Verifier{}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestVerifierErrorsNameNoToken(t *testing.T) {
	b := newBench(t, nil)
	raw := b.token(t, nil, "iss", "https://evil.example", "sub", "MARKER")
	_, err := b.guard.verify(t.Context(), raw)
	if err == nil || strings.Contains(err.Error(), "MARKER") || strings.Contains(err.Error(), raw[:20]) {
		t.Errorf("error %v", err)
	}
}

// TestCallsCostNothing holds the cost of a call with a known token: one
// allocation, and no look at the store, which this package does not know.
func TestCallsCostNothing(t *testing.T) {
	b := newBench(t, nil)
	raw := b.token(t, nil)
	if n := testing.AllocsPerRun(100, func() {
		token, err := b.guard.verify(t.Context(), raw)
		if err == nil {
			err = b.guard.accepts(token)
		}
		if err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	bench := newBench(b, nil)
	raw := bench.token(b, nil)
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bench.guard.verify(b.Context(), raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bench.verifier.parse(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}
