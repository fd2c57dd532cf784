package authserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/jose"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

const docKeys = "https://keys.example.com/jwks.json"

// documentKey is a client's key.
type documentKey struct {
	tb  testing.TB
	key jwk.Key
}

func newDocumentKey(tb testing.TB, kid string) documentKey {
	tb.Helper()
	raw, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := jwk.FromRaw(raw)
	if err != nil {
		tb.Fatal(err)
	}
	if err := key.Set(jwk.KeyIDKey, kid); err != nil {
		tb.Fatal(err)
	}
	return documentKey{tb, key}
}

// set is the JWK set that the client publishes.
func (s documentKey) set() string {
	s.tb.Helper()
	public, err := s.key.PublicKey()
	if err != nil {
		s.tb.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"keys": []any{public}})
	if err != nil {
		s.tb.Fatal(err)
	}
	return string(text)
}

// sign adds an assertion of a client to a form.
func (s documentKey) sign(form url.Values, id string, now time.Time) url.Values {
	s.tb.Helper()
	claims, err := json.Marshal(map[string]any{
		"iss": id, "sub": id, "aud": testIssuer, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	token, err := jws.Sign(claims, jws.WithKey(jwa.ES256, s.key))
	if err != nil {
		s.tb.Fatal(err)
	}
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", string(token))
	return form
}

// SPEC E8, E11: a client proves who it is with the keys of its document, inline
// or at its jwks_uri, also after a restart while the document's host is down.
func TestDocumentKeys(t *testing.T) {
	key, other := newDocumentKey(t, "1"), newDocumentKey(t, "1")
	for _, c := range []struct {
		name string
		keys set
	}{{"inline", set{"jwks", json.RawMessage(key.set())}}, {"jwks_uri", set{"jwks_uri", docKeys}}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, nil)
			withKeys := func(_ *Config, d *Deps) {
				keys := jose.NewRemote(fetch.New(w.net.Options()), jose.RemoteOptions{Now: d.Now})
				t.Cleanup(keys.Close)
				d.ClientKeys = keys
			}
			w.rig = w.node(t, withKeys)
			w.publish(docKeys, key.set())
			w.publish(docID, document(docID, set{"token_endpoint_auth_method", "private_key_jwt"}, c.keys))
			b, page := w.consent(t, request(docID))
			code := result(t, b.decide(page, "allow")).Get("code")
			w.refused(t, codeForm(docID, code), http.StatusUnauthorized, "invalid_client")
			w.refused(t, other.sign(codeForm(docID, code), docID, w.clock), http.StatusUnauthorized, "invalid_client")
			w.fails(docID, http.StatusInternalServerError)
			tokens := decode[oauth.TokenResponse](t, w.form("/oauth/token", key.sign(codeForm(docID, code), docID, w.clock)), http.StatusOK)
			fresh := w.node(t, func(cfg *Config, d *Deps) { w.sharing(cfg, d); withKeys(cfg, d) })
			fresh.refused(t, refreshForm(docID, tokens.RefreshToken), http.StatusUnauthorized, "invalid_client")
			fresh.refused(t, other.sign(refreshForm(docID, tokens.RefreshToken), docID, w.clock), http.StatusUnauthorized, "invalid_client")
			next := decode[oauth.TokenResponse](t, fresh.form("/oauth/token", key.sign(refreshForm(docID, tokens.RefreshToken), docID, w.clock)), http.StatusOK)
			if next.RefreshToken == "" {
				t.Error("no refresh token")
			}
		})
	}
	t.Run("ChatGPT: either", func(t *testing.T) {
		w := newWeb(t, nil)
		keys := jose.NewRemote(fetch.New(w.net.Options()), jose.RemoteOptions{Now: w.deps.Now})
		defer keys.Close()
		w.rig = w.node(t, func(_ *Config, d *Deps) { d.ClientKeys = keys })
		w.publish(docKeys, key.set())
		w.publish(docID, document(docID, set{"token_endpoint_auth_method", "private_key_jwt"},
			set{"token_endpoint_auth_methods_supported", []string{"none", "private_key_jwt"}}, set{"jwks_uri", docKeys}))
		tokens := w.browser(t).approve(request(docID), docID)
		next := decode[oauth.TokenResponse](t, w.form("/oauth/token", key.sign(refreshForm(docID, tokens.RefreshToken), docID, w.clock)), http.StatusOK)
		w.refused(t, other.sign(refreshForm(docID, next.RefreshToken), docID, w.clock), http.StatusUnauthorized, "invalid_client")
	})
	t.Run("E11 keys at an internal address", func(t *testing.T) {
		w := newWeb(t, nil)
		keys := jose.NewRemote(fetch.New(w.net.Options()), jose.RemoteOptions{Now: w.deps.Now})
		defer keys.Close()
		w.rig = w.node(t, func(_ *Config, d *Deps) { d.ClientKeys = keys })
		w.net.Resolve("keys.example.com", netip.MustParseAddrPort("127.0.0.1:1"))
		w.publish(docID, document(docID, set{"token_endpoint_auth_method", "private_key_jwt"}, set{"jwks_uri", docKeys}))
		b, page := w.consent(t, request(docID))
		before := w.net.Connections()
		got := w.form("/oauth/token", key.sign(codeForm(docID, result(t, b.decide(page, "allow")).Get("code")), docID, w.clock))
		if got.Code == http.StatusOK || w.net.Connections() != before {
			t.Errorf("status %d, %d connections", got.Code, w.net.Connections()-before)
		}
	})
}
