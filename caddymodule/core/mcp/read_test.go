package mcp_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
)

// call returns a tools/call with an id, with a member before its others.
func call(member string) string {
	return `{` + member + `"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}`
}

// with returns a request of a method with params.
func with(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":"a","method":%q,"params":%s}`, method, params)
}

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       mcp.Message
	}{
		{
			"a call", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":[1,{}]}}}`,
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value("1"), Method: "tools/call", Name: "add", Arguments: jsontext.Value(`{"a":[1,{}]}`)},
		},
		{
			"the method comes last", " {\"params\":{\"arguments\":null,\"name\":\"a\\u0064d\"},\"id\":\"x\\n\",\"method\":\"tools\\/call\",\"jsonrpc\":\"2.0\"}\r\n\t ",
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"x\n"`), Method: "tools/call", Name: "add"},
		},
		{"an escaped member", call(`"meth\u006fds":1,`), mcp.Message{Kind: mcp.Request, ID: jsontext.Value("1"), Method: "tools/call", Name: "add"}},
		{
			"a name that looks like JSON", with("tools/call", `{"name":"\"}],\\\u0000😀"}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "tools/call", Name: "\"}],\\\x00😀"},
		},
		{
			"names of arguments are the tool's", with("tools/call", `{"name":"x","arguments":{"Name":"y","NAME":"z"}}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "tools/call", Name: "x", Arguments: jsontext.Value(`{"Name":"y","NAME":"z"}`)},
		},
		{
			"a prompt", with("prompts/get", `{"name":"p","arguments":{}}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "prompts/get", Name: "p", Arguments: jsontext.Value(`{}`)},
		},
		{
			"a resource", with("resources/read", `{"uri":"file:///a"}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "resources/read", URIs: []string{"file:///a"}},
		},
		{
			"a subscription", with("resources/subscribe", `{"uri":"file:///a","_meta":{"progressToken":1}}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "resources/subscribe", URIs: []string{"file:///a"}},
		},
		{
			"a completion for a prompt", with("completion/complete", `{"ref":{"type":"ref/prompt","name":"p","title":"P"},"argument":{"name":"x","value":""}}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "completion/complete", Name: "p"},
		},
		{
			"a completion for a resource", with("completion/complete", `{"ref":{"type":"ref/resource","uri":"file:///{x}"},"argument":{"name":"x","value":""}}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "completion/complete", URIs: []string{"file:///{x}"}},
		},
		{
			"subscriptions", with("subscriptions/listen", `{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:1","a:2"]}}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "subscriptions/listen", URIs: []string{"a:1", "a:2"}},
		},
		{
			"no subscriptions to resources", with("subscriptions/listen", `{"notifications":{"resourceSubscriptions":null}}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "subscriptions/listen"},
		},
		{
			"no params", `{"jsonrpc":"2.0","id":-9007199254740991,"method":"tools/list"}`,
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value("-9007199254740991"), Method: "tools/list"},
		},
		{
			"a method of somebody else", with("acme/do", `{"name":7,"Title":1,"x":{"Name":1}}`),
			mcp.Message{Kind: mcp.Request, ID: jsontext.Value(`"a"`), Method: "acme/do"},
		},
		{
			"a notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			mcp.Message{Kind: mcp.Notification, Method: "notifications/initialized"},
		},
		{"a result", `{"jsonrpc":"2.0","id":"","result":{"name":1,"Method":2}}`, mcp.Message{Kind: mcp.Response, ID: jsontext.Value(`""`)}},
		{"an error", `{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"no"}}`, mcp.Message{Kind: mcp.Response, ID: jsontext.Value("0")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := mcp.Read([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if b.Batch || len(b.Messages) != 1 {
				t.Fatalf("%+v", b)
			}
			if got := shown(b.Messages[0]); got != shown(tt.want) {
				t.Errorf("got  %s\nwant %s", got, shown(tt.want))
			}
		})
	}
}

// shown prints what others see of a message.
func shown(m mcp.Message) string {
	return fmt.Sprintf("kind %d, id %q, method %q, name %q, URIs %q, arguments %q", m.Kind, m.ID, m.Method, m.Name, m.URIs, m.Arguments)
}

