package policy_test

import (
	"net/http"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

const sessionID = "Mcp-Session-Id"

// opens answers initialize with a session.
func opens(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set(sessionID, id)
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`))
	}
}

var initialize = rpc("1", "initialize", `"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}`)

// hijack uses a session in every way that there is.
func (c client) hijack(id string) map[string]gatewaytest.Reply {
	return map[string]gatewaytest.Reply{
		"POST":           c.post(rpc("1", "ping", ""), sessionID, id),
		"POST, no rules": client{c.tb, c.target, c.token}.post(`{"jsonrpc":"2.0","id":2,"result":{}}`, "mcp-session-id", id),
		"GET":            c.send(http.MethodGet, "", sessionID, id),
		"resume":         c.send(http.MethodGet, "", sessionID, id, "Last-Event-ID", "1"),
		"DELETE":         c.send(http.MethodDelete, "", sessionID, id),
		"2026-07-28":     c.post(rpc("1", "ping", ""), append(modern("ping", ""), sessionID, id)...),
	}
}

// TestL15Session and O50: a session is its user's with its client, and to everybody
// else it does not exist.
func TestL15Session(t *testing.T) {
	for _, path := range []string{"/mcp", "/plain", "/dry"} {
		t.Run("L15 O50 "+path, func(t *testing.T) {
			id := "of alice at " + path
			r := use(t, opens(id))
			alice := r.client(t, path, "", "sub", "alice")
			wantStatus(t, alice.post(initialize), http.StatusOK)
			other := gatewaytest.Register(t, r.URL)
			access, _ := other.Tokens(t, "resource", r.URL+path) // alice with another client
			r.up.Take()
			for who, c := range map[string]client{"another user": r.client(t, path, "", "sub", "bob"), "another client": {t, r.URL + path, access}} {
				for how, reply := range c.hijack(id) {
					if reply.Status != http.StatusNotFound {
						t.Errorf("%s, %s: %d %s", who, how, reply.Status, reply.Body)
					}
				}
				r.up.None(t)
			}
			stranger := client{tb: t, target: r.URL + path}
			for how, reply := range stranger.hijack(id) {
				if reply.Status != http.StatusUnauthorized {
					t.Errorf("K1 without a token, %s: %d", how, reply.Status)
				}
			}
			r.up.None(t)
			for how, reply := range alice.hijack(id) {
				if reply.Status != http.StatusOK {
					t.Errorf("alice herself, %s: %d", how, reply.Status)
				}
			}
			wantStatus(t, r.client(t, path, "", "sub", "alice").post(rpc("1", "ping", ""), sessionID, id), http.StatusOK)
			for _, got := range r.up.Take() {
				if got.Header.Get(sessionID) != id {
					t.Errorf("L6 %s arrived with the session %q", got.Method, got.Header.Get(sessionID))
				}
			}
			twice := alice.post(rpc("1", "ping", ""), sessionID, id, sessionID, id)
			wantError(t, twice, http.StatusBadRequest, invalidRequest, "null")
			r.up.None(t)
		})
	}
	t.Run("L15 the answer says no more than that there is none", func(t *testing.T) {
		r := use(t, opens("s-2"))
		wantStatus(t, r.client(t, "/mcp", "", "sub", "alice").post(initialize), http.StatusOK)
		reply := r.client(t, "/mcp", "", "sub", "bob").post(rpc("1", "ping", ""), sessionID, "s-2")
		wantError(t, reply, http.StatusNotFound, noSession, "1")
	})
	t.Run("L16 no session is made up", func(t *testing.T) {
		r := use(t, nil)
		reply := r.client(t, "/mcp", "", "sub", "alice").post(rpc("1", "ping", ""), append(modern("ping", ""), sessionID, "s-3")...)
		if wantStatus(t, reply, http.StatusOK); reply.Header.Get(sessionID) != "" {
			t.Errorf("headers %v", reply.Header)
		}
	})
}

// TestO50Restart: whose a session is outlives the process.
func TestO50Restart(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	answer := opens("s-9")
	u.Answer.Store(&answer)
	port := gatewaytest.FreePort(t)
	dir := t.TempDir()
	start := func() *rig {
		return &rig{gatewaytest.Start(t, gatewaytest.Options{Caddyfile: config(""), Upstream: u.Addr(), Port: port, Dir: dir}), u}
	}
	r := start()
	alice, bob := r.client(t, "/mcp", "", "sub", "alice"), r.client(t, "/mcp", "", "sub", "bob")
	wantStatus(t, alice.post(initialize), http.StatusOK)
	u.Take()
	r.Stop()
	start()
	for how, reply := range bob.hijack("s-9") {
		if reply.Status != http.StatusNotFound {
			t.Errorf("O50 %s: %d", how, reply.Status)
		}
	}
	u.None(t)
	for how, reply := range alice.hijack("s-9") {
		if reply.Status != http.StatusOK {
			t.Errorf("alice herself, %s: %d", how, reply.Status)
		}
	}
}
