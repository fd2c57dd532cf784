package mockmcp

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestPlainErrors(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	h := s.Handler()
	tests := []struct {
		name, path, body string
		status, code     int
		id, reason       string
	}{
		{"empty", "tools/list", ``, 400, jsonrpc.CodeParseError, `null`, "unexpected EOF"},
		{"cut off", "tools/list", `{"jsonrpc":`, 400, jsonrpc.CodeParseError, `null`, "unexpected EOF"},
		{"two values", "tools/list", `{} {}`, 400, jsonrpc.CodeParseError, `null`, "after top-level value"},
		{"bad utf-8", "tools/list", "{\"\xff\":1}", 400, jsonrpc.CodeParseError, `null`, "invalid UTF-8"},
		{"twice the same name", "tools/list", `{"jsonrpc":"2.0","id":1,"id":2}`, 400, jsonrpc.CodeParseError, `null`, `duplicate object member name "id"`},
		{"too deep", "tools/list", strings.Repeat("[", 20000), 400, jsonrpc.CodeParseError, `null`, "max"},
		{"batch", "tools/list", `[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]`, 400, jsonrpc.CodeInvalidRequest, `null`, "batch"},
		{"string", "tools/list", `"tools/list"`, 400, jsonrpc.CodeInvalidRequest, `null`, "not an object"},
		{"null", "tools/list", `null`, 400, jsonrpc.CodeInvalidRequest, `null`, "not an object"},
		{"no id", "tools/list", `{"jsonrpc":"2.0","method":"tools/list"}`, 400, jsonrpc.CodeInvalidRequest, `null`, "id is missing"},
		{"null id", "tools/list", `{"jsonrpc":"2.0","id":null}`, 400, jsonrpc.CodeInvalidRequest, `null`, "id is missing"},
		{"object id", "tools/list", `{"jsonrpc":"2.0","id":{}}`, 400, jsonrpc.CodeInvalidRequest, `null`, "neither a string nor a number"},
		{"no version", "tools/list", `{"id":"x"}`, 400, jsonrpc.CodeInvalidRequest, `"x"`, `jsonrpc must be "2.0"`},
		{"number as version", "tools/list", `{"jsonrpc":2.0,"id":7}`, 400, jsonrpc.CodeInvalidRequest, `7`, `jsonrpc must be "2.0"`},
		{"other method", "tools/list", `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`, 400, jsonrpc.CodeInvalidRequest, `7`, `the method "tools/list" only`},
		{"method is a number", "tools/list", `{"jsonrpc":"2.0","id":7,"method":1}`, 400, jsonrpc.CodeInvalidRequest, `7`, `the method "tools/list" only`},
		{"params is an array", "tools/list", `{"jsonrpc":"2.0","id":7,"params":[]}`, 400, jsonrpc.CodeInvalidParams, `7`, "params must be an object"},
		{"version is a number", "initialize", `{"jsonrpc":"2.0","id":7,"params":{"protocolVersion":1}}`, 200, jsonrpc.CodeInvalidParams, `7`, "protocolVersion must be a string"},
		{"no params", "tools/call", `{"jsonrpc":"2.0","id":7}`, 200, jsonrpc.CodeInvalidParams, `7`, "needs the name of a tool"},
		{"name is a number", "tools/call", `{"jsonrpc":"2.0","id":7,"params":{"name":1}}`, 200, jsonrpc.CodeInvalidParams, `7`, "needs the name of a tool"},
		{"unknown tool", "tools/call", `{"jsonrpc":"2.0","id":7,"params":{"name":"Hello"}}`, 200, jsonrpc.CodeInvalidParams, `7`, `unknown tool "Hello"`},
		{"bad argument", "tools/call", `{"jsonrpc":"2.0","id":7,"params":{"name":"hello","arguments":{}}}`, 200, jsonrpc.CodeInvalidParams, `7`, `hello needs the argument "name"`},
		{"too large", "tools/call", strings.Repeat(" ", maxBody+1), 413, jsonrpc.CodeInvalidRequest, `null`, "larger than 1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := do(h, "POST", "/mcp/"+tt.path, tt.body)
			got := decode[reply](t, w.Body)
			if w.Code != tt.status || got.Version != "2.0" || string(got.ID) != tt.id || got.Result != nil {
				t.Errorf("status %d, reply %+v, want status %d and id %s", w.Code, got, tt.status, tt.id)
			}
			if got.Error == nil || got.Error.Code != tt.code || !strings.Contains(got.Error.Message, tt.reason) {
				t.Errorf("error %+v, want code %d with %q", got.Error, tt.code, tt.reason)
			}
			if ct := w.Header().Get("Content-Type"); ct != "application/json" {
				t.Errorf("content type %q", ct)
			}
		})
	}
}

