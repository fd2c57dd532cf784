package caddymodule

import (
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

// call is one request on its way through a Handler. All that it needs is made in
// one piece, because this is what the gateway adds to every request. It is not
// used again for others: an upstream server may read the rest of a body, or look
// at the context, after its answer was sent.
type call struct {
	meta   oauth.LazyMeta
	body   callBody
	answer responseGuard
	values resource.Values // of the headers that are set
}

// newCall gives a request the context of a call.
func newCall(r *http.Request) *call {
	c := new(call)
	c.meta.Context, c.meta.Find = r.Context(), metaOf //nolint:fatcontext // no context inside a former one of a loop
	setContext(&c.meta, r)
	return c
}

// setContext edits a request in place, as other handlers of Caddy do: the
// placeholders of the request are bound to this very one, and a copy for each
// context would be the largest part of what a call costs. Who sets one sets the
// former one again when the request comes back.
func setContext(ctx context.Context, r *http.Request) { *r = *r.WithContext(ctx) }

// next hands the request on and guards the answer.
func (c *call) next(w http.ResponseWriter, r *http.Request, d resource.Decision, stream streamEnd, next caddyhttp.Handler) error {
	ctx, cancel := context.WithCancel(&c.meta)
	defer cancel()
	setContext(ctx, r)
	if r.Body != nil && r.Body != http.NoBody {
		c.body.ReadCloser = r.Body
		r.Body = &c.body
		defer c.body.settle()
	}
	stream.exit, stream.end = &exiting, cancel
	c.answer.guard(w, d, stream)
	return c.answer.serve(next, r)
}

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
