// Package login says what a way to sign in looks like: [Method], the
// [Identity] it establishes, and the [Rules] about who may come in.
//
// Methods are Caddy guest modules in caddymodule/logins, one folder each; the
// state machine that calls them is flow.go in authserver.
package login
