package mockmcp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// The transports that a Server can speak.
const (
	// TransportHTTP serves everything: streamable HTTP at /mcp, HTTP+SSE at /sse, plain JSON-RPC and the pages.
	TransportHTTP = "http"
	// TransportSSE leaves streamable HTTP out, as a server written before 2025-03-26 would.
	TransportSSE = "sse"
)

const (
	serverName    = "mockmcp"
	serverTitle   = "Example MCP server"
	serverVersion = "1.0.0"
	about         = "A small MCP server with made-up data, for trying out the gateway in front of it."

	// maxBody is the largest request body that any endpoint reads.
	maxBody = 1 << 20

	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 5 * time.Second
)

// Options configures a Server. The zero value is ready to use.
type Options struct {
	// Logger receives the log. Requests are logged at debug level, leaked credentials at error level.
	// Default: slog.Default().
	Logger *slog.Logger

	// Transport is TransportHTTP or TransportSSE. Default: TransportHTTP.
	Transport string
}

// Server is one example MCP server. It is safe for concurrent use.
type Server struct {
	log       *slog.Logger
	transport string
	tools     []*tool
	routes    []route
	mux       *http.ServeMux
	leaked    atomic.Int64

	// identityKey is where withIdentity puts the identity headers. No caller can guess it, so none can forge them.
	identityKey string
}

// New makes a Server. It panics when o.Transport is not one of the constants, which is a mistake in the calling program.
func New(o Options) *Server {
	return newServer(o, allTools())
}

func newServer(o Options, tools []*tool) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Transport == "" {
		o.Transport = TransportHTTP
	}
	if o.Transport != TransportHTTP && o.Transport != TransportSSE {
		panic(fmt.Sprintf("mockmcp: unknown transport %q", o.Transport))
	}
	s := &Server{
		log: o.Logger, transport: o.Transport, tools: tools, mux: http.NewServeMux(),
		identityKey: serverName + "/" + rand.Text(),
	}
	s.routes = s.table()
	for _, r := range s.routes {
		s.mux.Handle(r.pattern(), r.handler)
	}
	return s
}

// Handler serves all endpoints. It trusts what mounts it to have checked the Host and Origin of a request; Serve adds
// its own check for callers that come past the gateway.
func (s *Server) Handler() http.Handler {
	return s.watch(s.logRequests(s.mux))
}

// LeakedCredentials is how many credentials this server was shown, although the gateway should have kept them.
func (s *Server) LeakedCredentials() int64 {
	return s.leaked.Load()
}

// Serve answers requests on ln until ctx ends, then ends the open streams, lets the other requests finish and returns
// nil. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	streams, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	srv := &http.Server{
		Handler: s.watch(s.logRequests(guard(s.mux))),
		// No write timeout: a stream stays open for as long as its client wants it.
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return streams },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	srv.RegisterOnShutdown(endStreams)

	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}

	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("stopping: %w", err), srv.Close())
	}
	return nil
}
