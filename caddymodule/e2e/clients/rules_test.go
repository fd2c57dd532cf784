package clients_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
	"github.com/caddy-mcp/caddy-mcp-auth/mockmcp"
)

// counted is a mockmcp that counts the calls of its tools: what clients are told
// is one thing, what the server saw another.
type counted struct {
	address string

	mu    sync.Mutex
	calls map[string]int // by tool and arguments
}

// serveCounted runs it until the test ends.
func serveCounted(t *testing.T) *counted {
	t.Helper()
	c := &counted{calls: map[string]int{}}
	server := mockmcp.New(mockmcp.Options{})
	next := server.Handler()
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			c.count(r)
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		host.CloseClientConnections()
		host.Close()
		if n := server.LeakedCredentials(); n > 0 {
			t.Errorf("the MCP server was shown %d credentials", n)
		}
	})
	c.address = strings.TrimPrefix(host.URL, "http://")
	return c
}

func (c *counted) count(r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing is missing for the server, too
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m struct {
		Method string
		Params struct {
			Name      string
			Arguments map[string]any
		}
	}
	if json.Unmarshal(body, &m) == nil && m.Method == "tools/call" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls[fmt.Sprint(m.Params.Name, m.Params.Arguments)]++
	}
}

// seen returns how often the server saw a tool called with toolArgs.
func (c *counted) seen(tool string, tag int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[fmt.Sprint(tool, toolArgs(tool, tag))]
}

// toolArgs are arguments with which a tool of mockmcp succeeds. Those of the tools
// that have any bear the tag, so that calls of clients that share a server differ.
func toolArgs(tool string, tag int) map[string]any {
	switch tool {
	case "hello":
		return map[string]any{"name": fmt.Sprint("client ", tag)}
	case "add_numbers":
		return map[string]any{"a": tag, "b": 1}
	case "get_weather":
		return map[string]any{"location": fmt.Sprint("Place ", tag)}
	case "list_files":
		return map[string]any{"path": "/"}
	}
	return map[string]any{}
}

// ruled is the harness's Caddyfile with further options of the directive, and of
// the app.
func ruled(t *testing.T, rules string, app ...string) string {
	t.Helper()
	const mark = "\t\tpublic /health"
	text := configured(t, app...)
	if strings.Count(text, mark) != 1 {
		t.Fatal("the harness's Caddyfile has changed: adapt ruled")
	}
	return strings.Replace(text, mark, rules+"\n"+mark, 1)
}

// steppingRules are of a server where every tool but one needs a step-up.
const steppingRules = `
		scopes mcp:tools:read
		step_up_scopes math:add weather:read places:read
		hierarchy files:admin files:read
		tool hello            require scope mcp:tools:read
		tool add_numbers      require scope math:add
		tool get_weather      require scope weather:read places:read
		tool list_files       require scope files:admin
		tool get_user_profile require scope files:read`

// wantTools fails the test unless the client is shown these tools, in order.
func wantTools(t *testing.T, a agent, want ...string) {
	t.Helper()
	if got := a.tools(t); !slices.Equal(got, want) {
		t.Errorf("tools: %q, want %q", got, want)
	}
}

// refused are the refusals of calls with a token.
func (es exchanges) refused() exchanges {
	return slices.DeleteFunc(slices.Clone(es), func(e exchange) bool {
		return !e.Bearer || e.Status < 400 || e.Status == http.StatusMethodNotAllowed
	})
}

// authorized counts the ways to a new token.
func (es exchanges) authorized() int {
	return len(es.to("/oauth/authorize")) + len(es.to("/oauth/token")) + len(es.to("/oauth/register"))
}

// asked returns the scopes of the only authorization request, sorted and without
// offline_access.
func (es exchanges) asked(t *testing.T) []string {
	t.Helper()
	visits := es.to("/oauth/authorize")
	if len(visits) != 1 {
		t.Fatalf("%d authorization requests, want 1", len(visits))
	}
	scopes := strings.Fields(strings.Replace(visits[0].Query["scope"], "offline_access", "", 1))
	slices.Sort(scopes)
	return scopes
}

// stepping is a gateway with steppingRules and further options.
func stepping(t *testing.T, more string, app ...string) (*gatewaytest.Gateway, *counted) {
	t.Helper()
	upstream := serveCounted(t)
	return gatewaytest.Start(t, gatewaytest.Options{Caddyfile: ruled(t, steppingRules+more, app...), Upstream: upstream.address}), upstream
}
