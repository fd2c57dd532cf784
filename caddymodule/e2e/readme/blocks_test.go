package readme_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// block is a fenced block of a document.
type block struct {
	document string // its file
	lang     string
	heading  string // the nearest one above, without its hashes
	file     string // the file that a comment above says the block shows
	text     string
}

// languages are what blocks may be marked with.
var languages = []string{"sh", "console", "caddyfile", "json"}

const readmeFile = "README.md"

// documents lists the README and the pages of docs.
func documents(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(gatewaytest.Root(), "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages in docs: %v", err)
	}
	all := []string{readmeFile}
	for _, page := range pages {
		all = append(all, "docs/"+filepath.Base(page))
	}
	return all
}

// readFile returns the text of a file of the repository.
func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(gatewaytest.Root(), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var fileComment = regexp.MustCompile(`^<!-- file: (\S+) -->$`)

// parse returns the fenced blocks of a document, and the rest of it by heading.
func parse(t *testing.T, document string) (blocks []block, prose map[string]string) {
	t.Helper()
	prose = map[string]string{}
	var b *block
	var heading, file string
	for line := range strings.Lines(readFile(t, document)) {
		bare := strings.TrimRight(line, "\n")
		lang, fence := strings.CutPrefix(bare, "```")
		switch {
		case b != nil && fence:
			blocks, b, file = append(blocks, *b), nil, ""
		case b != nil:
			b.text += line
		case fence:
			if !slices.Contains(languages, lang) && !strings.HasPrefix(document, "examples/") {
				t.Errorf("%s: a block below %q is marked %q, want one of %q", document, heading, lang, languages)
			}
			b = &block{document: document, lang: lang, heading: heading, file: file}
		case strings.HasPrefix(bare, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(bare, "#"))
			prose[heading] += "" // a heading without text is one too
		default:
			if m := fileComment.FindStringSubmatch(bare); m != nil {
				file = m[1]
			}
			prose[heading] += line
		}
	}
	if b != nil {
		t.Errorf("%s: the block below %q does not end", document, heading)
	}
	return blocks, prose
}

// blocksIn returns the blocks of one language in all documents. Each has one at
// least, shell blocks excepted.
func blocksIn(t *testing.T, lang string) []block {
	t.Helper()
	var all []block
	for _, document := range documents(t) {
		blocks, _ := parse(t, document)
		blocks = slices.DeleteFunc(blocks, func(b block) bool { return b.lang != lang })
		if len(blocks) == 0 && lang != "sh" {
			t.Fatalf("%s has no block marked %s", document, lang)
		}
		all = append(all, blocks...)
	}
	return all
}

// section returns the text below a heading, without blocks.
func section(t *testing.T, document, heading string) string {
	t.Helper()
	_, prose := parse(t, document)
	if prose[heading] == "" {
		t.Fatalf("%s has no section %q", document, heading)
	}
	return prose[heading]
}

// rows returns the cells of the tables in a section, without their headings.
func rows(t *testing.T, document, heading string) [][]string {
	t.Helper()
	var all [][]string
	for line := range strings.Lines(section(t, document, heading)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if strings.HasPrefix(cells[0], "---") {
			all = all[:len(all)-1] // the line before was the heading
			continue
		}
		all = append(all, cells)
	}
	if len(all) == 0 {
		t.Fatalf("%s: section %q has no table", document, heading)
	}
	return all
}

var quoted = regexp.MustCompile("`([^`]+)`")

// code returns what stands in backquotes.
func code(text string) []string {
	var all []string
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// need skips the test where a program is not installed, or fails it where
// everything has to be.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("REQUIRE_BACKENDS") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

// bash runs a shell block against a gateway in the place of the README's, and
// returns what it prints. Any failing command is an error.
func bash(t *testing.T, g *gatewaytest.Gateway, text string) string {
	t.Helper()
	need(t, "bash", "curl", "openssl", "sed")
	text = strings.NewReplacer("http://localhost:8080", g.URL, "http://localhost:2019", "http://"+g.Admin).Replace(text)
	ctx, cancel := context.WithTimeout(t.Context(), blockTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", text)
	cmd.Env = append(os.Environ(), "NO_PROXY=localhost", "no_proxy=localhost")
	cmd.Dir = t.TempDir()
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, complaints.String(), out)
	}
	if complaints.Len() > 0 {
		t.Errorf("the block complains: %s", complaints.String())
	}
	return string(out)
}
