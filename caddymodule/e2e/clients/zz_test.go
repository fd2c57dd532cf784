package clients_test

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

func TestZZ(t *testing.T) {
	bad := make(chan string, 1000)
	for _, n := range []string{"direct", "direct2", "proxy", "proxy2", "gateway", "gateway2"} {
		t.Run(n, func(t *testing.T) {
			t.Parallel()
			upstream := startEverything(t, "-stateless=true")
			base := "http://" + upstream
			switch n[:5] {
			case "proxy":
				u, _ := url.Parse(base)
				s := httptest.NewServer(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }})
				t.Cleanup(s.Close)
				base = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
			case "gatew":
				g := gatewaytest.Start(t, anyHost(t, upstream))
				base = injectToken(t, g)
			}
			for i := range 40 {
				start := time.Now()
				for _, sc := range []string{"http-header-validation", "http-custom-header-server-validation"} {
					through, r := conform(t, "http://x", "server", "--timeout", "6000", "--force", "--scenario", sc, "--spec-version", "2026-07-28", "--url", base+"/mcp")
					if r.code != 0 {
						t.Error(n, i, sc, through, time.Since(start))
						os.WriteFile("/tmp/zz."+n+".out", []byte(r.stdout+r.stderr), 0o644)
					}
				}
			}
		})
	}
	_ = bad
}
