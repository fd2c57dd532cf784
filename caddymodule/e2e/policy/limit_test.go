package policy_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// wantLimited expects the answer to one call too many.
func wantLimited(tb testing.TB, reply gatewaytest.Reply, id string) {
	tb.Helper()
	wantError(tb, reply, http.StatusTooManyRequests, limited, id)
	if s, err := strconv.Atoi(reply.Header.Get("Retry-After")); err != nil || s < 1 {
		tb.Errorf("Retry-After: %q", reply.Header.Get("Retry-After"))
	}
}

func TestL18Rates(t *testing.T) {
	r := use(t, nil)
	c := gatewaytest.Register(t, r.URL)
	for path, others := range map[string]bool{"/perUser": true, "/perClient": false} {
		t.Run("L18 "+path, func(t *testing.T) {
			alice := r.client(t, path, "tickets:read", "sub", "alice-"+path[1:])
			for range 3 {
				wantStatus(t, alice.post(rpc("1", "ping", "")), http.StatusOK)
			}
			r.up.Take()
			wantLimited(t, alice.post(rpc(`"x"`, "ping", "")), `"x"`)
			wantLimited(t, alice.post(tool("delete_x")), "1")
			wantLimited(t, alice.post("{{{"), "null")
			wantLimited(t, alice.send(http.MethodGet, ""), "null")
			wantLimited(t, alice.send(http.MethodDelete, ""), "null")
			wantLimited(t, r.client(t, path, "tickets:read", "sub", "alice-"+path[1:]).post(rpc("5", "ping", "")), "5") // another token
			r.up.None(t)
			if reply := r.client(t, path, "", "sub", "bob-"+path[1:]).post(rpc("1", "ping", "")); (reply.Status == http.StatusOK) != others {
				t.Errorf("another user, same client: %d", reply.Status)
			}
			access, _ := c.Tokens(t, "resource", r.URL+path)
			wantStatus(t, client{t, r.URL + path, access}.post(rpc("1", "ping", "")), http.StatusOK)
			wantStatus(t, client{tb: t, target: r.URL + path}.post(rpc("1", "ping", "")), http.StatusUnauthorized)
		})
	}
}

func TestL18Streams(t *testing.T) {
	r := use(t, feed)
	listen := ways[3].body
	first := r.client(t, "/narrow", "", "sub", "carol")
	second := r.client(t, "/narrow", "", "sub", "carol")
	s := first.open(http.MethodGet, "")
	second.open(http.MethodPost, listen).GoesOn(t)
	wantLimited(t, first.post(listen), "1")
	wantLimited(t, second.send(http.MethodGet, ""), "null")
	wantLimited(t, second.post(listen, modern("subscriptions/listen", "")...), "1")
	first.open(http.MethodPost, tool("search_x")) // is refused by its scope, and no stream
	r.client(t, "/narrow", "", "sub", "dave").open(http.MethodGet, "").GoesOn(t)
	s.Close()
	eventually(t, 5e9, "a place is free", func() bool {
		next := first.open(http.MethodGet, "")
		return next.Status == http.StatusOK
	})
	t.Run("L18 max_calls", func(t *testing.T) {
		c := r.client(t, "/narrow", "tickets:read", "sub", "erin")
		for range 3 {
			c.open(http.MethodPost, tool("search_x")).GoesOn(t)
		}
		wantLimited(t, c.post(rpc(`"q"`, "ping", "")), `"q"`)
	})
}
