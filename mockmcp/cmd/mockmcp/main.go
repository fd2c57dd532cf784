package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/caddy-mcp/caddy-mcp-auth/mockmcp"
)

const usage = `mockmcp: an example MCP server with made-up data

It has no sign-in of its own and believes the X-Mcp-* headers it gets: put the gateway in front of it.

Usage: mockmcp [flags]

  --transport http|sse   http serves /mcp and /sse, sse leaves /mcp out (default http)
  --host ADDRESS         address to listen on (default 127.0.0.1)
  --port PORT            port to listen on, 0 picks a free one (default 9000)
  --log-level LEVEL      debug, info, warn or error (default info)
  --help                 show this text
`

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// config is what the flags say.
type config struct {
	transport string
	address   string
	level     slog.Level
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "mockmcp: %v (--help shows the flags)\n", err)
		return exitUsage
	}
	ln, err := net.Listen("tcp", cfg.address)
	if errors.Is(err, syscall.EADDRINUSE) {
		fmt.Fprintf(stderr, "mockmcp: %s is in use: stop the other program, or choose another --port\n", cfg.address)
		return exitFailed
	}
	if err != nil {
		fmt.Fprintf(stderr, "mockmcp: can't listen on %s: %v\n", cfg.address, err)
		return exitFailed
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: cfg.level}))
	log.Info("mockmcp is ready", "address", "http://"+ln.Addr().String(), "transport", cfg.transport)
	srv := mockmcp.New(mockmcp.Options{Logger: log, Transport: cfg.transport})
	if err := srv.Serve(ctx, ln); err != nil {
		fmt.Fprintf(stderr, "mockmcp: %v\n", err)
		return exitFailed
	}
	log.Info("mockmcp has stopped")
	return exitOK
}

// parse reads the flags. The error is one line, or flag.ErrHelp.
func parse(args []string) (config, error) {
	flags := flag.NewFlagSet("mockmcp", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	transport := flags.String("transport", mockmcp.TransportHTTP, "")
	host := flags.String("host", "127.0.0.1", "")
	port := flags.String("port", "9000", "")
	level := flags.String("log-level", "info", "")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *transport != mockmcp.TransportHTTP && *transport != mockmcp.TransportSSE {
		return config{}, fmt.Errorf("--transport %q: choose http or sse", *transport)
	}
	if *host == "" || strings.ContainsAny(*host, " /") {
		return config{}, fmt.Errorf("--host %q: give an address, for example 127.0.0.1", *host)
	}
	if _, err := strconv.ParseUint(*port, 10, 16); err != nil {
		return config{}, fmt.Errorf("--port %q: choose a number from 0 to 65535", *port)
	}
	lvl, ok := levels[*level]
	if !ok {
		return config{}, fmt.Errorf("--log-level %q: choose debug, info, warn or error", *level)
	}
	return config{transport: *transport, address: net.JoinHostPort(strings.Trim(*host, "[]"), *port), level: lvl}, nil
}
