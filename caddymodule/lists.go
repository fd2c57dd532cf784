package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/policy"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// maxList bounds an answer that is filtered, and an event of one, in bytes.
const maxList = 32 << 20

// listFilter takes out of the server's lists what the caller may not call. An
// answer in JSON is held back until it is whole; a stream goes on event by event.
type listFilter struct {
	rules   *policy.Policy
	who     policy.Caller
	gets    func(oauth.Scope) bool
	ctx     context.Context //nolint:containedctx // of the call that it belongs to
	private bool            // the revision knows cacheScope

	state  filterState
	status int
	whole  bytes.Buffer
	events *mcp.EventFilter
	packed *decodingWriter // before events, if they come compressed
	failed error
}

type filterState uint8

const (
	filterIdle   filterState = iota // the answer has no list
	filterWhole                     // it is held back
	filterEvents                    // it is a stream
)

// listFilterFor returns the filter of a call, or nil if no list can be in its
// answer. A GET has them too: HTTP+SSE answers there, and a stream that was
// resumed. The server is asked for an answer that is not compressed.
func (h *Handler) listFilterFor(c *call, r *http.Request, t *resource.Token) *listFilter {
	if h.rules == nil || !h.reads || h.rules.DryRun() {
		return nil
	}
	asked := c.said != nil && slices.ContainsFunc(c.said.Messages, func(m mcp.Message) bool { _, is := m.List(); return is })
	if !asked && r.Method != http.MethodGet {
		return nil
	}
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Del("Range")
	return &listFilter{
		rules: h.rules, who: h.newCaller(t, r), ctx: c.tellOf(r, t),
		gets:    func(scopes oauth.Scope) bool { return h.obtainable(t, scopes) },
		private: mcp.Mirrors(r.Header.Get(mcp.HeaderProtocolVersion)),
	}
}

// tellOf is the context in which entries of lists are judged. What the call itself
// said stays what placeholders say.
func (c *call) tellOf(r *http.Request, t *resource.Token) context.Context {
	if c.said == nil { // a GET
		new(said).tell(r, t)
	}
	return r.Context()
}

// keep reports whether a list shows an entry to the caller.
func (f *listFilter) keep(l mcp.List, name string) bool {
	return f.rules.Visible(f.ctx, &f.who, l, name, f.gets)
}

func (f *listFilter) rewrite(message []byte) ([]byte, error) {
	return mcp.FilterAnswer(message, f.keep, f.private)
}

// begin looks at the head of an answer, and reports whether it is held back or replaced. The
// answer to a POST is an event stream or one message, whatever the server calls it:
// clients may not look. A GET has lists in streams only.
func (f *listFilter) begin(g *responseGuard, status int, mediaType string) bool {
	h := g.Header()
	if g.events {
		decode, err := decoderOf(h)
		if err != nil {
			f.failed = err
			g.replaceList()
			g.end() // nobody would read the rest of it
			return true
		}
		f.state = filterEvents
		f.events = mcp.NewEventFilter(writerFunc(g.send), maxList, f.rewrite)
		if decode != nil {
			f.packed = newDecodingWriter(f.events, decode)
		}
		dropDescribed(h)
		return false
	}
	if g.request.Method != http.MethodPost || status >= http.StatusBadRequest && mediaType != "application/json" {
		return false
	}
	f.state, f.status = filterWhole, status
	return true
}

// Write takes a part of the answer.
func (f *listFilter) Write(p []byte) (int, error) {
	if f.state == filterEvents {
		var to io.Writer = f.events
		if f.packed != nil {
			to = f.packed
		}
		n, err := to.Write(p)
		if err != nil {
			f.failed = err
		}
		return n, err
	}
	if f.failed == nil && f.whole.Len()+len(p) > maxList {
		f.failed = errListTooLong
		f.whole = bytes.Buffer{}
	}
	if f.failed == nil {
		f.whole.Write(p)
	}
	return len(p), nil
}

var errListTooLong = fmt.Errorf("the list is longer than %d bytes", maxList)

// finish sends what was held back.
func (f *listFilter) finish(g *responseGuard) {
	if f.state == filterEvents {
		if f.packed != nil {
			f.failed = errors.Join(f.failed, f.packed.Close())
		}
		f.failed = errors.Join(f.failed, f.events.Close())
		return
	}
	out, err := f.answer(g.Header())
	if f.failed = errors.Join(f.failed, err); f.failed != nil {
		g.replaceList()
		return
	}
	h := g.Header()
	h.Set("Content-Length", strconv.Itoa(len(out)))
	g.ResponseWriterWrapper.WriteHeader(f.status)
	_, _ = g.send(out) // the client is gone if this fails
}

// writerFunc is a function as an io.Writer.
type writerFunc func(p []byte) (int, error)

// Write implements io.Writer.
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// replaceList answers in the place of a list that can't be read.
func (g *responseGuard) replaceList() {
	g.replace(http.StatusBadGateway, oauth.CodeServerError,
		"the MCP server behind this gateway answered with a list that the gateway can't read: its operator finds the reason in the log")
}

// answer is the whole answer without what the caller may not call. It changes the
// headers if the answer changes.
func (f *listFilter) answer(h http.Header) ([]byte, error) {
	if f.failed != nil || f.whole.Len() == 0 {
		return nil, f.failed
	}
	text := f.whole.Bytes()
	decode, err := decoderOf(h)
	if err == nil && decode != nil {
		text, err = decoded(text, decode)
	}
	if err != nil {
		return nil, err
	}
	out, err := f.rewrite(text)
	if err != nil {
		return nil, fmt.Errorf("reading a list: %w", err)
	}
	dropDescribed(h)
	return out, nil
}

// release ends what filters a stream, whether it was finished or not.
func (f *listFilter) release() {
	if f.packed != nil {
		f.packed.stop()
	}
}
