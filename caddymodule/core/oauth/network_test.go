package oauth_test

import (
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":             "192.0.2.7",
		"::ffff:192.0.2.7":      "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1:2::/64",
		"2001:db8:1:2::1%eth0":  "2001:db8:1:2::/64",
		"2001:db8:1:3:3:4:5:6":  "2001:db8:1:3::/64",
		"":                      "",
		"not an address at all": "not an address at all",
	} {
		if got := oauth.Network(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
