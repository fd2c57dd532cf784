package caddymodule_test

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"testing"
)

// What a call with a remembered token may cost more than without the gateway.
const (
	moreAllocs = 6
	moreBytes  = 1 << 10
)

// TestAllocsOfACall counts what a whole Caddy allocates for a call through
// reverse_proxy over real connections, with the gateway and without it.
func TestAllocsOfACall(t *testing.T) {
	skipWithRaceDetector(t)
	h := startHot(t)
	for _, tt := range []struct {
		name, gateway, plain string
		ends                 string
		header               []string
	}{
		{"the check alone", "QUIET", "PLAIN", hotResult, nil},
		{"the check alone, in a session", "QUIET", "PLAIN", hotResult, []string{"Mcp-Session-Id: 3f2a9c1e7b604d58a1c2e3f405162738", "Mcp-Protocol-Version: 2025-06-18"}},
		{"the check alone, answered by an event stream", "QUIET", "PLAIN", lastChunk, []string{wantsEvents}},
		{"with the same headers", "GATEWAY", "SAME", hotResult, nil},
		{"with the same headers, in a session", "GATEWAY", "SAME", hotResult, []string{"Mcp-Session-Id: 3f2a9c1e7b604d58a1c2e3f405162738", "Mcp-Protocol-Version: 2025-06-18"}},
		{"with the same headers, answered by an event stream", "GATEWAY", "SAME", lastChunk, []string{wantsEvents}},
	} {
		token := h.token(t, tt.gateway)
		plain := costOf(newBareClient(t, h[tt.plain], token, tt.ends, tt.header...).call)
		with := costOf(newBareClient(t, h[tt.gateway], token, tt.ends, tt.header...).call)
		t.Logf("%s: %+.1f allocations, %+.0f bytes (%.1f and %.0f without the gateway)",
			tt.name, with.allocs-plain.allocs, with.bytes-plain.bytes, plain.allocs, plain.bytes)
		if with.allocs > plain.allocs+moreAllocs+0.5 || with.bytes > plain.bytes+moreBytes {
			t.Errorf("%s: %.1f allocations of %.0f bytes, and %.1f of %.0f without the gateway", tt.name, with.allocs, with.bytes, plain.allocs, plain.bytes)
		}
	}
}

// TestAllocsOfTheChain counts the same in the chain of handlers alone: one that
// is remembered, and what strangers can have for nothing.
func TestAllocsOfTheChain(t *testing.T) {
	skipWithRaceDetector(t)
	h := startHot(t)
	count := func(site, token string, want int) float64 {
		d := newDirect(t, h, site, token)
		return testing.AllocsPerRun(300, func() {
			if got := d.call(); got != want {
				t.Fatalf("%s: %d, want %d", site, got, want)
			}
		})
	}
	plain := count("ANSWER", "", http.StatusOK)
	refused := count("DENIED", "", http.StatusUnauthorized)
	for _, tt := range []struct {
		name, token string
		status      int
		most        float64
	}{
		{"a remembered token", h.token(t, "CHAIN"), http.StatusOK, plain + moreAllocs},
		{"no token", "", http.StatusUnauthorized, refused},
	} {
		n := count("CHAIN", tt.token, tt.status)
		t.Logf("%s: %.0f allocations, up to %.0f are fine", tt.name, n, tt.most)
		if n > tt.most {
			t.Errorf("%s: %.0f allocations, want up to %.0f", tt.name, n, tt.most)
		}
	}
}

// skipWithRaceDetector leaves a count to the run without it.
func skipWithRaceDetector(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("the race detector empties pools at random: .ci/run runs this without it as well")
	}
}

type hotCost struct{ allocs, bytes float64 }

// costOf is what one run of f allocates in the whole process: the least of
// several rounds, because the background work of others only adds.
func costOf(f func()) hotCost {
	const rounds, runs = 4, 250
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range 50 {
		f()
	}
	var least hotCost
	for round := range rounds {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			f()
		}
		runtime.ReadMemStats(&after)
		c := hotCost{float64(after.Mallocs-before.Mallocs) / runs, float64(after.TotalAlloc-before.TotalAlloc) / runs}
		if round == 0 {
			least = c
		}
		least = hotCost{min(least.allocs, c.allocs), min(least.bytes, c.bytes)}
	}
	return least
}

// BenchmarkCall is to be read in pairs, on a quiet machine.
func BenchmarkCall(b *testing.B) {
	h := startHot(b)
	for _, site := range []string{"PLAIN", "QUIET", "SAME", "GATEWAY"} {
		b.Run(site, func(b *testing.B) {
			token := h.token(b, "GATEWAY")
			if site == "QUIET" {
				token = h.token(b, site)
			}
			c := newBareClient(b, h[site], token, hotResult)
			c.call()
			b.ReportAllocs()
			for b.Loop() {
				c.call()
			}
		})
	}
}

// BenchmarkChain runs the chain of handlers from many goroutines at once:
// -mutexprofile shows whether they wait for each other.
func BenchmarkChain(b *testing.B) {
	h := startHot(b)
	token := h.token(b, "CHAIN")
	for _, tt := range []struct{ name, site, token string }{
		{"remembered", "CHAIN", token},
		{"answer", "ANSWER", ""},
		{"no token", "CHAIN", ""},
		{"garbage", "CHAIN", "garbage"},
		{"denied", "DENIED", ""},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				d := newDirect(b, h, tt.site, tt.token)
				for pb.Next() {
					d.call()
				}
			})
		})
	}
}
