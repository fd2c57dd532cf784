package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// demoTimeout bounds how long a demo may take to start or to end.
const demoTimeout = 30 * time.Second

// demo is a running mcp-demo.
type demo struct {
	url, dir       string
	stdout, stderr *output
	cmd            *exec.Cmd
	done           chan struct{}
}

// demoOptions say how a demo is run. Every field may be left out.
type demoOptions struct {
	env  []string // NAME=value; nothing of the test's own environment gets through
	args []string // behind mcp-demo
	cwd  string   // default: the root of the repository
	url  string   // reused, to start again under the same URL; also SERVER_URL
	dir  string   // reused, to start again on the same data
}

// launch starts a demo and does not wait for it.
func launch(t *testing.T, o demoOptions) *demo {
	t.Helper()
	binary, err := gatewaytest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	if o.url == "" {
		o.url = fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(t))
	}
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if o.cwd == "" {
		o.cwd = gatewaytest.Root()
	}
	d := &demo{url: o.url, dir: o.dir, stdout: new(output), stderr: new(output), done: make(chan struct{})}
	d.cmd = exec.Command(binary, append([]string{"mcp-demo"}, o.args...)...)
	d.cmd.Dir = o.cwd
	d.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + o.dir, "XDG_CONFIG_HOME=" + o.dir, "XDG_DATA_HOME=" + o.dir, "SERVER_URL=" + o.url,
	}, o.env...)
	d.cmd.Stdout, d.cmd.Stderr = d.stdout, d.stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.done)
		_ = d.cmd.Wait() // the exit code is looked at where it matters
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // it may have ended
		<-d.done
		if race := gatewaytest.Race(d.stderr.String()); race != "" {
			t.Error("the demo has a data race:\n" + race)
		}
	})
	return d
}

// start starts a demo and waits until it has said what to try.
func start(t *testing.T, o demoOptions) *demo {
	t.Helper()
	d := launch(t, o)
	if !d.ready(t) {
		t.Fatalf("the demo ended with exit code %d:\n%s", d.cmd.ProcessState.ExitCode(), d.stderr)
	}
	return d
}

// ready waits until the demo has said what to try, or has ended, and reports
// which of the two.
func (d *demo) ready(t *testing.T) bool {
	t.Helper()
	deadline, tick := time.After(demoTimeout), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(d.stdout.String(), "Stop with Ctrl+C.\n") {
		select {
		case <-d.done:
			return false
		case <-deadline:
			t.Fatalf("the demo neither starts nor ends:\n%s", d.stderr)
		case <-tick.C:
		}
	}
	return true
}

// wait returns the exit code, once the demo has ended.
func (d *demo) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-d.done:
	case <-time.After(demoTimeout):
		t.Fatalf("the demo does not end:\n%s", d.stderr)
	}
	return d.cmd.ProcessState.ExitCode()
}

// stop ends the demo as a service manager does.
func (d *demo) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := d.wait(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM:\n%s", code, d.stderr)
	}
}

// output is a bytes.Buffer for a writer and a reader at once.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String returns what was written so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// TestDemo starts the demo as the README says, runs the commands that it
// prints, and ends it.
func TestDemo(t *testing.T) {
	t.Parallel()
	d := start(t, demoOptions{})
	if _, err := os.Stat(filepath.Join(d.dir, "caddy", "mcp_auth", "mcp_auth.db")); err != nil {
		t.Error(err)
	}
	text := d.stdout.String()
	for _, want := range []string{
		"The gateway runs at " + d.url + ",", "Everyone is approved without asking", "State is in " + filepath.Join(d.dir, "caddy") + ".",
		"npx @modelcontextprotocol/inspector --cli " + d.url + "/mcp ", "claude mcp add --transport http demo " + d.url + "/mcp\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the welcome has no %q:\n%s", want, text)
		}
	}
	if d.stderr.String() != "" {
		t.Errorf("the welcome is not alone:\n%s", d.stderr)
	}
	out := runShown(t, text)
	for _, want := range []string{"HTTP/1.1 401 Unauthorized", `resource_metadata="` + d.url + `/.well-known/oauth-protected-resource/mcp"`, "Hello, world!"} {
		if !strings.Contains(out, want) {
			t.Errorf("the commands print\n%s\nwant %q in it", out, want)
		}
	}
	d.stop(t)
	if strings.Contains(d.stderr.String(), "credential leaked") {
		t.Error("the MCP server was shown a credential:\n" + d.stderr.String())
	}
}

