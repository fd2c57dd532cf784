package caddymodule

import "testing"

func TestSameHost(t *testing.T) {
	for _, tc := range []struct {
		origin, host string
		want         bool
	}{
		{"https://mcp.example.com", "mcp.example.com", true},
		{"https://mcp.example.com", "MCP.example.com", true},
		{"https://mcp.example.com", "mcp.example.com:443", true},
		{"https://mcp.example.com:8443", "mcp.example.com:8443", true},
		{"http://localhost:8080", "127.0.0.1:8080", true},
		{"http://localhost:8080", "[::1]:8080", true},
		{"https://mcp.example.com", "other.example.com", false},
		{"https://mcp.example.com", "mcp.example.com:8443", false},
		{"https://mcp.example.com:8443", "mcp.example.com", false},
		{"http://localhost:8080", "localhost:8081", false},
		{"http://localhost:8080", "localhost", false},
		{"https://mcp.example.com", "", false},
		{"https://mcp.example.com", "mcp.example.com@evil", false},
		{"https://mcp.example.com", "mcp.example.com/x", false},
	} {
		if got := sameHost(tc.origin, tc.host); got != tc.want {
			t.Errorf("sameHost(%q, %q) = %v", tc.origin, tc.host, got)
		}
	}
}