// TestL11_AmbiguousBodies: what two readers can read differently is refused, with
// the id where it can be told.
func TestL11_AmbiguousBodies(t *testing.T) {
	const parse, invalid, badParams = mcp.CodeParseError, mcp.CodeInvalidRequest, mcp.CodeInvalidParams
	fine := call("")
	for _, tt := range []struct {
		name, body string
		code       int
		id         string
	}{
		{"nothing", "", parse, ""},
		{"white space", " \n", parse, ""},
		{"not JSON", "tools/call", parse, ""},
		{"cut off", fine[:len(fine)-1], parse, ""},
		{"a comma too many", call(`"x":[1,],`), parse, ""},
		{"a comment", "/**/" + fine, parse, ""},
		{"single quotes", strings.ReplaceAll(fine, `"`, `'`), parse, ""},
		{"NaN", call(`"x":NaN,`), parse, ""},
		{"a byte order mark", "\uFEFF" + fine, parse, ""},
		{"UTF-16, little endian", encode16(fine, false), parse, ""},
		{"UTF-16, big endian", encode16(fine, true), parse, ""},
		{"UTF-16 with its mark", "\xff\xfe" + encode16(fine, false), parse, ""},
		{"not UTF-8", call("\"x\":\"\xc3\x28\","), parse, ""},
		{"not UTF-8 in the name", with("tools/call", "{\"name\":\"a\xff\"}"), parse, ""},
		{"an overlong slash", with("tools/call", "{\"name\":\"a\xc0\xaf\"}"), parse, ""},
		{"a lone surrogate", call(`"x":"\ud800",`), parse, ""},
		{"a lone surrogate in a name", call(`"\udfff":1,`), parse, ""},
		{"surrogates the wrong way round", call(`"x":"\udc00\ud800",`), parse, ""},
		{"a control character", call("\"x\":\"\x01\","), parse, ""},
		{"NUL after it", fine + "\x00", invalid, ""},
		{"two values", fine + fine, invalid, ""},
		{"two lines", fine + "\n" + fine, invalid, ""},
		{"something after it", fine + "]", invalid, ""},

		{"two methods", call(`"method":"ping",`), invalid, ""},
		{"two methods, one escaped", call(`"m\u0065thod":"ping",`), invalid, ""},
		{"two names", with("tools/call", `{"name":"a","name":"b"}`), invalid, ""},
		{"two members deep down", with("tools/call", `{"name":"a","arguments":{"x":[{"y":1,"y":1}]}}`), invalid, ""},
		{"Method", call(`"Method":"ping",`), invalid, "1"},
		{"METHOD after it", strings.TrimSuffix(fine, "}") + `,"METHOD":"ping"}`, invalid, "1"},
		{"an escaped Method", call(`"\u004dethod":"ping",`), invalid, "1"},
		{"Params", call(`"Params":{"name":"x"},`), invalid, "1"},
		{"a long s in params", call(`"param\u017f":{"name":"x"},`), invalid, "1"},
		{"a long s in jsonrpc", call("\"j\u017fonrpc\":\"2.0\","), invalid, "1"},
		{"Id", call(`"Id":2,`), invalid, "1"},
		{"a dotless i", call("\"\u0131d\":2,"), invalid, "1"},
		{"an I with a dot", call("\"\u0130D\":2,"), invalid, "1"},
		{"Name", with("tools/call", `{"name":"a","Name":"b"}`), badParams, `"a"`},
		{"only Name", with("tools/call", `{"Name":"b"}`), badParams, `"a"`},
		{"URI", with("resources/read", `{"uri":"a:b","URI":"a:c"}`), badParams, `"a"`},
		{"a Kelvin sign", with("tools/call", "{\"name\":\"a\",\"ta\u017f\u212A\":{}}"), badParams, `"a"`},
		{"Arguments", with("tools/call", `{"name":"a","Arguments":{}}`), badParams, `"a"`},
		{"snake case", with("tools/call", `{"name":"a","request_state":""}`), badParams, `"a"`},
		{"meta", with("tools/call", `{"name":"a","meta":{}}`), badParams, `"a"`},
		{"another spelling in _meta", with("tools/call", `{"name":"a","_meta":{"io.modelcontextprotocol/ProtocolVersion":"2025-06-18"}}`), badParams, `"a"`},
		{"another spelling in ref", with("completion/complete", `{"ref":{"type":"ref/prompt","name":"a","Name":"b"}}`), badParams, `"a"`},
		{"another spelling in notifications", with("subscriptions/listen", `{"notifications":{"resource_subscriptions":["a:b"]}}`), badParams, `"a"`},

		{"a string", `"tools/call"`, invalid, ""},
		{"null", `null`, invalid, ""},
		{"no version", `{"id":1,"method":"ping"}`, invalid, "1"},
		{"another version", `{"jsonrpc":"1.0","id":1,"method":"ping"}`, invalid, "1"},
		{"a number for a version", `{"jsonrpc":2.0,"id":1,"method":"ping"}`, invalid, "1"},
		{"the id null", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, invalid, ""},
		{"a fraction for an id", `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, invalid, ""},
		{"an exponent in the id", `{"jsonrpc":"2.0","id":1e2,"method":"ping"}`, invalid, ""},
		{"an id of minus nothing", `{"jsonrpc":"2.0","id":-0,"method":"ping"}`, invalid, ""},
		{"an id that floats round", `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, invalid, ""},
		{"a huge id", `{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"}`, invalid, ""},
		{"true for an id", `{"jsonrpc":"2.0","id":true,"method":"ping"}`, invalid, ""},
		{"an object for an id", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, invalid, ""},
		{"the method null", `{"jsonrpc":"2.0","id":1,"method":null}`, invalid, "1"},
		{"the method empty", `{"jsonrpc":"2.0","id":1,"method":""}`, invalid, "1"},
		{"a number for a method", `{"jsonrpc":"2.0","id":1,"method":1}`, invalid, "1"},
		{"the params null", with("tools/list", `null`), invalid, `"a"`},
		{"an array for params", with("tools/call", `["add"]`), invalid, `"a"`},
		{"a request and a result", call(`"result":{},`), invalid, "1"},
		{"a request and an error", call(`"error":{},`), invalid, "1"},
		{"a result and an error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, invalid, "1"},
		{"a result and the error null", `{"jsonrpc":"2.0","id":1,"result":{},"error":null}`, invalid, "1"},
		{"neither", `{"jsonrpc":"2.0","id":1}`, invalid, "1"},
		{"a result without id", `{"jsonrpc":"2.0","result":{}}`, invalid, ""},
		{"a result that is none", `{"jsonrpc":"2.0","id":1,"result":1}`, invalid, "1"},
		{"a result with params", `{"jsonrpc":"2.0","id":1,"result":{},"params":{}}`, invalid, "1"},
		{"a call as a notification", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add"}}`, invalid, ""},
		{"a notification as a request", `{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}`, invalid, "1"},

		{"no name", with("tools/call", `{"arguments":{}}`), badParams, `"a"`},
		{"no params for a call", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, badParams, "1"},
		{"the name empty", with("prompts/get", `{"name":""}`), badParams, `"a"`},
		{"the name null", with("tools/call", `{"name":null}`), badParams, `"a"`},
		{"a list of names", with("tools/call", `{"name":["add"]}`), badParams, `"a"`},
		{"an array of arguments", with("tools/call", `{"name":"add","arguments":[]}`), badParams, `"a"`},
		{"arguments in a string", with("tools/call", `{"name":"add","arguments":"{}"}`), badParams, `"a"`},
		{"no uri", with("resources/read", `{"name":"a"}`), badParams, `"a"`},
		{"a number for a uri", with("resources/subscribe", `{"uri":1}`), badParams, `"a"`},
		{"the uri empty", with("resources/unsubscribe", `{"uri":""}`), badParams, `"a"`},
		{"no ref", with("completion/complete", `{"argument":{}}`), badParams, `"a"`},
		{"a ref of no type", with("completion/complete", `{"ref":{"name":"p"}}`), badParams, `"a"`},
		{"a ref of another type", with("completion/complete", `{"ref":{"type":"ref/tool","name":"p"}}`), badParams, `"a"`},
		{"a ref to both", with("completion/complete", `{"ref":{"type":"ref/prompt","name":"p","uri":"a:b"}}`), badParams, `"a"`},
		{"a ref to nothing", with("completion/complete", `{"ref":{"type":"ref/resource"}}`), badParams, `"a"`},
		{"no notifications", with("subscriptions/listen", `{}`), badParams, `"a"`},
		{"one uri for a list", with("subscriptions/listen", `{"notifications":{"resourceSubscriptions":"a:b"}}`), badParams, `"a"`},
		{"an empty uri in a list", with("subscriptions/listen", `{"notifications":{"resourceSubscriptions":["a:b",""]}}`), badParams, `"a"`},
		{"too many uris", with("subscriptions/listen", `{"notifications":{"resourceSubscriptions":["a:b"`+strings.Repeat(`,"a:b"`, mcp.MaxURIs)+`]}}`), badParams, `"a"`},
		{"a list for _meta", with("ping", `{"_meta":[]}`), badParams, `"a"`},
		{"a number for the version in _meta", with("ping", `{"_meta":{"io.modelcontextprotocol/protocolVersion":2}}`), badParams, `"a"`},
		{"too deep", with("tools/call", `{"name":"a","arguments":{"x":`+strings.Repeat("[", mcp.MaxDepth-2)+strings.Repeat("]", mcp.MaxDepth-2)+`}}`), invalid, ""},
		{"much too deep", strings.Repeat(`{"":`, 1<<20), invalid, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkRefused(t, tt.body, tt.code, tt.id)
		})
	}
}

func checkRefused(t *testing.T, body string, code int, id string) {
	t.Helper()
	b, err := mcp.Read([]byte(body))
	e, ok := errors.AsType[*mcp.Error](err)
	if !ok {
		t.Fatalf("read as %+v, %v", b, err)
	}
	if e.Code != code || string(e.ID) != id || e.Status != http.StatusBadRequest {
		t.Errorf("status %d, code %d, id %q: %v", e.Status, e.Code, e.ID, e)
	}
}

func encode16(s string, big bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		lo, hi := byte(u), byte(u>>8)
		if big {
			lo, hi = hi, lo
		}
		b = append(b, lo, hi)
	}
	return string(b)
}

