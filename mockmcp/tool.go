package mockmcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	strictjson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxReason is where an error message that quotes the caller's own input is cut.
const maxReason = 300

// tool is one tool: its description, and the function behind it. Every transport calls it the same way.
type tool struct {
	def   *mcp.Tool
	input *jsonschema.Resolved
	run   func(h http.Header, args []byte) (result, error)
}

// result is what a tool hands back: JSON for programs, text for people and models.
type result interface {
	text() string
}

// newTool makes a tool whose schemas are those of In and Out. The function gets arguments that fit the schema; an error
// from it is a failed call with a reason. refine, if any, adds to the input schema what Go types can't say.
func newTool[In any, Out result](name, about string, refine func(*jsonschema.Schema), fn func(http.Header, In) (Out, error)) *tool {
	in, out := schemaOf[In](), schemaOf[Out]()
	if refine != nil {
		refine(in)
	}
	resolved, err := in.Resolve(nil)
	if err != nil {
		panic(fmt.Sprintf("mockmcp: input schema of %s: %v", name, err)) // a mistake in this package, seen by every test
	}
	return &tool{
		def: &mcp.Tool{
			Name: name, Description: about, InputSchema: in, OutputSchema: out,
			Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true, IdempotentHint: true},
		},
		input: resolved,
		run: func(h http.Header, args []byte) (result, error) {
			var v In
			if err := strictjson.Unmarshal(args, &v); err != nil {
				return nil, invalidParams("can't read the arguments of %s: %s", name, jsonReason(err))
			}
			return fn(h, v)
		},
	}
}

func schemaOf[T any]() *jsonschema.Schema {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		panic(fmt.Sprintf("mockmcp: schema of %T: %v", *new(T), err)) // as above
	}
	return s
}

// call runs the tool for the sender of the headers h. A call that can't be run is an error; what the tool itself couldn't
// do is a result with IsError, so that a model can read the reason and try again.
func (t *tool) call(log *slog.Logger, h http.Header, args []byte) (res *mcp.CallToolResult, bad *jsonrpc.Error) {
	defer func() {
		if recover() != nil {
			// The value of the panic stays out of the log: it may quote what the caller sent.
			log.Error("tool panicked", "tool", t.def.Name, "stack", string(debug.Stack()))
			res, bad = nil, rpcError(jsonrpc.CodeInternalError, "the tool %s failed, the reason is in the server's log", t.def.Name)
		}
	}()
	if len(args) == 0 || string(args) == "null" {
		args = []byte("{}")
	}
	if bad := t.check(args); bad != nil {
		return nil, bad
	}
	out, err := t.run(h, args)
	if rpcErr, ok := errors.AsType[*jsonrpc.Error](err); ok {
		return nil, rpcErr
	}
	if err != nil {
		return &mcp.CallToolResult{IsError: true, Content: textContent(err.Error())}, nil
	}
	structured, err := json.Marshal(out)
	if err != nil {
		return nil, rpcError(jsonrpc.CodeInternalError, "the result of %s is not JSON", t.def.Name)
	}
	return &mcp.CallToolResult{Content: textContent(out.text()), StructuredContent: json.RawMessage(structured)}, nil
}

// check holds the arguments against the input schema, and says in plain words what is wrong with them.
func (t *tool) check(args []byte) *jsonrpc.Error {
	name, schema := t.def.Name, t.input.Schema()
	if jsontext.Value(args).Kind() != '{' {
		return invalidParams("arguments of %s must be an object", name)
	}
	var given map[string]any
	if err := strictjson.Unmarshal(args, &given); err != nil {
		return invalidParams("can't read the arguments of %s: %s", name, jsonReason(err))
	}
	known := slices.Sorted(maps.Keys(schema.Properties))
	for _, arg := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(known, arg) {
			return invalidParams("%s has no argument %q (it has: %s)", name, arg, strings.Join(known, ", "))
		}
	}
	for _, arg := range schema.Required {
		if _, ok := given[arg]; !ok {
			return invalidParams("%s needs the argument %q", name, arg)
		}
	}
	for arg, v := range given {
		if v == nil {
			return invalidParams("argument %q of %s must not be null", arg, name)
		}
	}
	if err := t.input.Validate(given); err != nil {
		reason := strings.TrimPrefix(err.Error(), "validating root: validating /properties/")
		return invalidParams("bad argument for %s: %s", name, reason)
	}
	return nil
}

func textContent(text string) []mcp.Content {
	return []mcp.Content{&mcp.TextContent{Text: text}}
}

func invalidParams(format string, args ...any) *jsonrpc.Error {
	return rpcError(jsonrpc.CodeInvalidParams, format, args...)
}

// rpcError makes an error for the caller.
func rpcError(code int64, format string, args ...any) *jsonrpc.Error {
	msg := fmt.Sprintf(format, args...)
	if len(msg) > maxReason {
		msg = strings.ToValidUTF8(msg[:maxReason], "") + "…"
	}
	return &jsonrpc.Error{Code: code, Message: msg}
}
