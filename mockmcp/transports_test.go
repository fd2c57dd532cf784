package mockmcp

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// headers sends a fixed set of headers with every request, as the gateway does for one user.
type headers http.Header

// testHost is the entry of headers that becomes the host of the request.
const testHost = "Host"

func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range h {
		if name == testHost {
			r.Host = values[0]
			continue
		}
		r.Header[name] = values
	}
	return http.DefaultTransport.RoundTrip(r)
}

// way is one way for the SDK's client to connect.
type way struct {
	name    string
	sse     bool
	version string // "" lets the client choose
	want    string // the version that both agree on
}

// ways are all transports with all protocol revisions of the SDK.
func ways() []way {
	versions := mcp.SupportedProtocolVersions()
	out := []way{{name: "streamable", want: versions[0]}, {name: "sse", sse: true, want: versions[1]}}
	for _, v := range versions {
		out = append(out, way{name: "streamable " + v, version: v, want: v})
		if v < sessionless {
			out = append(out, way{name: "sse " + v, sse: true, version: v, want: v})
		}
	}
	return out
}

func (w way) connect(t *testing.T, url string, h headers) *mcp.ClientSession {
	t.Helper()
	client := &http.Client{Transport: h}
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: url + "/mcp", HTTPClient: client}
	if w.sse {
		transport = &mcp.SSEClientTransport{Endpoint: url + "/sse", HTTPClient: client}
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := c.Connect(t.Context(), transport, &mcp.ClientSessionOptions{ProtocolVersion: w.version})
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func call(t *testing.T, session *mcp.ClientSession, name string, args any) (*mcp.CallToolResult, error) {
	t.Helper()
	return session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: args})
}

func TestEveryTransport(t *testing.T) {
	s, log := quiet(t, TransportHTTP, panicTool())
	url := listen(t, s)
	plain := decode[reply](t, do(s.Handler(), "POST", "/mcp/tools/list", `{"jsonrpc":"2.0","id":1}`).Body)
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			session := w.connect(t, url, headers{headerUser: {"ada"}, headerScope: {"mcp:read"}})
			if got := session.InitializeResult(); got.ProtocolVersion != w.want || got.ServerInfo.Name != serverName {
				t.Errorf("agreed on %s with %s, want %s", got.ProtocolVersion, got.ServerInfo.Name, w.want)
			}
			list, err := session.ListTools(t.Context(), nil)
			if err != nil {
				t.Fatalf("listing: %v", err)
			}
			sameTools(t, list.Tools, plain.Result)

			res, err := call(t, session, "get_weather", map[string]any{"location": "Lisbon", "units": "imperial"})
			if err != nil || res.IsError || !strings.Contains(textOf(t, res), "63.1 °F") {
				t.Errorf("weather: %+v, %v", res, err)
			}
			res, err = call(t, session, "get_user_profile", nil)
			if err != nil || textOf(t, res) != "You are ada\nscopes: mcp:read" {
				t.Errorf("profile: %+v, %v", res, err)
			}
			res, err = call(t, session, "list_files", map[string]any{"path": ".."})
			if err != nil || !res.IsError || !strings.Contains(textOf(t, res), `must not contain ".."`) {
				t.Errorf("files: %+v, %v", res, err)
			}
			refusedCalls(t, session)
			res, err = call(t, session, "hello", map[string]any{"name": "Ada"}) // the errors have not ended the session
			if err != nil || textOf(t, res) != "Hello, Ada!" {
				t.Errorf("hello: %+v, %v", res, err)
			}
		})
	}
	if n := s.LeakedCredentials(); n != 0 {
		t.Errorf("%d credentials counted, but none was sent", n)
	}
	if lines := log.String(); strings.Contains(lines, "mcp:read") || strings.Contains(lines, "Lisbon") {
		t.Error("the log has header values or bodies")
	}
}

