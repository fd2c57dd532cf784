package features_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// patience bounds whatever is waited for.
const patience = 20 * time.Second

// client uses a server and keeps the record of it.
type client struct {
	run
	t *testing.T
	*mcp.ClientSession
	wire   *wire
	sdk    *mcp.Client
	server *full
	// steps are what was done and what came of it, in order.
	steps []string

	mu sync.Mutex
	// heard are notifications and requests of the server by their method, each
	// in order.
	heard  map[string][]string
	wanted map[string]int
	news   chan struct{} // something was heard
}

// connect opens a session at a URL.
func (r run) connect(t *testing.T, server *full, base, place, token string) *client {
	t.Helper()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	c := &client{
		run: r, t: t, server: server, heard: map[string][]string{}, wanted: map[string]int{}, news: make(chan struct{}, 1),
		wire: &wire{base: transport, token: token, place: place},
	}
	hc := &http.Client{Transport: c.wire}
	var way mcp.Transport = &mcp.StreamableClientTransport{Endpoint: base + place, HTTPClient: hc}
	if r.sse {
		way = &mcp.SSEClientTransport{Endpoint: base + place, HTTPClient: hc}
	}
	c.sdk = mcp.NewClient(&mcp.Implementation{Name: "features", Version: "1"}, c.options())
	c.sdk.AddRoots(&mcp.Root{Name: "home", URI: "file:///home/ü"}) //nolint:staticcheck // old, but in use
	if err := mcp.AddSendingCustomMethod[*searchParams, *searchResult](c.sdk, "acme/search"); err != nil {
		t.Fatal(err)
	}
	var err error
	// The test's context, as the SDK's stream lives as long as it.
	c.ClientSession, err = c.sdk.Connect(t.Context(), way, &mcp.ClientSessionOptions{ProtocolVersion: r.revision})
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	if got := c.InitializeResult().ProtocolVersion; got != r.revision {
		t.Fatalf("the revision is %s, not %s", got, r.revision)
	}
	return c
}

// options answer whatever the server asks, and write down all it says.
//
//nolint:staticcheck // roots, sampling and logging are old, but in use
func (c *client) options() *mcp.ClientOptions {
	return &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{
			RootsV2:     &mcp.RootCapabilities{ListChanged: true},
			Sampling:    &mcp.SamplingCapabilities{},
			Elicitation: &mcp.ElicitationCapabilities{Form: &mcp.FormElicitationCapabilities{}, URL: &mcp.URLElicitationCapabilities{}},
		},
		CreateMessageHandler: func(_ context.Context, r *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			c.hear("sampling", r.Params)
			return &mcp.CreateMessageResult{Content: &mcp.TextContent{Text: "4"}, Model: "m", Role: "assistant", StopReason: "endTurn"}, nil
		},
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			c.hear("elicitation", r.Params)
			res := &mcp.ElicitResult{Action: "accept"}
			if r.Params.Mode != "url" {
				res.Content = map[string]any{"name": "Ada", "age": 36.0}
			}
			return res, nil
		},
		ElicitationCompleteHandler: func(_ context.Context, r *mcp.ElicitationCompleteNotificationRequest) { c.hear("elicited", r.Params) },
		ToolListChangedHandler:     func(_ context.Context, r *mcp.ToolListChangedRequest) { c.hear("tools changed", r.Params) },
		PromptListChangedHandler:   func(_ context.Context, r *mcp.PromptListChangedRequest) { c.hear("prompts changed", r.Params) },
		ResourceListChangedHandler: func(_ context.Context, r *mcp.ResourceListChangedRequest) { c.hear("resources changed", r.Params) },
		ResourceUpdatedHandler:     func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { c.hear("updated", r.Params) },
		LoggingMessageHandler:      func(_ context.Context, r *mcp.LoggingMessageRequest) { c.hear("log", r.Params) },
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			c.hear("progress", r.Params)
		},
	}
}

func (c *client) hear(what string, params any) {
	text, err := json.Marshal(params)
	c.mu.Lock()
	c.heard[what] = append(c.heard[what], fmt.Sprintf("%s %v", text, err))
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// await waits until it has heard n more of something.
func (c *client) await(what string, n int) {
	c.t.Helper()
	c.wanted[what] += n
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		have := len(c.heard[what])
		c.mu.Unlock()
		if have >= c.wanted[what] {
			return
		}
		select {
		case <-c.news:
		case <-deadline:
			c.t.Fatalf("after %q: heard %d of %q, not %d", last(c.steps), have, what, c.wanted[what])
		}
	}
}

// arrives waits until the server has got something.
func arrives[T any](c *client, what string, from <-chan T) {
	c.t.Helper()
	select {
	case v := <-from:
		c.note("server: "+what, v, nil)
	case <-time.After(patience):
		c.t.Fatalf("after %q: the server does not hear of it: %s", last(c.steps), what)
	}
}

func last(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

func (c *client) note(step string, res any, err error) {
	text, bad := json.Marshal(res)
	if bad != nil {
		c.t.Fatalf("%s: %v", step, bad)
	}
	line := step + "\n" + string(text)
	if err != nil {
		line = step + "\nerror " + err.Error()
	}
	if rpc, ok := errors.AsType[*jsonrpc.Error](err); ok {
		line += fmt.Sprintf("\n%d %s %s", rpc.Code, rpc.Message, rpc.Data)
	}
	c.steps = append(c.steps, line)
}

// does makes a step that succeeds.
func does[P, R any](c *client, step string, f func(context.Context, P) (R, error), params P) R {
	c.t.Helper()
	res, err := try(c, step, f, params)
	if err != nil {
		c.t.Errorf("%s: %v", step, err)
	}
	return res
}

// fails makes a step that fails.
func fails[P, R any](c *client, step string, f func(context.Context, P) (R, error), params P) {
	c.t.Helper()
	if _, err := try(c, step, f, params); err == nil {
		c.t.Errorf("%s did not fail", step)
	}
}

func try[P, R any](c *client, step string, f func(context.Context, P) (R, error), params P) (R, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	res, err := f(ctx, params)
	c.note(step, res, err)
	return res, err
}

// quiet makes a function of one that has no result.
func quiet[P any](f func(context.Context, P) error) func(context.Context, P) (any, error) {
	return func(ctx context.Context, p P) (any, error) { return nil, f(ctx, p) }
}
