// Package cimd tests, from outside, clients that are described by a metadata
// document at their client_id. The gateway is the real binary with its real
// checks of addresses, so the documents' hosts need public ones: the tests run
// in a network namespace of their own, in which such addresses lead to a server
// of the test. There are canaries at internal addresses, which must get no
// connection.
//
// The namespace takes root and iproute2. Without them the tests are skipped, or
// fail if REQUIRE_BACKENDS=1. What needs a clock, and each row of SPEC E, is
// tested beside the code.
package cimd
