package mockmcp

import (
	"net/http"
	"strings"
)

// route is one endpoint.
type route struct {
	Path    string `json:"path"`
	Methods string `json:"methods"` // comma-separated; GET answers HEAD too
	About   string `json:"about"`
	handler http.Handler
	hidden  bool // left out of the overview
}

// pattern is the route in the language of http.ServeMux. Endpoints with several methods check them on their own.
func (r route) pattern() string {
	path := r.Path
	if path == "/" {
		path = "/{$}"
	}
	if r.Methods == "" || strings.Contains(r.Methods, ",") {
		return path
	}
	return r.Methods + " " + path
}

// table lists every endpoint once: the mux, the overview page and the tests read it.
func (s *Server) table() []route {
	mcpRoute := route{Path: "/mcp", Methods: "GET, POST, DELETE", About: "MCP over streamable HTTP", handler: s.streamable()}
	if s.transport == TransportSSE {
		mcpRoute = route{Path: "/mcp", handler: http.HandlerFunc(streamableOff), hidden: true}
	}
	docs := swaggerPage()
	health := http.HandlerFunc(s.health)
	return []route{
		mcpRoute,
		{Path: "/sse", Methods: "GET, POST", About: "MCP over HTTP+SSE, for older clients", handler: s.sse()},
		{Path: "/mcp/initialize", Methods: "POST", About: "plain JSON-RPC: initialize", handler: s.plain("initialize", s.initialize)},
		{Path: "/mcp/tools/list", Methods: "POST", About: "plain JSON-RPC: the tools", handler: s.plain("tools/list", s.listTools)},
		{Path: "/mcp/tools/call", Methods: "POST", About: "plain JSON-RPC: call a tool", handler: s.plain("tools/call", s.callTool)},
		{Path: "/", Methods: "GET", About: "this overview", handler: http.HandlerFunc(s.overview)},
		{Path: "/docs", Methods: "GET", About: "Swagger UI: read and try the plain endpoints", handler: docs},
		{Path: "/docs/", Methods: "GET", handler: docs, hidden: true},
		{Path: "/redoc", Methods: "GET", About: "the same reference as one plain page, without scripts", handler: referencePage()},
		{Path: "/openapi.json", Methods: "GET", About: "OpenAPI 3.1 description of the plain endpoints", handler: http.HandlerFunc(openAPI)},
		{Path: "/health", Methods: "GET", About: "health, and how many leaked credentials were seen", handler: health},
		{Path: "/mcp/health", Methods: "GET", About: "the same", handler: health},
	}
}
