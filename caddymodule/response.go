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

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/authserver"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// exitDrain is how long answers to calls may still take when the process ends.
const exitDrain = 10 * time.Second

// streamEnd says when an open stream must end: at by this machine's clock.
type streamEnd struct {
	exit  *openStreams                                 // those that end with the process, or nil
	at    time.Time                                    // the token's expiry, or zero
	token *resource.Token                              // what watch is called with
	watch func(t *resource.Token, w *authserver.Watch) // begins a watch of the token's revocation, or nil
	end   context.CancelFunc                           // cancels the upstream request
}

// responseGuard stands between the upstream server's answer and the client. It
// keeps the upstream's own authentication, cookies and CORS away from clients,
// who would take them for ours, and ends streams with their token: event
// streams, and other answers but JSON that don't say how long they are.
type responseGuard struct {
	caddyhttp.ResponseWriterWrapper
	origin  string // may read the answer, or empty
	stream  streamEnd
	server  []string      // the Server header before the upstream set its own
	request *http.Request // the upstream one, while it is served
	size    int64         // of the body that was sent so far

	lists    *listFilter // takes entries out of lists, or nil
	sessions *Handler    // binds sessions that the server opens, or nil

	// What ends a stream is here and not in closures: servers answer most calls
	// with an event stream of one message.
	timer   *time.Timer // for the token's expiry, or nil
	revoked authserver.Watch
	part    uint32 // of openStreams
	limited bool
	patient bool // it may be the answer to a call, and end by itself

	open    bool // no token was needed
	wrote   bool
	events  bool   // the answer is an event stream
	blocked bool   // the upstream's answer was replaced
	status  uint16 // that was answered
	ended   atomic.Bool
}

// guard puts a responseGuard before a writer.
func (g *responseGuard) guard(w http.ResponseWriter, d resource.Decision, stream streamEnd) {
	g.ResponseWriterWrapper.ResponseWriter = w
	g.open, g.origin = d.Open, d.AllowOrigin
	g.stream = stream
	g.server = w.Header()["Server"]
}

