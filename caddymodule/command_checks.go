package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// dialTimeout bounds how long the MCP server may take to accept a connection.
const dialTimeout = 3 * time.Second

// check says beforehand, and in one line, what would fail deep inside, or not
// before the first call.
func (g gateway) check(ctx context.Context) error {
	if err := g.checkUpstream(ctx); err != nil {
		return err
	}
	for _, address := range g.listens() {
		if err := g.checkPort(address); err != nil {
			return err
		}
	}
	return checkDataDir(caddy.AppDataDir())
}

func (g gateway) checkUpstream(ctx context.Context) error {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", g.Dial)
	if err == nil {
		return conn.Close()
	}
	if _, unknown := errors.AsType[*net.DNSError](err); unknown {
		return fmt.Errorf("%s (--to) is not found: no address belongs to that name", g.Dial)
	}
	return fmt.Errorf("nothing answers at %s (--to): start your MCP server first", g.Dial)
}

// listens returns the addresses that will be listened on.
func (g gateway) listens() []string {
	port := g.address().Port()
	switch {
	case g.Local() && port == "":
		return []string{net.JoinHostPort(g.Bind(), "80")}
	case g.Local():
		return []string{net.JoinHostPort(g.Bind(), port)}
	case port == "":
		port = "443"
	}
	return []string{":" + port, ":80"}
}

func (g gateway) checkPort(address string) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return g.listenError(address, err)
	}
	return ln.Close()
}

// listenError says what to do about a port that can't be had.
func (g gateway) listenError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && g.Local():
		return fmt.Errorf("%s is in use by another program: choose a free port for the gateway, as in --from http://localhost:8081", address)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %s is in use by another program: stop that one; if it is a Caddy, add what --print writes to its Caddyfile", address[1:])
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be listened on by this user: ports below 1024 take root, or on Linux once: "+
			"sudo setcap cap_net_bind_service=+ep <this program>", address)
	}
	return fmt.Errorf("listening on %s: %w", address, err)
}

// checkDataDir looks whether state can be kept.
func checkDataDir(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".mcp-gateway-*"); err == nil {
			return errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	return fmt.Errorf("the data directory can't be written: %w: choose another one with XDG_DATA_HOME", err)
}

// wrapping is what Caddy puts around an error: which module loaded which.
var wrapping = regexp.MustCompile(`provision [a-z._]+: |app module: start: `)

// startError drops Caddy's account of an error and keeps what went wrong, in
// one line.
func startError(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "in use by another process"):
		return fmt.Errorf("another gateway uses the data directory %s: stop it, or choose another one with XDG_DATA_HOME", caddy.AppDataDir())
	case strings.Contains(text, "module not registered"):
		return fmt.Errorf("this Caddy lacks a part of the gateway: build it with github.com/caddy-mcp/caddy-mcp-auth/caddymodule/standard: %w", oneLine(text))
	}
	if marks := wrapping.FindAllStringIndex(text, -1); len(marks) > 0 {
		text = text[marks[len(marks)-1][1]:]
	}
	return oneLine(text)
}

func oneLine(text string) error { return errors.New(strings.ReplaceAll(text, "\n", "; ")) }
