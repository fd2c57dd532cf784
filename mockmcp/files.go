package mockmcp

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// tree is the example tree, compiled in: the tool has no way to the disk.
//
//go:embed tree
var tree embed.FS

type filesArgs struct {
	Path    string `json:"path" jsonschema:"a folder of the tree; / is the whole tree"`
	Pattern string `json:"pattern,omitempty" jsonschema:"only names that fit, with * ? and [a-z], for example *.md"`
}

type entry struct {
	Name   string `json:"name"`
	Folder bool   `json:"folder"`
	Size   int64  `json:"size"`
}

type listing struct {
	Path    string  `json:"path"`
	Entries []entry `json:"entries"`
}

func (l listing) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d found", l.Path, len(l.Entries))
	for _, e := range l.Entries {
		if e.Folder {
			fmt.Fprintf(&b, "\n%s/", e.Name)
		} else {
			fmt.Fprintf(&b, "\n%s (%d bytes)", e.Name, e.Size)
		}
	}
	return b.String()
}

func refineFiles(s *jsonschema.Schema) {
	length(s, "path", 0, 200)
	length(s, "pattern", 0, 100)
}

func listFiles(_ http.Header, in filesArgs) (listing, error) {
	dir, err := treePath(in.Path)
	if err != nil {
		return listing{}, err
	}
	if _, err := path.Match(in.Pattern, ""); err != nil {
		return listing{}, fmt.Errorf("pattern %q is malformed: a [ has no end, or a \\ has nothing behind it", in.Pattern)
	}
	shown := "/" + strings.TrimPrefix(strings.TrimPrefix(dir, "tree"), "/")
	found, err := fs.ReadDir(tree, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return listing{}, fmt.Errorf("there is no folder %q: start at / to see what there is", shown)
	}
	if err != nil {
		return listing{}, fmt.Errorf("%q is a file, not a folder", shown)
	}
	out := listing{Path: shown, Entries: []entry{}}
	for _, f := range found {
		if fits, _ := path.Match(in.Pattern, f.Name()); in.Pattern != "" && !fits {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return listing{}, fmt.Errorf("reading %s: %w", shown, err)
		}
		out.Entries = append(out.Entries, entry{Name: f.Name(), Folder: f.IsDir(), Size: info.Size()})
	}
	return out, nil
}

// treePath turns what the caller wrote into a name inside the tree.
func treePath(p string) (string, error) {
	if slices.Contains(strings.FieldsFunc(p, func(c rune) bool { return c == '/' || c == '\\' }), "..") {
		return "", errors.New("path must not contain \"..\": the tool can't leave its tree")
	}
	if strings.ContainsAny(p, "\\\x00") {
		return "", errors.New("path must use / between folders, and no control characters")
	}
	return path.Join("tree", p), nil
}
