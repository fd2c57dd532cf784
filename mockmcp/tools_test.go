package mockmcp

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The outcomes of a tool call. What is refused has the code of a JSON-RPC error.
const (
	fine   = 0
	failed = 1 // a result with isError
	wrong  = jsonrpc.CodeInvalidParams
)

var (
	ada = http.Header{headerUser: {"ada"}, headerEmail: {"ada@example.com"}, headerName: {"Ada"}, headerClient: {"inspector"}, headerScope: {"mcp:read  mcp:write"}}

	long = strings.Repeat("ä", 101)
)

var toolTests = []struct {
	tool, args string
	headers    http.Header
	outcome    int
	want       string // part of the text, the structured content or the error
}{
	{"get_weather", `{"location":"Lisbon"}`, nil, fine, `"units":"metric","condition":"light rain","temperature":17.3,"temperature_unit":"°C"`},
	{"get_weather", `{"location":" Lisbon ","units":"imperial"}`, nil, fine, "Lisbon: light rain, 63.1 °F, humidity 85 %, wind 20.2 mph"},
	{"get_weather", `{"location":"LISBON","units":"metric"}`, nil, fine, "17.3 °C"},
	{"get_weather", `{"location":"Lisbon","units":"kelvin"}`, nil, wrong, "units: enum: kelvin does not equal any of: [metric imperial]"},
	{"get_weather", ``, nil, wrong, `get_weather needs the argument "location"`},
	{"get_weather", `null`, nil, wrong, `get_weather needs the argument "location"`},
	{"get_weather", `{"location":5}`, nil, wrong, `location: type: 5 has type "integer", want "string"`},
	{"get_weather", `{"location":null}`, nil, wrong, `argument "location" of get_weather must not be null`},
	{"get_weather", `{"Location":"Lisbon"}`, nil, wrong, `get_weather has no argument "Location" (it has: location, units)`},
	{"get_weather", `{"location":"Lisbon","location":"Oslo"}`, nil, wrong, `duplicate object member name "location"`},
	{"get_weather", `{"location":" "}`, nil, failed, "location is blank"},
	{"get_weather", `{"location":"` + long + `"}`, nil, wrong, "maxLength"},
	{"get_weather", `["Lisbon"]`, nil, wrong, "arguments of get_weather must be an object"},
	{"get_weather", `{`, nil, wrong, "can't read the arguments of get_weather: unexpected EOF"},

	{"list_files", `{"path":"/"}`, nil, fine, "/: 4 found\nnotes/\nreadme.md (74 bytes)\nreports/\nsrc/"},
	{"list_files", `{"path":""}`, nil, fine, "/: 4 found"},
	{"list_files", `{"path":"./notes/"}`, nil, fine, `{"path":"/notes","entries":[{"name":"ideas.md","folder":false,"size":`},
	{"list_files", `{"path":"/notes","pattern":"t*.md"}`, nil, fine, "/notes: 1 found\ntoday.md"},
	{"list_files", `{"path":"/notes","pattern":"*.csv"}`, nil, fine, `"entries":[]`},
	{"list_files", `{"path":"/notes","pattern":"[a"}`, nil, failed, `pattern "[a" is malformed`},
	{"list_files", `{"path":"../etc"}`, nil, failed, `path must not contain ".."`},
	{"list_files", `{"path":"notes/../../etc"}`, nil, failed, `path must not contain ".."`},
	{"list_files", `{"path":"notes\\..\\.."}`, nil, failed, `path must not contain ".."`},
	{"list_files", `{"path":"notes\\x"}`, nil, failed, "path must use / between folders"},
	{"list_files", `{"path":"a\u0000b"}`, nil, failed, "no control characters"},
	{"list_files", `{"path":"/etc"}`, nil, failed, `there is no folder "/etc"`},
	{"list_files", `{"path":"readme.md"}`, nil, failed, `"/readme.md" is a file, not a folder`},
	{"list_files", `{}`, nil, wrong, `list_files needs the argument "path"`},
	{"list_files", `{"path":["/"]}`, nil, wrong, `want "string"`},
	{"list_files", `{"path":"/","depth":2}`, nil, wrong, `list_files has no argument "depth"`},

	{"get_user_profile", `{}`, ada, fine, `{"user":"ada","email":"ada@example.com","name":"Ada","client":"inspector","scopes":["mcp:read","mcp:write"]}`},
	{"get_user_profile", ``, ada, fine, "You are ada\nname: Ada\nemail: ada@example.com\nclient: inspector\nscopes: mcp:read mcp:write"},
	{"get_user_profile", ``, http.Header{headerUser: {"ada"}}, fine, `{"user":"ada","scopes":[]}`},
	{"get_user_profile", ``, nil, failed, "it didn't come through the gateway"},
	{"get_user_profile", ``, http.Header{headerEmail: {"ada@example.com"}}, failed, "it didn't come through the gateway"},
	{"get_user_profile", ``, http.Header{headerUser: {"ada", "eve"}}, failed, "X-Mcp-User came more than once"},
	{"get_user_profile", `{"user":"eve"}`, ada, wrong, `get_user_profile has no argument "user"`},

	{"hello", `{"name":" Ada "}`, nil, fine, "Hello, Ada!"},
	{"hello", `{"name":" "}`, nil, failed, "name is blank"},
	{"hello", `{"name":""}`, nil, wrong, "minLength"},
	{"hello", `{}`, nil, wrong, `hello needs the argument "name"`},
	{"hello", `{"name":true}`, nil, wrong, `want "string"`},
	{"hello", `{"name":"Ada","loud":true}`, nil, wrong, `hello has no argument "loud"`},

	{"add_numbers", `{"a":2,"b":0.5}`, nil, fine, `{"sum":2.5}`},
	{"add_numbers", `{"a":-3,"b":3}`, nil, fine, `{"sum":0}`},
	{"add_numbers", `{"a":1e308,"b":1e308}`, nil, failed, "the sum is too large"},
	{"add_numbers", `{"a":1e400,"b":1}`, nil, wrong, "value out of range at /a"},
	{"add_numbers", `{"a":"2","b":1}`, nil, wrong, `want "number"`},
	{"add_numbers", `{"a":2}`, nil, wrong, `add_numbers needs the argument "b"`},
	{"add_numbers", `{"a":2,"b":1,"c":1}`, nil, wrong, `add_numbers has no argument "c"`},

	{"broken", `{}`, nil, jsonrpc.CodeInternalError, "the tool broken failed, the reason is in the server's log"},
}

