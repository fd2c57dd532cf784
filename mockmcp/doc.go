// Package mockmcp is the example MCP server that the gateway protects in the demo, the docs and the tests.
//
// It owns five small tools (weather, files, profile, hello, sum) and shows them over every way that MCP clients speak:
// streamable HTTP at /mcp in all protocol revisions of the Go SDK, HTTP+SSE at /sse, and plain JSON-RPC posts below /mcp/.
// It also owns the pages that describe it (/, /docs, /redoc, /openapi.json, /health).
//
// It has no sign-in of its own, on purpose: the gateway in front does that, and tells it who calls in X-Mcp-* headers.
// Those headers are believed as they come, so only the gateway may be able to reach this server. In return it watches
// the gateway: a bearer token must never arrive here, and when one does it is counted, and said loudly in the log.
//
// Where things are:
//
//   - server.go: options, running on a listener, stopping
//   - routes.go: the one table of endpoints
//   - transports.go: /mcp and /sse on the SDK
//   - plain.go, jsonrpc.go: plain JSON-RPC, and reading it strictly
//   - tool.go, tools.go, files.go, profile.go: what a tool is, and the five of them
//   - pages.go, openapi.json, pages.tmpl: what people read
//   - guard.go, leak.go, accesslog.go: what every request passes
//
// Tokens, consent and policy live in the gateway (caddymodule). The program that runs this server alone is cmd/mockmcp.
package mockmcp
