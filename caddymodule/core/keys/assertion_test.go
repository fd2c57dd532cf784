package keys

import (
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func assertion(t testing.TB, r *Ring) string {
	t.Helper()
	signed, err := r.SignAssertion(&oauth.AssertionClaims{Issuer: "https://gw.example", Subject: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// published reports whether a ring publishes the key of a JWS, and it fits.
func published(t testing.TB, r *Ring, signed string) bool {
	t.Helper()
	set, err := jwk.Parse(r.JWKS(true))
	if err != nil {
		t.Fatal(err)
	}
	_, err = jws.Verify([]byte(signed), jws.WithKeySet(set, jws.WithRequireKid(true)))
	return err == nil
}

func TestAssertionsHaveKeysOfTheirOwn(t *testing.T) {
	for _, alg := range Algorithms {
		t.Run(alg, func(t *testing.T) {
			m := open(t, store.NewMemory(), Options{Algorithm: alg})
			signed, token := assertion(t, m.Ring()), sign(t, m, start)
			if !published(t, m.Ring(), signed) {
				t.Error("the JWK set does not verify it")
			}
			kids := map[string]bool{}
			for _, text := range []string{signed, token} {
				msg, err := jws.ParseString(text)
				if err != nil {
					t.Fatal(err)
				}
				h := msg.Signatures()[0].ProtectedHeaders()
				kids[h.KeyID()] = true
				if text == token {
					continue
				}
				if h.Algorithm() != jwa.ES256 || h.Type() != oauth.AssertionType {
					t.Errorf("header %+v", h)
				}
				if _, _, ok := m.Ring().VerifyKey(h.KeyID()); ok {
					t.Error("its key verifies access tokens")
				}
			}
			if len(kids) != 2 {
				t.Error("access tokens and assertions share a key")
			}
		})
	}
}

// Every node with the ring has the same keys, stored or derived, and the next one
// is published before it signs.
func TestAssertionKeysFollowTheRing(t *testing.T) {
	s, o := store.NewMemory(), Options{RotateEvery: 30 * 24 * time.Hour}
	m, other := open(t, s, o), open(t, s, o)
	first := assertion(t, m.Ring())
	if !published(t, other.Ring(), first) {
		t.Error("another node has other keys")
	}
	if err := m.Rotate(t.Context(), start, false); err != nil {
		t.Fatal(err)
	}
	refresh := func(now time.Time) {
		t.Helper()
		if err := m.Refresh(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	ahead := m.Ring()
	if kidOf(t, assertion(t, ahead)) != kidOf(t, first) {
		t.Error("the next key signs before others know it")
	}
	active := start.Add(publishLead)
	refresh(active)
	second := assertion(t, m.Ring())
	if kidOf(t, second) == kidOf(t, first) || !published(t, ahead, second) {
		t.Error("the next key does not sign, or was not published before")
	}
	if !published(t, m.Ring(), first) {
		t.Error("the former key is gone while its assertions may be on their way")
	}
	if err := m.Rotate(t.Context(), active.Add(dropMargin+time.Second), false); err != nil {
		t.Fatal(err)
	}
	if published(t, m.Ring(), first) || !published(t, m.Ring(), second) {
		t.Error("the former key stays for ever, or the present one went")
	}
	if _, err := m.Retire(t.Context(), active.Add(dropMargin+time.Minute)); err != nil {
		t.Fatal(err)
	}
	if published(t, m.Ring(), second) {
		t.Error("a retired key is still published")
	}
}

func TestDerivedAssertionKeys(t *testing.T) {
	o := Options{Secret: secret, Derive: true, Algorithm: "HS256"}
	m, other := open(t, store.NewMemory(), o), open(t, store.NewMemory(), o)
	if !published(t, other.Ring(), assertion(t, m.Ring())) {
		t.Error("another node with the same secret has other keys")
	}
}

func kidOf(t testing.TB, signed string) string {
	t.Helper()
	msg, err := jws.ParseString(signed)
	if err != nil {
		t.Fatal(err)
	}
	return msg.Signatures()[0].ProtectedHeaders().KeyID()
}

func BenchmarkSignAssertion(b *testing.B) {
	r := open(b, store.NewMemory(), Options{}).Ring()
	claims := &oauth.AssertionClaims{
		Issuer: "https://gw.example", Audience: "https://gw.example/mcp", Resource: "https://gw.example/mcp", Subject: "alice",
		ClientID: "client", Scope: "mcp:tools:read mcp:tools:execute", Groups: []string{"leads", "support"}, Method: "tools/call", Tool: "refund",
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.SignAssertion(claims); err != nil {
			b.Fatal(err)
		}
	}
}
