package mockmcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	strictjson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// rpcRequest is what a plain endpoint needs of a JSON-RPC 2.0 request. Both stay raw: the id is only echoed.
type rpcRequest struct {
	id     jsontext.Value
	params jsontext.Value // an object, or nil
}

// rpcReply is one JSON-RPC 2.0 response.
type rpcReply struct {
	Version string         `json:"jsonrpc"`
	ID      jsontext.Value `json:"id"`
	Result  any            `json:"result,omitempty"`
	Error   *jsonrpc.Error `json:"error,omitempty"`
}

// decodeRequest reads a request for one method. With an error it still returns the request, for the id in the answer.
// Names are case-sensitive and unique: the gateway in front reads the same bytes and must see the same request.
func decodeRequest(body []byte, method string) (rpcRequest, *jsonrpc.Error) {
	var req rpcRequest
	var whole jsontext.Value
	if err := strictjson.Unmarshal(body, &whole); err != nil {
		return req, rpcError(jsonrpc.CodeParseError, "can't read the body as JSON: %s", jsonReason(err))
	}
	switch whole.Kind() {
	case '{':
	case '[':
		return req, rpcError(jsonrpc.CodeInvalidRequest, "the body is a batch: send one request at a time")
	default:
		return req, rpcError(jsonrpc.CodeInvalidRequest, "the body is not an object: send a JSON-RPC request")
	}
	m := members(whole)
	if k := m["id"].Kind(); k != '"' && k != '0' {
		return req, rpcError(jsonrpc.CodeInvalidRequest, "id is missing, or neither a string nor a number")
	}
	req.id = m["id"]
	if v, _ := stringOf(m["jsonrpc"]); v != "2.0" {
		return req, rpcError(jsonrpc.CodeInvalidRequest, `jsonrpc must be "2.0"`)
	}
	if v, _ := stringOf(m["method"]); m["method"] != nil && v != method {
		return req, rpcError(jsonrpc.CodeInvalidRequest, "this path answers the method %q only", method)
	}
	req.params = m["params"]
	if req.params != nil && req.params.Kind() != '{' {
		return req, invalidParams("params must be an object")
	}
	return req, nil
}

// members splits a JSON object; what isn't one has none.
func members(object jsontext.Value) map[string]jsontext.Value {
	var m map[string]jsontext.Value
	if strictjson.Unmarshal(object, &m) != nil {
		return nil
	}
	return m
}

// jsonReason says what is wrong with a JSON text, without the names of packages and Go types.
func jsonReason(err error) string {
	if bad, ok := errors.AsType[*strictjson.SemanticError](err); ok {
		return fmt.Sprintf("%v at %s", bad.Err, bad.JSONPointer)
	}
	return strings.TrimPrefix(err.Error(), "jsontext: ")
}

// stringOf reads v when it is a JSON string.
func stringOf(v jsontext.Value) (string, bool) {
	var s string
	if v.Kind() != '"' {
		return "", false
	}
	return s, strictjson.Unmarshal(v, &s) == nil
}

// readBody reads a request body up to maxBody. When it can't, it answers the request and returns false.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		writeReply(w, http.StatusRequestEntityTooLarge, rpcReply{Error: rpcError(jsonrpc.CodeInvalidRequest, "the body is larger than 1 MiB")})
		return nil, false
	}
	if err != nil {
		writeReply(w, http.StatusBadRequest, rpcReply{Error: rpcError(jsonrpc.CodeParseError, "the body ended early")})
		return nil, false
	}
	return body, true
}

// writeReply answers with a JSON-RPC response. An unknown id is null, as JSON-RPC asks.
func writeReply(w http.ResponseWriter, status int, reply rpcReply) {
	reply.Version = "2.0"
	if reply.ID == nil {
		reply.ID = jsontext.Value("null")
	}
	writeJSON(w, status, reply)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when the client has gone
}
