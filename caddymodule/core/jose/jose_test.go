package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// signers are keys for every algorithm, made once.
var signers = sync.OnceValue(func() map[string]crypto.Signer {
	out := map[string]crypto.Signer{}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		out[alg] = key
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	out["EdDSA"], out["Ed25519"], out["RS256"], out["PS256"] = ed, ed, r, r
	return out
})

// publicJWK is the public key of an algorithm, with members added, changed or
// (nil) taken away.
func publicJWK(t testing.TB, alg string, edits ...any) map[string]any {
	t.Helper()
	key, err := jwk.FromRaw(signers()[alg].Public())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	m["kid"] = "k-" + alg
	for i := 0; i+1 < len(edits); i += 2 {
		if m[edits[i].(string)] = edits[i+1]; edits[i+1] == nil {
			delete(m, edits[i].(string))
		}
	}
	return m
}

func setOf(t testing.TB, keys ...map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func sign(t testing.TB, alg, payload string, headers ...any) string {
	t.Helper()
	h := jws.NewHeaders()
	for i := 0; i+1 < len(headers); i += 2 {
		if err := h.Set(headers[i].(string), headers[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if alg == "Ed25519" { // the library knows the old name only
		text, _ := json.Marshal(h)
		signed := b64(`{"alg":"Ed25519",`+string(text[1:])) + "." + b64(payload)
		return signed + "." + b64(string(ed25519.Sign(signers()[alg].(ed25519.PrivateKey), []byte(signed))))
	}
	raw, err := jws.Sign([]byte(payload), jws.WithKey(jwa.SignatureAlgorithm(alg), signers()[alg], jws.WithProtectedHeaders(h)))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func verify(raw, alg string, key any) ([]byte, error) {
	read, err := ReadCompact(raw)
	if err != nil {
		return nil, err
	}
	return read.Verify(alg, key)
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestAlgorithms(t *testing.T) {
	if got := strings.Join(Algorithms(), " "); got != "ES256 ES384 ES512 Ed25519 EdDSA PS256 RS256" {
		t.Fatalf("the accepted algorithms are %s", got)
	}
	for _, alg := range Algorithms() {
		set, err := ParseSet(setOf(t, publicJWK(t, alg)))
		if err != nil || set.Len() != 1 {
			t.Fatalf("%s: %d keys, %v", alg, set.Len(), err)
		}
		raw := sign(t, alg, `{"a":1}`, "kid", "k-"+alg)
		payload, err := VerifyAny(raw, set.Find("k-"+alg, alg))
		if err != nil || string(payload) != `{"a":1}` {
			t.Errorf("%s: %q, %v", alg, payload, err)
		}
		i := len(raw) - 10
		spoiled := raw[:i] + string(rune(raw[i])^1) + raw[i+1:]
		if _, err := VerifyAny(spoiled, set.Find("", alg)); err == nil {
			t.Errorf("%s: a changed signature is good", alg)
		}
		for _, other := range Algorithms() {
			// A key fits the algorithms of its kind only; RSA has two.
			same := algorithms[other] == algorithms[alg]
			if fits := len(set.Find("", other)) == 1; fits != same {
				t.Errorf("a key of %s fits %s: %t", alg, other, fits)
			}
		}
		for _, never := range []string{"", "none", "HS256", "HS512", "RS1", "RSA1_5", "es256", strings.ToLower(alg), "RS512"} {
			if len(set.Find("", never)) > 0 {
				t.Errorf("a key of %s fits %q", alg, never)
			}
		}
	}
}

// RFC 9864 has a new name for EdDSA with an Ed25519 key. A key that is published
// under one name verifies what was signed under the other, and nothing else.
func TestBothNamesOfEd25519(t *testing.T) {
	for _, published := range []string{"EdDSA", "Ed25519"} {
		for _, used := range []string{"EdDSA", "Ed25519"} {
			set, err := ParseSet(setOf(t, publicJWK(t, published, "alg", published)))
			if err != nil {
				t.Fatal(err)
			}
			raw := sign(t, used, `{"a":1}`, "kid", "k-"+published)
			if payload, err := VerifyAny(raw, set.Find("k-"+published, used)); err != nil || string(payload) != `{"a":1}` {
				t.Errorf("published for %s, signed as %s: %q, %v", published, used, payload, err)
			}
			if len(set.Find("", "ES256")) > 0 || len(set.Find("", "Ed448")) > 0 {
				t.Errorf("%s fits other algorithms", published)
			}
		}
	}
}

func TestReadCompact(t *testing.T) {
	header, good := b64(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`), b64(`{}`)
	for _, tt := range []struct {
		name, raw string
		ok        bool
	}{
		{"a token", header + "." + good + "." + b64("sig"), true},
		{"unknown members", b64(`{"alg":"ES256","jku":"https://evil.example/","x5u":"https://evil.example/","jwk":{"kty":"oct"},"x5c":["x"]}`) + "." + good + "." + b64("sig"), true},
		{"other spelling of a member", b64(`{"alg":"ES256","CRIT":["x"]}`) + "." + good + "." + b64("sig"), true},
		{"empty", "", false},
		{"two parts", header + "." + good, false},
		{"four parts", header + "." + good + "." + good + "." + good, false},
		{"five parts", strings.Repeat(header+".", 4) + good, false},
		{"many dots", strings.Repeat(".", 10_000), false},
		{"padding", header + "=." + good + "." + b64("sig"), false},
		{"standard alphabet", header + "." + good + ".+/+/", false},
		{"trailing bits", header + "." + good + ".AB", false},
		{"newline", header + "\n." + good + "." + b64("sig"), false},
		{"space", " " + header + "." + good + "." + b64("sig"), false},
		{"header not JSON", b64("x") + "." + good + "." + b64("sig"), false},
		{"header not an object", b64(`[]`) + "." + good + "." + b64("sig"), false},
		{"header twice", b64(`{}{}`) + "." + good + "." + b64("sig"), false},
		{"alg twice", b64(`{"alg":"none","alg":"ES256"}`) + "." + good + "." + b64("sig"), false},
		{"alg a number", b64(`{"alg":1}`) + "." + good + "." + b64("sig"), false},
		{"invalid UTF-8", b64("{\"alg\":\"\xff\"}") + "." + good + "." + b64("sig"), false},
		{"critical", b64(`{"alg":"ES256","crit":["exp"],"exp":1}`) + "." + good + "." + b64("sig"), false},
		{"critical, empty", b64(`{"alg":"ES256","crit":[]}`) + "." + good + "." + b64("sig"), false},
		{"unencoded", b64(`{"alg":"ES256","b64":false}`) + "." + good + "." + b64("sig"), false},
		{"encoded said", b64(`{"alg":"ES256","b64":true}`) + "." + good + "." + b64("sig"), false},
		{"too long", header + "." + good + "." + strings.Repeat("A", MaxLength), false},
		{"JSON serialisation", `{"payload":"e30","signature":"e30"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadCompact(tt.raw)
			if (err == nil) != tt.ok {
				t.Fatalf("got %v, want ok %t", err, tt.ok)
			}
			if tt.ok && got.Header.Algorithm != "ES256" {
				t.Errorf("alg %q", got.Header.Algorithm)
			}
		})
	}
}

func TestHasType(t *testing.T) {
	for _, tt := range []struct {
		typ  string
		want bool
	}{{"at+jwt", true}, {"AT+JWT", true}, {"application/at+jwt", true}, {"Application/at+JWT", true}, {"jwt", false}, {"", false}, {"at+jwt ", false}} {
		if got := (Header{Type: tt.typ}).HasType("at+jwt"); got != tt.want {
			t.Errorf("%q: %t", tt.typ, got)
		}
	}
	if !(Header{}).HasType("jwt", "") {
		t.Error("no typ, where that is allowed")
	}
}

// TestForged: what a token says of its own keys and algorithm counts for
// nothing (THREATS J1, J5, J7).
func TestForged(t *testing.T) {
	set, err := ParseSet(setOf(t, publicJWK(t, "ES256"), publicJWK(t, "RS256")))
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(set.Find("", "ES256"), set.Find("", "RS256"))
	pub, _ := signers()["RS256"].Public().(*rsa.PublicKey)
	hmac, err := jws.Sign([]byte(`{}`), jws.WithKey(jwa.HS256, pub.N.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherJWK, err := jwk.FromRaw(other.Public())
	if err != nil {
		t.Fatal(err)
	}
	h := jws.NewHeaders()
	for name, value := range map[string]any{"jwk": otherJWK, "jku": "https://evil.example/", "x5u": "https://evil.example/"} {
		if err := h.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	brought, err := jws.Sign([]byte(`{}`), jws.WithKey(jwa.ES256, other, jws.WithProtectedHeaders(h)))
	if err != nil {
		t.Fatal(err)
	}
	head, body := b64(`{"alg":"ES256"}`), b64(`{}`)
	n := elliptic.P256().Params().N.FillBytes(make([]byte, 32))
	zeros := make([]byte, 64)
	order := append(slices.Clone(n), n...)
	for name, raw := range map[string]string{
		"none":                   b64(`{"alg":"none"}`) + "." + body + ".",
		"no algorithm":           b64(`{}`) + "." + body + "." + b64("x"),
		"no signature":           head + "." + body + ".",
		"r = s = 0":              head + "." + body + "." + b64(string(zeros)),
		"r = s = n":              head + "." + body + "." + b64(string(order)),
		"short zeros":            head + "." + body + "." + b64(string(zeros[:2])),
		"public key as secret":   string(hmac),
		"a key of its own":       string(brought),
		"RS256 named, ES signed": func() string { s := sign(t, "ES256", `{}`); return b64(`{"alg":"RS256"}`) + s[strings.Index(s, "."):] }(),
	} {
		if payload, err := VerifyAny(raw, all); err == nil {
			t.Errorf("%s is good: %s", name, payload)
		}
	}
	if _, err := verify(sign(t, "ES256", `{}`), "RS256", signers()["RS256"].Public()); err == nil {
		t.Error("a token of another algorithm than its key's is good")
	}
}

func TestParseSet(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	rsaJWK := func(n *big.Int) map[string]any {
		return map[string]any{"kty": "RSA", "e": "AQAB", "n": b64(string(n.Bytes()))}
	}
	private, err := jwk.FromRaw(signers()["ES256"])
	if err != nil {
		t.Fatal(err)
	}
	privateText, err := json.Marshal(private)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		raw  string
		keys int // -1: refused
	}{
		{"none", `{"keys":[]}`, 0},
		{"all kinds", string(setOf(t, publicJWK(t, "ES256"), publicJWK(t, "ES384"), publicJWK(t, "ES512"), publicJWK(t, "RS256"), publicJWK(t, "EdDSA"))), 5},
		{"more members", string(setOf(t, publicJWK(t, "ES256", "use", "sig", "key_ops", []string{"verify"}, "alg", "ES256", "x5t", "eA", "later", 1))), 1},
		{"PS256 alone", string(setOf(t, publicJWK(t, "RS256", "alg", "PS256"))), 1},
		{"encryption", string(setOf(t, publicJWK(t, "RS256", "use", "enc"), publicJWK(t, "ES256"))), 1},
		{"encryption by alg", string(setOf(t, publicJWK(t, "RS256", "alg", "RSA-OAEP"))), 0},
		{"wrong operations", string(setOf(t, publicJWK(t, "RS256", "key_ops", []string{"encrypt"}))), 0},
		{"no operations", string(setOf(t, publicJWK(t, "RS256", "key_ops", []string{}))), 0},
		{"alg of another kind", string(setOf(t, publicJWK(t, "ES256", "alg", "RS256"))), 0},
		{"alg of another curve", string(setOf(t, publicJWK(t, "ES256", "alg", "ES384"))), 0},
		{"alg not accepted", string(setOf(t, publicJWK(t, "RS256", "alg", "RS512"))), 0},
		{"short RSA", string(setOf(t, rsaJWK(small.N))), 0},
		{"RSA without end", string(setOf(t, rsaJWK(new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 20000), big.NewInt(1))))), 0},
		{"RSA of exponent 1", string(setOf(t, publicJWK(t, "RS256", "e", "AQ"))), 0},
		{"RSA of an even exponent", string(setOf(t, publicJWK(t, "RS256", "e", "AQAA"))), 0},
		{"off the curve", string(setOf(t, publicJWK(t, "ES256", "y", b64(strings.Repeat("\x01", 32))))), 0},
		{"X25519", `{"keys":[{"kty":"OKP","crv":"X25519","x":"` + b64(strings.Repeat("\x01", 32)) + `"}]}`, 0},
		{"secp256k1", `{"keys":[{"kty":"EC","crv":"secp256k1","x":"` + b64(strings.Repeat("\x01", 32)) + `","y":"` + b64(strings.Repeat("\x01", 32)) + `"}]}`, 0},
		{"a short Ed25519", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AQ"}]}`, 0},
		{"unknown kind", `{"keys":[{"kty":"AKP","alg":"ML-DSA-44","pub":"AQ"}]}`, 0},
		{"no kind", `{"keys":[{}]}`, 0},
		{"32", string(setOf(t, slices.Repeat([]map[string]any{publicJWK(t, "ES256")}, 32)...)), 32},

		{"33", string(setOf(t, slices.Repeat([]map[string]any{publicJWK(t, "ES256")}, 33)...)), -1},
		{"a private key", `{"keys":[` + string(privateText) + `]}`, -1},
		{"a private key among others", string(setOf(t, publicJWK(t, "ES256"), publicJWK(t, "RS256", "d", "AQ"))), -1},
		{"RSA primes", string(setOf(t, publicJWK(t, "RS256", "p", "AQ"))), -1},
		{"RSA exponent", string(setOf(t, publicJWK(t, "RS256", "dq", "AQ"))), -1},
		{"a private key for encryption", string(setOf(t, publicJWK(t, "RS256", "use", "enc", "d", "AQ"))), -1},
		{"a private member that is null", string(setOf(t, publicJWK(t, "RS256"))[:len(setOf(t, publicJWK(t, "RS256")))-3]) + `,"d":null}]}`, -1},
		{"a shared secret", `{"keys":[{"kty":"oct","k":"AQ"}]}`, -1},
		{"a key, no set", string(setOf(t)) + "x", -1},
		{"a JWK", `{"kty":"oct"}`, -1},
		{"keys null", `{"keys":null}`, -1},
		{"keys an object", `{"keys":{}}`, -1},
		{"an entry that is none", `{"keys":[1]}`, -1},
		{"kid a number", string(setOf(t, publicJWK(t, "ES256", "kid", 1))), -1},
		{"keys twice", `{"keys":[],"keys":[]}`, -1},
		{"a member twice", `{"keys":[{"kty":"EC","kty":"oct"}]}`, -1},
		{"another spelling", `{"Keys":[]}`, -1},
		{"HTML", `<html>`, -1},
		{"empty", ``, -1},
		{"deep", strings.Repeat("[", 100_000), -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := ParseSet([]byte(tt.raw))
			if (err != nil) != (tt.keys < 0) {
				t.Fatalf("got %v", err)
			}
			if err == nil && set.Len() != tt.keys {
				t.Errorf("%d keys, want %d", set.Len(), tt.keys)
			}
			if err != nil && strings.Contains(err.Error(), "html") {
				t.Errorf("the error quotes the document: %v", err)
			}
		})
	}
}

func TestFind(t *testing.T) {
	named := func(alg, kid string) map[string]any { return publicJWK(t, alg, "kid", kid) }
	set, err := ParseSet(setOf(t, named("ES256", "a"), named("RS256", "a"), named("ES256", "b"), publicJWK(t, "EdDSA", "kid", nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kid, alg string
		want     int
	}{{"a", "ES256", 1}, {"a", "RS256", 1}, {"a", "PS256", 1}, {"a", "EdDSA", 0}, {"c", "ES256", 0}, {"", "ES256", 2}, {"", "EdDSA", 1}, {"x", "EdDSA", 0}, {"a", "none", 0}} {
		if got := set.Find(tt.kid, tt.alg); len(got) != tt.want {
			t.Errorf("%q %s: %d keys, want %d", tt.kid, tt.alg, len(got), tt.want)
		}
	}
	many, err := ParseSet(setOf(t, slices.Repeat([]map[string]any{named("ES256", "a")}, 5)...))
	if err != nil {
		t.Fatal(err)
	}
	if got := many.Find("", "ES256"); got != nil {
		t.Errorf("a token would be tried with %d keys", len(got))
	}
}

// FuzzReadCompact: a token that is read has one spelling.
func FuzzReadCompact(f *testing.F) {
	f.Add(b64(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`) + "." + b64(`{}`) + "." + b64("sig"))
	f.Add(b64(`{"alg":"none"}`) + "." + b64(`{}`) + ".")
	f.Add("..")
	f.Add(b64(`{"alg":"ES256","crit":[]}`) + ".e30.e30")
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := ReadCompact(raw)
		if err != nil {
			return
		}
		parts := strings.Split(raw, ".")
		if len(parts) != 3 || base64.RawURLEncoding.EncodeToString(got.Unverified) != parts[1] {
			t.Errorf("%q has another spelling", raw)
		}
		if got.Header.Critical != nil || got.Header.Encoded != nil {
			t.Errorf("%q demands an extension", raw)
		}
		if _, err := VerifyAny(raw, nil); err == nil {
			t.Errorf("%q is good without a key", raw)
		}
	})
}

// FuzzParseSet: whatever a set says, what comes of it are public keys that fit
// what they are found for.
func FuzzParseSet(f *testing.F) {
	f.Add(setOf(f, publicJWK(f, "ES256"), publicJWK(f, "RS256", "use", "sig"), publicJWK(f, "EdDSA")))
	f.Add(setOf(f, publicJWK(f, "RS256", "d", "AQ")))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AQ"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		set, err := ParseSet(raw)
		if err != nil {
			return
		}
		if set.Len() > MaxKeys {
			t.Fatalf("%d keys", set.Len())
		}
		for _, alg := range Algorithms() {
			for _, k := range set.Find("", alg) {
				switch k.public.(type) {
				case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
				default:
					t.Fatalf("a key is a %T", k.public)
				}
				if signedBy(canonical(alg), k.public, []byte("e30.e30"), []byte("{}")) {
					t.Fatal("nonsense is signed")
				}
			}
		}
	})
}
