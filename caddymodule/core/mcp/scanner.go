package mcp

import (
	"bytes"
	"errors"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner walks JSON that stays where it is: what it returns are parts of the
// text. jsontext refuses invalid UTF-8, lone surrogates, a byte order mark and a
// member name that comes twice in one object, at any depth.
type scanner struct {
	dec  jsontext.Decoder
	buf  bytes.Buffer
	text []byte
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// scan returns a scanner at the beginning of the text. Call close when done.
func scan(text []byte) *scanner {
	s := scanners.Get().(*scanner) //nolint:forcetypeassert // the pool holds nothing else
	s.text = text
	s.buf = *bytes.NewBuffer(text)
	s.dec.Reset(&s.buf)
	return s
}

// close lets go of the text, which may be a client's, and keeps the rest.
func (s *scanner) close() {
	s.text = nil
	s.buf = bytes.Buffer{}
	s.dec.Reset(&s.buf)
	scanners.Put(s)
}

// offset is where the last token or value ended.
func (s *scanner) offset() int {
	return int(s.dec.InputOffset())
}

// kind says what comes next, or is invalid where that cannot be read: reading it
// then says why.
func (s *scanner) kind() jsontext.Kind {
	return s.dec.PeekKind()
}

// value reads one value, or the name of a member.
func (s *scanner) value() (jsontext.Value, error) {
	v, err := s.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := s.offset()
	return s.text[end-len(v) : end : end], nil
}

func (s *scanner) skip() error {
	return s.dec.SkipValue()
}

// object walks an object, which has to be what comes next. For each member it
// calls with the name; each reads the value.
func (s *scanner) object(each func(name []byte) error) error {
	if _, err := s.dec.ReadToken(); err != nil {
		return err
	}
	for s.kind() != jsontext.KindEndObject {
		raw, err := s.value()
		if err != nil {
			return err
		}
		name, err := unquote(raw)
		if err != nil {
			return err
		}
		if err := each(name); err != nil {
			return err
		}
	}
	_, err := s.dec.ReadToken()
	return err
}

// array walks an array, which has to be what comes next. For each element it
// calls with the index; each reads the element.
func (s *scanner) array(each func(i int) error) error {
	if _, err := s.dec.ReadToken(); err != nil {
		return err
	}
	for i := 0; s.kind() != jsontext.KindEndArray; i++ {
		if err := each(i); err != nil {
			return err
		}
	}
	_, err := s.dec.ReadToken()
	return err
}

// rest reports whether anything but white space follows.
func (s *scanner) rest() bool {
	return len(bytes.TrimLeft(s.text[s.offset():], " \t\r\n")) > 0
}

// unquote returns what a JSON string says, without a copy where it has no escapes.
func unquote(raw jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	return jsontext.AppendUnquote(nil, raw)
}

// text returns what a value says that has to be a string with something in it.
func text(raw jsontext.Value) (string, bool) {
	if raw.Kind() != jsontext.KindString {
		return "", false
	}
	s, err := unquote(raw)
	return string(s), err == nil && len(s) > 0
}

// unreadable says where text stops being JSON that can be trusted, and nothing
// of what it says.
func unreadable(err error) (message string, code int) {
	where := ""
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		where = " (at byte " + strconv.FormatInt(e.ByteOffset, 10) + ")"
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return "an object has the same member twice" + where, CodeInvalidRequest
	}
	return "not valid JSON in UTF-8" + where, CodeParseError
}

// deep reports whether objects and arrays are nested deeper than most levels.
func deep(text []byte, most int) bool {
	if bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) <= most {
		return false
	}
	level, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if level++; level > most {
				return true
			}
		case c == '}' || c == ']':
			level--
		}
	}
	return false
}
