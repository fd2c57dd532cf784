package enforce_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// ringSecret makes the keys of a gateway that the test can sign with.
const ringSecret = "a secret of a test, longer than 32 bytes"

// object is a JSON object.
type object = map[string]any

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwt signs header and claims, given as JSON texts, with an HMAC key.
func jwt(key []byte, header, claims string) string {
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return text + "." + b64(mac.Sum(nil))
}

// part decodes a part of a JWT.
func part(tb testing.TB, token string, i int) object {
	tb.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		tb.Fatal(err)
	}
	var m object
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		tb.Fatal(err)
	}
	return m
}

func text(tb testing.TB, m object) string {
	tb.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// with returns a copy with some members changed, or removed where nil.
func with(m object, changes object) object {
	out := maps.Clone(m)
	for k, v := range changes {
		if out[k] = v; v == nil {
			delete(out, k)
		}
	}
	return out
}

// forge is a gateway whose HS256 key the test has: it can make tokens with a
// good signature and anything inside.
type forge struct {
	g              *gatewaytest.Gateway
	key            []byte
	header, claims object
}

func newForge(t *testing.T, u *gatewaytest.Upstream) forge {
	config := strings.Replace(caddyfile("algorithm HS256\nsecret \""+ringSecret+"\" derive", ""), "store embedded {DIR}/state.db", "store memory", 1)
	port := gatewaytest.FreePort(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: forPort(config, port), Upstream: u.Addr(), Port: port})
	m, err := keys.Open(t.Context(), time.Now(), store.NewMemory(), keys.Options{Algorithm: "HS256", Secret: []byte(ringSecret), Derive: true})
	if err != nil {
		t.Fatal(err)
	}
	token := devToken(t, g.URL)
	header := part(t, token, 0)
	_, key, ok := m.Ring().VerifyKey(header["kid"].(string))
	if !ok {
		t.Fatal("the derived ring is another one")
	}
	return forge{g, key.([]byte), header, part(t, token, 1)}
}

func (f forge) token(tb testing.TB, header, claims object) string {
	tb.Helper()
	return jwt(f.key, text(tb, with(f.header, header)), text(tb, with(f.claims, claims)))
}

// Each token differs in one respect from one that passes; its signature is
// good, so nothing but the check in question can refuse it.
func TestForgedClaims(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	f := newForge(t, u)
	now := time.Now().Unix()
	mcp := f.g.URL + "/mcp"
	t.Run("K13 as it was", func(t *testing.T) {
		wantStatus(t, call(t, mcp, bearer(f.token(t, nil, nil))...), http.StatusOK)
		u.Take()
	})
	for _, c := range []struct {
		name           string
		header, claims object
		good           bool
	}{
		{"K13 other issuer", nil, object{"iss": "https://evil.example"}, false},
		{"K13 issuer with slash", nil, object{"iss": f.g.URL + "/"}, false},
		{"K13 no issuer", nil, object{"iss": nil}, false},
		{"K13 no sub", nil, object{"sub": nil}, false},
		{"K13 no client_id", nil, object{"client_id": nil}, false},
		{"K13 no iat", nil, object{"iat": nil}, false},
		{"K13 claim of a wrong type", nil, object{"sub": 7}, false},
		{"K13 nbf in the future", nil, object{"nbf": now + 3600}, false},
		{"K13 iat in the future", nil, object{"iat": now + 3600}, false},
		{"K13 scope malformed", nil, object{"scope": "a\"b"}, false},
		{"K14 no aud", nil, object{"aud": nil}, false},
		{"K14 aud empty", nil, object{"aud": ""}, false},
		{"K14 aud array without", nil, object{"aud": []string{"https://a.example", "api"}}, false},
		{"K14 aud array with others", nil, object{"aud": []string{mcp, "https://a.example/mcp"}}, false},
		{"K16 typ JWT", object{"typ": "JWT"}, nil, false},
		{"K16 no typ", object{"typ": nil}, nil, false},
		{"K16 typ of an ID-JAG", object{"typ": "oauth-id-jag+jwt"}, nil, false},
		{"K16 typ of a logout token", object{"typ": "logout+jwt"}, nil, false},
		{"K16 typ in long form", object{"typ": "application/at+jwt"}, nil, true},
		{"K17 alg none", object{"alg": "none"}, nil, false},
		{"K17 alg other", object{"alg": "ES256"}, nil, false},
		{"K17 no kid", object{"kid": nil}, nil, false},
		{"K17 kid unknown", object{"kid": "../../dev/null"}, nil, false},
		{"K17 crit", object{"crit": []string{"x"}, "x": true}, nil, false},
		{"K17 crit b64", object{"crit": []string{"b64"}, "b64": false}, nil, false},
		{"K18 no exp", nil, object{"exp": nil}, false},
		{"K18 expired 30 s ago", nil, object{"exp": now - 30}, true},
		{"K18 expired 90 s ago", nil, object{"exp": now - 90}, false},
		{"K18 iat 30 s ahead", nil, object{"iat": now + 30}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := call(t, mcp, bearer(f.token(t, c.header, c.claims))...)
			if c.good {
				wantStatus(t, r, http.StatusOK)
				u.Take()
				return
			}
			wantInvalid(t, r)
			u.None(t)
		})
	}
}

func TestForgedKeys(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	f := newForge(t, u)
	mcp := f.g.URL + "/mcp"
	t.Run("K17 keys that a token brings are not used", func(t *testing.T) {
		own := []byte(strings.Repeat("k", 32))
		header := with(f.header, object{"jwk": object{"kty": "oct", "k": b64(own)}, "jku": f.g.URL + "/jwks", "x5u": f.g.URL + "/c"})
		wantInvalid(t, call(t, mcp, bearer(jwt(own, text(t, header), text(t, f.claims)))...))
		u.None(t)
	})
	t.Run("K13 a claim twice", func(t *testing.T) {
		claims := strings.Replace(text(t, f.claims), "{", `{"sub":"root",`, 1)
		wantInvalid(t, call(t, mcp, bearer(jwt(f.key, text(t, f.header), claims))...))
		u.None(t)
	})
}

