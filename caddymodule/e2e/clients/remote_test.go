package clients_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// remoteName is what mcp-remote calls itself.
const remoteName = "MCP CLI Proxy"

// remote is a running mcp-remote: what a program starts that speaks MCP only
// over standard streams.
type remote struct {
	transport mcp.Transport
	said      *output
	found     chan string // the URL that it wants to have opened
	stop      context.CancelFunc
}

// startRemote starts it with a home of its own and arguments behind the URL.
func startRemote(t *testing.T, home, endpoint string, args ...string) *remote {
	t.Helper()
	base, _, _ := strings.Cut(endpoint, "/mcp")
	found := make(chan string, 1)
	r := &remote{found: found, said: &output{
		want: regexp.MustCompile(regexp.QuoteMeta(base+"/oauth/authorize?") + `\S+\s`), found: found,
	}}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := nodeCommand(ctx, t, home, module("mcp-remote", "dist", "proxy.js"), append([]string{endpoint}, args...)...)
	cmd.Env = append(cmd.Env, "BROWSER=true") // the browser is the test
	cmd.Stderr = r.said
	r.stop = cancel
	r.transport = &mcp.CommandTransport{Command: cmd, TerminateDuration: time.Second}
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Logf("mcp-remote says:\n%s", r.said)
		}
	})
	return r
}

// dial starts the program and returns when it has reached the server.
func (r *remote) dial(ctx context.Context) (*mcp.ClientSession, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "caddy-mcp-auth-e2e", Version: "1.0.0"}, nil)
	return client.Connect(ctx, r.transport, &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
}

// connect opens a session through it, signs in where it asks for that, and
// says whether it did. The session ends with the test.
func (r *remote) connect(t *testing.T, visit func(authorize string) string) (s *mcp.ClientSession, signedIn bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	type result struct {
		session *mcp.ClientSession
		err     error
	}
	connected := make(chan result, 1)
	go func() {
		s, err := r.dial(ctx)
		connected <- result{s, err}
	}()
	for {
		select {
		case authorize := <-r.found:
			signedIn = true
			deliver(t, visit(authorize))
		case c := <-connected:
			if c.err != nil {
				t.Fatalf("connecting through mcp-remote: %v", c.err)
			}
			t.Cleanup(func() { _ = c.session.Close() }) // it may be closed
			return c.session, signedIn
		}
	}
}

// TestRemote: mcp-remote signs in and calls a tool; started again it uses what
// it has kept; and when the gateway forgets it in the middle of its life it
// helps itself.
func TestRemote(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g := attended(t)
	home := t.TempDir()
	s, signedIn := startRemote(t, home, g.URL+"/mcp").connect(t, alice(t, remoteName))
	if !signedIn {
		t.Error("no sign-in")
	}
	hello(t, s, "mcp-remote")
	profile, err := call(t, s, "get_user_profile", nil)
	if err != nil || !strings.Contains(profile, "alice@example.com") {
		t.Errorf("the server was told of the user: %q, %v", profile, err)
	}
	_ = s.Close()

	s, signedIn = startRemote(t, home, g.URL+"/mcp").connect(t, alice(t, remoteName))
	if signedIn {
		t.Error("another sign-in, although it has tokens")
	}
	hello(t, s, "restart")
	_ = s.Close()

	// Its tokens are refused, its refresh is invalid_client: it registers anew.
	retireKeys(t, g)
	s, signedIn = startRemote(t, home, g.URL+"/mcp").connect(t, alice(t, remoteName))
	if !signedIn {
		t.Error("a lost registration came back to life")
	}
	hello(t, s, "recovered")
}

// TestRemoteStale is what people are stuck with at other servers: mcp-remote
// keeps a registration that the server has lost, and has no tokens whose
// refresh would tell it so. The page in the browser says what helps, and it
// does.
func TestRemoteStale(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g := attended(t)
	home := t.TempDir()
	s, _ := startRemote(t, home, g.URL+"/mcp").connect(t, alice(t, remoteName))
	_ = s.Close()
	kept, _ := filepath.Glob(filepath.Join(home, ".mcp-auth", "*", "*_tokens.json"))
	if len(kept) != 1 {
		t.Fatalf("mcp-remote keeps tokens in %q", kept)
	}
	if err := os.Remove(kept[0]); err != nil {
		t.Fatal(err)
	}
	retireKeys(t, g)

	r := startRemote(t, home, g.URL+"/mcp")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = r.dial(t.Context()) // it waits for a callback that never comes
	}()
	select {
	case authorize := <-r.found:
		page := gatewaytest.NewBrowser(t).Open(authorize)
		if page.Status != http.StatusBadRequest || page.Location != nil || !strings.Contains(page.Text(), "~/.mcp-auth") {
			t.Errorf("the page for a lost registration: %d %v %s", page.Status, page.Location, page.Text())
		}
	case <-time.After(callTimeout):
		t.Error("mcp-remote opened no browser")
	}
	r.stop()
	<-ended

	// What the page says.
	if err := os.RemoveAll(filepath.Join(home, ".mcp-auth")); err != nil {
		t.Fatal(err)
	}
	s, _ = startRemote(t, home, g.URL+"/mcp").connect(t, alice(t, remoteName))
	hello(t, s, "again")
}

// TestRemoteModes: mcp-remote as everything else that it can be.
func TestRemoteModes(t *testing.T) {
	t.Parallel()
	nodeBinary(t)
	g := attended(t, append(machineClients(t, newKey(t)),
		"client remote {", "\tname \"Remote of the operator\"", "\tredirect_uri http://localhost/oauth/callback",
		"\tsecret {env.CLIENT_SECRET}", "}")...)
	static := func(id string) []string {
		return []string{"--static-oauth-client-info", `{"client_id":"` + id + `","client_secret":"` + clientSecret + `"}`}
	}
	token := discover(t, g.URL+"/mcp").personalToken(t, identity{}).access
	for _, tt := range []struct {
		name    string
		program string // "" where nobody is asked
		args    []string
	}{
		{"document", "Claude Code", []string{"--client-metadata-url", claudeCode, "--callback-path", "/callback"}},
		{"pre-registered", "Remote of the operator", static("remote")},
		{"client credentials", "", append(static("machine"), "--client-credentials")},
		{"personal access token", "", []string{"--header", "Authorization: Bearer " + token}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{strconv.Itoa(gatewaytest.FreePort(t))}, tt.args...)
			s, signedIn := startRemote(t, t.TempDir(), g.URL+"/mcp", args...).connect(t, alice(t, tt.program))
			if signedIn != (tt.program != "") {
				t.Errorf("signed in: %t", signedIn)
			}
			hello(t, s, "mcp-remote")
		})
	}
}
