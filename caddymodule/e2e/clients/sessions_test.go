package clients_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// intruder is an HTTP transport that says it is in a session of somebody else.
type intruder struct {
	base    http.RoundTripper
	session string
	token   string // "" leaves the program's own
}

// RoundTrip implements http.RoundTripper.
func (i intruder) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	if out.Header.Get("Mcp-Session-Id") != "" {
		out.Header.Set("Mcp-Session-Id", i.session)
	}
	if i.token != "" {
		out.Header.Set("Authorization", "Bearer "+i.token)
	}
	return i.base.RoundTrip(out)
}

// TestO50Sessions L15: whoever is another user, or the same in another program,
// can't use a session, and does not end it. It goes on after a restart of the
// gateway, for its owner alone, whoever comes first.
func TestO50Sessions(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	upstream := serveCounted(t)
	o := gatewaytest.Options{
		Caddyfile: configured(t, knownClients), Upstream: upstream.address,
		Port: gatewaytest.FreePort(t), Dir: t.TempDir(),
	}
	g := gatewaytest.Start(t, o)
	c := newGoClient(t, g.URL+"/mcp")
	c.retries = 20 // it resumes its stream when the gateway is back
	goes := &goAgent{c, c.connect(t, "2025-11-25"), 1}
	typed := startTS(t, "v2", "http", g.URL+"/mcp")
	session, _ := typed.must(t, command{Do: "connect"}).Result["session"].(string)
	owners := map[string]agent{goes.session.ID(): goes, session: &tsAgent{typed, 2}}
	thief := startTS(t, "v2", "http", g.URL+"/mcp")
	thief.must(t, command{Do: "become", ID: "ts-known", Secret: "a-secret-of-a-test-that-is-long-enough"})
	thief.must(t, command{Do: "connect"})

	check := func(t *testing.T) {
		t.Helper()
		for session, owner := range owners {
			if session == "" {
				t.Fatal("a client without a session")
			}
			carolIn(t, g, session)
			aliceElsewhere(t, thief, session)
			none(t, must(t, owner, "hello"))
		}
	}
	check(t)
	g.Stop()
	g = gatewaytest.Start(t, o)
	check(t)
	if n := upstream.seen("hello", 9); n != 0 {
		t.Errorf("the server saw %d calls in a session of somebody else", n)
	}
}

// carolIn: another user's program on the Go SDK gets 404 in a session, also when it
// wants to resume its stream or to end it.
func carolIn(t *testing.T, g *gatewaytest.Gateway, session string) {
	t.Helper()
	token := gatewaytest.Send(t, http.MethodGet, g.URL+"/dev/token?sub=carol", "").Text(t, "access_token")
	rec := newRecorder()
	client := mcp.NewClient(&mcp.Implementation{Name: "carol", Version: "1"}, nil)
	s, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: g.URL + "/mcp", MaxRetries: -1, DisableStandaloneSSE: true,
		HTTPClient: &http.Client{Transport: intruder{rec, session, token}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
	if err == nil {
		_, err = call(t, s, "hello", toolArgs("hello", 9))
		_ = s.Close() // it is not its own
	}
	if all := rec.take(); err == nil || len(all.answered(http.StatusNotFound)) == 0 ||
		!errors.Is(err, mcp.ErrSessionMissing) && !strings.Contains(err.Error(), "Not Found") {
		all.log(t)
		t.Errorf("carol in alice's session: %v", err)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		r := gatewaytest.Send(t, method, g.URL+"/mcp", "", "Authorization", "Bearer "+token, "Mcp-Session-Id", session,
			"Last-Event-ID", "1_0", "Accept", "text/event-stream", "Mcp-Protocol-Version", "2025-11-25")
		if r.Status != http.StatusNotFound {
			t.Errorf("carol's %s in alice's session: %d", method, r.Status)
		}
	}
}

// aliceElsewhere: another program of the same user, on the TypeScript SDK, that the
// operator has registered.
func aliceElsewhere(t *testing.T, thief *script, session string) {
	t.Helper()
	a := thief.try(t, command{Do: "connect", Session: session})
	if a.OK { // the SDK says nothing until it is asked for something
		a = thief.try(t, command{Do: "call", Tool: "hello", Args: toolArgs("hello", 9)})
	}
	if a.OK || len(a.Exchanges.to("/mcp").answered(http.StatusNotFound)) != 1 || a.Exchanges.authorized() > 0 {
		a.Exchanges.log(t)
		t.Errorf("another program in alice's session: %t, %s", a.OK, a.Error)
	}
}