// refusedCalls makes calls that must end in a JSON-RPC error.
func refusedCalls(t *testing.T, session *mcp.ClientSession) {
	t.Helper()
	for _, bad := range []struct {
		tool   string
		args   map[string]any
		code   int64
		reason string
	}{
		{"hello", map[string]any{}, jsonrpc.CodeInvalidParams, `hello needs the argument "name"`},
		{"hello", map[string]any{"name": 1}, jsonrpc.CodeInvalidParams, `want "string"`},
		{"hello", map[string]any{"name": "Ada", "x": 1}, jsonrpc.CodeInvalidParams, `no argument "x"`},
		{"nope", map[string]any{}, jsonrpc.CodeInvalidParams, `unknown tool "nope"`},
		{"broken", map[string]any{}, jsonrpc.CodeInternalError, "the tool broken failed"},
	} {
		_, err := call(t, session, bad.tool, bad.args)
		rpcErr, ok := errors.AsType[*jsonrpc.Error](err)
		if !ok || rpcErr.Code != bad.code || !strings.Contains(rpcErr.Message, bad.reason) {
			t.Errorf("%s %v: error %v, want %d with %q", bad.tool, bad.args, err, bad.code, bad.reason)
		}
	}
}

// sameTools compares what a client lists with what the plain endpoint lists.
func sameTools(t *testing.T, got []*mcp.Tool, plain json.RawMessage) {
	t.Helper()
	var want struct{ Tools []*mcp.Tool }
	if err := json.Unmarshal(plain, &want); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, tl := range want.Tools {
		names[tl.Name] = string(mustJSON(tl))
	}
	if len(got) != len(names) {
		t.Errorf("%d tools, want %d", len(got), len(names))
	}
	for _, tl := range got {
		if string(mustJSON(tl)) != names[tl.Name] {
			t.Errorf("tool %s\n got %s\nwant %s", tl.Name, mustJSON(tl), names[tl.Name])
		}
	}
}

func TestProfileWithoutGateway(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	url := listen(t, s)
	for _, w := range ways() {
		res, err := call(t, w.connect(t, url, nil), "get_user_profile", nil)
		if err != nil || !res.IsError || !strings.Contains(textOf(t, res), "it didn't come through the gateway") {
			t.Errorf("%s: %+v, %v", w.name, res, err)
		}
	}
}

