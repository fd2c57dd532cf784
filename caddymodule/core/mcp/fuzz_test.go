package mcp_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
)

// lax is how a server reads a message with encoding/json, which takes members
// whatever their case, and the last of those that come twice.
type lax struct {
	JSONRPC string
	ID      any
	Method  string
	Params  struct {
		Name, URI     any
		Arguments     json.RawMessage
		Ref           struct{ Type, Name, URI any }
		Notifications struct{ ResourceSubscriptions any }
	}
}

// exact is the same for readers that want the names as they are.
type exact struct {
	Name          any            `json:"name"`
	URI           any            `json:"uri"`
	Ref           map[string]any `json:"ref"`
	Notifications map[string]any `json:"notifications"`
}

// FuzzRead: what Read reads, encoding/json and the Go SDK read alike.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		call(""), call(`"Method":"ping",`), call(`"method":"ping",`), call("\"param\u017f\":{\"name\":\"x\"},"), " " + call("") + "\n", call("") + call(""),
		"[" + call("") + "," + with("ping", "{}") + "]", "[]", "[[]]", "\uFEFF" + call(""), encode16(call(""), false),
		with("tools/call", `{"name":"a","Name":"b","arguments":{"x":1}}`), with("tools/call", `{"name":"a\u0000\ud83d\ude00\/"}`), with("tools/call", `{"n\u0061me":"a"}`),
		with("tools/call", `{"name":"a","name\u0000":"b"}`), with("prompts/get", `{"name":"\u2028p","arguments":null}`),
		with("resources/read", `{"uri":"file:///a"}`), with("resources/subscribe", `{"uri":"a:b","URI":"a:c"}`),
		with("completion/complete", `{"ref":{"type":"ref/prompt","name":"p"}}`), with("completion/complete", `{"ref":{"type":"ref/resource","uri":"a:{b}"}}`),
		with("subscriptions/listen", `{"notifications":{"resourceSubscriptions":["a:b","c:d"]}}`),
		`{"jsonrpc":"2.0","id":9007199254740991,"result":{}}`, `{"jsonrpc":"2.0","id":-1,"error":{"code":1,"message":"x"}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":null,"method":"ping"}`, `{"jsonrpc":"2.0","id":1.0,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping","params":null}`, `{"jsonrpc":"2.0","id":1e400,"method":"ping"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := mcp.Read(body)
		if err != nil {
			return
		}
		raws := []json.RawMessage{body}
		if b.Batch {
			raws = nil
			if err := json.Unmarshal(body, &raws); err != nil {
				t.Fatal(err)
			}
		}
		if len(raws) != len(b.Messages) {
			t.Fatalf("%d messages read as %d", len(raws), len(b.Messages))
		}
		for i, m := range b.Messages {
			readByJSON(t, raws[i], m)
			readBySDK(t, raws[i], m)
			for _, part := range [][]byte{m.ID, m.Arguments} {
				if part != nil && !bytes.Contains(body, part) {
					t.Errorf("%q is not of the body", part)
				}
			}
		}
	})
}

func readByJSON(t *testing.T, raw []byte, m mcp.Message) {
	t.Helper()
	var l lax
	// An error is about members that this method does not have: all others are set.
	_ = json.Unmarshal(raw, &l)
	if l.Method != m.Method || l.JSONRPC != "2.0" || !sameID(l.ID, m.ID) {
		t.Errorf("encoding/json reads method %q and id %v", l.Method, l.ID)
	}
	sameTarget(t, "encoding/json", m, l.Params.Name, l.Params.URI)
	switch m.Method {
	case mcp.MethodCallTool, mcp.MethodGetPrompt:
		if m.Arguments != nil && !bytes.Equal(m.Arguments, l.Params.Arguments) {
			t.Errorf("encoding/json reads arguments %s", l.Params.Arguments)
		}
	case mcp.MethodComplete:
		if m.Name != str(l.Params.Ref.Name) || one(m.URIs) != str(l.Params.Ref.URI) {
			t.Errorf("encoding/json reads ref %v", l.Params.Ref)
		}
	case mcp.MethodSubscriptionsListen:
		sameList(t, "encoding/json", m.URIs, l.Params.Notifications.ResourceSubscriptions)
	}
}

func readBySDK(t *testing.T, raw []byte, m mcp.Message) {
	t.Helper()
	msg, err := jsonrpc.DecodeMessage(raw)
	if err != nil {
		// The SDK looks into the error of a response.
		if m.Kind != mcp.Response {
			t.Errorf("the SDK: %v", err)
		}
		return
	}
	switch msg := msg.(type) {
	case *jsonrpc.Response:
		if m.Kind != mcp.Response || !sameID(msg.ID.Raw(), m.ID) {
			t.Errorf("the SDK reads a response to %v", msg.ID.Raw())
		}
	case *jsonrpc.Request:
		if m.Kind == mcp.Response || msg.IsCall() != (m.Kind == mcp.Request) || msg.Method != m.Method || !sameID(msg.ID.Raw(), m.ID) {
			t.Errorf("the SDK reads a request %v of %q", msg.ID.Raw(), msg.Method)
		}
		var p exact
		_ = json.Unmarshal(msg.Params, &p)
		sameTarget(t, "the SDK", m, p.Name, p.URI)
		switch m.Method {
		case mcp.MethodComplete:
			if m.Name != str(p.Ref["name"]) || one(m.URIs) != str(p.Ref["uri"]) {
				t.Errorf("the SDK reads ref %v", p.Ref)
			}
		case mcp.MethodSubscriptionsListen:
			sameList(t, "the SDK", m.URIs, p.Notifications["resourceSubscriptions"])
		}
	}
}

func sameTarget(t *testing.T, reader string, m mcp.Message, name, uri any) {
	t.Helper()
	switch m.Method {
	case mcp.MethodCallTool, mcp.MethodGetPrompt:
		if m.Name == "" || str(name) != m.Name {
			t.Errorf("%s reads name %v, not %q", reader, name, m.Name)
		}
	case mcp.MethodReadResource, mcp.MethodSubscribe, mcp.MethodUnsubscribe:
		if one(m.URIs) == "" || str(uri) != one(m.URIs) {
			t.Errorf("%s reads uri %v, not %q", reader, uri, m.URIs)
		}
	}
}

func sameList(t *testing.T, reader string, want []string, list any) {
	t.Helper()
	var got []string
	items, _ := list.([]any)
	for _, v := range items {
		got = append(got, str(v))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s reads %q, not %q", reader, got, want)
	}
}

func sameID(got any, want []byte) bool {
	if want == nil {
		return got == nil
	}
	if id, ok := got.(int64); ok {
		got = float64(id)
	}
	var v any
	return json.Unmarshal(want, &v) == nil && got == v
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func one(list []string) string {
	if len(list) != 1 {
		return ""
	}
	return list[0]
}

// FuzzFilter: a list without what is hidden is all that changes.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		result(`"tools":[{"name":"hidden"},{"name":"a"} , {"name":"hidden2"}],"cacheScope":"public"`), result(`"cacheScope":1,"tools":[ {"name":"a"} ]`),
		result(`"prompts":[{"name":"a","name2":"hidden"}],"resources":[{"uri":"hidden"}],"resourceTemplates":[{"uriTemplate":"x"}]`),
		"[" + result(`"tools":[{"name":"h\u0069dden"}]`) + "," + result(`"ok":[{"name":"hidden"}]`) + "]", result(`"Tools":[{"name":"hidden"}]`),
		result(`"tools":[{"Name":"a"},{"name":1},{}],"nextCursor":"x"`), `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`, result(`"tools":{}`), "[]",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, addScope bool) {
		before := bytes.Clone(in)
		out, err := mcp.FilterAnswer(in, keepShown, addScope)
		if err != nil {
			return
		}
		if !bytes.Equal(in, before) {
			t.Fatal("the answer was written to")
		}
		var was, is any
		if err := json.Unmarshal(in, &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &is); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		// What a slow and simple filter makes of it.
		if batch, ok := was.([]any); ok {
			for _, m := range batch {
				filterSlowly(m, addScope)
			}
		} else {
			filterSlowly(was, addScope)
		}
		if !reflect.DeepEqual(was, is) {
			t.Errorf("got %s", out)
		}
		again, err := mcp.FilterAnswer(out, keepShown, addScope)
		if err != nil || !bytes.Equal(again, out) {
			t.Errorf("filtered once %s, twice %s, %v", out, again, err)
		}
	})
}

func filterSlowly(message any, addScope bool) {
	m, _ := message.(map[string]any)
	r, _ := m["result"].(map[string]any)
	found := false
	for list, key := range map[string]string{"tools": "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"} {
		entries, ok := r[list].([]any)
		if !ok {
			continue
		}
		found = true
		r[list] = slices.DeleteFunc(entries, func(entry any) bool {
			e := entry.(map[string]any)
			name := str(e[key])
			// strings.EqualFold is what encoding/json goes by; underscores are ours.
			for other := range e {
				for _, twin := range []string{"name", "uri", "uriTemplate"} {
					folded := strings.NewReplacer("_", "", "-", "", "\u0130", "i", "\u0131", "i").Replace(other)
					if other != twin && strings.EqualFold(folded, twin) {
						return true
					}
				}
			}
			return name == "" || strings.Contains(name, "hidden")
		})
	}
	if _, has := r["cacheScope"]; found && (has || addScope) {
		r["cacheScope"] = "private"
	}
}

// FuzzEvents: the output does not depend on the pieces in which the input comes,
// and where nothing is rewritten it is the input.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{
		"id: 1\ndata: xa\n\n: ping\n\n", "data: xa\r\rdata: xb\r\n\r\n", "\uFEFFdata:x\ndata: b\nevent: other\n\n", "data: !\n\n", "data: xa", ":\r\n\r", "data\ndata: x\n\n",
		"data: xa\r\n\ndata: b\r\ndata: x\n\r\n",
	} {
		f.Add(s, uint8(1), uint16(64))
		f.Add(s, uint8(3), uint16(8))
	}
	f.Fuzz(func(t *testing.T, in string, size uint8, most uint16) {
		parts := pieces(in, int(size)+1)
		same := func(data []byte) ([]byte, error) { return data, nil }
		if got, err := filterEvents(parts, len(in), same); got != in || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		whole, err1 := filterEvents([]string{in}, int(most), upper)
		piecemeal, err2 := filterEvents(parts, int(most), upper)
		if whole != piecemeal || (err1 == nil) != (err2 == nil) {
			t.Errorf("at once   %q, %v\nin pieces %q, %v", whole, err1, piecemeal, err2)
		}
	})
}
