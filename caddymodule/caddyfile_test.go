package caddymodule_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/standard"
)

var update = flag.Bool("update", false, "write what comes out into the golden files")

const separator = "----------\n"

// TestCaddyfile adapts each file of testdata/caddyfile: a Caddyfile, a line of
// hyphens, and the JSON or the error that it must become. The folder is also
// the list of what the Caddyfile can say.
func TestCaddyfile(t *testing.T) {
	files, err := filepath.Glob("testdata/caddyfile/*.caddyfiletest")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(text), separator)
			got := adapt(t, input)
			if strings.HasPrefix(filepath.Base(file), "error_") == strings.HasPrefix(got, "{") {
				t.Errorf("the file's name does not say whether it is an error:\n%s", got)
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimRight(input, "\n")+"\n"+separator+got+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != strings.TrimSpace(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// adapt returns indented JSON, or the error's text.
func adapt(t *testing.T, input string) string {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error()
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Errorf("warning: %s", w)
		}
	}
	var v any
	if err := json.Unmarshal(adapted, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

var place = regexp.MustCompile(`Caddyfile:[1-9]`)

// FuzzCaddyfile: whatever stands in our blocks, adapting ends with JSON or an
// error that names the file and the line.
func FuzzCaddyfile(f *testing.F) {
	files, _ := filepath.Glob("testdata/caddyfile/*.caddyfiletest")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(text), separator)
		f.Add(input)
	}
	f.Fuzz(func(t *testing.T, input string) {
		if strings.Contains(input, "import") || strings.Contains(input, "{$") {
			t.Skip("reads files or the environment")
		}
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
		if err == nil && !json.Valid(adapted) {
			t.Fatalf("%q becomes %q", input, adapted)
		}
		if err != nil && strings.Contains(err.Error(), "for 'mcp_auth") && !place.MatchString(err.Error()) {
			t.Fatalf("%q: no file and line in %q", input, err)
		}
	})
}
