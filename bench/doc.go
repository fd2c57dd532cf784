// Command bench measures the gateway and plain Caddy side by side, and writes
// what the README and docs/performance.md show:
//
//	go run ./bench            # all of it, about five minutes on a quiet machine
//	go run ./bench -quick     # a short look, printed and not recorded
//	go run ./bench -render    # writes table and chart anew from the recorded results
//
// Both sides are real processes of the same binary, in front of one small
// upstream; they take turns within each pair, and every number is a median.
// The work of the gateway is told from that of the load generator by the clock
// that the system keeps for each process.
//
// It owns processes, load, and how results are recorded and drawn. It imports
// nothing of the project: it sees the gateway as clients do. The bounds on
// allocations that the tests hold are beside the code that they are about.
package main
