package clients_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestGoSDK: from a URL to tool calls, over both transports and the revisions
// that differ on the wire.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{})
	for _, tt := range []struct{ name, path, revision, negotiated string }{
		{"newest", "/mcp", "", "2026-07-28"},
		{"2025-11-25", "/mcp", "2025-11-25", "2025-11-25"},
		{"2025-03-26", "/mcp", "2025-03-26", "2025-03-26"},
		{"SSE", "/sse", "2024-11-05", "2024-11-05"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newGoClient(t, g.URL+tt.path)
			s := c.connect(t, tt.revision)
			if got := s.InitializeResult().ProtocolVersion; got != tt.negotiated {
				t.Errorf("negotiated %s, want %s", got, tt.negotiated)
			}
			hello(t, s, "Go")
			profile, err := call(t, s, "get_user_profile", nil)
			if err != nil || !strings.Contains(profile, "alice@example.com") {
				t.Errorf("the server was told of the user: %q, %v", profile, err)
			}
			if _, err := call(t, s, "add_numbers", map[string]any{"a": "x"}); err == nil {
				t.Error("a bad argument was accepted")
			}
			checkFirstContact(t, g.URL, c.endpoint, c.rec.take())
		})
	}
}

// TestGoSDKRefresh: the SDK refreshes a token that ends within ten seconds
// before every call, so a lifetime of one second makes a refresh of each call.
func TestGoSDKRefresh(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configured(t, "access_token_lifetime 1s")})
	for _, path := range []string{"/mcp", "/sse"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := newGoClient(t, g.URL+path)
			s := c.connect(t, "")
			before := c.rec.take()
			issued := before.to("/oauth/token")
			for range 3 {
				hello(t, s, "Go")
			}
			after := c.rec.take()
			after.expect(t, steps{refreshes: 3})
			if n := len(after.answered(http.StatusUnauthorized)); n > 0 {
				t.Errorf("%d calls were refused", n)
			}
			checkRotation(t, append(issued, after.to("/oauth/token")...))
		})
	}
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		c := newGoClient(t, g.URL+"/mcp")
		s := c.connect(t, "")
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if _, err := call(t, s, "hello", map[string]any{"name": "Go"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(c.rec.take().to("/oauth/authorize")); n != 1 {
			t.Errorf("%d sign-ins, want 1", n)
		}
	})
}

// checkRotation: every refresh uses the refresh token of the answer before, and
// gets two new tokens of the same scope.
func checkRotation(t *testing.T, all exchanges) {
	t.Helper()
	for i := 1; i < len(all); i++ {
		last, now := all[i-1], all[i]
		if now.Form["refresh_token"] != last.Reply["refresh_token"] {
			t.Errorf("refresh %d did not use the last refresh token", i)
		}
		if now.Reply["refresh_token"] == last.Reply["refresh_token"] || now.Reply["access_token"] == last.Reply["access_token"] {
			t.Errorf("refresh %d returned an old token", i)
		}
		if !sameScopes(now.Reply["scope"]) {
			t.Errorf("refresh %d has scope %v", i, now.Reply["scope"])
		}
	}
}

// TestGoSDKRevoked: somebody uses a refresh token of the past. The grant ends,
// and the SDK signs in again by itself: with a long-lived access token because
// the call is refused, with a short-lived one because the refresh is.
func TestGoSDKRevoked(t *testing.T) {
	t.Parallel()
	for _, lifetime := range []string{"1h", "1s"} {
		t.Run(lifetime, func(t *testing.T) {
			t.Parallel()
			g := gatewaytest.Start(t, gatewaytest.Options{
				Caddyfile: configured(t, "access_token_lifetime "+lifetime, "refresh_grace off"),
			})
			c := newGoClient(t, g.URL+"/mcp")
			s := c.connect(t, "")
			hello(t, s, "Go")
			steal(t, g, c.rec.take())
			hello(t, s, "Go")
			all := c.rec.take()
			// The Go SDK registers at every sign-in.
			want := steps{registrations: 1, authorizations: 1, codes: 1}
			if lifetime == "1s" {
				want.refreshes = 2 // once to learn its scope, once to call
			}
			all.expect(t, want)
			refused := all.answered(http.StatusUnauthorized)
			if len(refused) != 1 {
				t.Fatalf("refused: %+v", refused)
			}
			if lifetime == "1h" && !strings.Contains(refused[0].Challenge, `error="invalid_token"`) {
				t.Errorf("challenge: %s", refused[0].Challenge)
			}
			if errs := all.grants("refresh_token").answered(http.StatusBadRequest); lifetime == "1s" &&
				(len(errs) != 1 || errs[0].Reply["error"] != "invalid_grant") {
				t.Errorf("refreshes: %+v", errs)
			}
		})
	}
}

