package mcp_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
)

// headers makes a header of lines.
func headers(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, value)
	}
	return h
}

const (
	new0728 = "MCP-Protocol-Version: 2026-07-28"
	old1125 = "MCP-Protocol-Version: 2025-11-25"
)

func wrapped(s string) string {
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// TestL8_HeadersAgainstBody: what headers and body disagree on is refused with
// the request's id. TestL9: headers of older revisions are not believed.
func TestL8_HeadersAgainstBody(t *testing.T) {
	const (
		mismatch = mcp.CodeHeaderMismatch
		invalid  = mcp.CodeInvalidRequest
	)
	add, umlaut := with("tools/call", `{"name":"add"}`), with("tools/call", `{"name":"größe"}`)
	list, read := with("tools/list", `{}`), with("resources/read", `{"uri":"file:///a b"}`)
	note, answer := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`
	meta := with("tools/list", `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}`)
	method, name := "Mcp-Method: tools/call", "Mcp-Name: add"
	for _, tt := range []struct {
		name, body string
		header     http.Header
		code       int
	}{
		{"a call", add, headers(new0728, method, name), 0},
		{"names of headers in any case", add, headers("mcp-protocol-VERSION: 2026-07-28", "MCP-METHOD: tools/call", "mcp-name: add"), 0},
		{"white space", add, headers("Mcp-Protocol-Version: \t2026-07-28 ", "Mcp-Method:\ttools/call\t ", "Mcp-Name:  add  "), 0},
		{"base64", umlaut, headers(new0728, method, "Mcp-Name: "+wrapped("größe")), 0},
		{"the plain bytes", umlaut, headers(new0728, method, "Mcp-Name: größe"), 0},
		{"base64 that was not needed", add, headers(new0728, method, "Mcp-Name: "+wrapped("add")), 0},
		{"a name that looks like base64", with("tools/call", `{"name":"=?base64?YWRk?="}`), headers(new0728, method, "Mcp-Name: "+wrapped("=?base64?YWRk?=")), 0},
		{"a uri", read, headers(new0728, "Mcp-Method: resources/read", "Mcp-Name: file:///a b"), 0},
		{"a list", list, headers(new0728, "Mcp-Method: tools/list"), 0},
		{"a notification", note, headers(new0728, "Mcp-Method: notifications/cancelled"), 0},
		{"a response", answer, headers(new0728), 0},
		{"a task", with("tasks/get", `{"taskId":"7"}`), headers(new0728, "Mcp-Method: tasks/get", "Mcp-Name: 7"), 0},
		{"a task, unnamed", with("tasks/get", `{"taskId":"7"}`), headers(new0728, "Mcp-Method: tasks/get"), 0},
		{"a method of somebody else", with("acme/do", `{"thing":"x"}`), headers(new0728, "Mcp-Method: acme/do", "Mcp-Name: x"), 0},
		{"a completion", with("completion/complete", `{"ref":{"type":"ref/prompt","name":"p"}}`), headers(new0728, "Mcp-Method: completion/complete", "Mcp-Name: p"), 0},
		{"the version in _meta", meta, headers(new0728, "Mcp-Method: tools/list"), 0},
		{"parameters are the server's", add, headers(new0728, method, name, "Mcp-Param-Region: x"), 0},
		{"a later version", add, headers("MCP-Protocol-Version: 2027-01-01", method, name), 0},

		{"no method", add, headers(new0728, name), mismatch},
		{"an empty method", add, headers(new0728, "Mcp-Method:", name), mismatch},
		{"no name", add, headers(new0728, method), mismatch},
		{"an empty name", add, headers(new0728, method, "Mcp-Name: "), mismatch},
		{"another method", add, headers(new0728, "Mcp-Method: tools/list", name), mismatch},
		{"another name", add, headers(new0728, method, "Mcp-Name: safe"), mismatch},
		{"the method in capitals", add, headers(new0728, "Mcp-Method: TOOLS/CALL", name), mismatch},
		{"the name in capitals", add, headers(new0728, method, "Mcp-Name: Add"), mismatch},
		{"two methods", add, headers(new0728, method, method, name), mismatch},
		{"two names", add, headers(new0728, method, name, "Mcp-Name: safe"), mismatch},
		{"another name in base64", add, headers(new0728, method, "Mcp-Name: "+wrapped("safe")), mismatch},
		{"broken base64", add, headers(new0728, method, "Mcp-Name: =?base64?YWR?="), mismatch},
		{"base64 with bits left over", with("tools/call", `{"name":"ad"}`), headers(new0728, method, "Mcp-Name: =?base64?YWR=?="), mismatch},
		{"broken base64 for the method", add, headers(new0728, "Mcp-Method: =?base64?!?=", name), mismatch},
		{"a name that looks like base64, as it is", with("tools/call", `{"name":"=?base64?YWRk?="}`), headers(new0728, method, "Mcp-Name: =?base64?YWRk?="), mismatch},
		{"a name for a list", list, headers(new0728, "Mcp-Method: tools/list", name), mismatch},
		{"a name for subscriptions", with("subscriptions/listen", `{"notifications":{"resourceSubscriptions":["add"]}}`), headers(new0728, "Mcp-Method: subscriptions/listen", name), mismatch},
		{"no uri", read, headers(new0728, "Mcp-Method: resources/read"), mismatch},
		{"no prompt", with("prompts/get", `{"name":"p"}`), headers(new0728, "Mcp-Method: prompts/get"), mismatch},
		{"another task", with("tasks/get", `{"taskId":"7"}`), headers(new0728, "Mcp-Method: tasks/get", "Mcp-Name: 8"), mismatch},
		{"a notification without", note, headers(new0728), mismatch},
		{"a method for a response", answer, headers(new0728, method), mismatch},
		{"a name for a response", answer, headers(new0728, name), mismatch},
		{"another version in _meta", meta, headers(old1125), mismatch},
		{"a version in _meta alone", meta, headers(), mismatch},

		{"L9: an old version", add, headers(old1125), 0},
		{"L9: an old version that agrees", add, headers(old1125, method, name), 0},
		{"L9: an old version that does not", add, headers(old1125, method, "Mcp-Name: safe"), mismatch},
		{"L9: no version", add, headers(), 0},
		{"L9: no version, and another name", add, headers("Mcp-Name: safe"), mismatch},
		{"L9: no version, and another method", add, headers("Mcp-Method: ping"), mismatch},
		{"L9: no version, and an empty name", add, headers("Mcp-Name:"), mismatch},
		{"L9: a name for somebody else's method", with("acme/do", `{}`), headers(old1125, "Mcp-Name: x"), mismatch},

		{"a version that is none", add, headers("MCP-Protocol-Version: latest"), invalid},
		{"a version with a tail", add, headers("MCP-Protocol-Version: 2026-07-28-x", method, name), invalid},
		{"a version out of the way", add, headers("MCP-Protocol-Version: 20260-7-28", method, name), invalid},
		{"a version in base64", add, headers("MCP-Protocol-Version: "+wrapped("2026-07-28"), method, name), invalid},
		{"two versions", add, headers(old1125, new0728, method, name), invalid},
		{"two versions in one", add, headers("MCP-Protocol-Version: 2025-11-25, 2026-07-28"), invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := mcp.Read([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			checkHeaders(t, b, tt.header, tt.code)
		})
	}
}

func checkHeaders(t *testing.T, b mcp.Body, h http.Header, code int) {
	t.Helper()
	err := b.CheckHeaders(h)
	if code == 0 {
		if err != nil {
			t.Error(err)
		}
		return
	}
	e, ok := errors.AsType[*mcp.Error](err)
	if !ok || e.Code != code || e.Status != http.StatusBadRequest {
		t.Fatalf("%v, want code %d", err, code)
	}
	if want := b.Messages[0].ID; !b.Batch && string(e.ID) != string(want) || b.Batch && e.ID != nil {
		t.Errorf("id %q", e.ID)
	}
}

// TestO49_Batches: batches are for those who know no better, and no header makes
// one look harmless.
func TestO49_Batches(t *testing.T) {
	b, err := mcp.Read([]byte("[" + call("") + "," + with("tools/list", "{}") + "]"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		header http.Header
		code   int
	}{
		{"no version", headers(), 0},
		{"2025-03-26", headers("MCP-Protocol-Version: 2025-03-26"), 0},
		{"2025-06-18", headers("MCP-Protocol-Version: 2025-06-18"), mcp.CodeInvalidRequest},
		{"2026-07-28", headers(new0728, "Mcp-Method: tools/call", "Mcp-Name: add"), mcp.CodeInvalidRequest},
		{"a method", headers("Mcp-Method: tools/call"), mcp.CodeHeaderMismatch},
		{"a name", headers("Mcp-Name: add"), mcp.CodeHeaderMismatch},
	} {
		t.Run(tt.name, func(t *testing.T) { checkHeaders(t, b, tt.header, tt.code) })
	}
}

func TestL11_Encodings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"plain", headers("Content-Type:application/json"), 0},
		{"with a charset", headers(`Content-Type: Application/JSON ; charset="UTF-8"`), 0},
		{"identity", headers("Content-Type:application/json", "Content-Encoding: Identity "), 0},
		{"no type", headers(), 415},
		{"two types", headers("Content-Type:application/json", "Content-Type:application/json"), 415},
		{"two types in one", headers("Content-Type:application/json, text/plain"), 415},
		{"text", headers("Content-Type:text/plain"), 415},
		{"another JSON", headers("Content-Type:application/vnd.api+json"), 415},
		{"a form", headers("Content-Type:multipart/form-data; boundary=x"), 415},
		{"UTF-16", headers("Content-Type:application/json; charset=utf-16"), 415},
		{"UTF-7", headers("Content-Type:application/json; charset=utf-7"), 415},
		{"two charsets", headers("Content-Type:application/json; charset=utf-8; charset=utf-16"), 415},
		{"gzip", headers("Content-Type:application/json", "Content-Encoding:gzip"), 400},
		{"identity and gzip", headers("Content-Type:application/json", "Content-Encoding:identity", "Content-Encoding:gzip"), 400},
		{"identity, gzip", headers("Content-Type:application/json", "Content-Encoding:identity, gzip"), 400},
		{"an empty coding", headers("Content-Type:application/json", "Content-Encoding:"), 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := mcp.CheckEncoding(tt.header)
			e, refused := errors.AsType[*mcp.Error](err)
			switch {
			case err == nil && tt.status == 0:
			case !refused || e.Status != tt.status || e.Code != mcp.CodeInvalidRequest:
				t.Errorf("%v, want status %d", err, tt.status)
			}
		})
	}
}

func TestMirrors(t *testing.T) {
	for version, want := range map[string]bool{"": false, "2025-11-25": false, "2026-07-28": true, "2027-01-01": true, "latest": false} {
		if got := mcp.Mirrors(version); got != want {
			t.Errorf("%q: %t", version, got)
		}
	}
}
