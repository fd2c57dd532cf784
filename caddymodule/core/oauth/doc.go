// Package oauth is the vocabulary of the house: error codes, metadata
// documents, scopes, PKCE, resource and redirect URIs, client metadata and
// events. It decides what these things look like and when two of them are
// equal, and nothing else.
//
// It owns no state, speaks no HTTP and imports only the standard library. The
// endpoints live in authserver, bearer enforcement in resource.
package oauth
