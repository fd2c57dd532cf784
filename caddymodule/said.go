package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/mcp"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
)

const (
	mcpPlaceholder   = "http.mcp."
	claimPlaceholder = mcpPlaceholder + "claims."
	saidVar          = "mcp_auth.said"
)

// said is what a message says, for expressions and the placeholders http.mcp.*. What
// comes from a client is handed out as it is and never looked at for placeholders.
type said struct {
	request *http.Request
	token   *resource.Token
	message *mcp.Message
	// found are the arguments that rules have read, by path, until all are judged.
	found  map[string]argument
	judged bool
	// doubt is why an argument that was asked for is unknown.
	doubt error
}

// argument is one that was looked for.
type argument struct {
	value any
	err   error
}

// tell lets expressions of a request, and directives that follow, know what its
// messages say, one after the other.
func (s *said) tell(r *http.Request, t *resource.Token) {
	s.request, s.token, s.judged = r, t, false
	caddyhttp.SetVar(r.Context(), saidVar, s)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.DeleteByPrefix(mcpPlaceholder)
		repl.Map(s.placeholder)
	}
}

// about changes the message.
func (s *said) about(m *mcp.Message) {
	if s.message != m {
		s.message, s.found = m, nil
	}
}

// forget lets go of what was decoded, when the rules have judged: the call can last
// long, and a decoded value is much larger than its text.
func (s *said) forget() { s.found, s.doubt, s.judged = nil, nil, true }

// String says nothing: the variable is not for logs.
func (*said) String() string { return "" }

// placeholder is a caddy.ReplacerFunc. What a message does not say is nil, which is
// null in an expression.
func (s *said) placeholder(key string) (any, bool) {
	key, ours := strings.CutPrefix(key, mcpPlaceholder)
	if !ours {
		return nil, false
	}
	if claim, ok := strings.CutPrefix(key, "claims."); ok {
		if s.token == nil {
			return nil, true
		}
		return s.token.Claim(claim), true
	}
	field, ok := strings.CutPrefix(key, "arguments")
	switch {
	case s.message == nil && (ok || key == "method" || key == "name"):
		return nil, true
	case key == "method":
		return s.message.Method, true
	case key == "name":
		return s.name(), true
	case ok && (field == "" || field[0] == '.'):
		return s.argument(field), true
	}
	return nil, false
}

// name is the tool or prompt, or else the resource if it is one.
func (s *said) name() string {
	if s.message.Name == "" && len(s.message.URIs) == 1 {
		return s.message.URIs[0]
	}
	return s.message.Name
}

// maxArgument is how many bytes of JSON an object or array has at most that is
// decoded for an expression. Decoded, it can take 50 times as much.
const maxArgument = 64 << 10

var (
	errTwins       = errors.New("the name of an argument occurs in more than one spelling: servers differ in which one they read")
	errLongValue   = fmt.Errorf("an argument that is an object or array has more than %d bytes", maxArgument)
	errUnknownJSON = errors.New("the arguments can't be read")
)

// argument returns what stands at a path such as ".filter.name"; all arguments for
// none. What is unknown is nil, and leaves a doubt.
func (s *said) argument(path string) any {
	a, known := s.found[path]
	if !known {
		a.value, a.err = argumentAt(s.message.Arguments, path)
		if !s.judged {
			if s.found == nil {
				s.found = map[string]argument{}
			}
			s.found[path] = a
		}
	}
	if a.err != nil {
		s.doubt = a.err
	}
	return a.value
}

// argumentAt decodes nothing but what stands at the path. A dot always leads into an
// object: a member whose name has a dot is another one than the server reads at that
// path.
func argumentAt(text jsontext.Value, path string) (any, error) {
	if len(text) == 0 {
		text = jsontext.Value("{}")
	}
	if path != "" {
		for name := range strings.SplitSeq(path[1:], ".") {
			found, err := mcp.Members(text, name)
			switch {
			case err != nil:
				return nil, errUnknownJSON
			case found[0].Ambiguous:
				return nil, errTwins
			case found[0].Value == nil:
				return nil, nil //nolint:nilnil // null is what an expression gets
			}
			text = found[0].Value
		}
	}
	if k := text.Kind(); len(text) > maxArgument && (k == jsontext.KindBeginObject || k == jsontext.KindBeginArray) {
		return nil, errLongValue
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, errUnknownJSON
	}
	return exact(v)
}

// exact keeps whole numbers whole, so that large ones are compared exactly, and
// refuses objects that two servers read in two ways.
func exact(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		if n, err := v.Float64(); err == nil {
			return n, nil
		}
		return v.String(), nil
	case map[string]any:
		if mcp.Twins(v) {
			return nil, errTwins
		}
		for name, member := range v {
			if v[name], err = exact(member); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, element := range v {
			if v[i], err = exact(element); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}
