package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// judgedAllocs is what it may take more to judge a call of 1 KiB than to pass it
// on unread.
const judgedAllocs = 10

// callOf is a tools/call with a number of bytes.
func callOf(size int) []byte {
	const frame = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_tickets","arguments":{"query":"%s","limit":20,"tags":["a","b"]}}}`
	return fmt.Appendf(nil, frame, strings.Repeat("x", size-len(frame)+2))
}

// TestAllocsOfJudging compares calls that the rules look at with calls that nobody
// reads, in the chain of handlers.
func TestAllocsOfJudging(t *testing.T) {
	skipWithRaceDetector(t)
	h := startHot(t)
	cost := func(site string, size int) hotCost {
		d := newDirect(t, h, site, h.token(t, site))
		d.body = callOf(size)
		return costOf(func() {
			if got := d.call(); got != http.StatusOK {
				t.Fatalf("%s: %d", site, got)
			}
		})
	}
	const kib, mib = 1 << 10, 1 << 20
	plain, judged := cost("CHAIN", kib), cost("RULES", kib)
	t.Logf("1 KiB: %+.1f allocations, %+.0f bytes", judged.allocs-plain.allocs, judged.bytes-plain.bytes)
	if judged.allocs > plain.allocs+judgedAllocs+0.5 || judged.bytes > plain.bytes+4*kib {
		t.Errorf("judging 1 KiB takes %.1f allocations of %.0f bytes, and passing it on %.1f of %.0f", judged.allocs, judged.bytes, plain.allocs, plain.bytes)
	}
	plain, judged = cost("CHAIN", mib), cost("RULES", mib)
	t.Logf("1 MiB: %+.1f allocations, %+.0f bytes", judged.allocs-plain.allocs, judged.bytes-plain.bytes)
	if more := judged.bytes - plain.bytes; more > mib+128*kib {
		t.Errorf("a body of 1 MiB takes %.0f bytes more when it is judged: more than one copy", more)
	}
}

// BenchmarkJudging is to be read as a pair: what judging a call of 1 KiB costs.
func BenchmarkJudging(b *testing.B) {
	h := startHot(b)
	for _, site := range []string{"CHAIN", "RULES"} {
		b.Run(site, func(b *testing.B) {
			d := newDirect(b, h, site, h.token(b, site))
			d.body = callOf(1 << 10)
			b.ReportAllocs()
			for b.Loop() {
				d.call()
			}
		})
	}
}
