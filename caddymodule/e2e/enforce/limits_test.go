package enforce_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// chunked posts a body without a Content-Length.
func chunked(tb testing.TB, target, token, body string) gatewaytest.Reply {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, target, io.MultiReader(strings.NewReader(body)))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return gatewaytest.Reply{Status: resp.StatusCode, Header: resp.Header, Body: string(text)}
}

func TestBodyLimit(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "max_body 1KiB")
	token := devToken(t, g.URL)
	for _, size := range []int{0, 1, 1024, 1025, 100_000, 3_000_000} {
		body, want := strings.Repeat("x", size), http.StatusOK
		if size > 1024 {
			want = http.StatusRequestEntityTooLarge
		}
		t.Run(fmt.Sprintf("L18 %d bytes with Content-Length", size), func(t *testing.T) {
			target := fmt.Sprintf("/mcp?whole-%d", size)
			wantStatus(t, gatewaytest.PostJSON(t, g.URL+target, body, bearer(token)...), want)
			for _, s := range u.Take() {
				if s.Target == target && len(body) > 1024 {
					t.Errorf("%d bytes reached the upstream", len(s.Body))
				}
			}
		})
		t.Run(fmt.Sprintf("L18 %d bytes chunked", size), func(t *testing.T) {
			wantStatus(t, chunked(t, g.URL+"/mcp", token, body), want)
			for _, s := range u.Take() {
				if len(s.Body) > 1024 {
					t.Errorf("%d bytes reached the upstream", len(s.Body))
				}
			}
		})
	}
	t.Run("L18 the default lets 1 MiB pass and 17 MiB not", func(t *testing.T) {
		g := start(t, u, "", "")
		token := devToken(t, g.URL)
		wantStatus(t, chunked(t, g.URL+"/mcp", token, strings.Repeat("x", 1<<20)), http.StatusOK)
		wantStatus(t, chunked(t, g.URL+"/mcp", token, strings.Repeat("x", 17<<20)), http.StatusRequestEntityTooLarge)
	})
	t.Run("L18 header bytes", func(t *testing.T) {
		r := raw(t, g.URL, "GET /mcp HTTP/1.1\nHost: HOST\nX-Long: "+strings.Repeat("x", 30_000)+"\n\n")
		wantStatus(t, r, http.StatusRequestHeaderFieldsTooLarge)
	})
}

func TestCallLimit(t *testing.T) {
	u := gatewaytest.NewUpstream(t, feed)
	g := start(t, u, "", "max_calls 2")
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	first := openStream(t, http.MethodGet, g.URL+"/mcp", access)
	openStream(t, http.MethodPost, g.URL+"/mcp", access)
	t.Run("L18 one call too many", func(t *testing.T) {
		r := call(t, g.URL+"/mcp", bearer(access)...)
		wantStatus(t, r, http.StatusTooManyRequests)
		if r.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		next := c.Refresh(t, refresh).Text(t, "access_token")
		wantStatus(t, call(t, g.URL+"/mcp", bearer(next)...), http.StatusTooManyRequests)
	})
	t.Run("L18 other grants are not held up", func(t *testing.T) {
		other, _ := c.Tokens(t)
		openStream(t, http.MethodGet, g.URL+"/mcp", other).GoesOn(t)
	})
	t.Run("L18 a stream that ends makes room", func(t *testing.T) {
		first.Close()
		eventually(t, 5*time.Second, "room", func() bool { return u.Open.Load() < 2 })
		openStream(t, http.MethodGet, g.URL+"/mcp", access).GoesOn(t)
	})
}

func TestEarlyData(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "public /health")
	auth := append(bearer(devToken(t, g.URL)), "Early-Data", "1")
	for _, method := range []string{"POST", "DELETE", "PUT", "PATCH"} {
		t.Run("L18 early data, "+method, func(t *testing.T) {
			for _, path := range []string{"/mcp", "/health", "/oauth/token", "/oauth/register"} {
				wantStatus(t, gatewaytest.Send(t, method, g.URL+path, "", auth...), http.StatusTooEarly)
			}
			u.None(t)
		})
	}
	t.Run("L18 early data, GET", func(t *testing.T) {
		wantStatus(t, gatewaytest.Send(t, "GET", g.URL+"/mcp", "", auth...), http.StatusOK)
	})
}