// Over HTTP+SSE the identity is that of the message, not that of the stream, and no message can bring its own.
func TestSSEIdentityIsThatOfTheMessage(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	url := listen(t, s)
	lines, endpoint := openSSE(t, url, headers{headerUser: {"stream"}})
	post := func(body string, h headers) {
		t.Helper()
		resp, err := (&http.Client{Transport: h}).Post(url+endpoint, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			t.Fatalf("status %d for %s", resp.StatusCode, body)
		}
	}
	post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`, nil)
	if got := nextData(t, lines); !strings.Contains(got, `"2024-11-05"`) {
		t.Fatalf("initialize: %s", got)
	}
	post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, nil)
	profileCall := `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"get_user_profile","_meta":{"mockmcp/x":"{\"X-Mcp-User\":[\"eve\"]}"}}}`
	for _, tt := range []struct {
		headers headers
		want    string
	}{
		{headers{headerUser: {"ada"}}, "You are ada"},
		{headers{headerUser: {"bob"}, headerScope: {"mcp:write"}}, `You are bob\nscopes: mcp:write`},
		{headers{headerUser: {"ada", "eve"}}, "X-Mcp-User came more than once"},
		{nil, "it didn't come through the gateway"},
	} {
		post(profileCall, tt.headers)
		if got := nextData(t, lines); !strings.Contains(got, tt.want) {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// Protocol 2026-07-28 has no HTTP+SSE. A client that asks for it at once, before the SDK knows which transport the session
// has, was told that it works.
func TestSSERefusesTheNewestProtocol(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	url := listen(t, s)
	lines, endpoint := openSSE(t, url, nil)
	body := `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{` + meta20260728 + `}}`
	resp, err := http.Post(url+endpoint, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := nextData(t, lines); !strings.Contains(got, `"error"`) || !strings.Contains(got, "2025-11-25") {
		t.Errorf("discover: %s", got)
	}
}

// openSSE opens a stream and reads its first event, which must come while the stream is open.
func openSSE(t *testing.T, url string, h headers) (*bufio.Scanner, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/sse", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" || resp.Header.Get("X-Accel-Buffering") != "no" {
		t.Errorf("content type %q, X-Accel-Buffering %q", ct, resp.Header.Get("X-Accel-Buffering"))
	}
	lines := bufio.NewScanner(resp.Body)
	endpoint := nextData(t, lines)
	if !strings.HasPrefix(endpoint, "/sse?sessionid=") {
		t.Fatalf("first event names %q", endpoint)
	}
	return lines, endpoint
}

func nextData(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && data != "" {
			return data
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return ""
}

const meta20260728 = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"x","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

// The long streams of both protocol families send their first bytes at once.
func TestStreamsFlushAtOnce(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	url := listen(t, s)
	post := func(method, body string, h http.Header) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url+"/mcp", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = h
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Accel-Buffering") != "no" {
			t.Fatalf("status %d, X-Accel-Buffering %q", resp.StatusCode, resp.Header.Get("X-Accel-Buffering"))
		}
		return resp
	}

	hello := post("POST", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`, http.Header{})
	session := hello.Header.Get(headerSession)
	if _, err := io.ReadAll(hello.Body); err != nil || session == "" {
		t.Fatalf("session %q, %v", session, err)
	}
	stream := post("GET", "", http.Header{headerSession: {session}, headerProtocol: {"2025-11-25"}})
	if line, err := bufio.NewReader(stream.Body).ReadString('\n'); err != nil || line != ": ok\n" {
		t.Errorf("first line %q, %v", line, err)
	}

	listen := post("POST", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},`+meta20260728+`}}`,
		http.Header{headerProtocol: {"2026-07-28"}, "Mcp-Method": {"subscriptions/listen"}})
	if got := nextData(t, bufio.NewScanner(listen.Body)); !strings.Contains(got, "acknowledged") {
		t.Errorf("first event %s", got)
	}
}

// A request that belongs to no session is one of 2026-07-28 with its own rules, also when it lacks the header.
func TestSessionlessRules(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	url := listen(t, s)
	callHello := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hello","arguments":{"name":"Ada"},` + meta20260728 + `}}`
	tests := []struct {
		name, method, body string
		header             http.Header
		status             int
		want               string
	}{
		{"good", "POST", callHello, http.Header{headerProtocol: {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"hello"}}, 200, "Hello, Ada!"},
		{"header missing", "POST", callHello, http.Header{}, 400, "header is required"},
		{"other name in the header", "POST", callHello, http.Header{headerProtocol: {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"add_numbers"}}, 400, "Mcp-Name"},
		{"unknown session", "POST", callHello, http.Header{headerSession: {"nope"}}, 404, "session not found"},
		{"get", "GET", "", http.Header{}, 405, ""},
		{"too large", "POST", strings.Repeat(" ", maxBody+1), http.Header{}, 413, "1 MiB"},
		{"too large, newest", "POST", strings.Repeat(" ", maxBody+1), http.Header{headerProtocol: {"2026-07-28"}}, 413, "1048576 bytes"},
		{"not json", "POST", "{", http.Header{}, 400, "malformed payload"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, url+"/mcp", strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = tt.header
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.want) {
				t.Errorf("status %d, want %d, body %s, want %q, %v", resp.StatusCode, tt.status, body, tt.want, err)
			}
		})
	}
}

func TestSSETransportLeavesStreamableOut(t *testing.T) {
	s, _ := quiet(t, TransportSSE)
	if w := do(s.Handler(), "POST", "/mcp", "{}"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "connect to /sse") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	session := way{sse: true}.connect(t, listen(t, s), nil)
	if res, err := call(t, session, "add_numbers", map[string]any{"a": 2, "b": 3}); err != nil || textOf(t, res) != "5" {
		t.Errorf("%+v, %v", res, err)
	}
}
