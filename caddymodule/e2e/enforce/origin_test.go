package enforce_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// corsOf checks that an answer can be read by scripts of exactly this origin,
// without credentials; "" is none.
func corsOf(tb testing.TB, r gatewaytest.Reply, origin string) {
	tb.Helper()
	got := r.Header.Values("Access-Control-Allow-Origin")
	if origin == "" && len(got) > 0 || origin != "" && !slices.Equal(got, []string{origin}) {
		tb.Errorf("Access-Control-Allow-Origin %q, want %q", got, origin)
	}
	if c := r.Header.Get("Access-Control-Allow-Credentials"); c != "" {
		tb.Errorf("Access-Control-Allow-Credentials %q", c)
	}
	if origin != "" && !slices.Contains(r.Header.Values("Vary"), "Origin") {
		tb.Errorf("Vary %q", r.Header.Values("Vary"))
	}
}

// listed reports whether a header's comma-separated values hold a name.
func listed(r gatewaytest.Reply, header, name string) bool {
	for v := range strings.SplitSeq(strings.Join(r.Header.Values(header), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(v), name) {
			return true
		}
	}
	return false
}

func preflight(tb testing.TB, base, origin, headers string) gatewaytest.Reply {
	tb.Helper()
	return gatewaytest.Send(tb, http.MethodOptions, base+"/mcp", "", "Origin", origin,
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", headers)
}

func TestOrigin(t *testing.T) {
	u := gatewaytest.NewUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		_, _ = w.Write([]byte("{}"))
	})
	const inspector = "http://localhost:6274"
	g := start(t, u, "", "trusted_origins "+inspector+"\npublic /health")
	token := devToken(t, g.URL)
	t.Run("K21 O51 foreign origins are refused", func(t *testing.T) { foreignOrigins(t, g.URL, inspector, token) })
	u.Take()
	t.Run("K21 no origin, the own and the trusted one pass", func(t *testing.T) {
		r := call(t, g.URL+"/mcp", bearer(token)...)
		wantStatus(t, r, http.StatusOK)
		corsOf(t, r, "")
		for _, origin := range []string{g.URL, inspector} {
			r := call(t, g.URL+"/mcp", append(bearer(token), "Origin", origin)...)
			wantStatus(t, r, http.StatusOK)
			corsOf(t, r, origin)
		}
	})
	u.Take()
	t.Run("K22 a script can read the 401", func(t *testing.T) {
		r := call(t, g.URL+"/mcp", "Origin", inspector)
		wantStatus(t, r, http.StatusUnauthorized)
		corsOf(t, r, inspector)
		for _, name := range []string{"WWW-Authenticate", "Mcp-Session-Id", "MCP-Protocol-Version"} {
			if !listed(r, "Access-Control-Expose-Headers", name) {
				t.Errorf("%s is not exposed", name)
			}
		}
	})
	t.Run("K22 preflight", func(t *testing.T) { preflights(t, g.URL, inspector) })
	t.Run("K20 O51 a foreign Host is refused, also with a token", func(t *testing.T) {
		for _, host := range []string{"evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example"} {
			for _, header := range [][]string{nil, bearer(token)} {
				wantStatus(t, call(t, g.URL+"/mcp", append(header, "Host", host)...), http.StatusForbidden)
			}
		}
		u.None(t)
	})
	t.Run("O51 a foreign Host is refused on public paths too", func(t *testing.T) {
		r := gatewaytest.Send(t, http.MethodGet, g.URL+"/health", "", "Host", "evil.example")
		wantStatus(t, r, http.StatusForbidden)
		u.None(t)
	})
}

func foreignOrigins(t *testing.T, base, inspector, token string) {
	t.Helper()
	for _, origin := range []string{
		"https://evil.example", "null", "http://localhost:6275", "https://localhost:6274", "http://localhost",
		"http://localhost:6274.evil.example", "HTTP://LOCALHOST:6274", "http://localhost:6274/", "file://", " ",
		"http://localhost:6274, http://evil.example",
	} {
		for _, header := range [][]string{nil, bearer(token)} {
			r := call(t, base+"/mcp", append(header, "Origin", origin)...)
			if strings.TrimSpace(origin) == "" {
				continue // an empty Origin is none
			}
			wantStatus(t, r, http.StatusForbidden)
			corsOf(t, r, "")
			if c := r.Header.Get("WWW-Authenticate"); strings.Contains(c, "insufficient_scope") {
				t.Errorf("%q would start a step-up: %s", origin, c)
			}
		}
	}
	r := call(t, base+"/mcp", append(bearer(token), "Origin", inspector, "Origin", "https://evil.example")...)
	wantStatus(t, r, http.StatusForbidden)
}

