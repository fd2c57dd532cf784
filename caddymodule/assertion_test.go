package caddymodule

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// asserting returns a handler with assertions, and the time by which it signs.
func asserting(t testing.TB) (*Handler, time.Time) {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	m, err := keys.Open(t.Context(), now, store.NewMemory(), keys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &Handler{asserts: &asserter{
		header: "X-Mcp-Assertion", lifetime: time.Minute, issuer: "https://gw.example",
		now: func() time.Time { return now }, sign: m.Ring().SignAssertion,
	}}, now
}

// assertable is a token about which everything is known.
func assertable(now time.Time) *resource.Token {
	return &resource.Token{AccessTokenClaims: oauth.AccessTokenClaims{
		Issuer: "https://gw.example", Subject: "alice", Audience: "https://gw.example/mcp", ClientID: "client", Scope: "read",
		Expires: now.Add(time.Hour).Unix(), GrantID: "grant", Name: "Alice", Email: "alice@example.com", EmailVerified: true,
		Groups: []string{"leads", "a,b"}, Login: "oidc",
	}}
}

// madeFor returns the header and the claims of the one assertion of a request.
func madeFor(t *testing.T, h *Handler, token *resource.Token, m *mcp.Message) (header, claims map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://gw.example/mcp", nil)
	r = r.WithContext(oauth.WithMeta(r.Context(), oauth.Meta{RequestID: "request-1"}))
	if err := h.setAssertion(r, token, m); err != nil {
		t.Fatal(err)
	}
	values := r.Header["X-Mcp-Assertion"]
	if len(values) != 1 {
		t.Fatalf("assertions %q", values)
	}
	parts := strings.Split(values[0], ".")
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

func TestAssertionClaims(t *testing.T) {
	h, now := asserting(t)
	header, claims := madeFor(t, h, assertable(now), nil)
	if header["typ"] != "mcp-assertion+jwt" || header["alg"] != "ES256" || header["kid"] == nil || len(header) != 3 {
		t.Errorf("header %v", header)
	}
	want := map[string]any{
		"iss": "https://gw.example", "aud": "https://gw.example/mcp", "resource": "https://gw.example/mcp", "sub": "alice", "client_id": "client",
		"scope": "read", "iat": 1.8e9, "exp": 1.8e9 + 60, "jti": "request-1", "name": "Alice", "email": "alice@example.com", "email_verified": true,
		"groups": []any{"leads", "a,b"}, "login": "oidc", "grant_id": "grant",
	}
	same := func(a, b any) bool { return asText(a) == asText(b) }
	if !maps.EqualFunc(claims, want, same) {
		t.Errorf("claims %v, want %v", claims, want)
	}

	token := assertable(now)
	token.Expires, token.Groups = now.Unix()-50, []string{strings.Repeat("g", resource.MaxIdentityHeader)}
	h.asserts.audience, h.asserts.lifetime = "tickets", 30*time.Second
	_, claims = madeFor(t, h, token, nil)
	if claims["aud"] != "tickets" || claims["resource"] != "https://gw.example/mcp" {
		t.Errorf("aud %v, resource %v", claims["aud"], claims["resource"])
	}
	if claims["exp"] != 1.8e9+10 {
		t.Errorf("exp %v: it outlives the token", claims["exp"])
	}
	if claims["groups"] != nil || claims["groups_unknown"] != any(true) {
		t.Errorf("too many groups are told as %v, %v", claims["groups"], claims["groups_unknown"])
	}

	bare := &resource.Token{AccessTokenClaims: oauth.AccessTokenClaims{Subject: "alice", Audience: "a", Expires: now.Add(time.Hour).Unix()}}
	_, claims = madeFor(t, h, bare, nil)
	if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, []string{"aud", "exp", "iat", "iss", "jti", "resource", "sub"}) {
		t.Errorf("of a bare token it says %v", got)
	}
}

func asText(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// TestAssertedCall: what is called is said where it was read, and never more than
// fits into a header.
func TestAssertedCall(t *testing.T) {
	h, now := asserting(t)
	long := strings.Repeat("x", maxAsserted+1)
	for name, tt := range map[string]struct {
		message *mcp.Message
		want    map[string]any
	}{
		"not read, or a batch":    {nil, map[string]any{}},
		"a response":              {&mcp.Message{Kind: mcp.Response}, map[string]any{}},
		"a tool":                  {&mcp.Message{Method: "tools/call", Name: "refund"}, map[string]any{"method": "tools/call", "tool": "refund"}},
		"a prompt":                {&mcp.Message{Method: "prompts/get", Name: "hello"}, map[string]any{"method": "prompts/get", "prompt": "hello"}},
		"a resource":              {&mcp.Message{Method: "resources/read", URIs: []string{"file:///a"}}, map[string]any{"method": "resources/read", "uri": "file:///a"}},
		"several resources":       {&mcp.Message{Method: "subscriptions/listen", URIs: []string{"a:1", "a:2"}}, map[string]any{"method": "subscriptions/listen"}},
		"a method":                {&mcp.Message{Method: "tools/list"}, map[string]any{"method": "tools/list"}},
		"a completion":            {&mcp.Message{Method: "completion/complete", Name: "hello"}, map[string]any{"method": "completion/complete", "prompt": "hello"}},
		"a name that is too long": {&mcp.Message{Method: "tools/call", Name: long}, map[string]any{"method": "tools/call"}},
		"a URI that is too long":  {&mcp.Message{Method: "resources/read", URIs: []string{long}}, map[string]any{"method": "resources/read"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, claims := madeFor(t, h, assertable(now), tt.message)
			got := map[string]any{}
			for _, claim := range []string{"method", "tool", "prompt", "uri"} {
				if claims[claim] != nil {
					got[claim] = claims[claim]
				}
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestWithoutSignature: what can't be signed does not pass, and the client is
// told to come again.
func TestWithoutSignature(t *testing.T) {
	h, now := asserting(t)
	h.asserts.sign = func(*oauth.AssertionClaims) (string, error) { return "", errors.New("no key") }
	h.names = &resource.DefaultIdentityHeaders
	h.Resource, h.MaxCalls, h.limits = []string{"https://gw.example/mcp"}, 1, new(rateLimits)
	a, _, _ := maintained(t)
	a.observer = &observer{logger: a.logger, audit: a.logger, metrics: newMetrics(nil)}
	h.back = a.backing()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "https://gw.example/mcp", nil)
	r.Header.Set("X-Mcp-Assertion", "made up")
	err := h.pass(newCall(r), w, r, resource.Decision{Token: assertable(now)}, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		t.Error("it passed")
		return nil
	}))
	if err != nil || w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "key") {
		t.Errorf("%d %v %s, %v", w.Code, w.Header(), w.Body, err)
	}
}

// TestAllocsOfNoAssertion: where assertions are off they cost nothing.
func TestAllocsOfNoAssertion(t *testing.T) {
	h, now := asserting(t)
	h.asserts = nil
	r, token := httptest.NewRequest(http.MethodPost, "https://gw.example/mcp", nil), assertable(now)
	if n := testing.AllocsPerRun(100, func() {
		if err := h.setAssertion(r, token, nil); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAssertion(b *testing.B) {
	h, now := asserting(b)
	r, token := httptest.NewRequest(http.MethodPost, "https://gw.example/mcp", nil), assertable(now)
	message := &mcp.Message{Method: "tools/call", Name: "refund"}
	b.ReportAllocs()
	for b.Loop() {
		if err := h.setAssertion(r, token, message); err != nil {
			b.Fatal(err)
		}
	}
}
