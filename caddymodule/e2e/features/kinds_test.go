package features_test

import (
	"flag"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The revisions of the protocol.
const (
	r2024   = "2024-11-05"
	r202503 = "2025-03-26"
	r202506 = "2025-06-18"
	r202511 = "2025-11-25"
	r2026   = "2026-07-28"
)

// every tries all revisions in all kinds: go test ./caddymodule/e2e/features -full
var every = flag.Bool("full", false, "try every revision with every transport")

// kind is a way to serve MCP.
type kind struct {
	name string
	// revisions are those that it can serve, and usual those that are tried
	// without -full.
	revisions, usual []string
	// serve puts a server on HTTP.
	serve func(get func(*http.Request) *mcp.Server) http.Handler
	// sessions says that the server remembers its clients: it may ask them, can
	// be told to stop, and tells them what changes.
	sessions bool
	// notices says that a client hears what a server says during a call.
	notices bool
	// resumes says that a broken stream goes on where it broke off.
	resumes bool
	// sse says that it is the transport of 2024-11-05.
	sse bool
}

// kinds are all ways that the SDK has.
func kinds() []kind {
	streamable := func(o mcp.StreamableHTTPOptions, events bool) func(func(*http.Request) *mcp.Server) http.Handler {
		o.PropagateRequestCancellation = true
		return func(get func(*http.Request) *mcp.Server) http.Handler {
			if events {
				o.EventStore = mcp.NewMemoryEventStore(nil)
			}
			return mcp.NewStreamableHTTPHandler(get, &o)
		}
	}
	sse := func(get func(*http.Request) *mcp.Server) http.Handler { return mcp.NewSSEHandler(get, nil) }
	old, all := []string{r202503, r202506, r202511}, []string{r202503, r202506, r202511, r2026}
	return []kind{
		{name: "sessions", revisions: old, usual: old, serve: streamable(mcp.StreamableHTTPOptions{}, true), sessions: true, notices: true, resumes: true},
		{name: "sessions-json", revisions: old, usual: old[1:2], serve: streamable(mcp.StreamableHTTPOptions{JSONResponse: true}, false), sessions: true, notices: true},
		{name: "stateless", revisions: all, usual: []string{r202503, r2026}, serve: streamable(mcp.StreamableHTTPOptions{Stateless: true}, false), notices: true},
		{name: "stateless-json", revisions: all, usual: []string{r202511, r2026}, serve: streamable(mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}, false)},
		{name: "sse", revisions: append([]string{r2024}, old...), usual: []string{r2024, r202511}, serve: sse, sessions: true, notices: true, sse: true},
	}
}

// run is one client of one server.
type run struct {
	kind
	revision string
}

// runs lists them all.
func runs() []run {
	var all []run
	for _, k := range kinds() {
		tried := k.usual
		if *every {
			tried = k.revisions
		}
		for _, r := range tried {
			all = append(all, run{k, r})
		}
	}
	return all
}

func (r run) String() string { return r.name + "-" + r.revision }

// modern says that the revision has no sessions.
func (r run) modern() bool { return r.revision >= r2026 }

// hears says that a client hears of changes.
func (r run) hears() bool { return r.sessions || r.modern() }

// server returns a new server for it.
func (r run) server() *full {
	if r.sse {
		// Or a client that asks early is told of revisions that this has not.
		return newFull(r202511, r202506, r202503, r2024)
	}
	return newFull()
}
