// Package seal turns small values into opaque text that only this server can
// read or make: authenticated encryption bound to a purpose, to an expiry, and to
// an owner where it has one.
//
// It owns the format and nothing else. Which keys exist is the business of
// keys; what is sealed is the business of authserver and atrest.
package seal
