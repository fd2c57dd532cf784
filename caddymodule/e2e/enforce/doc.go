// Package enforce holds the black-box tests of what the gateway lets through
// and what it keeps: enforcement, pass-through, streams, reload, crashes, keys
// and secrets in logs. Subtests are named after the requirement they hold.
//
// Each test runs the real Caddy of package gatewaytest, mostly in front of an
// upstream of its own that records every request that reaches it.
package enforce
