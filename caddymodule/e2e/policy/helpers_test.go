package policy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// rpc is a request with the id given as JSON; params are the members of it.
func rpc(id, method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s}}`, id, method, params)
}

// tool is a call of a tool, quoted as JSON.
func tool(name string) string {
	quoted, err := json.Marshal(name)
	if err != nil {
		panic(err)
	}
	return rpc("1", "tools/call", `"name":`+string(quoted))
}

// client sends what it is told with a token.
type client struct {
	tb            testing.TB
	target, token string
}

func (r *rig) client(tb testing.TB, path, scope string, params ...string) client {
	tb.Helper()
	return client{tb, r.URL + path, r.token(tb, path, scope, params...)}
}

const streamable = "application/json, text/event-stream"

// post sends a body as clients of streamable HTTP do. Headers given replace those
// that are usual.
func (c client) post(body string, header ...string) gatewaytest.Reply {
	c.tb.Helper()
	return c.send(http.MethodPost, body, header...)
}

func (c client) send(method, body string, header ...string) gatewaytest.Reply {
	c.tb.Helper()
	all := http.Header{"Content-Type": {"application/json"}, "Accept": {streamable}}
	if c.token != "" {
		all.Set("Authorization", "Bearer "+c.token)
	}
	given := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		given.Add(header[i], header[i+1])
	}
	maps.Copy(all, given)
	var flat []string
	for name, values := range all {
		for _, v := range values {
			flat = append(flat, name, v)
		}
	}
	return gatewaytest.Send(c.tb, method, c.target, body, flat...)
}

func wantStatus(tb testing.TB, r gatewaytest.Reply, status int) {
	tb.Helper()
	if r.Status != status {
		tb.Errorf("status %d, want %d: %s", r.Status, status, r.Body)
	}
}

// failure is a JSON-RPC error response.
type failure struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Error   struct {
		Code    int               `json:"code"`
		Message string            `json:"message"`
		Data    map[string]string `json:"data"`
	} `json:"error"`
}

// wantError expects a JSON-RPC error with an id, which nobody keeps.
func wantError(tb testing.TB, r gatewaytest.Reply, status, code int, id string) {
	tb.Helper()
	wantStatus(tb, r, status)
	var f failure
	if err := json.Unmarshal([]byte(r.Body), &f); err != nil {
		tb.Fatalf("no JSON-RPC error: %v: %s", err, r.Body)
	}
	f.check(tb, code, id)
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		tb.Errorf("Cache-Control: %s", got)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		tb.Errorf("Content-Type: %s", got)
	}
	if got := r.Header.Get("WWW-Authenticate"); (got != "") != (status == http.StatusForbidden) {
		tb.Errorf("challenge with status %d: %q", status, got)
	}
}

func (f failure) check(tb testing.TB, code int, id string) {
	tb.Helper()
	if f.JSONRPC != "2.0" || f.Error.Code != code || string(f.ID) != id || f.Error.Message == "" {
		tb.Errorf("answered %+v with id %s, want code %d and id %s", f.Error, f.ID, code, id)
	}
}

// JSON-RPC error codes of the gateway, as docs name them.
const (
	parseError     = -32700
	invalidRequest = -32600
	invalidParams  = -32602
	mismatch       = -32020
	denied         = -32010
	limited        = -32011
	noSession      = -32001
)

// wantDenied expects a denial without remedy, before the upstream.
func (r *rig) wantDenied(tb testing.TB, reply gatewaytest.Reply) {
	tb.Helper()
	wantError(tb, reply, http.StatusOK, denied, "1")
	r.up.None(tb)
}

func (r *rig) wantPassed(tb testing.TB, reply gatewaytest.Reply) {
	tb.Helper()
	wantStatus(tb, reply, http.StatusOK)
	r.up.One(tb)
}

// eventually waits until a condition holds.
func eventually(tb testing.TB, within time.Duration, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(within)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if ok() {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s", within, what)
		}
	}
}

// members lists what a string of names has, for tables.
func members(text string) []string { return strings.Fields(text) }

func decode(tb testing.TB, text string, into any) {
	tb.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		tb.Fatalf("%v: %s", err, text)
	}
}
