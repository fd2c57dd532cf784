package mcp

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// The JSON-RPC error codes that a gateway answers with.
const (
	// CodeParseError says that the body is not JSON.
	CodeParseError = -32700
	// CodeInvalidRequest says that the JSON is not a message of JSON-RPC 2.0, or
	// not one that everybody reads alike.
	CodeInvalidRequest = -32600
	// CodeInvalidParams says that the params do not name what the method is about.
	CodeInvalidParams = -32602
	// CodeHeaderMismatch says that the headers name something else than the body
	// (SEP-2243).
	CodeHeaderMismatch = -32020
	// CodeDenied says that the gateway's policy refuses the call, and that no
	// other token of the same user would help. MCP has no code for this; the number
	// is from the range that JSON-RPC leaves to servers.
	CodeDenied = -32010
)

// Error says why a request is refused before policy looks at it. Its text is
// made for the client: it repeats nothing of what the client sent.
type Error struct {
	// Status is the HTTP status for the answer: 400, or 415 for a content type.
	Status int
	// Code is the JSON-RPC error code.
	Code int
	// Message says what is wrong and what would be right.
	Message string
	// ID is the id of the request, or nil where it has none, where it cannot be
	// told, or where a whole batch is refused.
	ID jsontext.Value
}

// Error returns the message, with the code before it.
func (e *Error) Error() string {
	return "JSON-RPC error " + strconv.Itoa(e.Code) + ": " + e.Message
}

func refuse(code int, message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: message}
}

// ErrorResponse returns a JSON-RPC error response. A nil id becomes null, which
// is what JSON-RPC has for a request whose id is unknown. The data are left out
// where they are nil or cannot be written as JSON.
func ErrorResponse(id jsontext.Value, code int, message string, data any) []byte {
	if id == nil {
		id = jsontext.Value("null")
	}
	b := make([]byte, 0, len(id)+len(message)+80)
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = append(b, id...)
	b = append(b, `,"error":{"code":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"message":`...)
	// The only error is for text that is not UTF-8, and it is written all the same,
	// with U+FFFD where that is so.
	b, _ = jsontext.AppendQuote(b, message)
	if data != nil {
		if raw, err := json.Marshal(data); err == nil {
			b = append(append(b, `,"data":`...), raw...)
		}
	}
	return append(b, "}}"...)
}

// BatchErrorResponse puts the responses to the requests of a batch, as
// [ErrorResponse] makes them, into the array that answers it.
func BatchErrorResponse(responses ...[]byte) []byte {
	size := 2
	for _, r := range responses {
		size += len(r) + 1
	}
	b := append(make([]byte, 0, size), '[')
	for i, r := range responses {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, r...)
	}
	return append(b, ']')
}
