package spec_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestJSONErrors sends what every endpoint refuses: each answer is JSON that
// nobody stores and no browser sniffs (C24, G3, O42), whatever was asked for.
func TestJSONErrors(t *testing.T) {
	base := development().URL
	for _, tt := range []struct {
		method, path string
		header       []string
		status       int
		code         string
	}{
		{"GET", "/oauth/nope", nil, 404, "not_found"},
		{"GET", "/oauth/token/", nil, 404, "not_found"},
		{"GET", "/oauth/token", nil, 405, "invalid_request"},
		{"GET", "/oauth/register", nil, 405, "invalid_request"},
		{"POST", "/oauth/jwks.json", nil, 405, "invalid_request"},
		{"POST", "/oauth/health", nil, 405, "invalid_request"},
		{"POST", "/oauth/token", nil, 400, "invalid_request"},
		{"POST", "/oauth/register", nil, 400, "invalid_client_metadata"},
		{"GET", "/oauth/jwks.json?" + strings.Repeat("x", 17<<10), nil, 414, "invalid_request"},
		{"GET", "/dev/token?expires_in=0", nil, 400, "invalid_request"},
		{"GET", "/dev/token?scope=%22", nil, 400, "invalid_scope"},
		{"GET", "/dev/token?resource=x", nil, 400, "invalid_target"},
		{"GET", "/dev/token", []string{"Origin", "https://evil.example"}, 403, "access_denied"},
		{"GET", "/dev/token", []string{"Sec-Fetch-Site", "cross-site"}, 403, "access_denied"},
		{"PUT", "/dev/token", nil, 405, "invalid_request"},
		{"GET", prmPath + "/nope", nil, 404, "not_found"},
		{"PUT", prmPath + "/mcp", nil, 405, "invalid_request"},
		{"GET", asPath + "/nope", nil, 404, "not_found"},
		{"PUT", asPath, nil, 405, "invalid_request"},
		{"GET", "/mcp", nil, 401, "unauthorized"},
		{"GET", "/mcp", []string{"Authorization", "Bearer x"}, 401, "invalid_token"},
		{"GET", "/mcp", []string{"Authorization", "Bearer a b"}, 400, "invalid_request"},
		{"GET", "/mcp", []string{"Authorization", "Bearer a", "Authorization", "Bearer b"}, 400, "invalid_request"},
		{"GET", "/mcp", []string{"Origin", "https://evil.example"}, 403, "access_denied"},
		{"POST", "/mcp", []string{"Early-Data", "1"}, 425, "invalid_request"},
	} {
		name := tt.method + " " + tt.path[:min(len(tt.path), 40)] + fmt.Sprint(tt.header)
		t.Run(name, func(t *testing.T) {
			r := gatewaytest.Send(t, tt.method, base+tt.path, "", append(tt.header, "Accept", "text/html")...)
			wantError(t, r, tt.status, tt.code)
		})
	}
}

// TestForeignHost: a web page's own name that resolves to this machine gets
// nothing (O51), also where the site answers every name.
func TestForeignHost(t *testing.T) {
	port := gatewaytest.FreePort(t)
	text := strings.Replace(caddyfile("development", ""), "{URL} {", fmt.Sprintf("http://:%d {", port), 1)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text, Port: port})
	for _, path := range []string{asPath, "/oauth/jwks.json", "/oauth/token", "/dev/token", "/mcp"} {
		r := get(t, g.URL+path, "Host", "evil.example")
		wantStatus(t, r, http.StatusForbidden)
		wantJSONErrorShape(t, r)
	}
	wantPage(t, get(t, g.URL+"/oauth/authorize", "Host", "evil.example"), http.StatusForbidden)
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		host = fmt.Sprintf("%s:%d", host, port)
		wantMember(t, getJSON(t, g.URL+asPath, "Host", host), "issuer", `"`+g.URL+`"`)
		wantMember(t, getJSON(t, g.URL+prmPath+"/mcp", "Host", host), "resource", `"`+g.URL+`/mcp"`)
	}
}
