package trust_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

const secret = "MARKER-secret-of-the-gateway-at-its-provider"

// provider is an identity provider on this machine.
type provider struct {
	Issuer string
	key    *ecdsa.PrivateKey

	mu      sync.Mutex
	down    bool
	answers map[string]map[string]any // introspection, by token
	asked   []string                  // tokens
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key, answers: map[string]map[string]any{}}
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(server.Close)
	p.Issuer = server.URL
	return p
}

func (p *provider) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]string{
			"issuer": p.Issuer, "jwks_uri": p.Issuer + "/keys", "introspection_endpoint": p.Issuer + "/introspect",
		})
	case "/keys":
		key, err := jwk.FromRaw(p.key.Public())
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_ = key.Set("kid", "k1")
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{key}})
	case "/introspect":
		if user, password, _ := r.BasicAuth(); user != "gateway" || password != secret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		p.asked = append(p.asked, r.PostFormValue("token"))
		answer := p.answers[r.PostFormValue("token")]
		if answer == nil {
			answer = map[string]any{"active": false}
		}
		_ = json.NewEncoder(w).Encode(answer)
	default:
		http.NotFound(w, r)
	}
}

// tokens are those that the provider was asked about.
func (p *provider) tokens() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func (p *provider) claims(aud string, edits ...any) map[string]any {
	c := map[string]any{
		"iss": p.Issuer, "aud": aud, "sub": "alice", "client_id": "web", "scope": "read",
		"email": "alice@corp.example", "email_verified": true, "name": "Alice Elsewhere", "groups": []string{"staff"},
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for i := 0; i+1 < len(edits); i += 2 {
		c[edits[i].(string)] = edits[i+1]
	}
	return c
}

// token signs a token for an audience.
func (p *provider) token(t *testing.T, aud string, edits ...any) string {
	t.Helper()
	payload, err := json.Marshal(p.claims(aud, edits...))
	if err != nil {
		t.Fatal(err)
	}
	h := jws.NewHeaders()
	_ = h.Set("kid", "k1")
	_ = h.Set("typ", "at+jwt")
	raw, err := jws.Sign(payload, jws.WithKey(jwa.ES256, p.key, jws.WithProtectedHeaders(h)))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// opaque makes a token known to the introspection endpoint.
func (p *provider) opaque(name, aud string, edits ...any) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[name] = p.claims(aud, append(edits, "active", true)...)
	return name
}
