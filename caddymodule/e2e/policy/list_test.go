package policy_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// list is a list of a server: what a client is to see of it with tickets:read, and
// what it sees beyond that where lists show what can be had.
type list struct{ method, text, kept, later string }

// lists have members and white space that nobody knows.
var lists = []list{
	{
		"tools/list",
		`{"jsonrpc":"2.0", "id":1,"result":{ "tools":[{"name":"search_a","x":{"name":"delete_a"}} ,{"name":"refund"}, {"name":"delete_b"},` +
			`{"description":"\u00e4","name":"search\u005fb"},{"name":"SEARCH_c"},{}],"nextCursor":"delete_c","zz":[1.0,2e3] ,"_meta":{"tools":[{"name":"refund"}]}}}` + "\n",
		`{"jsonrpc":"2.0", "id":1,"result":{ "tools":[{"name":"search_a","x":{"name":"delete_a"}},` +
			`{"description":"\u00e4","name":"search\u005fb"}],"nextCursor":"delete_c","zz":[1.0,2e3] ,"_meta":{"tools":[{"name":"refund"}]}}}` + "\n",
		`{"jsonrpc":"2.0", "id":1,"result":{ "tools":[{"name":"search_a","x":{"name":"delete_a"}} ,{"name":"refund"},` +
			`{"description":"\u00e4","name":"search\u005fb"}],"nextCursor":"delete_c","zz":[1.0,2e3] ,"_meta":{"tools":[{"name":"refund"}]}}}` + "\n",
	},
	{
		"prompts/list", `{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"bye"},{"name":"hello"}]}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"hello"}]}}`, "",
	},
	{
		"resources/list",
		`{"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"file:///pub/a","name":"x"},{"uri":"file:///hr/a"},{"uri":"file:///pub/../hr/a"},{"uri":"other:x"}]}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"file:///pub/a","name":"x"}]}}`, "",
	},
	{
		"resources/templates/list",
		`{"jsonrpc":"2.0","id":1,"result":{"resourceTemplates":[{"uriTemplate":"file:///hr/{x}"},{"uriTemplate":"file:///pub/{x}","name":"hr"}]}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"resourceTemplates":[{"uriTemplate":"file:///pub/{x}","name":"hr"}]}}`, "",
	},
}

// compressed packs a text as a server does that was asked not to.
func compressed(text, coding string) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b) // there are no options to get wrong
	default:
		return []byte(text)
	}
	_, _ = io.WriteString(w, text) // to memory
	_ = w.Close()
	return b.Bytes()
}

// inPieces writes a text in pieces of n bytes, each flushed.
func inPieces(w http.ResponseWriter, text []byte, n int) {
	for len(text) > 0 {
		n = min(n, len(text))
		_, _ = w.Write(text[:n])
		_ = http.NewResponseController(w).Flush()
		text = text[n:]
	}
}

func answerJSON(text, coding string, piece int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Etag", `"1"`)
		if coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		inPieces(w, compressed(text, coding), piece)
	}
}

func TestListsJSON(t *testing.T) {
	for _, l := range lists {
		for _, coding := range []string{"", "gzip", "zstd"} {
			t.Run("L17 "+l.method+" "+coding, func(t *testing.T) {
				r := use(t, answerJSON(l.text, coding, 37))
				reply := r.client(t, "/mcp", "tickets:read").post(rpc("1", l.method, ""), "Accept-Encoding", "gzip, zstd, br")
				if wantStatus(t, reply, http.StatusOK); reply.Body != l.kept {
					t.Errorf("the client sees\n%s\nwant\n%s", reply.Body, l.kept)
				}
				if reply.Header.Get("Content-Encoding") != "" || reply.Header.Get("Etag") != "" {
					t.Errorf("headers %v", reply.Header)
				}
				if got := r.up.One(t).Header.Get("Accept-Encoding"); got != "identity" {
					t.Errorf("the server is asked for %s", got)
				}
			})
		}
		t.Run("L17 list_step_up "+l.method, func(t *testing.T) {
			r := use(t, answerJSON(l.text, "", 1<<20))
			want := l.later
			if want == "" {
				want = l.kept
			}
			if reply := r.client(t, "/later", "tickets:read").post(rpc("1", l.method, "")); reply.Body != want {
				t.Errorf("the client sees\n%s\nwant\n%s", reply.Body, want)
			}
		})
		t.Run("L17 what the client can't get is not shown either "+l.method, func(t *testing.T) {
			r := use(t, answerJSON(l.text, "", 1<<20))
			if reply := r.limited(t, "/later").post(rpc("1", l.method, "")); reply.Body != l.kept {
				t.Errorf("the client sees\n%s\nwant\n%s", reply.Body, l.kept)
			}
		})
		t.Run("L17 unchanged "+l.method, func(t *testing.T) {
			r := use(t, answerJSON(l.text, "", 1<<20))
			for _, path := range []string{"/dry", "/plain"} {
				if reply := r.client(t, path, "tickets:read").post(rpc("1", l.method, "")); reply.Body != l.text || reply.Header.Get("Etag") == "" {
					t.Errorf("%s: the client sees\n%s\nwant\n%s", path, reply.Body, l.text)
				}
			}
			if reply := r.client(t, "/mcp", "").post(rpc("1", "ping", "")); reply.Body != l.text {
				t.Errorf("of another method, the client sees %s", reply.Body)
			}
		})
	}
}

