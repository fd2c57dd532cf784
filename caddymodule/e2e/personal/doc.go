// Package personal tests, from outside, personal access tokens (INTEROP 1.21,
// 2.9): made on the account page and by the command line, shown once, used at
// the server that they are for and at no other, and ended. The gateway is the
// real binary. What needs a clock or a store that fails is tested beside the code.
package personal
