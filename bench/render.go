package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// titles names every measurement, in the order in which tables show them, with
// what it is compared with and what it is meant to be.
var titles = []struct{ id, name, other, goal string }{
	{"remembered", "call with a token seen before", "`reverse_proxy`", "≤ 1.05×, ≤ +6 allocations, ≤ +1 KB"},
	{"first", "call with a token never seen before", "`reverse_proxy`", "≤ +15 µs beyond one verification, ≤ +50 allocations"},
	{"none", "call without a token", "`respond 401`", "≤ 1.05×"},
	{"garbage", "call with a word that is no token", "`respond 401`", "≤ +5 µs"},
	{"forged", "call with a false signature", "`respond 401`", ""},
	{"refresh", "refresh, on disk before the answer", "", "≤ 150 µs, ≥ 3,000/s"},
	{"flow", "registration, authorization and code together", "", "≤ 500 µs"},
	{"register", "registration", "", ""},
	{"stream", "memory of an open stream, KB", "", "≤ 1.03×"},
	{"start", "start until the first answer, ms", "", "≤ +20"},
	{"idle", "idle memory, MiB", "", "≤ +5"},
	{"binary", "binary, MB", "", "≤ +15"},
}

// units divide what is recorded of a process.
var units = map[string]float64{"stream": 1e3, "start": 1, "idle": 1 << 20, "binary": 1e6}

// table draws everything that was measured as Markdown.
func (r *results) table() string {
	var t strings.Builder
	fmt.Fprintf(&t, "Measured on %s, with %s on %s, %d cores of %s. Medians of %d pairs.\n\n", r.Date, r.Go, r.System, r.Cores, r.CPU, r.Rounds)
	t.WriteString("| Per call | Connections | Compared with | CPU, µs | Ratio | Calls/s | p50, ms | p99, ms | Allocations | KB | Goal |\n" +
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, title := range titles {
		for _, p := range r.Pairs {
			if p.ID == title.id {
				fmt.Fprintf(&t, "| %s | %d | %s | %s | %.2f× | %s | %s | %s | %s | %s | %s |\n", title.name, p.Conns, title.other,
					versus(p, "%.0f", 1, sample.cpu), p.Ratio, versus(p, "%.0f", 1, sample.rate), versus(p, "%.2f", 1e3, sample.p50),
					versus(p, "%.2f", 1e3, sample.p99), versus(p, "%.0f", 1, sample.allocs), versus(p, "%.1f", 1e3, sample.bytes), title.goal)
			}
		}
	}
	t.WriteString("\nEach cell has plain Caddy first, then the gateway. ")
	t.WriteString(r.notes())
	t.WriteString("\n\n| Authorization server | Connections | CPU, µs | Per second | p50, ms | p99, ms | Allocations | Goal |\n" +
		"| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, title := range titles {
		for _, a := range r.Alone {
			if a.ID == title.id {
				fmt.Fprintf(&t, "| %s | %d | %.0f | %.0f | %.2f | %.2f | %.0f | %s |\n",
					title.name, a.Conns, a.CPU, a.Rate, a.P50/1e3, a.P99/1e3, a.Allocs, goalFor(a, title.goal))
			}
		}
	}
	t.WriteString("\n| The process | Plain Caddy | Gateway | Difference | Goal |\n| --- | --- | --- | --- | --- |\n")
	for _, title := range titles {
		for _, s := range r.Beside {
			if s.ID == title.id {
				u := units[s.ID]
				fmt.Fprintf(&t, "| %s | %.1f | %.1f | %s | %s |\n", title.name, s.Plain/u, s.Gateway/u, difference(s, u), title.goal)
			}
		}
	}
	return t.String()
}

// notes says what does not fit a row.
func (r *results) notes() string {
	var n strings.Builder
	for _, p := range r.Pairs {
		switch p.ID {
		case "first":
			fmt.Fprintf(&n, "Of a new token's %.0f µs, one raw ES256 verification is %.0f µs. ", p.Gateway.CPU-p.Other.CPU, r.VerifyUS)
		case "keepalive":
			fmt.Fprintf(&n, "With %d connections and %d idle connections to the upstream the gateway forwards %.2f× as many calls as with Caddy's default of 32. ",
				p.Conns, idleConns, p.Gateway.Rate/p.Other.Rate)
		}
	}
	fmt.Fprintf(&n, "Of %d open streams, %d lost an event. A small write takes %.0f µs to reach this disk.", r.Streams, r.Lost, r.FsyncUS)
	return n.String()
}

// versus shows one number of both sides, or one of them where they are equal.
func versus(p pair, format string, unit float64, get func(sample) float64) string {
	other, gateway := fmt.Sprintf(format, get(p.Other)/unit), fmt.Sprintf(format, get(p.Gateway)/unit)
	if other == gateway {
		return gateway
	}
	return other + " → " + gateway
}

// goalFor: a lone client waits for the disk and not for others.
func goalFor(a alone, goal string) string {
	if a.Conns == 1 {
		return ""
	}
	return goal
}

// difference is a ratio or a sum, as the goal is.
func difference(s beside, unit float64) string {
	if s.ID == "stream" {
		return fmt.Sprintf("%.2f×", s.Gateway/s.Plain)
	}
	return fmt.Sprintf("%+.1f", (s.Gateway-s.Plain)/unit)
}

func (s sample) cpu() float64    { return s.CPU }
func (s sample) rate() float64   { return s.Rate }
func (s sample) p50() float64    { return s.P50 }
func (s sample) p99() float64    { return s.P99 }
func (s sample) allocs() float64 { return s.Allocs }
func (s sample) bytes() float64  { return s.Bytes }

// Between these lines a document has what was generated. The first one goes on
// with how.
const (
	begin = "<!-- begin performance:"
	end   = "<!-- end performance -->"
)

// publish writes the chart, and the tables into the README and the page.
func (r *results) publish(docs, readme string) error {
	err := os.WriteFile(filepath.Join(docs, "performance.svg"), []byte(r.chart()), 0o644) //nolint:gosec // to be read by everybody
	return errors.Join(err, insert(readme, r.table()), insert(filepath.Join(docs, "performance.md"), r.table()))
}

// insert replaces what is between the marks of a document.
func insert(file, text string) error {
	old, err := os.ReadFile(file) //nolint:gosec // named by the user of this program
	if err != nil {
		return fmt.Errorf("reading a document: %w", err)
	}
	changed, err := between(string(old), text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(changed), 0o644) //nolint:gosec // to be read by everybody
}

func between(document, text string) (string, error) {
	head, rest, ok := strings.Cut(document, begin)
	how, rest, ok2 := strings.Cut(rest, "\n")
	_, tail, ok3 := strings.Cut(rest, end)
	if !ok || !ok2 || !ok3 {
		return "", fmt.Errorf("the lines %q and %q are missing", begin+" … -->", end)
	}
	return head + begin + how + "\n" + text + end + tail, nil
}
