package oidc

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/login"
)

// accessHash is the claim at_hash (OpenID Connect Core §3.1.3.6).
func accessHash(alg jose.SignatureAlgorithm) string {
	if alg == jose.EdDSA {
		sum := sha512.Sum512([]byte(testAccess))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(testAccess))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// TestTokenOfAnotherIssuer: a provider hands in a token that another one issued
// to it (SPEC F38, O23).
func TestTokenOfAnotherIssuer(t *testing.T) {
	r := newRogue(t)
	for _, iss := range []any{"https://accounts.example.com", r.URL + "/", strings.ToUpper(r.URL), "accounts.google.com", nil, 7} {
		r.claims["iss"] = iss
		r.refused(r.login(), "ID token")
	}
}

// TestTokenForAnotherClient: a token that was issued to another program of the
// same provider is replayed here (SPEC F38, THREATS J6).
func TestTokenForAnotherClient(t *testing.T) {
	r := newRogue(t)
	for _, aud := range []any{"another", []string{"another"}, testClient + " ", "", nil, []string{}, map[string]any{testClient: true}} {
		r.claims["aud"] = aud
		r.refused(r.login(), "ID token")
	}
}

// TestTokenForSeveralClients: one of several audiences may have asked for the
// token, and only azp says which (SPEC F38; OpenID Connect Core §3.1.3.7).
func TestTokenForSeveralClients(t *testing.T) {
	r := newRogue(t)
	r.claims["aud"] = []string{testClient, "another"}
	r.refused(r.login(), "azp")
	r.claims["azp"] = "another"
	r.refused(r.login(), "azp")
	r.claims["azp"] = testClient
	r.accepted(r.login())
	r.claims["aud"], r.claims["azp"] = testClient, "another"
	r.refused(r.login(), "azp")
	r.claims["azp"] = []string{testClient}
	r.refused(r.login(), "azp")
}

// TestTokenOfAnotherSignIn: somebody else's token, or one of before, is injected
// into a sign-in (SPEC F38, O3, O4).
func TestTokenOfAnotherSignIn(t *testing.T) {
	r := newRogue(t)
	for _, nonce := range []any{"another", "", nil, []string{}} {
		r.claims["nonce"] = nonce
		r.refused(r.login(), "nonce")
	}
}

// TestNonceIsFresh wants no two sign-ins to share what ties a token to them.
func TestNonceIsFresh(t *testing.T) {
	r := newRogue(t)
	l := r.login()
	seen := map[string]bool{}
	for range 20 {
		if err := r.begin(l); err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{r.asked.Get("nonce"), r.asked.Get("code_challenge")} {
			if seen[value] || len(value) < 22 {
				t.Fatalf("%q came twice or is short", value)
			}
			seen[value] = true
		}
	}
}

// TestUnsignedToken: alg none, in any spelling, with and without a signature
// (SPEC F38, O24).
func TestUnsignedToken(t *testing.T) {
	for _, alg := range []string{"none", "None", "nOnE", ""} {
		for _, signature := range []string{"", "AAAA"} {
			r := newRogue(t)
			r.forge = func(claims map[string]any) string {
				return encode(map[string]any{"alg": alg, "kid": "k1"}) + "." + encode(claims) + "." + signature
			}
			r.refused(r.login(), "ID token")
		}
	}
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// TestTokenSignedWithClientSecret: HS256 with the client secret is a signature
// of OpenID Connect, but not one of the provider's alone (SPEC F38).
func TestTokenSignedWithClientSecret(t *testing.T) {
	r := newRogue(t)
	r.forge = func(claims map[string]any) string {
		return sign(t, jose.HS256, []byte(testSecret+strings.Repeat("\x00", 32-len(testSecret))), claims)
	}
	r.refused(r.login(), "algorithm")
}

// TestTokenSignedWithPublicKey: HS256 with the text of the public key as the
// secret fools who lets the token choose the algorithm (SPEC F38, THREATS J1).
func TestTokenSignedWithPublicKey(t *testing.T) {
	der, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	public := publicKey(rsaKey().Public(), "k1", "RS256")
	jwk, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{der, jwk, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
		r := newRogue(t)
		r.forge = func(claims map[string]any) string {
			return sign(t, jose.HS256, jose.JSONWebKey{Key: secret, KeyID: "k1"}, claims)
		}
		r.refused(r.login(), "algorithm")
	}
}

// TestAlgorithmNotAnnounced: the document says how tokens are signed, and
// another way is not accepted even if the key fits (SPEC F38).
func TestAlgorithmNotAnnounced(t *testing.T) {
	r := newRogue(t)
	r.keys = keysOf(publicKey(rsaKey().Public(), "k1", ""))
	for _, announced := range []any{[]string{"ES256"}, []string{"RS512", "HS256"}} {
		r.document["id_token_signing_alg_values_supported"] = announced
		r.refused(r.login(), "algorithm")
	}
	r.alg = jose.PS256
	r.document["id_token_signing_alg_values_supported"] = nil // RS256 then
	r.refused(r.login(), "algorithm")
}

// TestKeyForAnotherAlgorithm: the key says what it is for (SPEC F38, J7).
func TestKeyForAnotherAlgorithm(t *testing.T) {
	r := newRogue(t)
	r.alg = jose.PS256 // announced, but the key is for RS256
	r.refused(r.login(), "key")

	r = newRogue(t)
	key := publicKey(rsaKey().Public(), "k1", "RS256")
	key.Use = "enc"
	r.keys = keysOf(key, publicKey(otherKey().Public(), "k2", "RS256"))
	r.refused(r.login(), "key")
}

// TestExpiredToken: the leeway is for clocks, not for more (SPEC F38).
func TestExpiredToken(t *testing.T) {
	r := newRogue(t)
	for _, tt := range []struct {
		exp any
		ok  bool
	}{
		{r.now.Add(-29 * time.Second).Unix(), true},
		{r.now.Add(-30 * time.Second).Unix(), false},
		{r.now.Add(-time.Hour).Unix(), false},
		{0, false},
		{-1, false},
		{1e300, false},
		{nil, false},
		{fmt.Sprint(r.now.Add(time.Hour).Unix()), false},
	} {
		r.claims["exp"] = tt.exp
		if tt.ok {
			r.accepted(r.login())
		} else {
			r.refused(r.login(), "ID token")
		}
	}
	r.claims["exp"] = r.now.Add(-2 * time.Minute).Unix()
	r.accepted(r.login("clock_leeway", "3m"))
}

// TestTokenOfTheFuture: iat and nbf mean something (SPEC F38).
func TestTokenOfTheFuture(t *testing.T) {
	for _, claim := range []string{"iat", "nbf"} {
		r := newRogue(t)
		r.claims["exp"] = r.now.Add(2 * time.Hour).Unix()
		r.claims[claim] = r.now.Add(30 * time.Second).Unix()
		r.accepted(r.login())
		for _, at := range []any{r.now.Add(31 * time.Second).Unix(), r.now.Add(time.Hour).Unix(), "soon"} {
			r.claims[claim] = at
			r.refused(r.login(), "ID token")
		}
	}
	r := newRogue(t)
	r.claims["iat"] = nil
	r.refused(r.login(), "iat")
}

// TestTokenSignedWithAnotherKey: right kid, wrong key (SPEC F38).
func TestTokenSignedWithAnotherKey(t *testing.T) {
	r := newRogue(t)
	r.key = otherKey()
	r.refused(r.login(), "ID token")
}

// TestTokenBringsItsKey: jwk, jku and x5u in the header are an attacker's way
// to choose the key (SPEC O26, THREATS J7).
func TestTokenBringsItsKey(t *testing.T) {
	r := newRogue(t)
	r.serve["/evil"] = func(http.ResponseWriter, *http.Request) { t.Error("the canary was asked for") }
	r.forge = func(claims map[string]any) string {
		options := (&jose.SignerOptions{EmbedJWK: true}).WithHeader("jku", r.URL+"/evil").WithHeader("x5u", r.URL+"/evil")
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: otherKey()}, options)
		if err != nil {
			t.Fatal(err)
		}
		payload, _ := json.Marshal(claims)
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := signed.CompactSerialize()
		return text
	}
	r.refused(r.login(), "ID token")
}

