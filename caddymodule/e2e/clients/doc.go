// Package clients tests the gateway with clients that others wrote: the Go SDK,
// both generations of the TypeScript SDK, the Inspector's command line,
// mcp-remote, oauth4webapi and the official conformance suite, each through a
// real Caddy to a real MCP server.
//
// It owns what those clients do and must get, and the journey: the whole way
// from a URL to tool calls and to the end of what was granted, in every way in
// which a program can be known (modes_test.go). The programs from npm and the
// scripts that drive them lie in ../node; run npm ci there first. Without them
// the tests that need them are skipped, or fail if REQUIRE_BACKENDS=1.
package clients
