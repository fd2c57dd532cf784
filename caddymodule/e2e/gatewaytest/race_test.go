package gatewaytest_test

import (
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

func TestRace(t *testing.T) {
	report := func(frame string) string {
		return "{\"level\":\"info\"}\n==================\nWARNING: DATA RACE\nRead at 0x1 by goroutine 2:\n  " + frame +
			"()\n      /src/x.go:1 +0x30\n==================\n{\"level\":\"info\"}\n"
	}
	ours := report("github.com/caddy-mcp/caddy-mcp-auth/caddymodule.(*Handler).ServeHTTP")
	caddys := report("github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).Start")
	for name, tt := range map[string]struct {
		log   string
		found bool
	}{
		"none":         {"{\"level\":\"info\"}\n", false},
		"Caddy's":      {caddys, false},
		"ours":         {ours, true},
		"ours, second": {caddys + ours, true},
		"ours in a log line beside Caddy's": {
			caddys + "{\"logger\":\"github.com/caddy-mcp/caddy-mcp-auth/\"}\n", false,
		},
		"cut off": {ours[:len(ours)-40], true},
	} {
		if found := gatewaytest.Race(tt.log) != ""; found != tt.found {
			t.Errorf("%s: found %t", name, found)
		}
	}
}
