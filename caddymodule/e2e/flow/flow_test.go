package flow_test

import (
	"net/http"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

func TestWholeFlow(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	if r := gatewaytest.Call(t, g.URL, access); r.Status != http.StatusOK {
		t.Errorf("call: %d %s", r.Status, r.Body)
	}
	if r := gatewaytest.Call(t, g.URL, ""); r.Status != http.StatusUnauthorized {
		t.Errorf("call without token: %d", r.Status)
	}
	r := c.Refresh(t, refresh)
	if r.Status != http.StatusOK {
		t.Fatalf("refresh: %d %s", r.Status, r.Body)
	}
	t.Log(len(c.ID), len(access), r.Body[:60])
}