// TestStrangeTokens: other serialisations, too much text, critical extensions
// (SPEC O24, THREATS J2, J4).
func TestStrangeTokens(t *testing.T) {
	for name, forge := range map[string]func(good string) string{
		"empty parts":     func(string) string { return ".." },
		"many dots":       func(good string) string { return good + strings.Repeat(".", 1000) },
		"white space":     func(good string) string { return " " + good },
		"json":            flattened,
		"json, unsigned":  func(string) string { return `{"payload":"e30","signature":"AAAA"}` },
		"twice the point": func(good string) string { return strings.Replace(good, ".", "..", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRogue(t)
			r.forge = func(claims map[string]any) string {
				return forge(sign(t, r.alg, jose.JSONWebKey{Key: r.key, KeyID: r.kid}, claims))
			}
			r.refused(r.login(), "ID token")
		})
	}
	t.Run("too long", func(t *testing.T) {
		r := newRogue(t)
		r.claims["padding"] = strings.Repeat("x", maxToken)
		r.refused(r.login(), "larger than")
	})
	t.Run("crit", func(t *testing.T) {
		r := newRogue(t)
		r.forge = func(claims map[string]any) string {
			options := (&jose.SignerOptions{}).WithCritical("b64").WithHeader("b64", true)
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: r.alg, Key: jose.JSONWebKey{Key: r.key, KeyID: r.kid}}, options)
			if err != nil {
				t.Fatal(err)
			}
			payload, _ := json.Marshal(claims)
			signed, err := signer.Sign(payload)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := signed.CompactSerialize()
			return text
		}
		r.refused(r.login(), "crit")
	})
}

