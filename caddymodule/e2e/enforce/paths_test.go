package enforce_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// spellings are request targets that some server takes for /mcp. HOST stands
// for the gateway's host.
var spellings = []string{
	"/mcp", "/mcp/", "//mcp", "///mcp", "//mcp//", "/./mcp", "/mcp/.", "/x/../mcp", "/../mcp", "/%2e/mcp", "/x/%2e%2e/mcp", "/%2e%2e/mcp",
	"/%6dcp", "/%6d%63%70", "/m%63p", "/mcp%2f", "/mcp%2f..", "/mcp%2f..%2fmcp", "/%2fmcp", "/x%2f..%2fmcp", "/x/..%2fmcp",
	"/MCP", "/Mcp", "/mcP/", "/%4dCP", "/mcp;x", "/mcp;x=1", "/;/mcp", "/x;/../mcp", "/..;/mcp", "/x/..;/mcp", "/mcp;/x", "/mcp/;",
	`/mcp\`, `\mcp`, `/\mcp`, `/x\..\mcp`, `/x/..\mcp`, "/%5cmcp", "/x%5c..%5cmcp", "/x/..%5cmcp", "/mcp%5c",
	"/mcp%00", "/%00/mcp", "/mcp%00.html", "/x%00/../mcp", "/mcp%0a", "/mcp%0d%0a", "/mcp%09", "/mcp%20", "/mcp%3f", "/mcp%23", "/mcp#x", "/mcp?",
	"/mcp?x=/health", "/mcp/health", "/mcp.json", "/mcp.", "/mcp~", "/mcp:80", "/mcp,x", "/mcp@x", "/mcp!", "/mcp$",
	"/%256dcp", "/x/%252e%252e/mcp", "/mcp%252f", "/%c0%afmcp", "/mcp%C0%AF", "/x/%C0%AE%C0%AE/mcp", "/x/%E0%80%AE%E0%80%AE/mcp",
	"http://HOST/mcp", "http://HOST//mcp", "http://HOST/x/../mcp", "HTTP://HOST/mcp", "https://HOST/mcp", "http://HOST", "http://x@HOST/mcp",
	"http://evil.example/mcp", "/mcp HTTP/1.1\nX:", "*", "mcp", "", "?", "//HOST/mcp", "http:///mcp", "http:/mcp",
}

// bypasses are request targets that begin like a public path and end elsewhere.
var bypasses = []string{
	"/docs/../mcp", "/docs/%2e%2e/mcp", "/docs/%2E%2e/mcp", "/docs/.%2e/mcp", "/docs%2f..%2fmcp", "/docs/..%2fmcp", "/docs%2f../mcp",
	"//docs/..//mcp", "/docs//../mcp", "/docs/..;/mcp", "/docs;/../mcp", "/docs/;/../mcp", "/docs/..;x=1/mcp", "/docs/x/../../mcp",
	`/docs/..\mcp`, `/docs\..\mcp`, "/docs/..%5cmcp", "/docs%5c..%5cmcp", "/docs/%252e%252e/mcp", "/docs/%252e%252e%252fmcp",
	"/docs/..%00/mcp", "/docs/%00../mcp", "/docs/.%00./mcp", "/docs/..%0a/mcp", "/docs/..%09/mcp", "/docs/\t../mcp",
	"/docs/%C0%AE%C0%AE/mcp", "/docs/%C0%AE%C0%AE%C0%AFmcp", "/docs/..%C0%AFmcp", "/docs/%E0%80%AE%E0%80%AE/mcp", "/docs/%FF../mcp",
	"/docs/./../mcp", "/docs/...//../mcp", "/DOCS/x", "/Docs/../mcp", "/docs/.", "/docs/..", "/docsmcp", "/docs.json", "/docs;x", "/docs%20/x",
	"/HEALTH", "/Health", "/health/", "/health/mcp", "/health/../mcp", "/health;/mcp", "/health%00", "/health%2f", "/health%2f..%2fmcp",
	"/health/..;/mcp", "//health", "/./health", "/%68ealth", "/health%3f/../mcp", "/health%23", "/healthy", "/health.", `/health\..\mcp`,
	"http://HOST/docs/../mcp", "http://HOST/health/..;/mcp", "//HOST/health", "/x/../health", "/docs#/../mcp", "/health#/../mcp",
}

var methods = []string{"GET", "POST", "HEAD", "OPTIONS", "DELETE", "TRACE", "PUT", "PATCH", "CONNECT", "PRI", "get", "M-SEARCH"}

// refused sends a request without token and checks that the gateway answers
// it alone.
func refused(t *testing.T, u *gatewaytest.Upstream, base, method, target, extra string) {
	t.Helper()
	r := raw(t, base, method+" "+target+" HTTP/1.1\nHost: HOST\nContent-Length: 0\nConnection: close\n"+extra+"\n")
	serverWide := method+target == "OPTIONS*" && r.Body == "" // RFC 9110 section 9.3.7: no resource is asked for
	if !serverWide && !slices.Contains([]int{400, 401, 403, 404, 405, 421, 501}, r.Status) {
		t.Errorf("%s %q: %d %s", method, target, r.Status, r.Body)
	}
	for _, s := range u.Take() {
		t.Errorf("%s %q reached the upstream as %s %s", method, target, s.Method, s.Target)
	}
}

func TestPaths(t *testing.T) {
	for _, site := range []struct{ name, options string }{
		{"whole site", ""},
		{"paths", "paths /mcp"},
		{"paths below", "paths /mcp/*"},
		{"public", "public /health /docs/*"},
		{"paths and public", "paths /mcp\npublic /health /docs/*"},
	} {
		t.Run(site.name, func(t *testing.T) {
			u := gatewaytest.NewUpstream(t, nil)
			g := start(t, u, "", site.options)
			for _, target := range spellings {
				if site.options != "" && elsewhereOK(site.options, target) {
					continue
				}
				t.Run("K23 "+target, func(t *testing.T) {
					for _, method := range methods {
						refused(t, u, g.URL, method, target, "")
					}
				})
			}
			if strings.Contains(site.options, "public") {
				publicSite(t, u, g.URL, !strings.Contains(site.options, "paths"))
			}
			t.Run("K23 with a token /mcp itself passes", func(t *testing.T) {
				wantStatus(t, call(t, g.URL+"/mcp", bearer(devToken(t, g.URL))...), http.StatusOK)
				u.One(t)
			})
		})
	}
}

// elsewhereOK reports whether a target is free to pass where only /mcp is
// protected: nobody takes it for that path.
func elsewhereOK(options, target string) bool {
	return strings.Contains(options, "paths") && slices.Contains([]string{"?", "http://HOST", "/mcp~"}, target)
}

func publicSite(t *testing.T, u *gatewaytest.Upstream, base string, whole bool) {
	t.Helper()
	for _, target := range bypasses {
		if !whole && (!strings.Contains(target, "mcp") || slices.Contains([]string{"/docsmcp", "/health/mcp"}, target)) {
			continue // not protected, by any reading
		}
		t.Run("K23 bypass "+target, func(t *testing.T) {
			for _, method := range []string{"GET", "POST"} {
				refused(t, u, base, method, target, "")
			}
		})
	}
	t.Run("K23 public paths pass", func(t *testing.T) {
		for _, target := range []string{"/health", "/health?x=/../mcp", "/docs", "/docs/", "/docs/a/b.html", "/docs/a%20b"} {
			r := raw(t, base, "GET "+target+" HTTP/1.1\nHost: HOST\nConnection: close\n\n")
			wantStatus(t, r, http.StatusOK)
			if s := u.One(t); s.Target != target {
				t.Errorf("%s arrived as %s", target, s.Target)
			}
		}
	})
	t.Run("P5 text that the client chooses opens nothing", func(t *testing.T) {
		for _, extra := range []string{
			"X-Original-URL: /health\n", "X-Rewrite-URL: /health\n", "X-Forwarded-Uri: /health\n", "X-Forwarded-Prefix: /docs\n",
			"User-Agent: kube-probe/1.0\n", "User-Agent: GoogleHC/1.0\n", "X-HTTP-Method-Override: OPTIONS\n", "Referer: /health\n",
			"Upgrade: websocket\nConnection: Upgrade\n", "Expect: 100-continue\n", "Access-Control-Request-Method: GET\n",
		} {
			refused(t, u, base, "GET", "/mcp", extra)
			refused(t, u, base, "OPTIONS", "/mcp", extra)
		}
	})
}

// O48: what the upstream serves in the gateway's own places is never seen.
func TestOwnPlaces(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "public /oauth/* /.well-known/* /docs/*")
	for _, target := range []string{
		"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource/x",
		"/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/x", "/.well-known/openid-configuration",
		"/.well-known/openid-configuration/mcp", "/oauth/", "/oauth/x", "/oauth/token", "/oauth/../oauth/token", "/register", "/token",
		"/.well-known/..%2foauth-protected-resource", "/.well-known/%6fauth-protected-resource", "/.well-known//oauth-protected-resource",
	} {
		t.Run("O48 "+target, func(t *testing.T) {
			for _, method := range []string{"GET", "POST", "OPTIONS", "TRACE"} {
				raw(t, g.URL, method+" "+target+" HTTP/1.1\nHost: HOST\nContent-Length: 0\nConnection: close\n\n")
				u.None(t)
			}
		})
	}
	t.Run("O48 another well-known name is the upstream's", func(t *testing.T) {
		wantStatus(t, gatewaytest.Send(t, "GET", g.URL+"/.well-known/other", ""), http.StatusOK)
		u.One(t)
	})
}
