package caddymodule_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryPackageSaysWhatItOwns: a newcomer reads doc.go first.
func TestEveryPackageSaysWhatItOwns(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", "{{if .GoFiles}}{{.Dir}}{{end}}", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dirs := strings.Fields(string(out))
	if len(dirs) < 15 {
		t.Fatalf("only %d packages are listed", len(dirs))
	}
	for _, dir := range dirs {
		if text, err := os.ReadFile(filepath.Join(dir, "doc.go")); err != nil || !strings.HasPrefix(string(text), "// ") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