// runShown runs the shell commands of the welcome, but for those that need
// programs of others.
func runShown(t *testing.T, welcome string) string {
	t.Helper()
	for _, p := range []string{"bash", "curl", "sed"} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("REQUIRE_BACKENDS") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	var script strings.Builder
	for line := range strings.Lines(welcome) {
		if command, ok := strings.CutPrefix(line, "  "); ok && !strings.HasPrefix(command, "npx ") && !strings.HasPrefix(command, "claude ") {
			script.WriteString(command)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", script.String())
	cmd.Env = append(os.Environ(), "NO_PROXY=localhost", "no_proxy=localhost")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script.String(), out)
	}
	return string(out)
}

// TestDemoRestarts: clients, sessions and tokens outlive the demo.
func TestDemoRestarts(t *testing.T) {
	t.Parallel()
	d := start(t, demoOptions{})
	c := gatewaytest.Register(t, d.url)
	access, refresh := c.Tokens(t)
	d.stop(t)
	d = start(t, demoOptions{url: d.url, dir: d.dir})
	if r := gatewaytest.Call(t, d.url, access); r.Status != 200 {
		t.Errorf("a token from before the restart: %d %s", r.Status, r.Body)
	}
	if r := c.Refresh(t, refresh); r.Status != 200 {
		t.Errorf("a session from before the restart: %d %s", r.Status, r.Body)
	}
	c.Tokens(t)
}

// TestDemoFails: what keeps the demo from starting is said in one line, and the
// exit code is 1.
func TestDemoFails(t *testing.T) {
	t.Parallel()
	busy := start(t, demoOptions{}).url
	broken := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(broken, []byte("{\n\tmcp_auth {\n\t\tisuer x\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    demoOptions
		want []string
	}{
		{"busy port", demoOptions{url: busy}, []string{" is in use by another program", "SERVER_URL="}},
		{"unwritable directory", demoOptions{env: []string{"XDG_DATA_HOME=/dev/null/x"}}, []string{"the data directory can't be written", "/dev/null", "XDG_DATA_HOME"}},
		{"busy port, unwritable directory", demoOptions{url: busy, env: []string{"XDG_DATA_HOME=/dev/null/x"}}, []string{"is in use"}},
		{"no Caddyfile", demoOptions{cwd: t.TempDir()}, []string{"there is no Caddyfile here", "--config"}},
		{"named Caddyfile", demoOptions{args: []string{"--config", "nothing.caddy"}}, []string{"there is no nothing.caddy here"}},
		{"wrong Caddyfile", demoOptions{args: []string{"--config", broken}}, []string{"unknown option of mcp_auth: isuer", "Caddyfile:3"}},
		{"unknown argument", demoOptions{args: []string{"now"}}, []string{`"now"`}},
		{"SERVER_URL", demoOptions{env: []string{"SERVER_URL=https://mcp.example.com"}}, []string{"SERVER_URL=https://mcp.example.com must be"}},
		{"no such port", demoOptions{env: []string{"SERVER_URL=http://localhost:99999"}}, []string{"99999", "invalid port"}},
		{"ISSUER", demoOptions{env: []string{"ISSUER=ftp://localhost"}}, []string{"ftp://localhost"}},
		{"foreign ISSUER", demoOptions{env: []string{"ISSUER=https://mcp.example.com"}}, []string{"https://mcp.example.com"}},
		{"ISSUER elsewhere", demoOptions{env: []string{"ISSUER=http://localhost:1"}}, []string{"http://localhost:1"}},
		{"AUDIENCE", demoOptions{env: []string{"AUDIENCE=mcp-server"}}, []string{"mcp-server"}},
		{"foreign AUDIENCE", demoOptions{env: []string{"AUDIENCE=https://mcp.example.com/mcp"}}, []string{"https://mcp.example.com/mcp"}},
		{"JWT_ALGORITHM", demoOptions{env: []string{"JWT_ALGORITHM=HS1"}}, []string{"HS1", "ES256"}},
		{"JWT_ALGORITHM with JWT_SECRET_KEY", demoOptions{env: []string{"JWT_ALGORITHM=RS256", "JWT_SECRET_KEY=x"}}, []string{"RS256", "secret"}},
		{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES", demoOptions{env: []string{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES=soon"}}, []string{"JWT_ACCESS_TOKEN_EXPIRE_MINUTES=soon is not"}},
		{"LOG_LEVEL", demoOptions{env: []string{"LOG_LEVEL=loud"}}, []string{"LOG_LEVEL=loud is not"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := launch(t, tt.o)
			if d.ready(t) {
				t.Fatalf("the demo starts:\n%s", d.stdout)
			}
			if code := d.wait(t); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			text := d.stderr.String()
			if strings.Count(text, "\n") != 1 {
				t.Errorf("want one line, got:\n%s", text)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("got %swant %q in it", text, want)
				}
			}
		})
	}
}

// startWith starts a demo with variables that need to know its URL.
func startWith(t *testing.T, env func(url string) []string) *demo {
	t.Helper()
	url := fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(t))
	return start(t, demoOptions{url: url, env: env(url)})
}
