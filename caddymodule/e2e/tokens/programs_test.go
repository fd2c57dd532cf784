package tokens_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestPrograms (SPEC G29): a program gets a token in every way to authenticate,
// and calls the server with it as nobody but itself.
func TestPrograms(t *testing.T) {
	h := newHouse(t, "")
	for id, request := range map[string]func() (url.Values, []string){
		"batch":  func() (url.Values, []string) { return form(), basic("batch", batchSecret) },
		"slow":   func() (url.Values, []string) { return form(), basic("slow", slowSecret) },
		"hashed": func() (url.Values, []string) { return form("client_id", "hashed", "client_secret", hashedSecret), nil },
		"robot":  func() (url.Values, []string) { return signed(h.robot.assertion(t, "robot", h.URL)), nil },
		"away": func() (url.Values, []string) {
			return signed(h.away.Load().assertion(t, "away", h.URL), "client_id", "away"), nil
		},
	} {
		t.Run(id, func(t *testing.T) {
			for range 2 {
				v, header := request()
				wantStatus(t, h.call(t, h.token(t, v, header...)), http.StatusOK)
				if user := h.up.One(t).Header.Get("X-Mcp-User"); user != "client|"+id {
					t.Errorf("the server sees %q", user)
				}
			}
		})
	}
	doc := gatewaytest.Send(t, http.MethodGet, h.URL+"/.well-known/oauth-authorization-server", "").JSON(t)
	for name, value := range map[string]string{
		"grant_types_supported": "client_credentials", "token_endpoint_auth_methods_supported": "private_key_jwt",
		"token_endpoint_auth_signing_alg_values_supported": "ES256", "introspection_endpoint_auth_methods_supported": "client_secret_basic",
	} {
		if list, _ := doc[name].([]any); !slices.Contains(list, any(value)) {
			t.Errorf("%s is %v", name, doc[name])
		}
	}
	if doc["revocation_endpoint"] != h.URL+"/oauth/revoke" || doc["introspection_endpoint"] != h.URL+"/oauth/introspect" {
		t.Errorf("%v, %v", doc["revocation_endpoint"], doc["introspection_endpoint"])
	}
	t.Run("limits", func(t *testing.T) {
		ask := func(params ...string) gatewaytest.Reply {
			return h.post(t, "/oauth/token", form(append(params, "grant_type", "client_credentials")...), basic("batch", batchSecret)...)
		}
		wantError(t, ask("scope", "mcp:tools:execute"), http.StatusBadRequest, "invalid_scope")
		wantError(t, ask("resource", "https://elsewhere.example/mcp"), http.StatusBadRequest, "invalid_target")
		public := gatewaytest.Register(t, h.URL)
		wantError(t, h.post(t, "/oauth/token", form("grant_type", "client_credentials", "client_id", public.ID)), http.StatusBadRequest, "unauthorized_client")
	})
	t.Run("max_calls is for the program, not for each token", func(t *testing.T) {
		h.stream(t, h.batch(t))
		h.stream(t, h.batch(t))
		wantStatus(t, h.call(t, h.batch(t)), http.StatusTooManyRequests)
		wantStatus(t, h.call(t, h.token(t, signed(h.robot.assertion(t, "robot", h.URL)))), http.StatusOK)
	})
	h.wantNoMarkers(t)
}

// wantNoMarkers looks for secrets, assertions and tokens in the log.
func (h *house) wantNoMarkers(t *testing.T) {
	t.Helper()
	logs := h.Logs()
	for _, marker := range []string{"MARKER", "eyJ", "client_assertion=", "$2a$", "sha256:"} {
		if i := strings.Index(logs, marker); i >= 0 {
			t.Errorf("the log has %q: %s", marker, logs[max(0, i-200):min(len(logs), i+200)])
		}
	}
}

