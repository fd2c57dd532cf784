package policy_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// modern are the headers that revision 2026-07-28 has, for a method and a name.
func modern(method, name string) []string {
	header := []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", method}
	if name != "" {
		header = append(header, "Mcp-Name", name)
	}
	return header
}

func base64Of(s string) string {
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// versions are all that a client may claim; empty is none.
var versions = []string{"", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", "2027-01-01"}

// TestL8Mismatch: headers that say something else than the body are refused, in every
// revision, with the id of the request.
func TestL8Mismatch(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read tickets:refund tickets:pay")
	for _, version := range versions {
		for name, header := range map[string][]string{
			"another name":              {"Mcp-Method", "tools/call", "Mcp-Name", "search_y"},
			"another method":            {"Mcp-Method", "tools/list", "Mcp-Name", "search_x"},
			"another case":              {"Mcp-Method", "tools/call", "Mcp-Name", "Search_x"},
			"another case of a method":  {"Mcp-Method", "Tools/Call", "Mcp-Name", "search_x"},
			"an empty name":             {"Mcp-Method", "tools/call", "Mcp-Name", ""},
			"an empty method":           {"Mcp-Method", "", "Mcp-Name", "search_x"},
			"two names":                 {"Mcp-Method", "tools/call", "Mcp-Name", "search_x", "Mcp-Name", "search_x"},
			"two methods":               {"Mcp-Method", "tools/call", "Mcp-Method", "tools/call", "Mcp-Name", "search_x"},
			"a list of names":           {"Mcp-Method", "tools/call", "Mcp-Name", "search_x, search_x"},
			"another name in base64":    {"Mcp-Method", "tools/call", "Mcp-Name", base64Of("search_y")},
			"half base64":               {"Mcp-Method", "tools/call", "Mcp-Name", "=?base64?search_x"},
			"base64 that is none":       {"Mcp-Method", "tools/call", "Mcp-Name", "=?base64?!!!?="},
			"base64 without padding":    {"Mcp-Method", "tools/call", "Mcp-Name", "=?base64?c2VhcmNoX3g?="},
			"base64 of base64":          {"Mcp-Method", "tools/call", "Mcp-Name", base64Of(base64Of("search_x"))},
			"a space that is no OWS":    {"Mcp-Method", "tools/call", "Mcp-Name", "search_x\u00a0"},
			"another revision in _meta": {"Mcp-Method", "tools/call", "Mcp-Name", "search_x", "X-Meta", "2099-01-01"},
		} {
			params := `"name":"search_x"`
			if header[len(header)-2] == "X-Meta" {
				params += `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2099-01-01"}`
			}
			if version != "" {
				header = append(header, "Mcp-Protocol-Version", version)
			}
			t.Run("L8 "+version+" "+name, func(t *testing.T) {
				wantError(t, c.with(t).post(rpc(`"q"`, "tools/call", params), header...), http.StatusBadRequest, mismatch, `"q"`)
			})
		}
	}
	t.Run("L8 what is missing in 2026-07-28", func(t *testing.T) {
		for _, header := range [][]string{
			{"Mcp-Protocol-Version", "2026-07-28"}, {"Mcp-Protocol-Version", "2026-07-28", "Mcp-Name", "search_x"}, modern("tools/call", ""),
		} {
			wantError(t, c.post(tool("search_x"), header...), http.StatusBadRequest, mismatch, "1")
		}
	})
	t.Run("L8 a version that is none, or two", func(t *testing.T) {
		for _, header := range [][]string{
			{"Mcp-Protocol-Version", "2026-07-28, 2025-03-26"},
			{"Mcp-Protocol-Version", "latest"},
			{"Mcp-Protocol-Version", "2026-7-28"},
			{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Protocol-Version", "2025-03-26"},
		} {
			wantError(t, c.post(tool("search_x"), header...), http.StatusBadRequest, invalidRequest, "1")
		}
	})
	r.up.None(t)
}

// with is the client for a subtest.
func (c client) with(tb testing.TB) client {
	c.tb = tb
	return c
}

// TestL8Agreement: what says the same in another way passes, and arrives as it was.
func TestL8Agreement(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	const odd = "search_\u00e4 \n"
	for _, header := range [][]string{
		modern("tools/call", base64Of(odd)),
		{"mcp-protocol-version", "2026-07-28", "MCP-METHOD", "  tools/call\t", "mcp-name", base64Of(odd)},
		{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", base64Of("tools/call"), "Mcp-Name", base64Of(odd)},
		{"Mcp-Name", base64Of(odd)},
	} {
		wantStatus(t, c.post(tool(odd), header...), http.StatusOK)
		if got := r.up.One(t).Header.Get("Mcp-Name"); got != base64Of(odd) {
			t.Errorf("Mcp-Name arrived as %q", got)
		}
	}
	for _, header := range [][]string{modern("resources/read", "file:///pub/x"), modern("resources/read", base64Of("file:///pub/x"))} {
		r.wantPassed(t, c.post(rpc("1", "resources/read", `"uri":"file:///pub/x"`), header...))
		wantError(t, c.post(rpc("1", "resources/read", `"uri":"file:///hr/x"`), header...), http.StatusBadRequest, mismatch, "1")
	}
}

// TestL9Downgrade: a revision that has no headers is judged by the body, whatever
// headers come.
func TestL9Downgrade(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	for _, version := range versions {
		var header []string
		if version != "" {
			header = []string{"Mcp-Protocol-Version", version}
		}
		t.Run("L9 "+version, func(t *testing.T) {
			c := c.with(t)
			safe := append([]string{"Mcp-Method", "tools/call", "Mcp-Name", "search_x"}, header...)
			wantError(t, c.post(tool("delete_x"), safe...), http.StatusBadRequest, mismatch, "1")
			wantError(t, c.post(tool("delete_x"), append([]string{"Mcp-Method", "ping"}, header...)...), http.StatusBadRequest, mismatch, "1")
			honest := append([]string{"Mcp-Method", "tools/call", "Mcp-Name", "delete_x"}, header...)
			r.wantDenied(t, c.post(tool("delete_x"), honest...))
			if version < "2026-07-28" {
				r.wantDenied(t, c.post(tool("delete_x"), header...))
			}
		})
	}
	r.up.None(t)
}

// TestL11Batches: each element is judged, and one that is denied denies all.
func TestL11Batches(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	const note = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`
	const answer = `{"jsonrpc":"2.0","id":9,"result":{"name":"delete_x","method":"tools/call"}}`
	t.Run("L11 allowed", func(t *testing.T) {
		body := `[ ` + tool("search_x") + `,` + note + `,` + answer + `,` + rpc(`"p"`, "ping", "") + "]\n"
		wantStatus(t, c.post(body, "Mcp-Protocol-Version", "2025-03-26"), http.StatusOK)
		if got := r.up.One(t).Body; got != body {
			t.Errorf("arrived as %s", got)
		}
		r.wantPassed(t, c.post(`[`+answer+`]`))
	})
	t.Run("L11 O49 one is denied", func(t *testing.T) {
		for place := range 3 {
			parts := []string{rpc(`"p"`, "ping", ""), note, answer}
			parts[place] += "," + rpc("7", "tools/call", `"name":"delete_x"`)
			reply := c.post("[" + strings.Join(parts, ",") + "]")
			wantStatus(t, reply, http.StatusOK)
			errors := failures(t, reply)
			if len(errors) != 2 {
				t.Fatalf("%d errors: %s", len(errors), reply.Body)
			}
			for _, f := range errors {
				if id := string(f.ID); id != "7" && id != `"p"` {
					t.Errorf("an error for %s", id)
				}
				f.check(t, denied, string(f.ID))
			}
		}
	})
	t.Run("L11 other revisions and odd batches", func(t *testing.T) {
		for _, version := range []string{"2025-06-18", "2025-11-25", "2026-07-28"} {
			wantError(t, c.post("["+tool("search_x")+"]", "Mcp-Protocol-Version", version), http.StatusBadRequest, invalidRequest, "null")
		}
		for _, body := range []string{
			"[]", "[[" + tool("search_x") + "]]", "[" + tool("search_x") + ",1]", "[null]",
			"[" + strings.Repeat(note+",", 100) + note + "]", tool("search_x") + tool("search_x"), "[" + tool("search_x") + "][]",
		} {
			wantError(t, c.post(body), http.StatusBadRequest, invalidRequest, "null")
		}
	})
	t.Run("L11 a notification that is denied", func(t *testing.T) {
		for _, body := range []string{`{"jsonrpc":"2.0","method":"tickets/wipe"}`, `[{"jsonrpc":"2.0","method":"tickets/wipe"}]`} {
			reply := c.post(body)
			if reply.Status != http.StatusForbidden || reply.Header.Get("WWW-Authenticate") != "" || !strings.Contains(reply.Body, `"id":null`) {
				t.Errorf("%d %v %s", reply.Status, reply.Header, reply.Body)
			}
		}
		wantError(t, c.post(`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"search_x"}}`), http.StatusBadRequest, invalidRequest, "null")
	})
	r.up.None(t)
}

func failures(tb testing.TB, r gatewaytest.Reply) []failure {
	tb.Helper()
	var all []failure
	decode(tb, r.Body, &all)
	return all
}

// TestO49Ambiguity: what two readers could read differently reaches nobody.
func TestO49Ambiguity(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read tickets:refund tickets:pay")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(tool("search_x"))) // to memory
	_ = z.Close()
	wide := new(strings.Builder)
	for _, b := range []byte(tool("search_x")) {
		fmt.Fprintf(wide, "%c\x00", b)
	}
	for name, body := range map[string]string{
		"method twice":                       `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"delete_x"}}`,
		"method in two cases":                `{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"delete_x"}}`,
		"method with an escape, twice":       `{"jsonrpc":"2.0","id":1,"method":"ping","meth\u006fd":"tools/call","params":{"name":"delete_x"}}`,
		"name twice":                         rpc("1", "tools/call", `"name":"search_x","name":"delete_x"`),
		"name in two cases":                  rpc("1", "tools/call", `"name":"search_x","Name":"delete_x"`),
		"params twice":                       `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_x"},"params":{"name":"delete_x"}}`,
		"params with a long s":               `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_x"},"param` + "\u017f" + `":{"name":"delete_x"}}`,
		"an argument twice":                  rpc("1", "tools/call", `"name":"search_x","arguments":{"a":1,"a":2}`),
		"a name that is no string":           rpc("1", "tools/call", `"name":["search_x"]`),
		"no name":                            rpc("1", "tools/call", ``),
		"an empty name":                      rpc("1", "tools/call", `"name":""`),
		"params that are a list":             `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["search_x"]}`,
		"request and response":               `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_x"},"result":{}}`,
		"a response with params":             `{"jsonrpc":"2.0","id":1,"params":{"name":"delete_x"},"result":{}}`,
		"no jsonrpc":                         `{"id":1,"method":"ping"}`,
		"jsonrpc 1.0":                        `{"jsonrpc":"1.0","id":1,"method":"ping"}`,
		"the id null":                        rpc("null", "ping", ""),
		"the id a fraction":                  rpc("1.5", "ping", ""),
		"the id an object":                   rpc("{}", "ping", ""),
		"the id too large":                   rpc("9007199254740993", "ping", ""),
		"a byte order mark":                  "\ufeff" + tool("search_x"),
		"UTF-16":                             wide.String(),
		"UTF-16 with a mark":                 "\xff\xfe" + wide.String(),
		"invalid UTF-8":                      rpc("1", "tools/call", "\"name\":\"search_\xff\""),
		"a lone surrogate":                   rpc("1", "tools/call", `"name":"search_\ud800"`),
		"gzip that nobody announced":         zipped.String(),
		"two values":                         tool("search_x") + "\n" + tool("delete_x"),
		"something after it":                 tool("search_x") + "x",
		"a NUL after it":                     tool("search_x") + "\x00",
		"a comment":                          "/**/" + tool("search_x"),
		"a comma too many":                   `{"jsonrpc":"2.0","id":1,"method":"ping",}`,
		"single quotes":                      `{'jsonrpc':'2.0','id':1,'method':'ping'}`,
		"nothing":                            "",
		"white space":                        " \n",
		"a number":                           "1",
		"null":                               "null",
		"deep nesting":                       rpc("1", "tools/call", `"name":"search_x","arguments":{"a":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+"}"),
		"very deep nesting":                  strings.Repeat("[", 1<<20),
		"half a message":                     tool("search_x")[:40],
		"a newline in a string":              rpc("1", "tools/call", "\"name\":\"search_\n\""),
		"ref to two things":                  rpc("1", "completion/complete", `"ref":{"type":"ref/prompt","name":"hello","uri":"file:///hr/x"}`),
		"a subscription that is no URI":      rpc("1", "subscriptions/listen", `"notifications":{"resourceSubscriptions":["file:///pub/x",1]}`),
		"subscriptions in another spelling":  rpc("1", "subscriptions/listen", `"notifications":{"resource_subscriptions":["file:///hr/x"]}`),
		"a uri twice":                        rpc("1", "resources/read", `"uri":"file:///pub/x","uri":"file:///hr/x"`),
		"a notification's method with an id": rpc("1", "notifications/initialized", ""),
	} {
		t.Run("L11 O49 "+name, func(t *testing.T) {
			reply := c.with(t).post(body)
			if wantStatus(t, reply, http.StatusBadRequest); !strings.Contains(reply.Body, `"error":{"code":-32`) || strings.Contains(reply.Body, "search_") {
				t.Errorf("body %s", reply.Body)
			}
			r.up.None(t)
		})
	}
}

// TestO49Encodings: bodies that would have to be undone before they are read.
func TestO49Encodings(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	body := tool("search_x")
	for _, contentType := range []string{
		"", "text/plain", "application/json; charset=utf-16", "application/json; charset=utf-7", "application/json, text/plain", "application/json;;charset",
		"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "application/json-seq", "text/json",
	} {
		wantError(t, c.post(body, "Content-Type", contentType), http.StatusUnsupportedMediaType, invalidRequest, "null")
	}
	wantStatus(t, c.post(body, "Content-Type", "application/json", "Content-Type", "text/plain"), http.StatusUnsupportedMediaType)
	for _, coding := range []string{"gzip", "GZIP", "identity, gzip", "br", "deflate", "x-unknown", "aes128gcm"} {
		wantError(t, c.post(body, "Content-Encoding", coding), http.StatusBadRequest, invalidRequest, "null")
	}
	r.up.None(t)
	for _, contentType := range []string{"application/json", "Application/JSON", `application/json; charset="UTF-8"`, "application/json ;charset=utf-8"} {
		r.wantPassed(t, c.post(body, "Content-Type", contentType))
	}
	r.wantPassed(t, c.post(body, "Content-Encoding", "Identity"))
}

// TestO49Methods: a message comes with POST, or not at all.
func TestO49Methods(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	for _, method := range []string{"GET", "DELETE", "HEAD", "OPTIONS"} {
		wantStatus(t, c.send(method, tool("delete_x")), http.StatusBadRequest)
		r.up.None(t)
		wantStatus(t, c.send(method, ""), http.StatusOK)
		r.up.One(t)
	}
	for _, method := range []string{"PUT", "PATCH", "QUERY", "post", "TRACE"} {
		if reply := c.send(method, tool("delete_x")); reply.Status < 400 {
			t.Errorf("%s: %d", method, reply.Status)
		}
	}
	r.up.None(t)
	header := []string{"X-HTTP-Method-Override", "DELETE", "X-Http-Method", "PUT", "x-method-override", "DELETE"}
	for _, method := range []string{"POST", "GET"} {
		body := ""
		if method == "POST" {
			body = tool("search_x")
		}
		wantStatus(t, c.send(method, body, header...), http.StatusOK)
		for name := range r.up.One(t).Header {
			if strings.Contains(strings.ToLower(name), "method") && strings.HasPrefix(strings.ToLower(name), "x-") {
				t.Errorf("the upstream is told %s", name)
			}
		}
	}
}
