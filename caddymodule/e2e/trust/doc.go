// Package trust tests the whole gateway with access tokens of identity
// providers that exist already: without an authorization server of ours, and
// beside it.
//
// What makes a token good or bad is tested beside core/trust. Here it is what
// clients, upstream servers and logs see of it.
package trust
