package gateway

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// timeout bounds how long the command may take to start or to end.
const timeout = 30 * time.Second

// password is typed by everyone here. It must not be found anywhere else.
const password = "Tr0ub4dor&3 marker"

// command is a running mcp-gateway.
type command struct {
	dir            string // its home and data
	stdout, stderr *output
	cmd            *exec.Cmd
	done           chan struct{}
}

// options say how the command is run. Every field may be left out.
type options struct {
	args  []string  // behind mcp-gateway
	stdin io.Reader // default: the password
	dir   string    // reused, to start again on the same data
	env   []string  // NAME=value; nothing of the test's own environment gets through
}

// launch starts the command and does not wait for it.
func launch(t *testing.T, o options) *command {
	t.Helper()
	if o.stdin == nil {
		o.stdin = strings.NewReader(password + "\n")
	}
	c := prepare(t, o)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = o.stdin, c.stdout, c.stderr
	c.run(t)
	return c
}

// prepare makes the command, without its input and output.
func prepare(t *testing.T, o options) *command {
	t.Helper()
	binary, err := gatewaytest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	c := &command{dir: o.dir, stdout: new(output), stderr: new(output), done: make(chan struct{})}
	c.cmd = exec.Command(binary, append([]string{"mcp-gateway"}, o.args...)...)
	c.cmd.Dir = o.dir
	c.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + o.dir, "XDG_CONFIG_HOME=" + o.dir, "XDG_DATA_HOME=" + o.dir,
	}, o.env...)
	return c
}

// run starts the process, and ends it with the test.
func (c *command) run(t *testing.T) {
	t.Helper()
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		_ = c.cmd.Wait() // the exit code is looked at where it matters
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it may have ended
		<-c.done
		if race := gatewaytest.Race(c.stderr.String()); race != "" {
			t.Error("the command has a data race:\n" + race)
		}
	})
}

// start starts a gateway on a free port in front of the upstream, waits until
// it has said what to do next, and returns its origin.
func start(t *testing.T, upstream string, o options) (c *command, origin string) {
	t.Helper()
	origin = fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(t))
	o.args = append([]string{"--to", upstream, "--from", origin, "--user", "alice"}, o.args...)
	c = launch(t, o)
	c.ready(t)
	return c, origin
}

// ready waits until the gateway has said what to do next.
func (c *command) ready(t *testing.T) {
	t.Helper()
	deadline, tick := time.After(timeout), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(c.stdout.String(), "Ctrl+C stops.") {
		select {
		case <-c.done:
			t.Fatalf("it ended with exit code %d:\n%s", c.cmd.ProcessState.ExitCode(), c.stderr)
		case <-deadline:
			t.Fatalf("it neither starts nor ends:\n%s", c.stderr)
		case <-tick.C:
		}
	}
}

// wait returns the exit code, once the process has ended.
func (c *command) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(timeout):
		t.Fatalf("it does not end:\n%s\n%s", c.stdout, c.stderr)
	}
	return c.cmd.ProcessState.ExitCode()
}

// stop ends the gateway with a signal, after which the exit code must be 0.
func (c *command) stop(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if code := c.wait(t); code != 0 {
		t.Errorf("exit code %d after %s:\n%s", code, sig, c.stderr)
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
