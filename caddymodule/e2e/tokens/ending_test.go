package tokens_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestRevoke (SPEC H1 to H5, O32): a token that was given back opens nothing any
// more, and its open stream ends.
func TestRevoke(t *testing.T) {
	h := newHouse(t, "")
	c := gatewaytest.Register(t, h.URL)
	revoke := func(t *testing.T, id, token string) gatewaytest.Reply {
		t.Helper()
		return h.post(t, "/oauth/revoke", form("client_id", id, "token", token), "Origin", "https://inspector.example")
	}
	gone := func(t *testing.T, r gatewaytest.Reply) {
		t.Helper()
		wantStatus(t, r, http.StatusOK)
		if r.Body != "" || r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v %q", r.Header, r.Body)
		}
	}
	t.Run("H4 a refresh token ends all of its grant", func(t *testing.T) {
		access, refresh := c.Tokens(t)
		other, _ := c.Tokens(t)
		stream, others := h.stream(t, access), h.stream(t, other)
		gone(t, revoke(t, c.ID, refresh))
		stream.Ends(t, 2*time.Second)
		wantStatus(t, h.call(t, access), http.StatusUnauthorized)
		wantError(t, c.Refresh(t, refresh), http.StatusBadRequest, "invalid_grant")
		wantStatus(t, h.call(t, other), http.StatusOK)
		others.GoesOn(t)
	})
	t.Run("J5 an access token ends alone", func(t *testing.T) {
		access, refresh := c.Tokens(t)
		stream := h.stream(t, access)
		gone(t, revoke(t, c.ID, access))
		stream.Ends(t, 2*time.Second)
		r := h.call(t, access)
		wantStatus(t, r, http.StatusUnauthorized)
		if !strings.Contains(r.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("WWW-Authenticate %q", r.Header.Get("WWW-Authenticate"))
		}
		next := c.Refresh(t, refresh)
		wantStatus(t, next, http.StatusOK)
		wantStatus(t, h.call(t, next.Text(t, "access_token")), http.StatusOK)
	})
	t.Run("of a program", func(t *testing.T) {
		one, two := h.batch(t), h.batch(t)
		gone(t, h.post(t, "/oauth/revoke", form("token", one), append(basic("batch", batchSecret), "Origin", "https://x.example")...))
		wantStatus(t, h.call(t, one), http.StatusUnauthorized)
		wantStatus(t, h.call(t, two), http.StatusOK)
	})
	t.Run("H2 nothing to revoke", func(t *testing.T) {
		for _, token := range []string{"x", c.Code(t), c.ID} {
			gone(t, revoke(t, c.ID, token))
		}
	})
	t.Run("H3 another client's", func(t *testing.T) {
		access, refresh := c.Tokens(t)
		thief := gatewaytest.Register(t, h.URL)
		for _, token := range []string{access, refresh} {
			wantError(t, revoke(t, thief.ID, token), http.StatusBadRequest, "invalid_grant")
		}
		wantStatus(t, h.call(t, access), http.StatusOK)
		wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
	})
	t.Run("H1, H5 refused", func(t *testing.T) {
		wantError(t, revoke(t, c.ID, ""), http.StatusBadRequest, "invalid_request")
		wantError(t, revoke(t, "nobody", "x"), http.StatusUnauthorized, "invalid_client")
		wantStatus(t, gatewaytest.Send(t, http.MethodGet, h.URL+"/oauth/revoke", ""), http.StatusMethodNotAllowed)
	})
	h.wantNoMarkers(t)
}

