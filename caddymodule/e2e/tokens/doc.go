// Package tokens holds the black-box tests of programs and of ending tokens:
// client authentication in every way, tokens for programs, revocation (SPEC H)
// and introspection (SPEC I). Each test runs the real Caddy of package
// gatewaytest.
package tokens
