package enforce_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// wantOutage checks an answer while the store does not work: never a verdict
// about the client.
func wantOutage(tb testing.TB, r gatewaytest.Reply) {
	tb.Helper()
	wantStatus(tb, r, http.StatusServiceUnavailable)
	if r.Header.Get("Retry-After") == "" || r.Header.Get("Content-Type") != "application/json" || r.Text(tb, "error") == "" {
		tb.Errorf("%v %s", r.Header, r.Body)
	}
}

// K19, THREATS 3: without its file the store takes no write. Issuing stops,
// calls go on, and nothing has to be restarted.
func TestStoreOutage(t *testing.T) {
	u := gatewaytest.NewUpstream(t, feed)
	g := start(t, u, "refresh_grace off", "")
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	cold := devToken(t, g.URL) // never shown yet, so not remembered
	used := c.Code(t)
	wantStatus(t, c.Redeem(t, used), http.StatusOK)
	code := c.Code(t)
	s := openStream(t, http.MethodGet, g.URL+"/mcp", access)
	health := func() int { return gatewaytest.Send(t, http.MethodGet, g.URL+"/oauth/health", "").Status }
	file := filepath.Join(g.Dir, "state.db")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	t.Run("K19 health is 503", func(t *testing.T) {
		eventually(t, 5*time.Second, "503", func() bool { return health() == http.StatusServiceUnavailable })
	})
	t.Run("K19 the token endpoint is 503", func(t *testing.T) {
		wantOutage(t, c.Redeem(t, code))
		wantOutage(t, c.Refresh(t, refresh))
		wantOutage(t, c.Redeem(t, used)) // a revocation that can't be stored is not claimed
	})
	t.Run("K19 calls and streams go on", func(t *testing.T) {
		for _, token := range []string{access, cold} {
			openStream(t, http.MethodGet, g.URL+"/mcp", token).GoesOn(t)
		}
		s.GoesOn(t)
	})
	t.Run("K19 bad tokens are still refused", func(t *testing.T) {
		wantStatus(t, call(t, g.URL+"/mcp"), http.StatusUnauthorized)
		wantInvalid(t, call(t, g.URL+"/mcp", bearer(access+"x")...))
	})
	t.Run("THREATS 3 it heals without a restart", func(t *testing.T) {
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "200", func() bool { return health() == http.StatusOK })
		wantStatus(t, c.Redeem(t, code), http.StatusOK) // the outage did not use it up
		wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
		wantStatus(t, c.Redeem(t, used), http.StatusBadRequest)
		s.GoesOn(t)
	})
}
