package mcp

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// List is a list that a server answers with.
type List uint8

// The lists of MCP, and by what their entries are known.
const (
	// Tools are known by name.
	Tools List = iota + 1
	// Prompts are known by name.
	Prompts
	// Resources are known by uri.
	Resources
	// ResourceTemplates are known by uriTemplate.
	ResourceTemplates
)

// List returns the list that a request asks for a page of.
func (m Message) List() (List, bool) {
	switch m.Method {
	case MethodListTools:
		return Tools, true
	case MethodListPrompts:
		return Prompts, true
	case MethodListResources:
		return Resources, true
	case MethodListResourceTemplates:
		return ResourceTemplates, true
	}
	return 0, false
}

// listOf returns the list that a member of a result is, or 0.
func listOf(member []byte) List {
	switch string(member) {
	case "tools":
		return Tools
	case "prompts":
		return Prompts
	case "resources":
		return Resources
	case "resourceTemplates":
		return ResourceTemplates
	}
	return 0
}

// key is the member that an entry of the list is known by.
func (l List) key() string {
	switch l {
	case Resources:
		return "uri"
	case ResourceTemplates:
		return "uriTemplate"
	case Tools, Prompts:
	}
	return "name"
}

// FilterAnswer takes the entries that keep refuses out of the lists in the
// results of one JSON-RPC message, or of a batch of them. All else stays as it is,
// byte for byte, but for cacheScope: a result with a list in it becomes private,
// as it is only for this caller. Where a result has no cacheScope, it gets one if
// addScope is set, as revisions since 2026-07-28 want it (see [Mirrors]).
//
// Entries that have no name, or none that everybody reads alike, are taken out
// without asking. Where nothing changes, FilterAnswer returns the message itself.
// An answer that cannot be read with certainty is an error: the caller must not
// pass it on.
func FilterAnswer(message []byte, keep func(l List, name string) bool, addScope bool) ([]byte, error) {
	s := scan(message)
	defer s.close()
	f := filter{scanner: s, keep: keep, addScope: addScope}
	var err error
	if s.kind() == jsontext.KindBeginArray {
		err = s.array(func(int) error { return f.message() })
	} else {
		err = f.message()
	}
	switch {
	case err != nil:
		if _, ours := err.(*filterError); ours { //nolint:errorlint // nothing wraps it
			return nil, fmt.Errorf("the server's answer: %w", err)
		}
		// jsontext quotes what it read, which need not be for everybody.
		what, _ := unreadable(err)
		return nil, fmt.Errorf("the server's answer: %s", what)
	case s.rest():
		return nil, fmt.Errorf("the server's answer: more than one JSON value")
	}
	return f.apply(), nil
}

// filterError is an answer that is JSON and yet not certain.
type filterError struct{ what string }

func (e *filterError) Error() string { return e.what }

// edit replaces a part of the message.
type edit struct {
	from, to int
	with     string
}

const private = `"private"`

// filter walks a message and collects what has to change, in order.
type filter struct {
	*scanner

	keep     func(l List, name string) bool
	addScope bool
	edits    []edit
}

// message walks one message, of which only the result counts.
func (f *filter) message() error {
	if f.kind() != jsontext.KindBeginObject {
		if err := f.skip(); err != nil {
			return err
		}
		return &filterError{"not a JSON-RPC message"}
	}
	return f.object(func(name []byte) error {
		switch {
		case string(name) == "result" && f.kind() == jsontext.KindBeginObject:
			return f.result()
		case isEnvelope(name):
		case envelopeNames.twin(name):
			return &filterError{"a member of the message differs from one of JSON-RPC's only in its spelling"}
		}
		return f.skip()
	})
}

func isEnvelope(name []byte) bool {
	switch string(name) {
	case "jsonrpc", "id", "method", "params", "result", "error":
		return true
	}
	return false
}

// result walks a result, and makes it private if there is a list in it.
func (f *filter) result() error {
	var scope edit
	before, lists, last := 0, false, 0
	err := f.object(func(name []byte) error {
		var err error
		l := listOf(name)
		switch {
		case l != 0 && f.kind() == jsontext.KindBeginArray:
			lists = true
			err = f.list(l)
		case string(name) == "cacheScope":
			var v jsontext.Value
			v, err = f.value()
			scope = edit{from: f.offset() - len(v), to: f.offset(), with: private}
			before = len(f.edits)
		case l == 0 && resultNames.twin(name):
			return &filterError{"a member of the result differs from one of MCP's only in its spelling"}
		default:
			err = f.skip()
		}
		last = f.offset()
		return err
	})
	switch {
	case err != nil || !lists:
		return err
	case scope.to == 0 && f.addScope:
		f.edits = append(f.edits, edit{from: last, to: last, with: `,"cacheScope":` + private})
	case scope.to > 0 && string(f.text[scope.from:scope.to]) != private:
		f.edits = slices.Insert(f.edits, before, scope)
	}
	return nil
}

// list walks a list and cuts entries out. An entry goes with the comma before it,
// or, where nothing before it is kept, with the one after it.
func (f *filter) list(l List) error {
	kept, from := 0, 0
	return f.array(func(i int) error {
		if i == 0 {
			from = f.offset()
		}
		stays, err := f.entry(l)
		if err != nil {
			return err
		}
		to := f.offset()
		switch {
		case !stays:
			f.cut(from, to)
		case kept == 0 && i > 0:
			f.cut(from, from+bytes.IndexByte(f.text[from:to], ',')+1)
		}
		if stays {
			kept++
		}
		from = to
		return nil
	})
}

// cut takes out a part, as one with the part before it if they touch.
func (f *filter) cut(from, to int) {
	if n := len(f.edits); n > 0 && f.edits[n-1].to == from && f.edits[n-1].with == "" {
		f.edits[n-1].to = to
		return
	}
	f.edits = append(f.edits, edit{from: from, to: to})
}

// entry reports whether an entry of a list stays.
func (f *filter) entry(l List) (bool, error) {
	if f.kind() != jsontext.KindBeginObject {
		if err := f.skip(); err != nil {
			return false, err
		}
		return false, &filterError{"an entry of a list is not an object"}
	}
	var key jsontext.Value
	certain := true
	err := f.object(func(name []byte) error {
		var err error
		switch {
		case string(name) == l.key():
			key, err = f.value()
			return err
		case string(name) == "name" || string(name) == "uri" || string(name) == "uriTemplate":
		case entryNames.twin(name):
			certain = false
		}
		return f.skip()
	})
	if err != nil || !certain {
		return false, err
	}
	name, ok := text(key)
	return ok && f.keep(l, name), nil
}

// apply returns the message with the changes made to it.
func (f *filter) apply() []byte {
	if len(f.edits) == 0 {
		return f.text
	}
	size := len(f.text)
	for _, e := range f.edits {
		size += len(e.with) - (e.to - e.from)
	}
	out := make([]byte, 0, size)
	done := 0
	for _, e := range f.edits {
		out = append(out, f.text[done:e.from]...)
		out = append(out, e.with...)
		done = e.to
	}
	return append(out, f.text[done:]...)
}
