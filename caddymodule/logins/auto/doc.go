// Package auto is the sign-in method of development: it asks nobody, and takes
// everyone for one configured user. The authorization server refuses it on an
// issuer that others can reach.
//
// It owns the guest module mcp_auth.logins.auto. The interface it implements is
// in core/login.
package auto
