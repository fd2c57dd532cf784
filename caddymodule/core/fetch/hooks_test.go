package fetch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestHooksAreForTests: no code that ships opens the client to private
// addresses, other authorities or a resolver of its own. It goes over the
// source, because the fields have to be exported for the tests of others.
func TestHooksAreForTests(t *testing.T) {
	const room = "caddymodule/core/fetch"
	root := filepath.Join("..", "..", "..")
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || strings.HasPrefix(filepath.ToSlash(rel), room) {
			return err
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, name := range hooks(f) {
			t.Errorf("%s sets %s of a fetch.Options: that is for tests only", rel, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("only %d files were looked at", files)
	}
}

// hooks returns the hooks that a file sets, if it imports package fetch at all.
func hooks(f *ast.File) (found []string) {
	imports := false
	for _, i := range f.Imports {
		imports = imports || strings.HasSuffix(strings.Trim(i.Path.Value, `"`), "/core/fetch") || strings.HasSuffix(strings.Trim(i.Path.Value, `"`), "/fetchtest")
	}
	if !imports {
		return nil
	}
	hook := map[string]bool{"Permit": true, "RootCAs": true, "Lookup": true}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			if id, ok := n.Key.(*ast.Ident); ok && hook[id.Name] {
				found = append(found, id.Name)
			}
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if s, ok := left.(*ast.SelectorExpr); ok && hook[s.Sel.Name] {
					found = append(found, s.Sel.Name)
				}
			}
		}
		return true
	})
	return found
}

func TestHooksAreSeen(t *testing.T) {
	const head = "package x\nimport \"m/core/fetch\"\n"
	for src, want := range map[string]int{
		head + "var o = fetch.Options{Permit: nil}":             1,
		head + "func f(o fetch.Options) { o.RootCAs = nil }":    1,
		head + "func f(o *fetch.Options) { o.Lookup, _ = f() }": 1,
		head + "var o = fetch.Options{Timeout: 1}":              0,
		"package x\nvar o = tls.Config{RootCAs: nil}":           0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := hooks(f); len(got) != want {
			t.Errorf("%s: %q", src, got)
		}
	}
}
