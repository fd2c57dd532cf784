package mcp

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// What one request may hold. Real messages stay far below.
const (
	// MaxDepth is how many levels of objects and arrays a body may have.
	MaxDepth = 128
	// MaxBatch is how many messages a batch may have.
	MaxBatch = 100
	// MaxURIs is how many resources one subscriptions/listen may ask for.
	MaxURIs = 1000
)

// maxID is the largest integer that every reader keeps as it is (RFC 7493
// section 2.2).
const maxID = 1<<53 - 1

// Read reads the body of a request: one message of JSON-RPC 2.0, or a batch of
// them. It refuses whatever two readers could read differently, with an [*Error]
// for the answer.
//
// IDs and arguments are parts of the body, which must not change as long as they
// are used.
func Read(body []byte) (Body, error) {
	defer leave(enter(body))
	if deep(body, MaxDepth) {
		return Body{}, refuse(CodeInvalidRequest, "nested deeper than "+strconv.Itoa(MaxDepth)+" levels")
	}
	s := scan(body)
	defer s.close()
	b, e := s.body()
	if e != nil {
		return Body{}, e
	}
	if s.rest() {
		return Body{}, refuse(CodeInvalidRequest, "more than one JSON value: send one message in each request")
	}
	return b, nil
}

func (s *scanner) body() (Body, *Error) {
	if s.kind() != jsontext.KindBeginArray {
		m, e := s.message()
		if e != nil {
			return Body{}, e
		}
		return Body{Messages: []Message{m}}, nil
	}
	b := Body{Batch: true}
	var refused *Error
	err := s.array(func(i int) error {
		if i == MaxBatch {
			refused = refuse(CodeInvalidRequest, "more than "+strconv.Itoa(MaxBatch)+" messages in one batch")
			return refused
		}
		m, e := s.message()
		if e != nil {
			refused = e
			return e
		}
		b.Messages = append(b.Messages, m)
		return nil
	})
	switch {
	case refused != nil:
		// The batch is refused as one: no single request is answered.
		refused.ID = nil
		return Body{}, refused
	case err != nil:
		return Body{}, malformed(err)
	case len(b.Messages) == 0:
		return Body{}, refuse(CodeInvalidRequest, "an empty batch")
	}
	return b, nil
}

func malformed(err error) *Error {
	message, code := unreadable(err)
	return refuse(code, message)
}

// envelope collects the members of a message. The first thing that is wrong with
// it is kept until the message has been read to its end, as the id may come last.
type envelope struct {
	jsonrpc, hasMethod, hasParams, hasResult, hasError bool

	id      jsontext.Value
	method  string
	params  params
	problem *Error
}

func (e *envelope) fail(code int, message string) {
	if e.problem == nil {
		e.problem = refuse(code, message)
	}
}

// message reads one message.
func (s *scanner) message() (Message, *Error) {
	if s.kind() != jsontext.KindBeginObject {
		if err := s.skip(); err != nil {
			return Message{}, malformed(err)
		}
		return Message{}, refuse(CodeInvalidRequest, "a message has to be a JSON object")
	}
	var e envelope
	if err := s.object(func(name []byte) error { return s.member(&e, name) }); err != nil {
		return Message{}, malformed(err)
	}
	m := Message{ID: e.id}
	e.judge(&m)
	if e.problem != nil {
		e.problem.ID = e.id
		return Message{}, e.problem
	}
	return m, nil
}

// member reads one member of the envelope.
func (s *scanner) member(e *envelope, name []byte) error {
	switch string(name) {
	case "params":
		e.hasParams = true
		if s.kind() == jsontext.KindBeginObject {
			return s.params(e)
		}
		e.fail(CodeInvalidRequest, `"params" has to be a JSON object`)
		return s.skip()
	case "result":
		e.hasResult = true
		return s.answer(e)
	case "error":
		e.hasError = true
		return s.answer(e)
	case "jsonrpc", "id", "method":
		v, err := s.value()
		if err == nil {
			e.set(name, v)
		}
		return err
	}
	if envelopeNames.twin(name) {
		e.fail(CodeInvalidRequest, "a member of the message differs from one of JSON-RPC's only in its spelling")
	}
	return s.skip()
}

// answer reads past a result or an error.
func (s *scanner) answer(e *envelope) error {
	if s.kind() != jsontext.KindBeginObject {
		e.fail(CodeInvalidRequest, `"result" and "error" have to be JSON objects`)
	}
	return s.skip()
}

func (e *envelope) set(name []byte, v jsontext.Value) {
	switch string(name) {
	case "jsonrpc":
		if e.jsonrpc = string(v) == `"2.0"`; !e.jsonrpc {
			e.fail(CodeInvalidRequest, `"jsonrpc" has to be "2.0"`)
		}
	case "id":
		if !validID(v) {
			e.fail(CodeInvalidRequest, `"id" has to be a string, or an integer up to 2^53-1`)
			return
		}
		e.id = v
	case "method":
		e.hasMethod = true
		method, ok := text(v)
		if !ok {
			e.fail(CodeInvalidRequest, `"method" has to be a string that is not empty`)
		}
		e.method = method
	}
}

// validID reports whether everybody takes the id for the same, and sends it back
// as it came: null is a notification to some and a request to others, and
// fractions and exponents are written differently by each.
func validID(v jsontext.Value) bool {
	if v.Kind() == jsontext.KindString {
		return true
	}
	digits := strings.TrimPrefix(string(v), "-")
	n, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && n <= maxID && string(v) != "-0"
}

// judge fills in the message, or finds what is wrong with it as a whole.
func (e *envelope) judge(m *Message) {
	switch {
	case !e.jsonrpc:
		e.fail(CodeInvalidRequest, `"jsonrpc" is missing: it has to be "2.0"`)
	case e.hasMethod && (e.hasResult || e.hasError):
		e.fail(CodeInvalidRequest, "both a request and a response")
	case e.hasMethod:
		e.call(m)
	case e.hasResult == e.hasError:
		e.fail(CodeInvalidRequest, `a message needs a "method", a "result" or an "error", and only one of them`)
	case e.hasParams:
		e.fail(CodeInvalidRequest, `a response has no "params"`)
	case e.id == nil:
		e.fail(CodeInvalidRequest, `a response needs the "id" of its request`)
	default:
		m.Kind = Response
	}
}

// call fills in a request or a notification.
func (e *envelope) call(m *Message) {
	m.Kind = Request
	if e.id == nil {
		m.Kind = Notification
	}
	m.Method = e.method
	m.version = e.params.version
	what, known := methods[e.method]
	switch {
	case known && m.Kind == Notification:
		e.fail(CodeInvalidRequest, `a request of this method needs an "id"`)
	case m.Kind == Request && strings.HasPrefix(e.method, "notifications/"):
		e.fail(CodeInvalidRequest, `a notification has no "id"`)
	}
	if e.problem == nil {
		if wrong := target(m, what, &e.params); wrong != "" {
			e.problem = &Error{Status: http.StatusBadRequest, Code: CodeInvalidParams, Message: wrong}
		}
	}
}
