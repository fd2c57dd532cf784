package password

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// lineError is an error about one line of a users file.
type lineError struct {
	line int
	err  error
}

// Error implements error.
func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// Unwrap returns what is wrong there.
func (e *lineError) Unwrap() error { return e.err }

// atLine says where an error is; line 0 is nowhere.
func atLine(line int, err error) error {
	if line == 0 {
		return err
	}
	return &lineError{line, err}
}

// list is the content of a users file.
type list struct {
	Users []entry `json:"users"`
}

// entry is one user of the file, and where the entry before ends.
type entry struct {
	User
	after int64
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (e *entry) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	e.after = dec.InputOffset()
	return json.UnmarshalDecode(dec, &e.User)
}

// parseUsers reads a users file. All errors have a line, and none of them
// repeats a hash.
func parseUsers(data []byte) ([]*account, error) {
	var l list
	if err := json.Unmarshal(data, &l, json.RejectUnknownMembers(true)); err != nil {
		return nil, explain(data, err)
	}
	if l.Users == nil {
		return nil, atLine(1, errors.New(`there is no list of users: write {"users": [...]}`))
	}
	accounts := make([]*account, 0, len(l.Users))
	for _, e := range l.Users {
		line := lineOf(data, e.after)
		a, err := newAccount(e.User)
		if err != nil {
			return nil, atLine(line, err)
		}
		a.line = line
		accounts = append(accounts, a)
	}
	return accounts, nil
}

// members are the names of the format; no other text of the file stands in an
// error.
var members = map[string]bool{
	"users": true, "user": true, "hash": true, "email": true, "name": true, "groups": true, "disabled": true,
}

// explain makes an error of a line out of what the decoder says. Its own words
// are left out where they quote the file, which holds hashes.
func explain(data []byte, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return atLine(lineOf(data, int64(len(data))), errors.New("the file ends too early: it may be half written"))
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		reason := "this is not valid JSON"
		if errors.Is(err, jsontext.ErrDuplicateName) {
			reason = "a member is given twice" + named(e.JSONPointer)
		}
		return atLine(lineOf(data, e.ByteOffset), errors.New(reason))
	}
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		reason := "the value has the wrong type" + named(e.JSONPointer)
		if errors.Is(err, json.ErrUnknownName) {
			reason = "there is an unknown member (known in an entry: user, hash, email, name, groups, disabled)"
		}
		return atLine(lineOf(data, e.ByteOffset), errors.New(reason))
	}
	return atLine(1, errors.New("this can't be read as JSON"))
}

// named says which member a pointer is about, if it is one of the format.
func named(p jsontext.Pointer) string {
	for ; p != ""; p = p.Parent() {
		if name := p.LastToken(); members[name] {
			return ": " + name
		}
	}
	return ""
}

// lineOf returns the line of what comes after an offset: blanks and punctuation
// between two values belong to neither.
func lineOf(data []byte, offset int64) int {
	offset = min(max(offset, 0), int64(len(data)))
	rest := bytes.TrimLeft(data[offset:], " \t\r\n,:")
	if len(rest) > 0 {
		offset = int64(len(data) - len(rest))
	}
	return 1 + bytes.Count(data[:offset], []byte("\n"))
}
