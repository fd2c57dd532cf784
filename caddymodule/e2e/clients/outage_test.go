package clients_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestOutage: while the gateway's store does not work no client can refresh.
// None of them takes that for the end of its grant or its registration: after
// the outage each goes on, and nobody has to sign in again.
func TestOutage(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configured(t, "access_token_lifetime 1s")})
	goSDK := newGoClient(t, g.URL+"/mcp")
	session := goSDK.connect(t, "")
	hello(t, session, "Go")
	scripts := map[string]*script{}
	for _, generation := range []string{"v1", "v2", "v2-modern"} {
		c := startTS(t, generation, "http", g.URL+"/mcp")
		c.must(t, command{Do: "connect"})
		c.hello(t, generation)
		scripts[generation] = c
	}
	goSDK.rec.take()

	file := filepath.Join(g.Dir, "state.db")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	health := func() int { return gatewaytest.Send(t, http.MethodGet, g.URL+"/oauth/health", "").Status }
	poll(t, "the outage", func() bool { return health() == http.StatusServiceUnavailable })
	if _, err := call(t, session, "hello", map[string]any{"name": "Go"}); err == nil {
		t.Error("Go: a call succeeded that needs a refresh")
	}
	goSDK.rec.take().expect(t, steps{})
	for generation, c := range scripts {
		c.must(t, command{Do: "spoil"})
		a := c.try(t, command{Do: "call", Tool: "hello", Args: map[string]any{"name": generation}})
		tried := a.Exchanges.grants("refresh_token")
		if a.OK || len(tried) == 0 || len(tried.answered(http.StatusServiceUnavailable)) != len(tried) {
			t.Errorf("%s: %t, refreshes %+v", generation, a.OK, tried)
		}
		a.Exchanges.expect(t, steps{})
	}

	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	poll(t, "the end of the outage", func() bool { return health() == http.StatusOK })
	hello(t, session, "Go")
	goSDK.rec.take().expect(t, steps{refreshes: 1})
	for generation, c := range scripts {
		c.hello(t, generation).expect(t, steps{refreshes: 1})
	}
}
