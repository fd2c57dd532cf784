package policy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// answers is how the upstream answers a request whose body was read.
type answers func(w http.ResponseWriter, r *http.Request, body string)

// seen is a request as the upstream got it.
type seen struct {
	method, target, body string
	length               int64
	header, trailer      http.Header
}

// upstream is an MCP server that remembers what reaches it.
type upstream struct {
	*httptest.Server
	answer atomic.Pointer[answers]
	// early, unless nil, sees a request before its body is read.
	early atomic.Pointer[http.HandlerFunc]
	open  atomic.Int64 // requests in progress
	mu    sync.Mutex
	log   []seen
}

func newUpstream(tb testing.TB) *upstream {
	u := new(upstream)
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	tb.Cleanup(u.Close)
	return u
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	u.open.Add(1)
	defer u.open.Add(-1)
	if early := u.early.Load(); early != nil {
		(*early)(w, r)
	}
	body, _ := io.ReadAll(r.Body) // what came counts
	u.mu.Lock()
	u.log = append(u.log, seen{r.Method, r.RequestURI, string(body), r.ContentLength, r.Header.Clone(), r.Trailer.Clone()})
	u.mu.Unlock()
	if answer := u.answer.Load(); answer != nil && *answer != nil {
		(*answer)(w, r, string(body))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
}

func (u *upstream) addr() string { return u.Listener.Addr().String() }

// take returns what was recorded since the last call.
func (u *upstream) take() []seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	log := u.log
	u.log = nil
	return log
}

func (u *upstream) one(tb testing.TB) seen {
	tb.Helper()
	log := u.take()
	if len(log) != 1 {
		tb.Fatalf("the upstream saw %d requests, not one", len(log))
	}
	return log[0]
}

func (u *upstream) none(tb testing.TB) {
	tb.Helper()
	for _, s := range u.take() {
		tb.Errorf("reached the upstream: %s %s %s", s.method, s.target, s.body)
	}
}

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
	r.up.none(tb)
}

func (r *rig) wantPassed(tb testing.TB, reply gatewaytest.Reply) {
	tb.Helper()
	wantStatus(tb, reply, http.StatusOK)
	r.up.one(tb)
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
