package faults_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

var update = flag.Bool("update", false, "write the figures into docs/reliability.md")

// TestPageHasFigures compares the page's table with the figures that were
// measured last: nobody writes them by hand.
func TestPageHasFigures(t *testing.T) {
	const begin, end = "<!-- figures -->\n", "<!-- end of figures -->"
	docs := filepath.Join(gatewaytest.Root(), "docs")
	text, err := os.ReadFile(filepath.Join(docs, "reliability.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []figure
	if err := json.Unmarshal(text, &all); err != nil || len(all) == 0 {
		t.Fatalf("%d figures, %v", len(all), err)
	}
	var table strings.Builder
	table.WriteString("| Fault | What | Measured |\n| --- | --- | --- |\n")
	for i, f := range all {
		fault := f.Fault
		if i > 0 && all[i-1].Fault == fault {
			fault = ""
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", fault, f.What, f.Value)
	}
	path := filepath.Join(docs, "reliability.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(page), begin)
	old, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("the page has no place for the figures")
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+begin+table.String()+end+tail), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if old != table.String() {
		t.Error("the page's figures are not those of reliability.json: run this test with -update")
	}
}

// TestPageNamesTests wants every test that the page names to be there.
func TestPageNamesTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(gatewaytest.Root(), "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.Contains(cells[4], "`") {
			continue
		}
		folder := ""
		for word := range strings.FieldsSeq(strings.NewReplacer(",", " ", "`", " ` ").Replace(cells[4])) {
			switch {
			case strings.HasPrefix(word, "Test"):
				named++
				if !hasTest(t, folder, strings.TrimSuffix(word, "…")) {
					t.Errorf("%s has no test %s", folder, word)
				}
			case word != "`":
				folder = word
			}
		}
	}
	if named < 15 {
		t.Errorf("the page names %d tests", named)
	}
}

// hasTest reports whether a folder below caddymodule has a test whose name
// begins like that.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(gatewaytest.Root(), "caddymodule", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name) {
			return true
		}
	}
	return false
}
