// Package policy holds the black-box tests of rules: who may call what, what is
// read of a call, what is taken out of lists, whose sessions are, limits, and what the
// audit log says. Tests are named after the requirements they hold, and try what a
// hostile client would.
//
// One real Caddy stands in front of an upstream that records what reaches it. Each
// path of it is a resource with options of its own. Package enforce has what
// the gateway does without rules.
package policy
