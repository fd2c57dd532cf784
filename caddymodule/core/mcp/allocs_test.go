//go:build !race

package mcp_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
)

// The race detector empties pools at random, so these counts are for a run without it.

func TestAllocsOfRead(t *testing.T) {
	body, h := kilobyteCall(), headers(new0728, "Mcp-Method: tools/call", "Mcp-Name: search_documents")
	gate(t, "reading a call of 1 KiB", 6, func() {
		if b, err := mcp.Read(body); err != nil || b.CheckHeaders(h) != nil {
			t.Fatal(err)
		}
	})
}

func TestAllocsOfFilter(t *testing.T) {
	const tools = 500
	list := manyTools(tools)
	gate(t, "filtering a list", tools+16, func() {
		if out, err := mcp.FilterAnswer(list, keepShown, true); err != nil || len(out) > len(list)*2/3 {
			t.Fatal(len(out), err)
		}
	})
	answer := []byte(result(`"content":[{"type":"text","text":"` + strings.Repeat("words ", 1000) + `"}]`))
	gate(t, "an answer without a list", 2, func() {
		if out, err := mcp.FilterAnswer(answer, keepShown, true); err != nil || &out[0] != &answer[0] {
			t.Fatal(err)
		}
	})
}

func TestAllocsOfEvents(t *testing.T) {
	var out bytes.Buffer
	f := mcp.NewEventFilter(&out, 1<<20, upper)
	event := []byte("id: 1\ndata: " + strings.Repeat("a", 1000) + "\n\n")
	gate(t, "an event that stays as it is", 0, func() {
		out.Reset()
		if _, err := f.Write(event); err != nil {
			t.Fatal(err)
		}
	})
}

func gate(t *testing.T, name string, most float64, run func()) {
	t.Helper()
	n := testing.AllocsPerRun(200, run)
	t.Logf("%s: %.0f allocations, up to %.0f are fine", name, n, most)
	if n > most {
		t.Errorf("%s: %.0f allocations, want up to %.0f", name, n, most)
	}
}

// kilobyteCall is a tools/call of revision 2026-07-28.
func kilobyteCall() []byte {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"client","version":"1.2.3"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"progressToken":42},"name":"search_documents","arguments":{"query":%q,"limit":20,"filters":{"author":["a","b"],"year":{"from":2001,"to":2024}},"sort":[{"by":"date","descending":true}]}}}`, "")
	return []byte(strings.Replace(body, `"query":""`, `"query":"`+strings.Repeat("some words ", (1024-len(body))/11)+`"`, 1))
}

func BenchmarkRead(b *testing.B) {
	body := kilobyteCall()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mcp.Read(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckHeaders(b *testing.B) {
	body, err := mcp.Read(kilobyteCall())
	h := headers(new0728, "Mcp-Method: tools/call", "Mcp-Name: search_documents")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := body.CheckHeaders(h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFilterAnswer(b *testing.B) {
	list := manyTools(500)
	b.SetBytes(int64(len(list)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mcp.FilterAnswer(list, keepShown, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFilterEvents(b *testing.B) {
	event := append(append([]byte("data: "), manyTools(500)...), "\n\n"...)
	var out bytes.Buffer
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		f := mcp.NewEventFilter(&out, 1<<20, func(data []byte) ([]byte, error) { return mcp.FilterAnswer(data, keepShown, true) })
		if _, err := f.Write(event); err != nil {
			b.Fatal(err)
		}
	}
}
