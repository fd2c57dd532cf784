package caddymodule

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/policy"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// call is one request on its way through a Handler. All that it needs is made in
// one piece, because this is what the gateway adds to every request. It is not
// used again for others: an upstream server may read the rest of a body, or look
// at the context, after its answer was sent.
type call struct {
	ctx    callContext
	body   callBody
	answer responseGuard
	values resource.Values // of the headers that are set

	said   *reading   // what was read of it; nil where nobody had to
	stream *openCalls // the place of a stream, or nil
}

// reading is what was read of a call, and what the rules say about it.
type reading struct {
	mcp.Body
	said
	text     textBody         // as it was sent
	odd      error            // why there are no messages, where it went on all the same
	verdicts []policy.Verdict // of each message
	room     [1]policy.Verdict
}

// newCall gives a request the context of a call. It edits the request in place, as
// other handlers of Caddy do: the placeholders of the request are bound to this very
// one, and a copy would be the largest part of what a call costs. It is the only time:
// later on the proxy's goroutines look at the request, also when its answer is over.
func newCall(r *http.Request) *call {
	c := new(call)
	c.ctx.Context, c.ctx.Find = r.Context(), metaOf //nolint:fatcontext // no context inside a former one of a loop
	*r = *r.WithContext(&c.ctx)
	return c
}

// next hands the request on and guards the answer.
func (c *call) next(w http.ResponseWriter, r *http.Request, d resource.Decision, stream streamEnd, next caddyhttp.Handler) error {
	cancel := c.ctx.begin()
	defer c.ctx.over.Store(true)
	defer cancel()
	stream.exit, stream.end = &exiting, cancel
	if r.Body != nil && r.Body != http.NoBody {
		c.body.ReadCloser = r.Body
		r.Body = &c.body
		defer c.body.settle()
	}
	c.answer.guard(w, d, stream)
	return c.answer.serve(next, r)
}

// callContext is the context of a request from newCall on. While the call is with the
// next handlers it can be cancelled; afterwards it is what it was before, for those
// who handle the request then.
type callContext struct {
	oauth.LazyMeta
	under context.Context //nolint:containedctx // it is a part of a context
	over  atomic.Bool
}

// begin is called once, before anybody else knows of the context.
func (c *callContext) begin() (cancel context.CancelFunc) {
	c.Find = lateMetaOf
	c.under, cancel = context.WithCancel(&c.LazyMeta)
	return cancel
}

// now is the context that counts.
func (c *callContext) now() context.Context {
	if c.under == nil || c.over.Load() {
		return &c.LazyMeta
	}
	return c.under
}

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} { return c.now().Done() }

// Err implements context.Context.
func (c *callContext) Err() error { return c.now().Err() }

// Value implements context.Context.
func (c *callContext) Value(key any) any { return c.now().Value(key) }

// callBody is the body of a call. The connection to the upstream server reads it,
// in a goroutine that may go on when the answer is there already.
type callBody struct {
	io.ReadCloser
	mu sync.Mutex
}

// Read implements io.Reader.
func (b *callBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ReadCloser.Read(p)
}

// settle makes what was read visible to who looks at it when the call is over: Caddy
// logs how much it was. It does not wait for a read that is under way, whose client
// may take its time.
func (b *callBody) settle() {
	if b.mu.TryLock() {
		b.mu.Unlock()
	}
}