func TestTampered(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "")
	token := devToken(t, g.URL)
	p := strings.Split(token, ".")
	flip := "A"
	if p[2][0] == 'A' {
		flip = "B"
	}
	public := jwks(t, g.URL)
	x, _ := base64.RawURLEncoding.DecodeString(public[0]["x"].(string))
	confused := text(t, with(part(t, token, 0), object{"alg": "HS256"}))
	root := b64([]byte(text(t, with(part(t, token, 1), object{"sub": "root"}))))
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	for _, bad := range []struct{ name, token string }{
		{"K13 signature changed", p[0] + "." + p[1] + "." + flip + p[2][1:]},
		{"K13 claims changed", p[0] + "." + root + "." + p[2]},
		{"K13 signature missing", p[0] + "." + p[1] + "."},
		{"K13 alg none", b64([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + p[1] + "."},
		{"K17 public key as HMAC key, raw", jwt(x, confused, text(t, part(t, token, 1)))},
		{"K17 public key as HMAC key, JWK", jwt([]byte(text(t, public[0])), confused, text(t, part(t, token, 1)))},
		{"K13 a fourth part", token + ".x"},
		{"K13 padding", token + "="},
		{"K16 a refresh token", refresh},
		{"K16 a code", c.Code(t)},
		{"K16 a client_id", c.ID},
		{"P14 not shaped like a JWT", "opaque-token-0123456789"},
		{"K13 very long", strings.Repeat("A", 9000)},
	} {
		t.Run(bad.name, func(t *testing.T) {
			wantInvalid(t, call(t, g.URL+"/mcp", bearer(bad.token)...))
			u.None(t)
		})
	}
	t.Run("the real ones pass", func(t *testing.T) {
		for _, good := range []string{token, access} {
			wantStatus(t, call(t, g.URL+"/mcp", bearer(good)...), http.StatusOK)
		}
	})
}

// jwks returns the published keys.
func jwks(tb testing.TB, base string) []object {
	tb.Helper()
	r := gatewaytest.Send(tb, http.MethodGet, base+"/oauth/jwks.json", "")
	var set struct {
		Keys []object `json:"keys"`
	}
	if err := json.Unmarshal([]byte(r.Body), &set); err != nil {
		tb.Fatalf("%d %s: %v", r.Status, r.Body, err)
	}
	return set.Keys
}

func TestAudience(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "")
	host := strings.TrimPrefix(g.URL, "http://")
	_, port, _ := strings.Cut(host, ":")
	for aud, good := range map[string]bool{
		g.URL + "/mcp":                       true,
		"HTTP://LOCALHOST:" + port + "/mcp":  true, // F14: scheme and host in any case
		g.URL + "/mcp/":                      false,
		g.URL + "/MCP":                       false,
		g.URL + "/mcp-admin":                 false,
		g.URL + "/mc":                        false,
		g.URL + "/mcp/x":                     false,
		g.URL + "/mcp?x=1":                   false,
		g.URL + "/mcp#x":                     false,
		g.URL + "/%6dcp":                     false,
		g.URL + "//mcp":                      false,
		g.URL + "/./mcp":                     false,
		g.URL:                                false,
		g.URL + "/":                          false,
		g.URL + "/other":                     false,
		"https://" + host + "/mcp":           false,
		"http://127.0.0.1:" + port + "/mcp":  false,
		"http://localhost.:" + port + "/mcp": false,
		"http://localhost/mcp":               false,
		"http://localhost:1/mcp":             false,
		"http://x@" + host + "/mcp":          false,
		"api":                                false,
		"*":                                  false,
		`["` + g.URL + `/mcp"]`:              false,
		g.URL + "/mcp " + g.URL + "/other":   false,
	} {
		t.Run("K14 K15 O29 "+strings.ReplaceAll(aud, host, "HOST"), func(t *testing.T) {
			r := call(t, g.URL+"/mcp", bearer(devToken(t, g.URL, "aud", aud))...)
			if good {
				wantStatus(t, r, http.StatusOK)
				u.Take()
				return
			}
			wantInvalid(t, r)
			u.None(t)
		})
	}
	t.Run("K13 expires_in is bounded", func(t *testing.T) {
		for _, s := range []string{"0", "-1", "86401", "x"} {
			r := gatewaytest.PostForm(t, g.URL+"/dev/token", url.Values{"expires_in": {s}})
			wantStatus(t, r, http.StatusBadRequest)
		}
	})
}

// The same keys under another issuer: only iss and the address tell the two
// apart.
func TestOtherIssuer(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	config, dir := caddyfile("", ""), t.TempDir()
	port1, port2 := gatewaytest.FreePort(t), gatewaytest.FreePort(t)
	g1 := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: forPort(config, port1), Upstream: u.Addr(), Dir: dir, Port: port1})
	there := strings.Replace(g1.URL, itoa(port1), itoa(port2), 1)
	token := devToken(t, g1.URL, "aud", there+"/mcp")
	g1.Stop()
	g2 := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: forPort(config, port2), Upstream: u.Addr(), Dir: dir, Port: port2})
	t.Run("K13 token of another issuer with the same keys", func(t *testing.T) {
		wantInvalid(t, call(t, g2.URL+"/mcp", bearer(token)...))
		u.None(t)
		wantStatus(t, call(t, g2.URL+"/mcp", bearer(devToken(t, g2.URL))...), http.StatusOK)
	})
}
