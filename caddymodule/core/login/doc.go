// Package login says what a way to sign in looks like: [Method], and the
// [Identity] it establishes.
//
// Methods are Caddy guest modules in caddymodule/logins, one folder each; the
// state machine that calls them is flow.go in authserver.
package login
