package gateway

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestGatewayFails: what keeps the gateway from starting is said in one line,
// the exit code is 1, and nobody types a password to learn of it.
func TestGatewayFails(t *testing.T) {
	t.Parallel()
	_, upstream := gatewaytest.Mock(t)
	running, origin := start(t, upstream, options{})
	nothing := fmt.Sprintf("localhost:%d", gatewaytest.FreePort(t))
	free := fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(t))
	const noData = "XDG_DATA_HOME=/dev/null/x"
	for _, tt := range []struct {
		name string
		o    options
		want []string
	}{
		{"no flags", options{}, []string{"--to is missing", "--to localhost:9000"}},
		{"unknown flag", options{args: []string{"--port=1"}}, []string{"unknown flag: --port", "--help"}},
		{"an argument", options{args: []string{upstream}}, []string{"takes flags only", "--to"}},
		{"http for a public name", options{args: []string{"--to", upstream, "--from", "http://mcp.example.com"}}, []string{"--from takes http:// for localhost only", "https"}},
		{"no upstream", options{args: []string{"--to", nothing, "--from", free}}, []string{"nothing answers at " + nothing + " (--to): start your MCP server first"}},
		{"no such host", options{args: []string{"--to", "nowhere.invalid:9000", "--from", free}}, []string{"nowhere.invalid:9000 (--to) is not found"}},
		{"busy port", options{args: []string{"--to", upstream, "--from", origin}}, []string{"127.0.0.1" + strings.TrimPrefix(origin, "http://localhost") + " is in use by another program", "--from http://localhost:8081"}},
		{"the server's own port", options{args: []string{"--to", upstream, "--from", upstream}}, []string{upstream + " is in use by another program", "--from"}},
		{"unwritable directory", options{args: []string{"--to", upstream, "--from", free}, env: []string{noData}}, []string{"the data directory can't be written", "/dev/null", "XDG_DATA_HOME"}},
		{"no upstream and all the rest", options{args: []string{"--to", nothing, "--from", origin}, env: []string{noData}}, []string{"nothing answers at"}},
		{"a directory in use", options{args: []string{"--to", upstream, "--from", free}, dir: running.dir}, []string{"another gateway uses the data directory " + running.dir, "XDG_DATA_HOME"}},
		{"no password", options{args: []string{"--to", upstream, "--from", free}, stdin: strings.NewReader("")}, []string{"there is no password", "--password-hash"}},
		{"short password", options{args: []string{"--to", upstream, "--from", free}, stdin: strings.NewReader("horse\n")}, []string{"the password is too short", "8 characters"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := launch(t, tt.o)
			if code := c.wait(t); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			text := c.stderr.String()
			if strings.Count(text, "\n") != 1 || c.stdout.String() != "" {
				t.Errorf("want one line on standard error, got:\n%s\n%s", text, c.stdout)
			}
			for _, want := range append(tt.want, "Error: ") {
				if !strings.Contains(text, want) {
					t.Errorf("got %swant %q in it", text, want)
				}
			}
			if strings.Contains(text, password) {
				t.Errorf("the password is in %s", text)
			}
		})
	}
}

// TestBadHash: what only the login can say about a hash is the last line, after
// those of what was opened before it.
func TestBadHash(t *testing.T) {
	t.Parallel()
	_, upstream := gatewaytest.Mock(t)
	free := fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(t))
	// Of cost 31, which takes hours.
	const hash = "$2a$31$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6"
	c := launch(t, options{args: []string{"--to", upstream, "--from", free, "--user", "alice", "--password-hash", hash}})
	if code := c.wait(t); code != 1 || !strings.HasSuffix(c.stderr.String(), "\nError: password: user alice: the bcrypt hash has cost 31: 4 to 16 are supported\n") {
		t.Errorf("exit code %d:\n%s", code, c.stderr)
	}
	if strings.Contains(c.stderr.String(), hash) {
		t.Error("the hash is shown")
	}
}

// TestChecksComeFirst: with a busy port the command ends by itself, while its
// standard input stays open and silent.
func TestChecksComeFirst(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	address := ln.Addr().String()
	c := prepare(t, options{args: []string{"--to", address, "--from", address}})
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, c.stderr
	c.run(t)
	if code := c.wait(t); code != 1 || !strings.Contains(c.stderr.String(), "is in use") {
		t.Errorf("exit code %d:\n%s", code, c.stderr)
	}
}
