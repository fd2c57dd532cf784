package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule"
	"github.com/caddy-mcp/caddy-mcp-auth/mockmcp"
)

// demoCommand is caddy mcp-demo: the root Caddyfile in front of mockmcp, both
// in this process.
func demoCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "mcp-demo",
		Usage: "[--config <path>]",
		Short: "Runs the auth gateway in front of a small MCP server, to try it out",
		Long: `
Starts mockmcp, an example MCP server, on a free port and the gateway in front
of it, and prints what to try next. Everyone is approved without asking, so it
listens on this machine only. State is kept in Caddy's data directory.

The environment variables that it understands are listed in the README.`,
		CobraFunc: func(cmd *cobra.Command) {
			config := cmd.Flags().String("config", "Caddyfile", "The Caddyfile of the demo")
			cmd.Args = cobra.NoArgs
			cmd.Run = func(cmd *cobra.Command, _ []string) {
				welcome, err := startDemo(*config)
				if err != nil {
					cmd.PrintErrln("mcp-demo: " + err.Error())
					os.Exit(caddy.ExitCodeFailedStartup)
				}
				fmt.Print(welcome)
				select {} // signals end the process
			}
		},
	}
}

// startDemo starts both servers and returns what to tell the person.
func startDemo(config string) (string, error) {
	caddy.TrapSignals()
	env, err := demoEnvironment(os.LookupEnv)
	if err != nil {
		return "", err
	}
	if err := checkPort(env.address); err != nil {
		return "", err
	}
	if err := checkDir(caddy.AppDataDir()); err != nil {
		return "", err
	}
	if env.vars["UPSTREAM"], err = startMock(); err != nil {
		return "", err
	}
	for name, value := range env.vars {
		if err := os.Setenv(name, value); err != nil {
			return "", fmt.Errorf("setting %s: %w", name, err)
		}
	}
	adapted, err := demoConfig(config, env)
	if err != nil {
		return "", err
	}
	if err := caddy.Load(adapted, true); err != nil {
		return "", rootCause(err)
	}
	return env.welcome(), nil
}

// checkPort says beforehand, and in one line, what would fail deep inside.
func checkPort(address string) error {
	ln, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program: stop it, or choose another port with SERVER_URL=http://localhost:8081", address)
	}
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	return ln.Close()
}

// checkDir does the same for the place where state is kept.
func checkDir(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".mcp-demo-*"); err == nil {
			return errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	return fmt.Errorf("the data directory can't be written: %w: choose another one with XDG_DATA_HOME", err)
}

// rootCause drops Caddy's account of which module loaded which, and keeps what
// went wrong.
func rootCause(err error) error {
	text := err.Error()
	if strings.Contains(text, "in use by another process") {
		return fmt.Errorf("another demo uses the data directory %s: stop it, or choose another one with XDG_DATA_HOME", caddy.AppDataDir())
	}
	if marks := provisioning.FindAllStringIndex(text, -1); len(marks) > 0 {
		text = text[marks[len(marks)-1][1]:]
	}
	return errors.New(strings.ReplaceAll(text, "\n", "; "))
}

var provisioning = regexp.MustCompile(`provision [a-z._]+: |app module: start: `)

// startMock runs mockmcp on a free port until the process ends, and returns
// its address.
func startMock() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("starting mockmcp: %w", err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server := mockmcp.New(mockmcp.Options{Logger: logger})
	go func() {
		if err := server.Serve(context.Background(), ln); err != nil {
			logger.Error("mockmcp ended", "error", err)
		}
	}()
	return ln.Addr().String(), nil
}

// demoConfig adapts the Caddyfile and adds what an environment variable says
// that a Caddyfile can't take from it.
func demoConfig(path string, env *environment) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s here: run mcp-demo in the project's folder, or name the file with --config", path)
	}
	if err != nil {
		return nil, err
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": path})
	if err != nil {
		return nil, err
	}
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		return nil, fmt.Errorf("reading the adapted configuration: %w", err)
	}
	if config.AppsRaw["mcp_auth"] == nil {
		return nil, fmt.Errorf("%s has no global option mcp_auth", path)
	}
	var app caddymodule.App
	if err := json.Unmarshal(config.AppsRaw["mcp_auth"], &app); err != nil {
		return nil, fmt.Errorf("reading the adapted configuration: %w", err)
	}
	env.apply(&app)
	config.AppsRaw["mcp_auth"] = caddyconfig.JSON(&app, nil)
	return json.Marshal(config)
}