func TestTools(t *testing.T) {
	tools := map[string]*tool{}
	for _, tl := range append(allTools(), panicTool()) {
		tools[tl.def.Name] = tl
	}
	for _, tt := range toolTests {
		t.Run(tt.tool+tt.args, func(t *testing.T) {
			res, bad := tools[tt.tool].call(slog.New(slog.DiscardHandler), tt.headers, []byte(tt.args))
			var got string
			outcome := fine
			switch {
			case bad != nil:
				got, outcome = bad.Message, int(bad.Code)
			case res.IsError:
				got, outcome = textOf(t, res), failed
			default:
				got = textOf(t, res) + "\n" + string(mustJSON(res.StructuredContent))
			}
			if outcome != tt.outcome || !strings.Contains(got, tt.want) {
				t.Errorf("outcome %d, want %d\ngot:  %s\nwant: %s", outcome, tt.outcome, got, tt.want)
			}
		})
	}
}

func textOf(t *testing.T, res *mcp.CallToolResult) string {
	t.Helper()
	if len(res.Content) != 1 {
		t.Fatalf("%d content blocks, want 1", len(res.Content))
	}
	text, ok := res.Content[0].(*mcp.TextContent)
	if !ok {
		t.Fatalf("content is %T, want text", res.Content[0])
	}
	return text.Text
}

func TestLongInputIsNotQuotedInFull(t *testing.T) {
	args := `{"name":"` + strings.Repeat("ä", 5000) + `"}`
	for _, tl := range allTools() {
		if tl.def.Name != "hello" {
			continue
		}
		_, bad := tl.call(slog.New(slog.DiscardHandler), nil, []byte(args))
		if bad == nil || len(bad.Message) > maxReason+len("…") || strings.Contains(bad.Message, "\uFFFD") {
			t.Errorf("error %v", bad)
		}
	}
}

func TestPanicIsLoggedWithoutItsValue(t *testing.T) {
	s, log := quiet(t, TransportHTTP, panicTool())
	w := do(s.Handler(), "POST", "/mcp/tools/call", `{"jsonrpc":"2.0","id":1,"params":{"name":"broken"}}`)
	if got := decode[reply](t, w.Body); w.Code != http.StatusOK || got.Error == nil || got.Error.Code != jsonrpc.CodeInternalError {
		t.Errorf("status %d, reply %+v", w.Code, got)
	}
	if lines := log.String(); !strings.Contains(lines, "tool panicked") || !strings.Contains(lines, "tool=broken") {
		t.Errorf("log has no line about the panic:\n%s", lines)
	} else if strings.Contains(lines, "marker-of-the-panic") {
		t.Errorf("log has the value of the panic:\n%s", lines)
	}
}
