package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

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
		Flags: func() *flag.FlagSet {
			fs := flag.NewFlagSet("mcp-demo", flag.ExitOnError)
			fs.String("config", "Caddyfile", "The Caddyfile of the demo")
			return fs
		}(),
		Func: runDemo,
	}
}

func runDemo(fl caddycmd.Flags) (int, error) {
	caddy.TrapSignals()
	env, err := demoEnvironment(os.LookupEnv)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	upstream, err := startMock()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	env.vars["UPSTREAM"] = upstream
	for name, value := range env.vars {
		if err := os.Setenv(name, value); err != nil {
			return caddy.ExitCodeFailedStartup, fmt.Errorf("setting %s: %w", name, err)
		}
	}
	config, err := demoConfig(fl.String("config"), env)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if err := caddy.Load(config, true); err != nil {
		return caddy.ExitCodeFailedStartup, explain(err, env)
	}
	fmt.Print(env.welcome())
	select {} // signals end the process
}

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
	var app caddymodule.App
	if err := json.Unmarshal(config.AppsRaw["mcp_auth"], &app); err != nil {
		return nil, fmt.Errorf("%s has no mcp_auth app: %w", path, err)
	}
	env.apply(&app)
	config.AppsRaw["mcp_auth"] = caddyconfig.JSON(&app, nil)
	return json.Marshal(config)
}

// explain says in one line what the likely mistakes look like to a person.
func explain(err error, env *environment) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another program: stop it, or set SERVER_URL=http://localhost:8081", env.vars["SERVER_URL"])
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("the data directory %s can't be written: set XDG_DATA_HOME to a folder that can (%w)", caddy.AppDataDir(), err)
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(line)
}
