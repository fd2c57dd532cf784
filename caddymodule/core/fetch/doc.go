// Package fetch is the one HTTP client for addresses that strangers name:
// client metadata documents, their key sets and logos. A [Client] connects to
// public addresses only, whatever a name resolves to, and takes little: one
// GET, no redirects, no cookies, a small body, a short time, a few at once.
// A [Cache] keeps what documents say for as long as their host allows.
//
// What a document means is the business of whoever fetches it. The package
// imports nothing of ours and keeps no log: errors say why, without a byte of
// what was fetched.
package fetch
