// Package resource is the enforcement point in front of an MCP server: which
// requests need a token, whether a token is good, how a refusal is worded, and
// what a request and an answer must lose on their way through.
//
// [Guard] decides and [Verifier] checks tokens; neither writes to the network
// or looks at a store. The Caddy handler in package caddymodule acts on the
// decision. Tokens are made by package authserver, which this package does not
// know: it is handed a function for keys and one for revocations.
package resource