// events is a list as an event, with lines around it that are not its data.
func events(text string) (stream string) {
	return ": hello\n\nid: 7\nevent: message\nretry: 10\ndata: " + strings.TrimSpace(text) + "\n\n"
}

func answerEvents(text string, piece int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		inPieces(w, []byte(text), piece)
	}
}

// TestListsEvents: in event streams, and in one that a client resumes.
func TestListsEvents(t *testing.T) {
	const other = "id: 8\nevent: ping\ndata: {\"result\":{\"tools\":[{\"name\":\"delete_x\"}]}}\n\n: end\n\n"
	for _, l := range lists {
		for _, piece := range []int{1, 23, 1 << 20} {
			r := use(t, answerEvents(events(l.text)+other, piece))
			c := r.client(t, "/mcp", "tickets:read")
			want := events(l.kept) + other
			for _, reply := range []gatewaytest.Reply{c.post(rpc("1", l.method, "")), c.send(http.MethodGet, "", "Last-Event-ID", "6")} {
				if wantStatus(t, reply, http.StatusOK); reply.Body != want {
					t.Errorf("L17 %s: the client sees\n%q\nwant\n%q", l.method, reply.Body, want)
				}
			}
			r.up.Take()
			if reply := c.send(http.MethodGet, "", "Accept", "*/*", "Accept-Encoding", "br"); reply.Body != want || r.up.One(t).Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("L17 %s: who takes anything sees\n%q\nwant\n%q", l.method, reply.Body, want)
			}
			if reply := r.client(t, "/plain", "").send(http.MethodGet, ""); reply.Body != events(l.text)+other {
				t.Errorf("without rules, the client sees %q", reply.Body)
			}
		}
	}
	for _, coding := range []string{"gzip", "zstd"} {
		for _, piece := range []int{1, 7, 1 << 20} {
			t.Run(fmt.Sprintf("L17 %s in pieces of %d", coding, piece), func(t *testing.T) {
				r := use(t, answerEvents(string(compressed(events(lists[0].text)+other, coding)), piece, "Content-Encoding", coding, "Etag", "x"))
				for range 2 { // the gateway is none the worse for it
					reply := r.client(t, "/mcp", "tickets:read").post(rpc("1", "tools/list", ""))
					if wantStatus(t, reply, http.StatusOK); reply.Body != events(lists[0].kept)+other || reply.Header.Get("Content-Encoding") != "" || reply.Header.Get("Etag") != "" {
						t.Errorf("the client sees %v\n%q", reply.Header, reply.Body)
					}
				}
			})
		}
	}
	t.Run("L17 lines in other forms", func(t *testing.T) {
		l := lists[1]
		for _, stream := range []string{
			strings.ReplaceAll(events(l.text), "\n", "\r\n"), strings.ReplaceAll(events(l.text), "\n", "\r"), "\ufeff" + events(l.text),
			strings.Replace(events(l.text), "data: ", "data:", 1), strings.Replace(events(l.text), `"result"`, "\ndata: \"result\"", 1),
			strings.TrimRight(events(l.text), "\n"),
		} {
			r := use(t, answerEvents(stream, 11))
			if reply := r.client(t, "/mcp", "").post(rpc("1", l.method, "")); strings.Contains(reply.Body, "bye") || !strings.Contains(reply.Body, "hello") {
				t.Errorf("%q became %q", stream, reply.Body)
			}
		}
	})
}