func TestReadDepth(t *testing.T) {
	for _, brackets := range []int{1, mcp.MaxDepth - 3} {
		deep := strings.Repeat("[", brackets) + strings.Repeat("]", brackets)
		// The brackets of a string are none, whatever stands before its end.
		body := with("tools/call", `{"name":"a","arguments":{"x":"\\\"`+strings.Repeat("[{", 200)+`","y":`+deep+`}}`)
		if _, err := mcp.Read([]byte(body)); err != nil {
			t.Errorf("%d: %v", brackets, err)
		}
	}
}

func TestL11_Batches(t *testing.T) {
	one := call("")
	of := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]" }
	for _, n := range []int{1, 2, mcp.MaxBatch} {
		b, err := mcp.Read([]byte(" " + of(n) + "\n"))
		if err != nil || !b.Batch || len(b.Messages) != n || b.Messages[n-1].Name != "add" {
			t.Errorf("%d messages: %v", n, err)
		}
	}
	for _, tt := range []struct {
		name, body string
		code       int
	}{
		{"empty", "[]", mcp.CodeInvalidRequest},
		{"too many", of(mcp.MaxBatch + 1), mcp.CodeInvalidRequest},
		{"a batch in a batch", "[" + of(1) + "]", mcp.CodeInvalidRequest},
		{"a string", `[` + one + `,"x"]`, mcp.CodeInvalidRequest},
		{"one that is wrong", `[` + one + `,` + call(`"Method":"ping",`) + `]`, mcp.CodeInvalidRequest},
		{"one without a name", `[` + with("tools/call", "{}") + `]`, mcp.CodeInvalidParams},
		{"two batches", of(1) + of(1), mcp.CodeInvalidRequest},
		{"cut off", "[" + one, mcp.CodeParseError},
		{"cut off at once", "[", mcp.CodeParseError},
		{"a comma at the end", "[" + one + ",]", mcp.CodeParseError},
	} {
		t.Run(tt.name, func(t *testing.T) { checkRefused(t, tt.body, tt.code, "") })
	}
}

