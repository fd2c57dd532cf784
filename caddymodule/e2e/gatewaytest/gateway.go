package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/mockmcp"
)

// startTimeout bounds how long a gateway may take to answer.
const startTimeout = 30 * time.Second

// FreePort returns a TCP port of this machine that nothing listens on. It is
// none that the system hands out for outgoing connections or for port 0, so that
// nobody else is likely to take it before the gateway does.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = ln.Close()
			return port
		}
	}
	tb.Fatal("no free port found")
	return 0
}

// Gateway is a running Caddy.
type Gateway struct {
	// URL is the origin that it serves, http://localhost:<port>.
	URL string
	// Dir holds its Caddyfile and its data.
	Dir string
	// Admin is the address of its admin endpoint.
	Admin string

	tb  testing.TB
	cmd *exec.Cmd
	// logs is what it writes to, without a pipe between: a line that was written
	// before an answer is there when the answer is.
	logs *os.File
	done chan struct{}
}

// Options configure a gateway. Every field may be left out.
type Options struct {
	// Caddyfile is the whole configuration. {URL}, {DIR}, {ADMIN} and
	// {UPSTREAM} are replaced by the origin, the data folder, the admin address
	// and the upstream's address. Default: [DefaultCaddyfile].
	Caddyfile string
	// Upstream is the host:port behind the gateway. Default: a mockmcp.
	Upstream string
	// Env are further environment variables, NAME=value.
	Env []string
	// Dir is reused, to start a gateway again on the same data.
	Dir string
	// Port is reused, to start a gateway again under the same URL.
	Port int
}

// DefaultCaddyfile protects one server with two transports, in development
// mode.
const DefaultCaddyfile = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		development
		login auto {
			user alice
			email alice@example.com
			name "Alice Example"
		}
	}
}
{URL} {
	log
	mcp_auth {
		resource {URL}/mcp {URL}/sse
		public /health /mcp/health /mcp/initialize
	}
	reverse_proxy {UPSTREAM}
}
`

// Start runs a gateway until the test ends, and waits until it answers.
func Start(tb testing.TB, o Options) *Gateway {
	tb.Helper()
	g, err := TryStart(tb, o)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// TryStart is Start for configurations that may be refused: it returns what
// the gateway wrote.
func TryStart(tb testing.TB, o Options) (*Gateway, error) {
	tb.Helper()
	g := Launch(tb, o)
	return g, g.Ready()
}

// Launch is TryStart without waiting for an answer, which Ready does.
func Launch(tb testing.TB, o Options) *Gateway {
	tb.Helper()
	binary, err := Binary()
	if err != nil {
		tb.Fatal(err)
	}
	g := newGateway(tb, &o)
	g.WriteConfig(o.Caddyfile, o.Upstream)
	g.cmd = exec.Command(binary, "run", "--config", filepath.Join(g.Dir, "Caddyfile"), "--adapter", "caddyfile")
	g.cmd.Env = append(append(os.Environ(), "XDG_DATA_HOME="+g.Dir, "XDG_CONFIG_HOME="+g.Dir, "HOME="+g.Dir), o.Env...)
	g.cmd.Stdout, g.cmd.Stderr = g.logs, g.logs
	if err := g.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(g.done)
		_ = g.cmd.Wait() // a killed process is fine
	}()
	tb.Cleanup(g.Stop)
	return g
}

func newGateway(tb testing.TB, o *Options) *Gateway {
	if o.Caddyfile == "" {
		o.Caddyfile = DefaultCaddyfile
	}
	if o.Upstream == "" {
		_, o.Upstream = Mock(tb)
	}
	if o.Dir == "" {
		o.Dir = tb.TempDir()
	}
	if o.Port == 0 {
		o.Port = FreePort(tb)
	}
	return &Gateway{
		URL:   fmt.Sprintf("http://localhost:%d", o.Port),
		Dir:   o.Dir,
		Admin: fmt.Sprintf("localhost:%d", FreePort(tb)),
		tb:    tb,
		logs:  newLog(tb),
		done:  make(chan struct{}),
	}
}

// WriteConfig writes the gateway's Caddyfile and returns its text.
func (g *Gateway) WriteConfig(caddyfile, upstream string) string {
	g.tb.Helper()
	text := strings.NewReplacer("{URL}", g.URL, "{DIR}", g.Dir, "{ADMIN}", g.Admin, "{UPSTREAM}", upstream).Replace(caddyfile)
	if err := os.WriteFile(filepath.Join(g.Dir, "Caddyfile"), []byte(text), 0o600); err != nil {
		g.tb.Fatal(err)
	}
	return text
}

// Ready waits for the first answer of any kind. If there is none it returns what
// the gateway wrote.
func (g *Gateway) Ready() error {
	deadline := time.After(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-g.done:
			return errors.New("the gateway ended:\n" + g.Logs())
		case <-deadline:
			return errors.New("the gateway does not answer:\n" + g.Logs())
		case <-tick.C:
			resp, err := http.Get(g.URL + "/oauth/health")
			if err != nil {
				continue
			}
			_ = resp.Body.Close()
			g.loaded()
			return nil
		}
	}
}

// loaded waits until Caddy is done with loading: it serves a moment before its admin
// endpoints know what is running. Without an admin endpoint there is nothing to wait
// for.
func (g *Gateway) loaded() {
	if resp, err := http.Get("http://" + g.Admin + "/config/"); err == nil { // Caddy answers when it is done
		_ = resp.Body.Close()
	}
}

// Reload loads another Caddyfile into the running gateway through its admin
// endpoint, and returns the admin endpoint's complaint if it is refused.
func (g *Gateway) Reload(caddyfile, upstream string) error {
	g.tb.Helper()
	text := g.WriteConfig(caddyfile, upstream)
	resp, err := http.Post("http://"+g.Admin+"/load", "text/caddyfile", strings.NewReader(text))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reload: %s: %s", resp.Status, body)
	}
	// The listener that ended may have taken one more connection with it: let that
	// be one that may be tried again.
	return g.Ready()
}

// Stop ends the gateway as an operator would, and waits for it.
func (g *Gateway) Stop() { g.end(syscall.SIGTERM) }

// Kill ends it as a power cut would.
func (g *Gateway) Kill() { g.end(syscall.SIGKILL) }

func (g *Gateway) end(sig syscall.Signal) {
	_ = g.cmd.Process.Signal(sig) // it may have ended
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	select {
	case <-g.done:
	case <-ctx.Done():
		_ = g.cmd.Process.Kill()
		<-g.done
		g.tb.Error("the gateway did not end by itself:\n" + g.Logs())
	}
	if race := Race(g.Logs()); race != "" {
		g.tb.Error("the gateway has a data race:\n" + race)
	}
}

// Logs returns everything that the gateway has written so far.
func (g *Gateway) Logs() string {
	text, err := os.ReadFile(g.logs.Name())
	if err != nil {
		g.tb.Error(err)
	}
	return string(text)
}

func newLog(tb testing.TB) *os.File {
	tb.Helper()
	f, err := os.OpenFile(filepath.Join(tb.TempDir(), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() }) // the process has its own
	return f
}

// Mock runs a mockmcp until the test ends, and fails the test if it was ever
// shown a credential.
func Mock(tb testing.TB) (*mockmcp.Server, string) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := mockmcp.New(mockmcp.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(ctx, ln); err != nil {
			tb.Error(err)
		}
	}()
	tb.Cleanup(func() {
		cancel()
		<-ended
		if n := server.LeakedCredentials(); n > 0 {
			tb.Errorf("the MCP server was shown %d credentials", n)
		}
	})
	return server, ln.Addr().String()
}
