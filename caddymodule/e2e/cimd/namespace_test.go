package cimd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// inside names the environment variable that is set within the namespace.
const inside = "CIMD_NAMESPACE"

// The addresses of the namespace: one that looks public, and internal ones.
const public = "93.184.215.14"

var internal = []string{"127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "::1", "fd00::1"}

// names is what resolves there. Names below internal.example.com lead to the
// internal addresses.
func names() map[string]string {
	all := map[string]string{
		"localhost": "127.0.0.1", "client.example.com": public, "static.example.net": public, "claude.ai": public,
	}
	for i, address := range internal {
		all[internalName(i)] = address
	}
	return all
}

func internalName(i int) string { return fmt.Sprintf("a%d.internal.example.com", i) }

// TestMain runs the tests in a namespace: this program again, within it.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	status, err := runInside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "no network namespace could be made: it takes root and iproute2:", err)
		if os.Getenv("REQUIRE_BACKENDS") == "1" {
			os.Exit(1)
		}
		status = m.Run() // every test says that it is skipped
	}
	os.Exit(status)
}

// needsNamespace skips a test outside of the namespace.
func needsNamespace(tb testing.TB) {
	tb.Helper()
	if os.Getenv(inside) == "" {
		tb.Skip("no network namespace could be made")
	}
}

// runInside makes a namespace, runs the tests in it, and removes it. The error
// is about the namespace and not about the tests.
func runInside() (status int, err error) {
	if _, err := gatewaytest.Binary(); err != nil { // the namespace can't fetch anything to build it
		return 0, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	name := fmt.Sprintf("mcpauth-%d", os.Getpid())
	if err := ip(ctx, "netns", "add", name); err != nil {
		return 0, err
	}
	etc := filepath.Join("/etc/netns", name)
	defer func() {
		err = errors.Join(err, ip(context.Background(), "netns", "delete", name), os.RemoveAll(etc))
	}()
	if err := furnish(ctx, name, etc); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", name, os.Args[0]}, os.Args[1:]...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), inside+"="+name)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return 1, nil
	}
	return 0, err
}

// furnish gives the namespace addresses and names.
func furnish(ctx context.Context, name, etc string) error {
	err := ip(ctx, "-n", name, "link", "set", "lo", "up")
	for _, address := range append([]string{public}, internal...) {
		if strings.HasPrefix(address, "127.") || address == "::1" {
			continue // they are there already
		}
		bits := "/32"
		if strings.Contains(address, ":") {
			bits = "/128"
		}
		err = errors.Join(err, ip(ctx, "-n", name, "address", "add", address+bits, "dev", "lo"))
	}
	var hosts strings.Builder
	for host, address := range names() {
		fmt.Fprintf(&hosts, "%s %s\n", address, host)
	}
	return errors.Join(err,
		os.MkdirAll(etc, 0o755),
		os.WriteFile(filepath.Join(etc, "hosts"), []byte(hosts.String()), 0o600),
		os.WriteFile(filepath.Join(etc, "resolv.conf"), []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o600),
	)
}

func ip(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