// TestAssertions (SPEC G11, O33) through the real gateway: each refused in the
// same words, and good again afterwards.
func TestAssertions(t *testing.T) {
	h := newHouse(t, "")
	stranger := newKey(t, "r1")
	set := func(name string, value any) func(map[string]any) {
		return func(claims map[string]any) { claims[name] = value }
	}
	used := h.robot.assertion(t, "robot", h.URL)
	h.token(t, signed(used))
	for name, assertion := range map[string]string{
		"replayed jti":          used,
		"aud token endpoint":    h.robot.assertion(t, "robot", h.URL+"/oauth/token"),
		"aud of other AS":       h.robot.assertion(t, "robot", "https://as.example"),
		"aud of two":            h.robot.assertion(t, "robot", "", set("aud", []string{h.URL, "https://as.example"})),
		"other client's key":    stranger.assertion(t, "robot", h.URL),
		"another client's":      h.away.Load().assertion(t, "robot", h.URL),
		"sub is not iss":        h.robot.assertion(t, "robot", h.URL, set("sub", "batch")),
		"for another client":    h.robot.assertion(t, "batch", h.URL),
		"without exp":           h.robot.assertion(t, "robot", h.URL, set("exp", nil)),
		"for an hour":           h.robot.assertion(t, "robot", h.URL, set("exp", 4_000_000_000)),
		"without jti":           h.robot.assertion(t, "robot", h.URL, set("jti", "")),
		"an access token of us": h.batch(t),
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, h.post(t, "/oauth/token", signed(assertion, "grant_type", "client_credentials")), http.StatusUnauthorized, "invalid_client")
		})
	}
	// Nine failures of the robot are not yet too many.
	h.token(t, signed(h.robot.assertion(t, "robot", h.URL)))
	h.wantNoMarkers(t)
}

// TestKeysElsewhere: keys that rotate at a jwks_uri are found, and an outage there
// is none of the client's fault.
func TestKeysElsewhere(t *testing.T) {
	h := newHouse(t, "")
	first := h.away.Load()
	h.away.Store(nil)
	wantError(t, h.post(t, "/oauth/token", signed(first.assertion(t, "away", h.URL), "grant_type", "client_credentials")),
		http.StatusServiceUnavailable, "temporarily_unavailable")
	h.away.Store(first)
	// A host that failed is left alone for a few seconds.
	eventually(t, "the keys are found again", 20*time.Second, func() bool {
		form := signed(first.assertion(t, "away", h.URL), "grant_type", "client_credentials")
		return h.post(t, "/oauth/token", form).Status != http.StatusServiceUnavailable
	})
	h.token(t, signed(first.assertion(t, "away", h.URL)))
	// Kept, while its host is away.
	h.away.Store(nil)
	h.token(t, signed(first.assertion(t, "away", h.URL)))
	wantError(t, h.post(t, "/oauth/token", signed(newKey(t, "a1").assertion(t, "away", h.URL), "grant_type", "client_credentials")),
		http.StatusUnauthorized, "invalid_client")
}

// TestLenientAudience: older clients get in if the operator says so.
func TestLenientAudience(t *testing.T) {
	h := newHouse(t, "lenient_assertion_audience")
	h.token(t, signed(h.robot.assertion(t, "robot", h.URL+"/oauth/token")))
	h.token(t, signed(h.robot.assertion(t, "robot", h.URL)))
	wantError(t, h.post(t, "/oauth/token", signed(h.robot.assertion(t, "robot", "https://as.example/oauth/token"), "grant_type", "client_credentials")),
		http.StatusUnauthorized, "invalid_client")
}

// TestSecretChanges: after a reload the old secret is refused at once, whatever
// was remembered of it, and tokens of before go on.
func TestSecretChanges(t *testing.T) {
	h := newHouse(t, "")
	token := h.token(t, form(), basic("slow", slowSecret)...)
	i := strings.Index(h.text, "$2a$")
	changed := h.text[:i] + "$2a$04$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6" + h.text[i+60:]
	if err := h.Reload(changed, h.up.Addr()); err != nil {
		t.Fatal(err)
	}
	wantError(t, h.post(t, "/oauth/token", form("grant_type", "client_credentials"), basic("slow", slowSecret)...), http.StatusUnauthorized, "invalid_client")
	wantStatus(t, h.call(t, token), http.StatusOK)
}