func preflights(t *testing.T, base, inspector string) {
	t.Helper()
	r := preflight(t, base, inspector, "authorization, content-type")
	wantStatus(t, r, http.StatusNoContent)
	corsOf(t, r, inspector)
	for _, name := range []string{
		"Authorization", "Content-Type", "Accept", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name",
		"Mcp-Session-Id", "Last-Event-ID", "DPoP",
	} {
		if !listed(r, "Access-Control-Allow-Headers", name) {
			t.Errorf("header %s is not allowed", name)
		}
	}
	for _, method := range []string{"GET", "POST", "DELETE"} {
		if !listed(r, "Access-Control-Allow-Methods", method) {
			t.Errorf("method %s is not allowed", method)
		}
	}
	t.Run("of a Mcp-Param header", func(t *testing.T) {
		r := preflight(t, base, inspector, "authorization, mcp-param-region")
		if !listed(r, "Access-Control-Allow-Headers", "mcp-param-region") {
			t.Errorf("not allowed: %s", r.Header.Get("Access-Control-Allow-Headers"))
		}
	})
	t.Run("of a header that is not MCP's", func(t *testing.T) {
		r := preflight(t, base, inspector, "x-mcp-user, x-evil")
		if listed(r, "Access-Control-Allow-Headers", "x-mcp-user") || listed(r, "Access-Control-Allow-Headers", "x-evil") {
			t.Errorf("allowed: %s", r.Header.Get("Access-Control-Allow-Headers"))
		}
	})
	t.Run("of a foreign origin", func(t *testing.T) {
		for _, origin := range []string{"https://evil.example", "null"} {
			r := preflight(t, base, origin, "authorization")
			wantStatus(t, r, http.StatusForbidden)
			corsOf(t, r, "")
		}
	})
}

func TestTrustedOrigins(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	t.Run("K21 star is every origin, without credentials", func(t *testing.T) {
		g := start(t, u, "", "trusted_origins *")
		for _, origin := range []string{"https://a.example", "http://b.example:81"} {
			r := call(t, g.URL+"/mcp", append(bearer(devToken(t, g.URL)), "Origin", origin)...)
			wantStatus(t, r, http.StatusOK)
			corsOf(t, r, origin)
			wantStatus(t, preflight(t, g.URL, origin, "authorization"), http.StatusNoContent)
			wantStatus(t, call(t, g.URL+"/mcp", "Origin", origin), http.StatusUnauthorized)
		}
	})
	t.Run("O51 null only if it is listed", func(t *testing.T) {
		g := start(t, u, "", "trusted_origins null")
		r := call(t, g.URL+"/mcp", append(bearer(devToken(t, g.URL)), "Origin", "null")...)
		wantStatus(t, r, http.StatusOK)
		corsOf(t, r, "null")
		wantStatus(t, call(t, g.URL+"/mcp", "Origin", "https://evil.example"), http.StatusForbidden)
	})
	t.Run("O52 the authorization endpoint answers no script", func(t *testing.T) {
		g := start(t, u, "", "trusted_origins *")
		c := gatewaytest.Register(t, g.URL)
		r := gatewaytest.Send(t, http.MethodGet, c.AuthorizeURL(), "", "Origin", "https://a.example")
		corsOf(t, r, "")
	})
}

// K20: who has no token learns that first, whatever else is wrong.
func TestOrder(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "max_body 100B\nmax_calls 1")
	long := strings.Repeat("x", 1000)
	t.Run("K20 401 before the body", func(t *testing.T) {
		wantStatus(t, gatewaytest.PostJSON(t, g.URL+"/mcp", long), http.StatusUnauthorized)
		wantStatus(t, gatewaytest.PostJSON(t, g.URL+"/mcp", "{{{", "MCP-Protocol-Version", "nonsense", "Mcp-Session-Id", "x"), http.StatusUnauthorized)
		wantStatus(t, gatewaytest.Send(t, "BREW", g.URL+"/nowhere", ""), http.StatusUnauthorized)
	})
	t.Run("K20 403 for the origin before 401", func(t *testing.T) {
		wantStatus(t, call(t, g.URL+"/mcp", "Origin", "https://evil.example"), http.StatusForbidden)
	})
	t.Run("K20 401 while the upstream is down", func(t *testing.T) {
		u.Close()
		wantStatus(t, call(t, g.URL+"/mcp"), http.StatusUnauthorized)
		wantStatus(t, call(t, g.URL+"/mcp", bearer(devToken(t, g.URL))...), http.StatusBadGateway)
	})
	u.None(t)
}
