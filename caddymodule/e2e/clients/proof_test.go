package clients_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jwt"
)

// clientKey is the key of a client that signs assertions.
type clientKey struct{ private jwk.Key }

func newKey(t *testing.T) clientKey {
	t.Helper()
	return newKeyFor(t, "ES256")
}

// newKeyFor makes a key for an algorithm.
func newKeyFor(t *testing.T, alg string) clientKey {
	t.Helper()
	var raw any
	var err error
	switch alg {
	case "ES256":
		raw, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		raw, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		raw, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RS256", "PS256":
		raw, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA", "Ed25519":
		_, raw, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("the tests can't sign with %s", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.FromRaw(raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{jwk.KeyIDKey: alg + "-" + rand.Text(), jwk.AlgorithmKey: alg, jwk.KeyUsageKey: "sig"} {
		if err := key.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return clientKey{key}
}

// public returns the key set that the client publishes, with further keys.
func (k clientKey) public(t *testing.T, more ...clientKey) json.RawMessage {
	t.Helper()
	set := []jwk.Key{}
	for _, k := range append([]clientKey{k}, more...) {
		key, err := k.private.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, key)
	}
	text, err := json.Marshal(map[string]any{"keys": set})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// assertion signs that the client is who it says (RFC 7523 §3).
func (k clientKey) assertion(t *testing.T, id, audience string) string {
	t.Helper()
	now := time.Now()
	token, err := jwt.NewBuilder().Issuer(id).Subject(id).Audience([]string{audience}).
		IssuedAt(now).Expiration(now.Add(time.Minute)).JwtID(rand.Text()).Build()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jwt.Sign(token, jwt.WithKey(jwa.ES256, k.private))
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

// proof returns how a client authenticates that is registered for a method.
func proof(method, id, secret, audience string, key clientKey) func(*testing.T, url.Values) []string {
	return func(t *testing.T, form url.Values) []string {
		t.Helper()
		switch method {
		case "none":
			form.Set("client_id", id)
		case "client_secret_post":
			form.Set("client_id", id)
			form.Set("client_secret", secret)
		case "client_secret_basic":
			pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
			return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}
		case "private_key_jwt":
			form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			form.Set("client_assertion", key.assertion(t, id, audience))
		default:
			t.Fatalf("unknown method %s", method)
		}
		return nil
	}
}