// THREATS T6: while the store takes nothing, a revocation is an outage, and the
// token is as good as before; a restart in between brings nothing back.
func TestRevokeOutage(t *testing.T) {
	h := newHouse(t, "")
	c := gatewaytest.Register(t, h.URL)
	access, refresh := c.Tokens(t)
	program := h.batch(t)
	file := filepath.Join(h.Dir, "state.db")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is down", 5*time.Second, func() bool {
		return gatewaytest.Send(t, http.MethodGet, h.URL+"/oauth/health", "").Status == http.StatusServiceUnavailable
	})
	for _, token := range []string{access, refresh} {
		r := h.post(t, "/oauth/revoke", form("client_id", c.ID, "token", token))
		wantError(t, r, http.StatusServiceUnavailable, "temporarily_unavailable")
		if r.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	// An assertion needs the store, to be good only once; a secret does not.
	wantError(t, h.post(t, "/oauth/token", signed(h.robot.assertion(t, "robot", h.URL), "grant_type", "client_credentials")),
		http.StatusServiceUnavailable, "temporarily_unavailable")
	wantStatus(t, h.call(t, h.batch(t)), http.StatusOK)
	wantStatus(t, h.call(t, access), http.StatusOK)
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the revocation works", 10*time.Second, func() bool {
		return h.post(t, "/oauth/revoke", form("client_id", c.ID, "token", access)).Status == http.StatusOK
	})
	wantStatus(t, h.post(t, "/oauth/revoke", form("token", program), basic("batch", batchSecret)...), http.StatusOK)

	port, err := strconv.Atoi(strings.TrimPrefix(h.URL, "http://localhost:"))
	if err != nil {
		t.Fatal(err)
	}
	h.Kill()
	again := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: h.text, Upstream: h.up.Addr(), Dir: h.Dir, Port: port})
	for _, token := range []string{access, program} {
		r := gatewaytest.PostJSON(t, again.URL+"/mcp", `{}`, "Authorization", "Bearer "+token)
		wantStatus(t, r, http.StatusUnauthorized)
	}
	wantStatus(t, c.Refresh(t, refresh), http.StatusOK) // the access token ended alone
}

// TestIntrospect (SPEC I1 to I3): who may ask about what.
func TestIntrospect(t *testing.T) {
	h := newHouse(t, "")
	c := gatewaytest.Register(t, h.URL)
	access, refresh := c.Tokens(t)
	program := h.batch(t)
	const inactive = `{"active":false}`
	for name, token := range map[string]string{"access": access, "refresh": refresh, "program": program} {
		if got := h.asks(t, "server", serverSecret, token); !strings.HasPrefix(got, `{"active":true,"scope":"mcp:tools:read`) {
			t.Errorf("%s: %s", name, got)
		}
		if got := h.asks(t, "edge", edgeSecret, token); got != inactive {
			t.Errorf("I3 %s, for another resource: %s", name, got)
		}
	}
	for name, token := range map[string]string{"garbage": "x", "a code": c.Code(t), "cut short": access[:len(access)-5], "an assertion": h.robot.assertion(t, "robot", h.URL)} {
		if got := h.asks(t, "server", serverSecret, token); got != inactive {
			t.Errorf("I2 %s: %s", name, got)
		}
	}
	wantStatus(t, h.post(t, "/oauth/revoke", form("client_id", c.ID, "token", refresh)), http.StatusOK)
	for _, token := range []string{access, refresh} {
		if got := h.asks(t, "server", serverSecret, token); got != inactive {
			t.Errorf("revoked: %s", got)
		}
	}
	r := h.post(t, "/oauth/introspect", form("token", program), "Authorization", "Bearer "+program)
	wantError(t, r, http.StatusUnauthorized, "invalid_client")
	if !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("WWW-Authenticate %q", r.Header.Get("WWW-Authenticate"))
	}
	wantError(t, h.post(t, "/oauth/introspect", form("token", program)), http.StatusUnauthorized, "invalid_client")
	wantError(t, h.post(t, "/oauth/introspect", form("token", program, "client_id", c.ID)), http.StatusUnauthorized, "invalid_client")
	wantError(t, h.post(t, "/oauth/introspect", form("token", program), basic("batch", batchSecret)...), http.StatusForbidden, "unauthorized_client")
	h.wantNoMarkers(t)
}
