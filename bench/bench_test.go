//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestQuick measures a little of everything and looks whether what comes out is
// whole. How fast anything was is of no interest here.
func TestQuick(t *testing.T) {
	binary, err := gatewaytest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	readme := filepath.Join(dir, "README.md")
	for _, file := range []string{readme, filepath.Join(dir, "performance.md")} {
		write(t, file, "before\n"+begin+" how -->\nold\n"+end+"\nafter\n")
	}
	o := options{quick: true, docs: dir, readme: readme, binaries: binaries{gateway: binary, plain: binary}}
	var log strings.Builder
	err = run(o, &log)
	t.Log(log.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	r, err := readResults(filepath.Join(dir, "performance.json"))
	if err != nil {
		t.Fatal(err)
	}
	r.checkWhole(t)
	if got := read(t, readme); !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "\nafter\n") || strings.Contains(got, "old\n") {
		t.Errorf("the README is now\n%s", got)
	}
	checkDocuments(t, r, dir, readme)
	if where, err := os.Hostname(); err == nil && strings.Contains(read(t, readme), where) {
		t.Error("the table names the machine")
	}
}

// checkWhole makes sure that everything was measured.
func (r *results) checkWhole(t *testing.T) {
	t.Helper()
	found := map[string]bool{}
	check := func(id string, s sample) {
		found[id] = true
		if s.Count < 1 || s.CPU <= 0 || s.Rate <= 0 || s.P50 <= 0 || s.P99 < s.P50 || s.Allocs <= 0 || s.Bytes <= 0 {
			t.Errorf("%s: %+v", id, s)
		}
	}
	for _, p := range r.Pairs {
		check(p.ID, p.Gateway)
		check(p.ID, p.Other)
		if p.Ratio <= 0 || p.Conns < 1 {
			t.Errorf("%s: ratio %v with %d connections", p.ID, p.Ratio, p.Conns)
		}
	}
	for _, a := range r.Alone {
		check(a.ID, a.sample)
	}
	for _, b := range r.Beside {
		found[b.ID] = true
		if b.Gateway <= 0 || b.Plain <= 0 {
			t.Errorf("%s: %+v", b.ID, b)
		}
	}
	for _, title := range titles {
		if !found[title.id] {
			t.Errorf("%s was not measured", title.id)
		}
		if strings.Count(r.table(), "| "+title.name+" |") == 0 {
			t.Errorf("the table has no row %q", title.name)
		}
	}
	if !found["keepalive"] || r.Streams < 1 || r.Lost != 0 || r.VerifyUS <= 0 || r.FsyncUS <= 0 {
		t.Errorf("%d of %d streams lost something, a verification takes %v µs, a write %v µs", r.Lost, r.Streams, r.VerifyUS, r.FsyncUS)
	}
}

// TestRecorded: README, page and chart show what was recorded, and nothing else.
func TestRecorded(t *testing.T) {
	r, err := readResults(filepath.Join("..", "docs", "performance.json"))
	if err != nil {
		t.Fatal(err)
	}
	r.checkWhole(t)
	if r.Rounds < full.rounds || r.Streams < full.streams {
		t.Errorf("the recorded run is a short one: %d pairs, %d streams", r.Rounds, r.Streams)
	}
	checkDocuments(t, r, filepath.Join("..", "docs"), filepath.Join("..", "README.md"))
}

// checkDocuments compares what was drawn with results.
func checkDocuments(t *testing.T, r *results, docs, readme string) {
	t.Helper()
	for _, file := range []string{readme, filepath.Join(docs, "performance.md")} {
		now := read(t, file)
		want, err := between(now, r.table())
		if err != nil || now != want {
			t.Errorf("%s does not show what was recorded: go run ./bench -render (%v)", file, err)
		}
	}
	chart := read(t, filepath.Join(docs, "performance.svg"))
	if chart != r.chart() {
		t.Error("the chart does not show what was recorded: go run ./bench -render")
	}
	for d := xml.NewDecoder(strings.NewReader(chart)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is not XML: %v", err)
		}
	}
}

func TestBetween(t *testing.T) {
	for name, document := range map[string]string{
		"no marks": "text", "no end": begin + " x -->\n", "no beginning": end, "nothing below": begin + " x -->" + end,
	} {
		if got, err := between(document, "new"); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		list []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(tt.list, func(f float64) float64 { return f }); got != tt.want {
			t.Errorf("median of %v: %v", tt.list, got)
		}
	}
}

// TestRefusals: a run that measures only a part is not recorded, and one that
// can't be drawn says so.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	if err := run(options{render: true, docs: dir, readme: filepath.Join(dir, "README.md")}, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without results: %v", err)
	}
	write(t, filepath.Join(dir, "performance.json"), "{}")
	if err := run(options{render: true, docs: dir, readme: filepath.Join(dir, "README.md")}, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a README: %v", err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
