// Package authserver is the OAuth 2.1 authorization server: discovery,
// dynamic registration, authorization and token endpoints, and the pages
// around them.
//
// One file per endpoint, one per grant type (grant_*.go, listed in token.go),
// and flow.go, the only state machine: authorize.go checks a request, flow.go
// takes the person through sign-in to a code. A registered client is a sealed
// value (client.go) and so is a code (code.go); the store sees a grant when a
// code is redeemed, and nothing before. A client with a metadata document is
// fetched (client_document.go) and judged (document.go), and its grant keeps
// what the document said (document_snapshot.go).
//
// It is plain net/http and knows nothing of Caddy. Enforcement at the protected
// resource lives in package resource, keys in keys, HTML in pages, records in
// store, ways to sign in in login.
package authserver
