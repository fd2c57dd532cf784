package mcp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
)

// keepShown keeps what is not called hidden.
func keepShown(_ mcp.List, name string) bool {
	return !strings.Contains(name, "hidden")
}

// result returns a response with members in its result.
func result(members string) string {
	return `{"jsonrpc": "2.0", "id": 1, "result": {` + members + `}, "x": [1, 2]}`
}

func TestL17_FilterAnswer(t *testing.T) {
	one, two, hidden := `{ "name":"one", "x": {"name":"hidden"} }`, `{"title":"hidden","name":"two"}`, `{"name":"hidden"}`
	for _, tt := range []struct{ name, in, want string }{
		{"nothing to do", result(`"tools":[` + one + ` , ` + two + `]`), ""},
		{"the first", result(`"tools":[ ` + hidden + ` , ` + one + ` , ` + two + ` ]`), result(`"tools":[ ` + one + ` , ` + two + ` ]`)},
		{"the middle one", result(`"tools":[` + one + "\n, " + hidden + ` , ` + two + `]`), result(`"tools":[` + one + ` , ` + two + `]`)},
		{"the last", result(`"tools":[` + one + ` , ` + two + ` , ` + hidden + ` ]`), result(`"tools":[` + one + ` , ` + two + ` ]`)},
		{"all", result(`"tools":[ ` + hidden + `,` + hidden + ` ],"nextCursor":"c"`), result(`"tools":[ ],"nextCursor":"c"`)},
		{"all but the middle one", result(`"tools":[` + hidden + `,` + hidden + `, ` + two + `,` + hidden + `]`), result(`"tools":[ ` + two + `]`)},
		{"the first and the last", result(`"tools":[` + hidden + `,` + one + `,` + two + `,` + hidden + `]`), result(`"tools":[` + one + `,` + two + `]`)},
		{"none there", result(`"tools": [ ]`), ""},
		{"prompts", result(`"prompts":[` + hidden + `,` + one + `]`), result(`"prompts":[` + one + `]`)},
		{"resources", result(`"resources":[{"name":"hidden","uri":"a"},{"uri":"hidden:b","name":"b"}]`), result(`"resources":[{"name":"hidden","uri":"a"}]`)},
		{"templates", result(`"resourceTemplates":[{"uriTemplate":"hidden:{x}"},{"uri":"hidden","uriTemplate":"a:{x}"}]`), result(`"resourceTemplates":[{"uri":"hidden","uriTemplate":"a:{x}"}]`)},
		{"a page with all of them", result(`"a":1,"tools":[` + hidden + `],"b":[],"prompts":[` + one + `,` + hidden + `],"_meta":{"tools":[` + hidden + `]}`), result(`"a":1,"tools":[],"b":[],"prompts":[` + one + `],"_meta":{"tools":[` + hidden + `]}`)},
		{"escaped", `{"r\u0065sult":{"t\u006fols":[{"n\u0061me":"h\u0069dden"},` + one + `]}}`, `{"r\u0065sult":{"t\u006fols":[` + one + `]}}`},
		{"a batch", `[` + result(`"tools":[`+hidden+`]`) + `, ` + result(`"ok":1`) + `,` + result(`"prompts":[`+hidden+`,`+one+`]`) + `]`, `[` + result(`"tools":[]`) + `, ` + result(`"ok":1`) + `,` + result(`"prompts":[`+one+`]`) + `]`},
		{"an empty batch", ` [ ] `, ""},

		{"the scope before", result(`"cacheScope" : "public" ,"tools":[` + hidden + `]`), result(`"cacheScope" : "private" ,"tools":[]`)},
		{"the scope after", result(`"tools":[` + hidden + `],"cacheScope":"public"`), result(`"tools":[],"cacheScope":"private"`)},
		{"the scope between", result(`"prompts":[` + hidden + `],"cacheScope":null,"tools":[` + hidden + `,` + one + `]`), result(`"prompts":[],"cacheScope":"private","tools":[` + one + `]`)},
		{"the scope, and all is kept", result(`"tools":[` + one + `],"cacheScope":"public"`), result(`"tools":[` + one + `],"cacheScope":"private"`)},
		{"private already", result(`"tools":[` + one + `],"cacheScope":"private"`), ""},
		{"the scope of no list", result(`"contents":[],"cacheScope":"public"`), ""},

		{"an entry without name", result(`"tools":[{"title":"x"},` + one + `]`), result(`"tools":[` + one + `]`)},
		{"a number for a name", result(`"tools":[` + one + `,{"name":1}]`), result(`"tools":[` + one + `]`)},
		{"another spelling beside the name", result(`"tools":[{"name":"shown","Name":"hidden"},` + one + `]`), result(`"tools":[` + one + `]`)},
		{"another spelling of the uri", result(`"resources":[{"uri":"shown","\u0075RI":"hidden"}]`), result(`"resources":[]`)},

		{"an error", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x","data":{"tools":[` + hidden + `]}}}`, ""},
		{"a request of the server", `{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"tools":[` + hidden + `]}}`, ""},
		{"the answer of a tool", result(`"content":[],"structuredContent":{"tools":[` + hidden + `],"Result":1}`), ""},
		{"tools that are no list", result(`"tools":{"name":"hidden"}`), ""},
		{"a result that is no object", `{"result":[` + hidden + `]}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := []byte(tt.in)
			out, err := mcp.FilterAnswer(in, keepShown, false)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.want == "" && &out[0] != &in[0]:
				t.Errorf("a copy: %s", out)
			case tt.want != "" && string(out) != tt.want:
				t.Errorf("got  %s\nwant %s", out, tt.want)
			case string(in) != tt.in:
				t.Errorf("the answer was written to: %s", in)
			}
		})
	}
}

// TestL17_Private: since revision 2026-07-28 a result without cacheScope is public.
func TestL17_Private(t *testing.T) {
	for in, want := range map[string]string{
		`"tools":[{"name":"a"}] `:                                 `"tools":[{"name":"a"}],"cacheScope":"private" `,
		`"tools":[{"name":"hidden"},{"name":"a"}],"nextCursor":1`: `"tools":[{"name":"a"}],"nextCursor":1,"cacheScope":"private"`,
		`"cacheScope":"public","tools":[]`:                        `"cacheScope":"private","tools":[]`,
		`"contents":[]`:                                           `"contents":[]`,
	} {
		out, err := mcp.FilterAnswer([]byte(result(in)), keepShown, true)
		if err != nil || string(out) != result(want) {
			t.Errorf("got  %s, %v\nwant %s", out, err, result(want))
		}
	}
}

func TestFilterAnswerRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":                         "",
		"cut off":                         result(`"tools":[`),
		"two values":                      result(`"tools":[]`) + result(`"tools":[]`),
		"two lists":                       result(`"tools":[],"tools":[{"name":"secret"}]`),
		"two names":                       result(`"tools":[{"name":"a","name":"secret"}]`),
		"two results":                     `{"result":{},"result":{"tools":[]}}`,
		"another spelling of result":      `{"Result":{"tools":[{"name":"secret"}]}}`,
		"another spelling of tools":       result(`"Tools":[{"name":"secret"}]`),
		"another spelling of templates":   result(`"resource_templates":[]`),
		"another spelling of cacheScope":  result(`"tools":[],"cachescope":"public"`),
		"an entry that is a string":       result(`"tools":["secret"]`),
		"a message that is a string":      `"secret"`,
		"a batch in a batch":              `[[{"result":{"tools":[]}}]]`,
		"a byte order mark":               "\uFEFF" + result(`"tools":[]`),
		"not UTF-8":                       result("\"tools\":[{\"name\":\"a\xffsecret\"}]"),
		"a lone surrogate":                result(`"tools":[{"name":"\ud800secret"}]`),
		"a member of an entry that is no": result(`"tools":[{"name":"a",secret}]`),
	} {
		out, err := mcp.FilterAnswer([]byte(in), keepShown, false)
		if err == nil {
			t.Errorf("%s: %s", name, out)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error says what was in it: %v", name, err)
		}
	}
}

func TestList(t *testing.T) {
	for method, want := range map[string]mcp.List{
		"tools/list": mcp.Tools, "prompts/list": mcp.Prompts, "resources/list": mcp.Resources,
		"resources/templates/list": mcp.ResourceTemplates, "tools/call": 0, "": 0,
	} {
		if got, ok := (mcp.Message{Method: method}).List(); got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %t", method, got, ok)
		}
	}
}

// manyTools is an answer with a list of n tools of 300 bytes, in which every
// second one is hidden.
func manyTools(n int) []byte {
	var b strings.Builder
	for i := range n {
		kind := "shown"
		if i%2 == 1 {
			kind = "hidden"
		}
		fmt.Fprintf(&b, `,{"name":"%s_%04d","title":"Number %d","description":"%s","inputSchema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"number"}},"required":["a"]},"annotations":{"readOnlyHint":true}}`,
			kind, i, i, strings.Repeat("words ", 17))
	}
	return []byte(result(`"tools":[` + strings.TrimPrefix(b.String(), ",") + `],"ttlMs":0,"cacheScope":"public"`))
}
