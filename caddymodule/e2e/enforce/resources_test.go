package enforce_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// twoResources is one gateway with two servers on one origin and a third on
// another port.
const twoResources = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	mcp_auth {
		issuer {URL}
		store memory
		development
		login auto
	}
}
{SITE} {
	handle /b /b/* {
		mcp_auth {
			resource {URL}/b
			scopes b:read
		}
		reverse_proxy {UPSTREAM}
	}
	handle {
		mcp_auth {
			resource {URL}/mcp
		}
		reverse_proxy {UPSTREAM}
	}
}
http://:{PORT2} {
	mcp_auth {
		resource http://localhost:{PORT2}/mcp
	}
	reverse_proxy {UPSTREAM}
}
`

func metadata(tb testing.TB, origin, path string) gatewaytest.Reply {
	tb.Helper()
	return gatewaytest.Send(tb, http.MethodGet, origin+"/.well-known/oauth-protected-resource"+path, "")
}

func TestTwoResources(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	port, port2 := gatewaytest.FreePort(t), gatewaytest.FreePort(t)
	config := strings.NewReplacer("{PORT2}", itoa(port2), "handle /b /b/*", "@b path /b /b/*\n\thandle @b").Replace(twoResources)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: forPort(config, port), Upstream: u.Addr(), Port: port})
	far := "http://localhost:" + itoa(port2)
	resources := []string{g.URL + "/mcp", g.URL + "/b", far + "/mcp"}
	c := gatewaytest.Register(t, g.URL)
	for i, own := range resources {
		access, refresh := c.Tokens(t, "resource", own)
		for j, other := range resources {
			t.Run("K14 O29 token of "+label(own, g.URL, far)+" at "+label(other, g.URL, far), func(t *testing.T) {
				r := call(t, other, bearer(access)...)
				if i == j {
					wantStatus(t, r, http.StatusOK)
					u.One(t)
					return
				}
				wantInvalid(t, r)
				u.None(t)
				wantStatus(t, c.Refresh(t, refresh, "resource", other), http.StatusBadRequest)
			})
		}
		t.Run("K12 A1 metadata of "+label(own, g.URL, far), func(t *testing.T) {
			origin, path := g.URL, strings.TrimPrefix(own, g.URL)
			if i == 2 {
				origin, path = far, "/mcp"
			}
			if got := metadata(t, origin, path).Text(t, "resource"); got != own {
				t.Errorf("resource %s", got)
			}
			c := call(t, own).Header.Get("WWW-Authenticate")
			if want := `resource_metadata="` + origin + "/.well-known/oauth-protected-resource" + path + `"`; !strings.Contains(c, want) {
				t.Errorf("challenge %s lacks %s", c, want)
			}
		})
	}
	t.Run("A5 the origin of two resources is none", func(t *testing.T) {
		wantStatus(t, metadata(t, g.URL, ""), http.StatusNotFound)
		wantStatus(t, metadata(t, g.URL, "/nope"), http.StatusNotFound)
	})
	t.Run("A5 the origin of one resource stands for it", func(t *testing.T) {
		if got := metadata(t, far, "").Text(t, "resource"); got != far {
			t.Errorf("resource %s", got)
		}
	})
	t.Run("F which one has to be said", func(t *testing.T) {
		_, q := c.Authorize(t, "resource", "-")
		if q.Get("error") != "invalid_target" {
			t.Errorf("answer %v", q)
		}
	})
	t.Run("K9 each challenge has its own scopes", func(t *testing.T) {
		if c := call(t, g.URL+"/b").Header.Get("WWW-Authenticate"); !strings.Contains(c, `scope="b:read"`) {
			t.Errorf("challenge %s", c)
		}
	})
	t.Run("K23 the second resource's paths do not open the first", func(t *testing.T) { crossPaths(t, u, g.URL) })
}

// crossPaths: with the second resource's token nothing arrives under a path
// that somebody could take for the first.
func crossPaths(t *testing.T, u *gatewaytest.Upstream, base string) {
	t.Helper()
	token := bearer(devToken(t, base, "resource", base+"/b"))[1]
	for _, target := range []string{"/b/../mcp", "/b%2f..%2fmcp", "/b/%2e%2e/mcp", "/bmcp", "/B/../mcp", "//b/../mcp", "/b;/../mcp", `/b\..\mcp`} {
		r := raw(t, base, "GET "+target+" HTTP/1.1\nHost: HOST\nConnection: close\nAuthorization: "+token+"\n\n")
		for _, s := range u.Take() {
			t.Errorf("%s: %d, arrived as %s for %v", target, r.Status, s.Target, s.Folded("X-Mcp-User"))
		}
	}
}

func label(uri, base, far string) string {
	return strings.NewReplacer(far, "far", base, "near").Replace(uri)
}

// Several endpoints of one resource.
func TestEndpoints(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	c := gatewaytest.Register(t, g.URL)
	for _, asked := range []string{"/mcp", "/sse", "/sse/", "/mcp?x=1"} {
		t.Run("DESIGN 2 a token asked for "+asked+" opens both", func(t *testing.T) {
			access, _ := c.Tokens(t, "resource", g.URL+asked)
			wantStatus(t, gatewaytest.Call(t, g.URL, access), http.StatusOK)
			openStream(t, http.MethodGet, g.URL+"/sse", access)
			if aud := part(t, access, 1)["aud"]; aud != g.URL+"/mcp" {
				t.Errorf("aud %v", aud)
			}
		})
	}
	t.Run("K12 the challenge names the endpoint that was called", func(t *testing.T) {
		for path, endpoint := range map[string]string{
			"/mcp": "/mcp", "/mcp/tools/call": "/mcp", "/sse": "/sse", "/sse?x": "/sse", "/sse/x": "/sse", "/ssex": "/mcp", "/other": "/mcp",
		} {
			challenge := call(t, g.URL+path).Header.Get("WWW-Authenticate")
			want := g.URL + "/.well-known/oauth-protected-resource" + endpoint
			if !strings.Contains(challenge, `resource_metadata="`+want+`"`) {
				t.Errorf("%s: %s", path, challenge)
			}
			if u, err := url.Parse(want); err != nil || metadata(t, g.URL, endpoint).Text(t, "resource") != g.URL+endpoint {
				t.Errorf("%s does not resolve: %v", u, err)
			}
		}
	})
}
