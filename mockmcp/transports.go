package mockmcp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	headerProtocol = "Mcp-Protocol-Version"
	headerSession  = "Mcp-Session-Id"

	// sessionless is the first protocol version without sessions: every request stands for itself.
	sessionless = "2026-07-28"

	// sessionTimeout closes sessions that their client has forgotten.
	sessionTimeout = 24 * time.Hour
)

func implementation() *mcp.Implementation {
	return &mcp.Implementation{Name: serverName, Title: serverTitle, Version: serverVersion}
}

// mcpServer puts the tools on the SDK's server. Arguments are checked by the tools and not by the SDK, so that every
// way in gives the same errors. It speaks the protocol versions given.
func (s *Server) mcpServer(versions []string) *mcp.Server {
	srv := mcp.NewServer(implementation(), &mcp.ServerOptions{
		Instructions:              about,
		Capabilities:              &mcp.ServerCapabilities{}, // no logging; the SDK adds tools
		SupportedProtocolVersions: versions,
	})
	for _, t := range s.tools {
		srv.AddTool(t.def, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			res, bad := t.call(s.log, s.callerHeaders(req), req.Params.Arguments)
			if bad != nil {
				return nil, bad
			}
			return res, nil
		})
	}
	return srv
}

// streamable serves /mcp in every protocol revision of the SDK. The SDK speaks 2026-07-28 only without sessions, and older
// revisions lose their server-to-client stream without them; so there is one handler for each, over the same server.
//
// Both leave Host and Origin to others: behind the gateway they are those of the public site, which the gateway has
// checked, and for direct use guard does what the SDK's own checks would.
func (s *Server) streamable() http.Handler {
	srv := s.mcpServer(mcp.SupportedProtocolVersions())
	get := func(*http.Request) *mcp.Server { return srv }
	newest := mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{
		Stateless: true, DisableLocalhostProtection: true, MaxRequestBodyBytes: maxBody, PropagateRequestCancellation: true,
	})
	older := mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{
		DisableLocalhostProtection: true, MaxRequestBodyBytes: maxBody, SessionTimeout: sessionTimeout,
		EventStore: mcp.NewMemoryEventStore(nil), // lets a client resume a broken stream
	})
	return unbuffered(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(headerProtocol) >= sessionless {
			newest.ServeHTTP(w, r)
			return
		}
		if r.Header.Get(headerSession) != "" {
			older.ServeHTTP(w, r)
			return
		}
		body, ok := readBody(w, r)
		if !ok {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if method, _ := stringOf(members(body)["method"]); method == "initialize" {
			older.ServeHTTP(w, r)
			return
		}
		newest.ServeHTTP(w, r)
	})
}

// sse serves the transport of 2024-11-05: a stream opened by GET, and messages posted to the address that it names.
//
// Its server is told not to speak 2026-07-28, which has no such transport. The SDK leaves the version out by itself, but
// not for a client that asks before the SDK has set its session up: the stream names its address earlier than that.
func (s *Server) sse() http.Handler {
	srv := s.mcpServer(slices.DeleteFunc(mcp.SupportedProtocolVersions(), func(v string) bool { return v >= sessionless }))
	h := mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return srv }, &mcp.SSEOptions{
		DisableLocalhostProtection: true, MaxRequestBodyBytes: maxBody, // as in streamable
	})
	return unbuffered(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, ok := readBody(w, r)
			if !ok {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(s.withIdentity(body, r.Header)))
		}
		h.ServeHTTP(w, r)
	})
}

// unbuffered asks proxies that know the header (nginx) not to hold a stream back. The SDK flushes every event itself.
func unbuffered(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Accel-Buffering", "no")
		h(w, r)
	})
}

func streamableOff(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "this server runs with --transport sse: connect to /sse", http.StatusNotFound)
}

// withIdentity writes the identity headers of a posted tool call into its _meta. The SDK's SSE transport hands a tool the
// message alone, and the headers of the stream won't do: the message may come under another token than the stream.
func (s *Server) withIdentity(body []byte, h http.Header) []byte {
	msg := members(body)
	params := members(msg["params"])
	if method, _ := stringOf(msg["method"]); method != "tools/call" || params == nil {
		return body // the SDK says what is wrong with it
	}
	meta := members(params["_meta"])
	if meta == nil {
		meta = map[string]jsontext.Value{}
	}
	identity := http.Header{}
	for _, name := range identityHeaders {
		if v := h.Values(name); len(v) > 0 {
			identity[name] = v
		}
	}
	meta[s.identityKey] = mustJSON(string(mustJSON(identity)))
	params["_meta"] = mustJSON(meta)
	msg["params"] = mustJSON(params)
	return mustJSON(msg)
}

// mustJSON is for values that always have a JSON form.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// callerHeaders returns the HTTP headers that a tool call came with.
func (s *Server) callerHeaders(req *mcp.CallToolRequest) http.Header {
	if req.Extra != nil && req.Extra.Header != nil {
		return req.Extra.Header
	}
	var h http.Header
	if stamp, ok := req.Params.Meta[s.identityKey].(string); ok {
		_ = json.Unmarshal([]byte(stamp), &h) // written by withIdentity
	}
	return h
}
