package spec_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// testPlainHTTP starts a gateway with automatic HTTPS, as in production, and
// sends credentials to its plain HTTP port.
func testPlainHTTP(t *testing.T) {
	plain, tls := gatewaytest.FreePort(t), gatewaytest.FreePort(t)
	issuer := fmt.Sprintf("https://localhost:%d", tls)
	text := strings.NewReplacer(
		"persist_config off", fmt.Sprintf("persist_config off\n\tskip_install_trust\n\thttp_port %d\n\thttps_port %d", plain, tls),
		"{URL} {", issuer+" {\n\ttls internal", "{URL}", issuer,
	).Replace(caddyfile("", "")) + "{URL} {\n\trespond ready\n}\n" + httpsOnly
	gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text})
	base := fmt.Sprintf("http://localhost:%d", plain)
	for _, path := range []string{"/oauth/token", "/token", "/oauth/register", "/oauth/authorize"} {
		r := gatewaytest.PostForm(t, base+path, url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {"secret"}, "client_id": {"x"}, "client_secret": {"y"},
		})
		switch {
		case r.Status < http.StatusMultipleChoices, r.Status == http.StatusTemporaryRedirect, r.Status == http.StatusPermanentRedirect:
			t.Errorf("POST %s over plain HTTP: %d to %q: a client repeats its credentials", path, r.Status, r.Header.Get("Location"))
		case strings.Contains(r.Body, "invalid_"):
			t.Errorf("POST %s over plain HTTP was processed: %s", path, r.Body)
		}
	}
}

// httpsOnly is the block that the README gives for the plain HTTP side. Without
// it Caddy's own redirect answers, also a POST with credentials.
const httpsOnly = `http://localhost {
	@read method GET HEAD
	redir @read https://{host}{uri} permanent
	respond "Use https." 403
}
`
