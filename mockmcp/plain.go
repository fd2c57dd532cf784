package mockmcp

import (
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// answer computes the result of one plain JSON-RPC method. params is an object, or nil when the request has none.
type answer func(h http.Header, params jsontext.Value) (any, *jsonrpc.Error)

// plain serves one JSON-RPC method on a path of its own, the way small servers did before the transports were settled:
// no session, no streams. A request that isn't one is 400 or 413, everything else 200, with the error inside.
func (s *Server) plain(method string, fn answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := readBody(w, r)
		if !ok {
			return
		}
		req, bad := decodeRequest(body, method)
		if bad != nil {
			writeReply(w, http.StatusBadRequest, rpcReply{ID: req.id, Error: bad})
			return
		}
		reply := rpcReply{ID: req.id}
		if reply.Result, reply.Error = fn(r.Header, req.params); reply.Error != nil {
			reply.Result = nil
		}
		writeReply(w, http.StatusOK, reply)
	})
}

// initialize agrees on a protocol version: the one asked for if this server speaks it, else the newest it speaks.
func (s *Server) initialize(_ http.Header, params jsontext.Value) (any, *jsonrpc.Error) {
	wish := members(params)["protocolVersion"]
	asked, ok := stringOf(wish)
	if wish != nil && !ok {
		return nil, invalidParams("protocolVersion must be a string")
	}
	supported := mcp.SupportedProtocolVersions() // newest first
	version := supported[0]
	if slices.Contains(supported, asked) {
		version = asked
	}
	return map[string]any{
		"protocolVersion": version,
		"capabilities":    map[string]any{"tools": map[string]any{}},
		"serverInfo":      implementation(),
		"instructions":    about,
	}, nil
}

func (s *Server) listTools(http.Header, jsontext.Value) (any, *jsonrpc.Error) {
	list := make([]*mcp.Tool, 0, len(s.tools))
	for _, t := range s.tools {
		list = append(list, t.def)
	}
	return map[string]any{"tools": list}, nil
}

func (s *Server) callTool(h http.Header, params jsontext.Value) (any, *jsonrpc.Error) {
	in := members(params)
	name, ok := stringOf(in["name"])
	if !ok {
		return nil, invalidParams("params needs the name of a tool, a string")
	}
	i := slices.IndexFunc(s.tools, func(t *tool) bool { return t.def.Name == name })
	if i < 0 {
		return nil, invalidParams("unknown tool %q", name)
	}
	return s.tools[i].call(s.log, h, in["arguments"])
}
