package caddymodule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// exitDrain is how long answers to calls may still take when the process ends.
const exitDrain = 10 * time.Second

// streamEnd says when an open stream must end.
type streamEnd struct {
	exit  <-chan struct{}         // closed when the process ends
	at    time.Time               // the token's expiry, or zero
	watch func(end func()) func() // subscribes to the grant's revocation, or nil
	end   context.CancelFunc      // cancels the upstream request
}

// responseGuard stands between the upstream server's answer and the client. It
// keeps the upstream's own authentication, cookies and CORS away from clients,
// who would take them for ours, and ends streams with their token: event
// streams, and other answers but JSON that don't say how long they are.
type responseGuard struct {
	*caddyhttp.ResponseWriterWrapper
	open    bool   // no token was needed
	origin  string // may read the answer, or empty
	stream  streamEnd
	server  string // the Server header before the upstream set its own
	get     bool   // the request was a GET
	wrote   bool
	events  bool // the answer is an event stream
	blocked bool // the upstream's answer was replaced
	ended   atomic.Bool
	release []func()
}

func newResponseGuard(w http.ResponseWriter, d resource.Decision, stream streamEnd) *responseGuard {
	return &responseGuard{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		open:                  d.Open,
		origin:                d.AllowOrigin,
		stream:                stream,
		server:                w.Header().Get("Server"),
	}
}

// serve calls the next handler. An event stream that was ended because its
// token ended is complete as far as the client can tell, which will connect
// again; the proxy, which sees a broken connection, wants to abort it. Any other
// answer stays broken, so that nobody takes a part for the whole.
func (g *responseGuard) serve(next caddyhttp.Handler, r *http.Request) (err error) {
	g.get = r.Method == http.MethodGet
	defer func() {
		g.dropTrailers()
		for _, f := range g.release {
			f()
		}
		if !g.ended.Load() || !g.events {
			return
		}
		if p := recover(); p != nil {
			if e, ok := p.(error); !ok || !errors.Is(e, http.ErrAbortHandler) {
				panic(p)
			}
		}
		err = nil
	}()
	return next.ServeHTTP(g, r)
}

// WriteHeader cleans the upstream's headers, and replaces an answer that would
// send clients to another authorization server.
func (g *responseGuard) WriteHeader(status int) {
	if g.wrote {
		return
	}
	h := g.Header()
	foreignChallenge := !g.open && (status == http.StatusUnauthorized || status == http.StatusForbidden && h.Get("WWW-Authenticate") != "")
	g.clean()
	if status >= 100 && status < 200 {
		g.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	g.wrote = true
	if g.origin != "" {
		allowOrigin(h, g.origin)
	}
	if foreignChallenge {
		g.block()
		return
	}
	if g.mayGoOn(status) {
		g.limitStream()
	}
	g.ResponseWriterWrapper.WriteHeader(status)
}

// mayGoOn reports whether an answer may be an endless stream. A JSON answer is
// one message, to a call whose token was good when it was made.
func (g *responseGuard) mayGoOn(status int) bool {
	h := g.Header()
	mediaType, _, _ := strings.Cut(strings.ToLower(h.Get("Content-Type")), ";")
	g.events = strings.TrimSpace(mediaType) == "text/event-stream"
	return g.events || h.Get("Content-Length") == "" && strings.TrimSpace(mediaType) != "application/json" &&
		status != http.StatusNoContent && status != http.StatusNotModified
}

// clean removes what the upstream server has no business to tell our clients.
// A site without a token keeps its own CORS rules.
func (g *responseGuard) clean() {
	h := g.Header()
	for _, name := range []string{"Www-Authenticate", "Proxy-Authenticate", "Set-Cookie", "Trailer", "X-Powered-By", "Server"} {
		delete(h, name)
	}
	if g.server != "" {
		h.Set("Server", g.server)
	}
	for name := range h {
		if !g.open && strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
}

// dropTrailers removes trailers that were not announced. MCP has none, and they
// would get around clean.
func (g *responseGuard) dropTrailers() {
	h := g.Header()
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(h, name)
		}
	}
}

// block replaces the answer by 502: the upstream server wants credentials that
// this gateway was not configured to send.
func (g *responseGuard) block() {
	g.blocked = true
	h := g.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified"} {
		h.Del(name)
	}
	writeJSONError(g.ResponseWriterWrapper, http.StatusBadGateway, oauth.CodeServerError,
		"the MCP server behind this gateway refused the gateway's request: its operator has to look at the server's own authentication")
}

// limitStream ends the stream when its token expires, its grant is revoked or
// the process ends.
func (g *responseGuard) limitStream() {
	end := func() {
		g.ended.Store(true)
		g.stream.end()
	}
	over := make(chan struct{})
	g.release = append(g.release, func() { close(over) })
	go func() {
		select {
		case <-g.stream.exit:
		case <-over:
			return
		}
		if !g.get || !g.events {
			// It may be the answer to a call, and end by itself.
			select {
			case <-time.After(exitDrain):
			case <-over:
				return
			}
		}
		end()
	}()
	if !g.stream.at.IsZero() {
		timer := time.AfterFunc(time.Until(g.stream.at), end)
		g.release = append(g.release, func() { timer.Stop() })
	}
	if g.stream.watch != nil {
		g.release = append(g.release, g.stream.watch(end))
	}
}

// Write implements http.ResponseWriter.
func (g *responseGuard) Write(p []byte) (int, error) {
	g.WriteHeader(http.StatusOK)
	if g.blocked {
		return len(p), nil
	}
	return g.ResponseWriterWrapper.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (g *responseGuard) ReadFrom(r io.Reader) (int64, error) {
	g.WriteHeader(http.StatusOK)
	if g.blocked {
		return io.Copy(io.Discard, r)
	}
	return g.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError lets nothing out before the headers are clean.
func (g *responseGuard) FlushError() error {
	g.WriteHeader(http.StatusOK)
	return http.NewResponseController(g.ResponseWriterWrapper).Flush()
}

// Interface guards
var (
	_ http.ResponseWriter = (*responseGuard)(nil)
	_ io.ReaderFrom       = (*responseGuard)(nil)
)
