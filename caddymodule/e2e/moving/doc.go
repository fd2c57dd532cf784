// Package moving tests, from outside, how a gateway moves from one store to
// another with caddy mcp-store copy: nobody is signed out, and what has ended
// stays ended. The gateway is the real binary.
//
// How records are copied and what is refused is tested beside the command.
package moving