// steal uses the first refresh token that a client got, twice: whatever the
// client did with it in between, the second time is a reuse.
func steal(t *testing.T, g *gatewaytest.Gateway, seen exchanges) {
	t.Helper()
	registered, issued := seen.to("/oauth/register"), seen.grants("authorization_code")
	if len(registered) != 1 || len(issued) != 1 {
		t.Fatal("the client did not sign in")
	}
	thief := &gatewaytest.Client{Base: g.URL}
	thief.ID, _ = registered[0].Reply["client_id"].(string)
	token, _ := issued[0].Reply["refresh_token"].(string)
	thief.Refresh(t, token)
	if r := thief.Refresh(t, token); r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant" {
		t.Fatalf("reuse: %d %s", r.Status, r.Body)
	}
}

// TestGoSDKForgotten: the gateway no longer knows tokens and clients, because
// its keys were retired or because it was set up anew under the same URL. The
// SDK registers and signs in again in the middle of a session.
func TestGoSDKForgotten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		forget func(*testing.T, *gatewaytest.Gateway, gatewaytest.Options)
	}{
		{"keys retired", func(t *testing.T, g *gatewaytest.Gateway, _ gatewaytest.Options) { retireKeys(t, g) }},
		{"set up anew", func(t *testing.T, g *gatewaytest.Gateway, o gatewaytest.Options) {
			g.Kill()
			gatewaytest.Start(t, o) // its data folder is another one
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, upstream := gatewaytest.Mock(t)
			o := gatewaytest.Options{Port: gatewaytest.FreePort(t), Upstream: upstream}
			g := gatewaytest.Start(t, o)
			c := newGoClient(t, g.URL+"/mcp")
			s := c.connect(t, "")
			hello(t, s, "Go")
			old := c.rec.take().to("/oauth/register")[0].Reply["client_id"]
			tt.forget(t, g, o)
			hello(t, s, "Go")
			all := c.rec.take()
			all.expect(t, steps{registrations: 1, authorizations: 1, codes: 1})
			if id := all.to("/oauth/register")[0].Reply["client_id"]; id == old {
				t.Error("the same client_id came back")
			}
			if n := len(all.answered(http.StatusUnauthorized)); n != 1 {
				t.Errorf("%d requests were refused, want 1", n)
			}
		})
	}
}

// TestGoSDKForgottenRefresh: a refresh of an unknown client is refused as
// invalid_client. The SDK gives up there (v1.8.0 signs in again only after
// invalid_grant), but its session lives on: with a new handler, as after a
// restart of the program, it works again.
func TestGoSDKForgottenRefresh(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configured(t, "access_token_lifetime 1s")})
	c := newGoClient(t, g.URL+"/mcp")
	s := c.connect(t, "")
	retireKeys(t, g)
	_, err := call(t, s, "hello", map[string]any{"name": "Go"})
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.ErrorCode != "invalid_client" || refused.Response.StatusCode != http.StatusUnauthorized {
		t.Errorf("refresh of an unknown client: %v", err)
	}
	hello(t, newGoClient(t, g.URL+"/mcp").connect(t, ""), "Go")
}

// TestGoSDKStream: a client keeps a stream open for what the server may say one
// day. It must not keep the gateway from ending when it is told to.
func TestGoSDKStream(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, path, revision string }{
		{"streamable HTTP", "/mcp", "2025-11-25"},
		{"SSE", "/sse", "2024-11-05"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := gatewaytest.Start(t, gatewaytest.Options{})
			c := newGoClient(t, g.URL+tt.path)
			s := c.connect(t, tt.revision)
			hello(t, s, "Go")
			poll(t, "the stream", func() bool {
				return slices.ContainsFunc(c.rec.all(), func(e exchange) bool {
					return e.Method == http.MethodGet && e.Path == tt.path && e.Status == http.StatusOK
				})
			})
			g.Stop() // fails the test if it takes too long
		})
	}
}
