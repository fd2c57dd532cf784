// Package clients tests the gateway with clients that others wrote: the Go SDK,
// both generations of the TypeScript SDK, the Inspector's command line and the
// official conformance suite, each through a real Caddy to a real MCP server.
//
// It owns what those clients do and must get. The programs from npm and the
// scripts that drive them lie in ../node; run npm ci there first. Without them
// the tests that need them are skipped, or fail if REQUIRE_BACKENDS=1.
package clients
