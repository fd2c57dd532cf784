// Package registration tests, from outside, how programs become clients: the
// management of a registration (SPEC D), the policy for clients that nobody
// vouches for (SPEC C22, C25, O43), and the clients of the configuration. The
// gateway is the real binary.
//
// What a registration may say is tested in the package spec, and what needs a
// clock or a broken store beside the code.
package registration