func TestPlainInitialize(t *testing.T) {
	newest := mcp.SupportedProtocolVersions()[0]
	tests := map[string]string{`{}`: newest, `{"protocolVersion":"1999-01-01"}`: newest}
	for _, v := range mcp.SupportedProtocolVersions() {
		tests[`{"protocolVersion":"`+v+`","capabilities":{},"clientInfo":{"name":"x","version":"1"}}`] = v
	}
	s, _ := quiet(t, TransportHTTP)
	for params, want := range tests {
		w := do(s.Handler(), "POST", "/mcp/initialize", `{"jsonrpc":"2.0","id":"one","method":"initialize","params":`+params+`}`)
		got := decode[reply](t, w.Body)
		var res struct {
			ProtocolVersion string         `json:"protocolVersion"`
			Capabilities    map[string]any `json:"capabilities"`
			ServerInfo      struct{ Name, Version string }
		}
		if err := json.Unmarshal(got.Result, &res); err != nil || string(got.ID) != `"one"` {
			t.Fatalf("%s: %v, reply %+v", params, err, got)
		}
		if res.ProtocolVersion != want || res.Capabilities["tools"] == nil || res.ServerInfo.Name != serverName || res.ServerInfo.Version != serverVersion {
			t.Errorf("%s: %+v, want version %s", params, res, want)
		}
	}
}

func TestPlainListAndCall(t *testing.T) {
	s, _ := quiet(t, TransportSSE) // the plain endpoints are there with both transports
	got := decode[reply](t, do(s.Handler(), "POST", "/mcp/tools/list", `{"jsonrpc":"2.0","id":1.5}`).Body)
	var list struct{ Tools []*mcp.Tool }
	if err := json.Unmarshal(got.Result, &list); err != nil || string(got.ID) != "1.5" {
		t.Fatalf("%v, reply %+v", err, got)
	}
	var names []string
	for _, tl := range list.Tools {
		names = append(names, tl.Name)
		if schema, ok := tl.InputSchema.(map[string]any); !ok || schema["type"] != "object" || tl.Description == "" {
			t.Errorf("tool %+v", tl)
		}
	}
	if want := []string{"add_numbers", "get_user_profile", "get_weather", "hello", "list_files"}; !slices.Equal(names, want) {
		t.Errorf("tools %v, want %v", names, want)
	}
	w := do(s.Handler(), "POST", "/mcp/tools/call", `{"jsonrpc":"2.0","id":1,"params":{"name":"get_user_profile"}}`, headerUser, "ada", headerScope, "mcp:read")
	want := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"You are ada\nscopes: mcp:read"}],"structuredContent":{"user":"ada","scopes":["mcp:read"]}}}`
	if got := strings.TrimSpace(w.Body.String()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPlainTakesPostOnly(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	for _, path := range []string{"/mcp/initialize", "/mcp/tools/list", "/mcp/tools/call"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
			if w := do(s.Handler(), method, path, ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
				t.Errorf("%s %s: status %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, seed := range []string{
		``, `{`, `[]`, `null`, `{"jsonrpc":"2.0","id":1}`, `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"hello","arguments":{"name":"x"}}}`,
		`{"jsonrpc":"2.0","id":1,"params":{"_meta":{"a":[1]},"name":"get_user_profile"},"method":"tools/call"}`, `{"id":1,"id":2}`, "{\"\xff\":1}",
	} {
		f.Add([]byte(seed))
	}
	s := New(Options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		req, bad := decodeRequest(body, "tools/call")
		if bad != nil {
			if bad.Code != jsonrpc.CodeParseError && bad.Code != jsonrpc.CodeInvalidRequest && bad.Code != jsonrpc.CodeInvalidParams || bad.Message == "" {
				t.Errorf("error %+v", bad)
			}
			return
		}
		if k := req.id.Kind(); k != '"' && k != '0' {
			t.Errorf("id %s", req.id)
		}
		if !json.Valid(body) || req.params != nil && req.params.Kind() != '{' {
			t.Errorf("accepted %q", body)
		}
		// What was accepted can be called without a panic that recovery would hide, and be stamped for SSE.
		if _, bad := s.callTool(nil, req.params); bad != nil && bad.Code != jsonrpc.CodeInvalidParams {
			t.Errorf("call: %+v", bad)
		}
		if stamped := s.withIdentity(body, http.Header{headerUser: {"ada"}}); !jsontext.Value(stamped).IsValid() {
			t.Errorf("stamped %q", stamped)
		}
	})
}
