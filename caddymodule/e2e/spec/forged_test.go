package spec_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// forger starts from a genuine token and changes it.
type forger struct {
	base, token    string
	header, claims map[string]any
	signature      string
	published      map[string]any // the gateway's key
	own            *ecdsa.PrivateKey
}

func newForger(t *testing.T) *forger {
	t.Helper()
	base := development().URL
	access, _ := gatewaytest.Register(t, base).Tokens(t)
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wantAlive(t, base, access)
	return &forger{
		base: base, token: access, header: jwtPart(t, access, 0), claims: jwtPart(t, access, 1),
		signature: access[strings.LastIndexByte(access, '.')+1:], published: jwks(t, base)[0], own: own,
	}
}

func encode(part any) string {
	text, ok := part.(string)
	if !ok {
		b, err := json.Marshal(part)
		if err != nil {
			panic(err)
		}
		text = string(b)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// with returns a copy of a part with members changed, or removed where the
// value is nil.
func with(part map[string]any, pairs ...any) map[string]any {
	out := maps.Clone(part)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(out, pairs[i].(string))
		} else {
			out[pairs[i].(string)] = pairs[i+1]
		}
	}
	return out
}

// es256 signs with a key; the header and the claims may be JSON text.
func es256(key *ecdsa.PrivateKey, header, claims any) string {
	input := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func hs256(secret []byte, header, claims any) string {
	input := encode(header) + "." + encode(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// wantForged presents tokens under names; none may pass.
func (f *forger) wantForged(t *testing.T, tokens map[string]string) {
	t.Helper()
	for name, token := range tokens {
		for _, path := range []string{"/mcp", "/sse", "/mcp/tools/call"} {
			r := gatewaytest.PostJSON(t, f.base+path, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "Authorization", "Bearer "+token)
			if r.Status != http.StatusUnauthorized || !strings.Contains(r.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
				t.Errorf("%s at %s: %d %.80s", name, path, r.Status, r.Body)
			}
		}
	}
	wantAlive(t, f.base, f.token)
}

func TestForgedTokens(t *testing.T) {
	f := newForger(t)
	run(t, []requirement{
		{"O24", f.testAlgorithms},
		{"O24/confusion", f.testSymmetricConfusion},
		{"O25", f.testKeyIDs},
		{"O26", f.testEmbeddedKeys},
		{"O27", f.testTypes},
		{"O28", f.testClaims},
		{"O29", f.testAudiences},
		{"other gateway", f.testOtherGateway},
		{"spelling", f.testSpelling},
	})
}

func (f *forger) testAlgorithms(t *testing.T) {
	tokens := map[string]string{}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		input := encode(with(f.header, "alg", alg)) + "." + encode(f.claims)
		tokens["alg "+alg] = input + "."
		tokens["alg "+alg+", signature kept"] = input + "." + f.signature
		tokens["alg "+alg+", no kid"] = encode(with(f.header, "alg", alg, "kid", nil)) + "." + encode(f.claims) + "."
	}
	input := f.token[:strings.LastIndexByte(f.token, '.')+1]
	n := elliptic.P256().Params().N
	raw := func(r, s *big.Int) string {
		b := make([]byte, 64)
		r.FillBytes(b[:32])
		s.FillBytes(b[32:])
		return base64.RawURLEncoding.EncodeToString(b)
	}
	zero, one := new(big.Int), big.NewInt(1)
	for name, signature := range map[string]string{
		"empty": "", "r=s=0": raw(zero, zero), "r=0": raw(zero, one), "s=0": raw(one, zero), "r=s=1": raw(one, one), "r=s=n": raw(n, n),
		"short": f.signature[:40], "long": f.signature + "AAAA", "DER": "MAYCAQACAQA", "twice": f.signature + f.signature,
	} {
		tokens["signature "+name] = input + signature
	}
	tokens["another key"] = es256(f.own, f.header, f.claims)
	for _, alg := range []string{"ES384", "ES512", "ES256K", "RS256", "PS256", "EdDSA", "HS384", "es256", "ES256 "} {
		tokens["alg "+alg] = encode(with(f.header, "alg", alg)) + "." + encode(f.claims) + "." + f.signature
	}
	tokens["crit"] = es256(f.own, with(f.header, "crit", []string{"exp"}, "exp", 1), f.claims)
	tokens["b64"] = es256(f.own, with(f.header, "b64", false, "crit", []string{"b64"}), f.claims)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsInput := encode(with(f.header, "alg", "RS256")) + "." + encode(f.claims)
	sum := sha256.Sum256([]byte(rsInput))
	signature, err := rsa.SignPKCS1v15(rand.Reader, weak, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	tokens["RS256 of another key"] = rsInput + "." + base64.RawURLEncoding.EncodeToString(signature)
	f.wantForged(t, tokens)
}

// testSymmetricConfusion signs with what everyone can read.
func (f *forger) testSymmetricConfusion(t *testing.T) {
	coordinate := func(name string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(f.published[name].(string))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	x, y := coordinate("x"), coordinate("y")
	point := append(append([]byte{4}, x...), y...)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := json.Marshal(f.published)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	tokens := map[string]string{}
	for name, secret := range map[string][]byte{
		"PEM": text, "PEM trimmed": []byte(strings.TrimSpace(string(text))), "DER": der, "point": point, "x": x, "x y": append(append([]byte{}, x...), y...),
		"JWK": key, "JWKS": []byte(get(t, f.base+"/oauth/jwks.json").Body), "kid": []byte(f.header["kid"].(string)), "nothing": {}, "zeros": make([]byte, 32),
	} {
		tokens["HS256 with "+name] = hs256(secret, with(f.header, "alg", "HS256"), f.claims)
		tokens["HS256 without kid with "+name] = hs256(secret, with(f.header, "alg", "HS256", "kid", nil), f.claims)
		tokens["HS256 called ES256 with "+name] = hs256(secret, f.header, f.claims)
	}
	f.wantForged(t, tokens)
}

func (f *forger) testKeyIDs(t *testing.T) {
	tokens := map[string]string{}
	for name, kid := range map[string]any{
		"traversal": "../../../../dev/null", "null device": "/dev/null", "SQL": "' OR 1=1 --", "URL": "https://evil.example/key", "NUL": "a\x00b", "empty": "",
		"long": strings.Repeat("k", 6000), "array": []string{f.header["kid"].(string)}, "number": 1, "object": map[string]any{}, "bool": true,
		"case": strings.ToUpper(f.header["kid"].(string)) + "x", "placeholder": "{env.HOME}", "missing": nil,
	} {
		header := with(f.header, "kid", kid)
		tokens["kid "+name] = es256(f.own, header, f.claims)
		tokens["kid "+name+" and HMAC"] = hs256(nil, with(header, "alg", "HS256"), f.claims)
		tokens["kid "+name+", signature kept"] = encode(header) + "." + encode(f.claims) + "." + f.signature
	}
	kid := f.header["kid"].(string)
	for name, header := range map[string]string{
		"alg twice":    `{"alg":"none","typ":"at+jwt","kid":"` + kid + `","alg":"ES256"}`,
		"kid twice":    `{"alg":"ES256","typ":"at+jwt","kid":"x","kid":"` + kid + `"}`,
		"other case":   `{"ALG":"none","Alg":"none","alg":"ES256","typ":"at+jwt","kid":"` + kid + `"}`,
		"not JSON":     `{"alg":"ES256"`,
		"array":        `[{"alg":"ES256"}]`,
		"null":         `null`,
		"trailing":     `{"alg":"ES256","typ":"at+jwt","kid":"` + kid + `"}{}`,
		"invalid utf8": "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"" + kid + "\",\"x\":\"\xff\"}",
	} {
		tokens["header "+name] = es256(f.own, header, f.claims)
		tokens["header "+name+", unsigned"] = encode(header) + "." + encode(f.claims) + "."
	}
	f.wantForged(t, tokens)
}

// testEmbeddedKeys: a token never brings the key that checks it.
func (f *forger) testEmbeddedKeys(t *testing.T) {
	canary := newCanary(t)
	own := map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": f.header["kid"],
		"x": base64.RawURLEncoding.EncodeToString(f.own.X.FillBytes(make([]byte, 32))), "y": base64.RawURLEncoding.EncodeToString(f.own.Y.FillBytes(make([]byte, 32))),
	}
	tokens := map[string]string{}
	for name, value := range map[string]any{"jku": canary.URL + "/jwks", "x5u": canary.URL + "/x5u", "jwk": own, "x5c": []string{"MIIB"}, "x5t": "x", "url": canary.URL} {
		for _, kid := range []any{f.header["kid"], nil, "mine"} {
			tokens[fmt.Sprintf("%s with kid %v", name, kid)] = es256(f.own, with(f.header, name, value, "kid", kid), f.claims)
		}
	}
	tokens["iss of the attacker"] = es256(f.own, with(f.header, "jku", canary.URL), with(f.claims, "iss", canary.URL))
	f.wantForged(t, tokens)
	canary.silent(t)
}

func (f *forger) testTypes(t *testing.T) {
	tokens := map[string]string{}
	for _, typ := range []any{"JWT", "jwt", "dpop+jwt", "oauth-id-jag+jwt", "client-authentication+jwt", "secevent+jwt", "at+jwt2", "", nil, 1} {
		header := with(f.header, "typ", typ)
		tokens[fmt.Sprintf("typ %v", typ)] = encode(header) + "." + encode(f.claims) + "." + f.signature
		tokens[fmt.Sprintf("typ %v, other key", typ)] = es256(f.own, header, f.claims)
	}
	f.wantForged(t, tokens)
	for _, path := range []string{"/oauth/register/x", "/oauth/introspect", "/oauth/revoke"} {
		if r := gatewaytest.PostForm(t, f.base+path, url.Values{"token": {f.token}}, "Authorization", "Bearer "+f.token); r.Status < 400 {
			t.Errorf("an access token at %s: %d %s", path, r.Status, r.Body)
		}
	}
}

// testClaims changes claims and keeps the signature, or signs again with
// another key.
func (f *forger) testClaims(t *testing.T) {
	now := time.Now().Unix()
	tokens := map[string]string{}
	for name, value := range map[string]any{
		"sub": "root", "scope": "admin", "aud": f.base + "/other", "client_id": "x", "grant_id": "x", "iss": f.base + "/", "exp": now + 1e9, "iat": now - 1e9, "jti": "x", "nbf": 0,
	} {
		for how, claims := range map[string]map[string]any{"changed": with(f.claims, name, value), "missing": with(f.claims, name, nil)} {
			if how == "missing" && name == "nbf" {
				continue // there is none
			}
			tokens[name+" "+how] = encode(f.header) + "." + encode(claims) + "." + f.signature
			tokens[name+" "+how+", other key"] = es256(f.own, f.header, claims)
		}
	}
	for name, exp := range map[string]any{"past": now - 3600, "string": "9999999999", "float": 9.9e99, "negative": -1, "array": []int{1}} {
		tokens["exp "+name] = es256(f.own, f.header, with(f.claims, "exp", exp))
	}
	tokens["claims twice"] = encode(f.header) + "." + strings.Split(f.token, ".")[1] + encode(f.claims) + "." + f.signature
	tokens["no claims"] = encode(f.header) + ".." + f.signature
	f.wantForged(t, tokens)
}

// testAudiences signs with the gateway's own key, through the development
// endpoint: only the documented equivalences of a resource pass.
func (f *forger) testAudiences(t *testing.T) {
	r := f.base + "/mcp"
	upper := strings.NewReplacer("http", "HTTP", "localhost", "LOCALHOST").Replace(f.base) + "/mcp"
	for aud, alive := range map[string]bool{
		r: true, upper: true, r + "-admin": false, f.base: false, f.base + "/": false, r + "/": false, f.base + "/MCP": false, f.base + "/%6dcp": false, r + "?x=1": false,
		r + "#": false, r + "/x": false, f.base + "/m": false, strings.Replace(r, "http:", "https:", 1): false, strings.Replace(r, "localhost", "127.0.0.1", 1): false,
		"http://localhost/mcp": false, r + " " + r: false, "*": false, f.base + ".evil.example/mcp": false, f.base + "//mcp": false, f.base + "/sse": false,
	} {
		reply := gatewaytest.PostForm(t, f.base+"/dev/token", url.Values{"aud": {aud}})
		wantStatus(t, reply, http.StatusOK)
		if call := gatewaytest.Call(t, f.base, reply.Text(t, "access_token")); (call.Status == http.StatusOK) != alive || !alive && call.Status != http.StatusUnauthorized {
			t.Errorf("aud %q: %d", aud, call.Status)
		}
	}
}

// testOtherGateway: the same software with other keys, and the other way round.
func (f *forger) testOtherGateway(t *testing.T) {
	foreign, _ := gatewaytest.Register(t, rootPathsOff().URL).Tokens(t)
	f.wantForged(t, map[string]string{"of another gateway": foreign})
	wantDead(t, rootPathsOff().URL, f.token)
}

// testSpelling: a token has one spelling (RFC 7515 §2: base64url without
// padding), so that it can be remembered and told apart.
func (f *forger) testSpelling(t *testing.T) {
	parts := strings.Split(f.token, ".")
	tokens := map[string]string{
		"padded": f.token + "==", "half padded": f.token + "=", "no dots": strings.Join(parts, ""), "two parts": parts[0] + "." + parts[1],
		"four parts": f.token + ".", "five parts": f.token + "..", "leading dot": "." + f.token, "dots": "..", "JWE": parts[0] + ".." + parts[1] + "." + parts[2] + ".",
		"very long": f.token + strings.Repeat("A", 9000), "many dots": strings.Repeat(".", 8000),
	}
	if standard := strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]); standard != parts[2] {
		tokens["standard alphabet"] = parts[0] + "." + parts[1] + "." + standard
	}
	last := strings.IndexByte(base64url, f.token[len(f.token)-1])
	for bits := 1; bits < 4; bits++ { // the last of 86 characters has four idle bits
		tokens[fmt.Sprintf("idle bits %d", bits)] = f.token[:len(f.token)-1] + string(base64url[last&^15|(last+bits)&15])
	}
	f.wantForged(t, tokens)
}
