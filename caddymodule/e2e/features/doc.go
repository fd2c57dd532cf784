// Package features tests that a gateway changes nothing of what a server says to
// a client that may have it, whichever feature of MCP they use.
//
// It owns a server with every feature of MCP, a client that uses them all, and
// the record of what the client saw and heard. The record of the server alone is
// what the gateway is held to: without rules, with rules that allow everything,
// and with rules that deny what the client does not use. Whether rules refuse
// what they should is tested in the packages beside this one.
package features
