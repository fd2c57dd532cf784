package mcp

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Member is what a JSON object has under a name.
type Member struct {
	// Value is the part of the object's text, or nil if there is no such member.
	Value jsontext.Value
	// Ambiguous says that the object has a member whose name is the same only to
	// readers that are less exact: encoding/json ignores case, for one, and takes
	// the last of them. So there is no telling what the server reads.
	Ambiguous bool
}

// Members looks for members of a JSON object, in one pass and without decoding any.
// The result has one for each name. Any other JSON has none. The error says that
// the text is no JSON, or has a member twice, which [Read] refuses.
func Members(object jsontext.Value, wanted ...string) ([]Member, error) {
	found := make([]Member, len(wanted))
	if object.Kind() != jsontext.KindBeginObject {
		return found, nil
	}
	folded := make([]string, len(wanted))
	for i, name := range wanted {
		folded[i] = string(fold(nil, []byte(name)))
	}
	defer leave(enter(object))
	s := scan(object)
	defer s.close()
	var space [64]byte
	err := s.object(func(name []byte) error {
		v, err := s.value()
		form := fold(space[:0], name)
		for i := range wanted {
			switch {
			case wanted[i] == string(name):
				found[i].Value = v
			case folded[i] == string(form):
				found[i].Ambiguous = true
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading a JSON object: %w", err)
	}
	return found, nil
}

// Twins reports whether one of the names is the same as another to readers that
// are less exact.
func Twins[V any](object map[string]V) bool {
	if len(object) < 2 {
		return false
	}
	seen := make(names, len(object))
	for name := range object {
		form := string(fold(nil, []byte(name)))
		if _, twice := seen[form]; twice {
			return true
		}
		seen[form] = struct{}{}
	}
	return false
}