// TestListsUnreadable: what can't be read does not pass.
func TestListsUnreadable(t *testing.T) {
	l := lists[0]
	bad := func(name string, answer http.HandlerFunc) {
		t.Run("L17 "+name, func(t *testing.T) {
			r := use(t, answer)
			reply := r.client(t, "/mcp", "tickets:read").post(rpc("1", l.method, ""))
			if wantStatus(t, reply, http.StatusBadGateway); strings.Contains(reply.Body, "delete_") {
				t.Errorf("the client sees %s", reply.Body)
			}
		})
	}
	for _, coding := range []string{"br", "deflate", "gzip, gzip", "unknown"} {
		bad(coding, answerJSON(l.text, coding, 1<<20))
	}
	for _, text := range []string{
		l.text[:200], l.text + l.text, strings.Replace(l.text, `"tools":`, `"Tools":`, 1), strings.Replace(l.text, `"tools":`, `"tools":[],"tools":`, 1),
		"\ufeff" + l.text, strings.Replace(l.text, `"result"`, `"Result"`, 1), "<html>delete_x</html>",
	} {
		bad("not a list", answerJSON(text, "", 1<<20))
	}
	bad("gzip that is none", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, l.text)
	})
	bad("an endless event stream in br", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		feed(w, r)
	})
	for name, answer := range map[string]http.HandlerFunc{
		"an event that can't be read": answerEvents("data: {\"id\":0}\n\ndata: "+l.text[:100]+"\n\n"+events(l.text), 1<<20),
		"a stream that is not gzip":   answerEvents(events(l.text), 1<<20, "Content-Encoding", "gzip"),
		"gzip that is cut off":        answerEvents(string(compressed(events(l.text), "gzip")[:150]), 1<<20, "Content-Encoding", "gzip"),
		"gzip within gzip":            answerEvents(string(compressed(string(compressed(events(l.text), "gzip")), "gzip")), 1<<20, "Content-Encoding", "gzip"),
	} {
		t.Run("L17 "+name+" ends the stream", func(t *testing.T) {
			r := use(t, answer)
			c := r.client(t, "/mcp", "tickets:read")
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.target, strings.NewReader(rpc("1", l.method, "")))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"Authorization": {"Bearer " + c.token}, "Content-Type": {"application/json"}, "Accept": {streamable}}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if strings.Contains(string(got), "tools") {
				t.Errorf("the client sees %q (%v)", got, err)
			}
		})
	}
	t.Run("L17 other types of answers", func(t *testing.T) {
		for _, contentType := range []string{"", "text/plain", "application/octet-stream", "application/json+x", "application/vnd.api+json"} {
			r := use(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{contentType}
				_, _ = io.WriteString(w, l.text)
			})
			reply := r.client(t, "/mcp", "tickets:read").post(rpc("1", l.method, ""))
			if strings.Contains(reply.Body, "delete_b") {
				t.Errorf("with Content-Type %q the client sees the list: %d %s", contentType, reply.Status, reply.Body)
			}
		}
	})
}

// TestL17CacheScope: a list that is filtered is this caller's alone.
func TestL17CacheScope(t *testing.T) {
	for given, want := range map[string]string{
		``: `,"cacheScope":"private"`, `,"cacheScope":"public","ttlMs":9`: `,"cacheScope":"private","ttlMs":9`, `,"cacheScope":"private"`: `,"cacheScope":"private"`,
	} {
		const head = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search_a"}]`
		r := use(t, answerJSON(head+given+"}}", "", 1<<20))
		c := r.client(t, "/mcp", "tickets:read")
		if reply := c.post(rpc("1", "tools/list", ""), modern("tools/list", "")...); reply.Body != head+want+"}}" {
			t.Errorf("%s became %s", given, reply.Body)
		}
		if given == "" {
			want = ""
		}
		if reply := c.post(rpc("1", "tools/list", "")); reply.Body != head+want+"}}" {
			t.Errorf("before 2026-07-28, %s became %s", given, reply.Body)
		}
	}
}
