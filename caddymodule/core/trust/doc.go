// Package trust checks access tokens of identity providers that exist already,
// so that a resource accepts them beside our own, or instead. An [Issuer] is a
// kind of tokens for resource.Guard: it finds the provider's keys by discovery
// and checks JWTs here, or asks the provider's introspection endpoint.
//
// Signatures and key sets are package jose's, outbound requests package
// fetch's. Who of a provider's users may come in is decided by a function that
// it is handed.
package trust
