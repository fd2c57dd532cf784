package clients_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// agent is a client program of some SDK in a session, for tests that hold all of
// them to the same.
type agent interface {
	// use calls a tool with toolArgs.
	use(t *testing.T, tool string) used
	// tools returns the names of the tools that it is shown, sorted.
	tools(t *testing.T) []string
}

// used is what a program got of a call, and what went over the wire.
type used struct {
	text string
	err  error
	code int64 // of a JSON-RPC error
	exchanges
}

// must calls a tool that has to succeed.
func must(t *testing.T, a agent, tool string) exchanges {
	t.Helper()
	u := a.use(t, tool)
	if u.err != nil || u.text == "" {
		u.log(t)
		t.Fatalf("%s: %q, %v", tool, u.text, u.err)
	}
	return u.exchanges
}

// goAgent is a goClient in a session.
type goAgent struct {
	client  *goClient
	session *mcp.ClientSession
	tag     int
}

func (a *goAgent) use(t *testing.T, tool string) used {
	t.Helper()
	a.client.rec.take()
	text, err := call(t, a.session, tool, toolArgs(tool, a.tag))
	u := used{text: text, err: err, exchanges: a.client.rec.take()}
	if rpc, ok := errors.AsType[*jsonrpc.Error](err); ok {
		u.code = rpc.Code
	}
	return u
}

func (a *goAgent) tools(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	list, err := a.session.ListTools(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	return names
}

// tsAgent is a script that has connected.
type tsAgent struct {
	*script
	tag int
}

func (a *tsAgent) use(t *testing.T, tool string) used {
	t.Helper()
	got := a.try(t, command{Do: "call", Tool: tool, Args: toolArgs(tool, a.tag)})
	u := used{exchanges: got.Exchanges}
	if !got.OK {
		u.err = errors.New(got.Error)
		if code, ok := got.Code.(float64); ok {
			u.code = int64(code)
		}
		return u
	}
	u.text = got.text()
	if failed, _ := got.Result["isError"].(bool); failed {
		u.err = fmt.Errorf("%s answered %v", tool, got.Result)
	}
	return u
}

func (a *tsAgent) tools(t *testing.T) []string {
	t.Helper()
	list, _ := a.must(t, command{Do: "list"}).Result["tools"].([]any)
	var names []string
	for _, tool := range list {
		tool, _ := tool.(map[string]any)
		names = append(names, fmt.Sprint(tool["name"]))
	}
	slices.Sort(names)
	return names
}

// agentKind is a way in which a program of some SDK is known and talks.
type agentKind struct {
	name string
	// start connects to the gateway at base. The tag is in its calls.
	start func(t *testing.T, base string, tag int) agent
}

// goKind is the Go SDK over a path in a revision.
func goKind(name, path, revision string, known ...goKnown) agentKind {
	return agentKind{"Go " + name, func(t *testing.T, base string, tag int) agent {
		t.Helper()
		c := newGoClient(t, base+path, known...)
		return &goAgent{c, c.connect(t, revision), tag}
	}}
}

// tsKind is a generation of the TypeScript SDK over a transport.
func tsKind(name, generation, transport string, known ...command) agentKind {
	path := map[string]string{"http": "/mcp", "sse": "/sse"}[transport]
	return agentKind{"TypeScript " + name, func(t *testing.T, base string, tag int) agent {
		t.Helper()
		c := startTS(t, generation, transport, base+path)
		for _, k := range known {
			c.must(t, k)
		}
		c.must(t, command{Do: "connect"})
		return &tsAgent{c, tag}
	}}
}

// forEachAgent runs a test for each kind at once.
func forEachAgent(t *testing.T, base string, kinds []agentKind, test func(t *testing.T, a agent, tag int)) {
	t.Helper()
	for i, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			test(t, kind.start(t, base, i+1), i+1)
		})
	}
}