// flattened turns a token into the JSON serialization.
func flattened(compact string) string {
	parts := strings.Split(compact, ".")
	return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2])
}

// TestAmbiguousClaims: a name twice, or in two spellings, is read in one way by
// one reader and in another by the next (THREATS J6).
func TestAmbiguousClaims(t *testing.T) {
	for _, more := range []string{`"sub":"bob"`, `"SUB":"bob"`, `"Iss":"https://evil.example"`} {
		r := newRogue(t)
		r.forge = func(claims map[string]any) string {
			payload, _ := json.Marshal(claims)
			text := strings.TrimSuffix(string(payload), "}") + "," + more + "}"
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: r.alg, Key: jose.JSONWebKey{Key: r.key, KeyID: r.kid}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.Sign([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			token, _ := signed.CompactSerialize()
			return token
		}
		r.refused(r.login(), "ID token")
	}
}

// TestForce: a person who has to sign in again does, as far as the provider
// lets us see (SPEC F38, prompt=login).
func TestForce(t *testing.T) {
	r := newRogue(t)
	r.force = true
	if id := r.accepted(r.login()); !id.AuthTimeUnknown { // it doesn't say, and nobody said that it would
		t.Error("the time of the sign-in passes for known")
	}
	if r.asked.Get("prompt") != "login" || r.asked.Get("max_age") != "0" {
		t.Errorf("asked %v", r.asked)
	}
	r.claims["auth_time"] = r.now.Add(-25 * time.Second).Unix()
	if id := r.accepted(r.login()); id.AuthTimeUnknown || !id.AuthTime.Equal(r.now.Add(-25*time.Second)) {
		t.Errorf("signed in at %s", id.AuthTime)
	}
	r.claims["auth_time"] = r.now.Add(-31 * time.Second).Unix()
	r.refused(r.login(), "auth_time")
	r.document["claims_supported"] = []string{"sub", "auth_time"}
	for _, at := range []any{nil, "now", 0} {
		r.claims["auth_time"] = at
		r.refused(r.login(), "auth_time")
	}
	// What the operator configured gives way.
	r.claims["auth_time"] = r.now.Unix()
	r.accepted(r.login("authorize_params", map[string]string{"prompt": "consent"}))
	if r.asked.Get("prompt") != "login" {
		t.Errorf("prompt %q", r.asked.Get("prompt"))
	}
}

// TestAuthTimeOfTheFuture wants nobody to have signed in later than now.
func TestAuthTimeOfTheFuture(t *testing.T) {
	r := newRogue(t)
	r.claims["auth_time"] = r.now.Add(time.Hour).Unix()
	if id := r.accepted(r.login()); id.AuthTime.After(r.now) {
		t.Errorf("signed in at %s", id.AuthTime)
	}
}

// TestFinishWithoutBegin: what was not begun here is not finished here (SPEC
// F31, O3).
func TestFinishWithoutBegin(t *testing.T) {
	r := newRogue(t)
	l := r.login()
	for _, text := range []string{"", "{}", "x", `{"v":"v"}`, `{"n":"n"}`} {
		r.saved = []byte(text)
		if _, err := r.finish(l); !errors.Is(err, login.ErrDenied) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, req := range []login.Request{{CallbackURL: testCallback}, {State: testState}} {
		if step, err := l.Begin(t.Context(), req); err == nil {
			t.Errorf("%+v: %+v", req, step)
		}
	}
}