// TestReadKeepsNoBody: readers are pooled, and a body must not be seen through
// one by the next.
func TestReadKeepsNoBody(t *testing.T) {
	for range 100 {
		if _, err := mcp.Read([]byte(`{"jsonrpc":"2.0","id":1,"method":"to`)); err == nil {
			t.Fatal("half a message was read")
		}
		if b, err := mcp.Read([]byte(call(""))); err != nil || b.Messages[0].Name != "add" {
			t.Fatalf("%+v, %v", b, err)
		}
	}
}

func TestErrorResponse(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{string(mcp.ErrorResponse(jsontext.Value(`"a"`), mcp.CodeDenied, "no \"<tool>\"\n", nil)), `{"jsonrpc":"2.0","id":"a","error":{"code":-32010,"message":"no \"<tool>\"\n"}}`},
		{string(mcp.ErrorResponse(nil, -32700, "x\xff", map[string]int{"a": 1})), `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x` + "\uFFFD" + `","data":{"a":1}}}`},
		{string(mcp.ErrorResponse(nil, 1, "", func() {})), `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}`},
		{string(mcp.BatchErrorResponse([]byte("1"), []byte("2"))), `[1,2]`},
	} {
		if tt.got != tt.want {
			t.Errorf("got  %s\nwant %s", tt.got, tt.want)
		}
	}
	if e := (&mcp.Error{Code: mcp.CodeDenied, Message: "no"}); e.Error() != "JSON-RPC error -32010: no" {
		t.Error(e)
	}
}
