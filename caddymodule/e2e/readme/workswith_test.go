package readme_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/clients"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

var update = flag.Bool("update", false, "write the generated parts into the README")

// What stands around the table in the README.
const (
	worksWithBegin = "<!-- begin works with: generated from caddymodule/core/clients by go test ./caddymodule/e2e/readme -run TestWorksWith -update -->\n"
	worksWithEnd   = "<!-- end works with -->\n"
)

var ways = map[string]string{
	clients.WayDocument:   "metadata document",
	clients.WayDynamic:    "dynamic registration",
	clients.WayConfigured: "client_id from you",
	clients.WayToken:      "bearer token from you",
}

// TestWorksWith holds the README's table of clients equal to what is known of
// them, and to how each is tested.
func TestWorksWith(t *testing.T) {
	text := readFile(t, readmeFile)
	before, rest, ok := strings.Cut(text, worksWithBegin)
	_, after, ok2 := strings.Cut(rest, worksWithEnd)
	if !ok || !ok2 {
		t.Fatalf("the README has no place for the table between %q and %q", worksWithBegin, worksWithEnd)
	}
	want := before + worksWithBegin + worksWith(t) + worksWithEnd + after
	if want == text {
		return
	}
	if !*update {
		t.Fatal("the table of clients in the README is not what core/clients says: run this test with -update")
	}
	if err := os.WriteFile(filepath.Join(gatewaytest.Root(), readmeFile), []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func worksWith(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| Client | Registers by | Tested by | Notes |\n| --- | --- | --- | --- |\n")
	for _, c := range clients.All() {
		var by, notes []string
		for _, way := range c.Registers {
			if ways[way] == "" {
				t.Fatalf("%s registers by %q", c.Name, way)
			}
			by = append(by, ways[way])
		}
		for _, f := range c.Flags {
			notes = append(notes, clients.Notes[f])
		}
		b.WriteString("| " + strings.Join([]string{c.Name, strings.Join(by, ", "), testedBy(c), strings.Join(notes, "; ")}, " | ") + " |\n")
	}
	return b.String()
}

func testedBy(c clients.Client) string {
	how := "transcript, put together from reports"
	if c.Recorded != "" {
		how = "transcript, recorded from " + c.Recorded
	}
	if c.Runs {
		how = "the client itself; " + how
	}
	return how
}