// serve calls the next handler. An event stream that was ended because its
// token ended is complete as far as the client can tell, which will connect
// again; the proxy, which sees a broken connection, wants to abort it. Any other
// answer stays broken, so that nobody takes a part for the whole.
func (g *responseGuard) serve(next caddyhttp.Handler, r *http.Request) (err error) {
	g.request = r
	defer func() {
		g.dropTrailers()
		g.unlimit()
		if g.lists != nil {
			g.lists.release()
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
	if err = next.ServeHTTP(g, r); err == nil && g.lists != nil && g.lists.state != filterIdle && !g.blocked {
		g.lists.finish(g)
	}
	return err
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
	g.wrote, g.status = true, uint16(status) //nolint:gosec // three digits
	if g.origin != "" {
		allowOrigin(h, g.origin)
	}
	if foreignChallenge {
		g.replace(http.StatusBadGateway, oauth.CodeServerError,
			"the MCP server behind this gateway refused the gateway's request: its operator has to look at what the server wants, and at what the gateway sends it (upstream_header)")
		return
	}
	if g.sessions != nil {
		if id := h.Get(sessionHeader); id != "" || g.request.Header.Get(sessionHeader) != "" {
			g.sessions.bindSession(g.request, status, id, g.stream.token)
		}
	}
	mediaType := g.mediaType()
	g.events = mediaType == "text/event-stream"
	if g.mayGoOn(status, mediaType) {
		g.limitStream()
	}
	if g.lists != nil && g.lists.begin(g, status, mediaType) {
		return // finish writes it, if begin has not
	}
	g.ResponseWriterWrapper.WriteHeader(status)
}

// mediaType is that of the answer, in lower case.
func (g *responseGuard) mediaType() string {
	mediaType, _, _ := strings.Cut(strings.ToLower(g.Header().Get("Content-Type")), ";")
	return strings.TrimSpace(mediaType)
}

// mayGoOn reports whether an answer may be an endless stream. A JSON answer is
// one message, to a call whose token was good when it was made.
func (g *responseGuard) mayGoOn(status int, mediaType string) bool {
	return g.events || g.Header().Get("Content-Length") == "" && mediaType != "application/json" &&
		status != http.StatusNoContent && status != http.StatusNotModified
}

// clean removes what the upstream server has no business to tell our clients.
// A site without a token keeps its own CORS rules.
func (g *responseGuard) clean() {
	h := g.Header()
	for _, name := range []string{"Www-Authenticate", "Proxy-Authenticate", "Set-Cookie", "Trailer", "X-Powered-By", "Server"} {
		delete(h, name)
	}
	if g.server != nil {
		h["Server"] = g.server
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

// replace answers with an error of ours instead, because the server's answer is
// nothing for clients. What the server still says is dropped.
func (g *responseGuard) replace(status int, code, description string) {
	g.blocked, g.status = true, uint16(status) //nolint:gosec // three digits
	dropDescribed(g.Header())
	body := jsonError(code, description)
	g.size = int64(len(body))
	writeError(&g.ResponseWriterWrapper, status, body, new(resource.Values))
}

// dropDescribed drops the headers that describe a body which becomes another one.
func dropDescribed(h http.Header) {
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Content-Md5", "Digest", "Repr-Digest", "Content-Digest"} {
		h.Del(name)
	}
}

// limitStream ends the stream when its token expires, its grant is revoked or
// the process ends.
func (g *responseGuard) limitStream() {
	end := g.end
	g.patient = g.request.Method != http.MethodGet || !g.events
	g.limited = true
	if !g.stream.at.IsZero() {
		g.timer = time.AfterFunc(time.Until(g.stream.at), end)
	}
	if g.stream.watch != nil {
		g.revoked.End = end
		g.stream.watch(g.stream.token, &g.revoked)
	}
	if g.stream.exit != nil {
		g.stream.exit.add(g)
	}
}

// unlimit takes it all back, when the stream is over.
func (g *responseGuard) unlimit() {
	if !g.limited {
		return
	}
	if g.timer != nil {
		g.timer.Stop()
	}
	g.revoked.Stop()
	if g.stream.exit != nil {
		g.stream.exit.remove(g)
	}
}

// end ends the stream now.
func (g *responseGuard) end() {
	g.ended.Store(true)
	g.stream.end()
}

// exit ends the stream because the process ends.
func (g *responseGuard) exit() {
	if !g.patient {
		g.end()
		return
	}
	time.AfterFunc(exitDrain, g.end) // does nothing to a stream that is over by then
}

// Write implements http.ResponseWriter.
func (g *responseGuard) Write(p []byte) (int, error) {
	g.WriteHeader(http.StatusOK)
	switch {
	case g.blocked:
		return len(p), nil
	case g.filters():
		return g.lists.Write(p)
	}
	return g.send(p)
}

// send writes to the client.
func (g *responseGuard) send(p []byte) (int, error) {
	n, err := g.ResponseWriterWrapper.Write(p)
	g.size += int64(n)
	return n, err
}

// filters reports whether the body goes through the filter of lists.
func (g *responseGuard) filters() bool { return g.lists != nil && g.lists.state != filterIdle }

// ReadFrom implements io.ReaderFrom.
func (g *responseGuard) ReadFrom(r io.Reader) (n int64, err error) {
	g.WriteHeader(http.StatusOK)
	switch {
	case g.blocked:
		return io.Copy(io.Discard, r)
	case g.filters():
		return io.Copy(struct{ io.Writer }{g}, r)
	}
	n, err = g.ResponseWriterWrapper.ReadFrom(r)
	g.size += n
	return n, err
}

// FlushError lets nothing out before the headers are clean, nor what is held back.
func (g *responseGuard) FlushError() error {
	g.WriteHeader(http.StatusOK)
	if g.filters() && g.lists.state == filterWhole {
		return nil
	}
	return http.NewResponseController(&g.ResponseWriterWrapper).Flush()
}

// Interface guards
var (
	_ http.ResponseWriter = (*responseGuard)(nil)
	_ io.ReaderFrom       = (*responseGuard)(nil)
)
