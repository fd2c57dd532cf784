// Package backends runs the real servers that stores keep their state on, for
// tests: PostgreSQL and Redis, from the Debian packages, on free ports of this
// machine's loopback interface.
//
// It owns the servers' processes: to start, stop, kill, pause and restart them.
// What a test wants of a store stays in the test. A server that is not installed
// skips the test, or fails it if REQUIRE_BACKENDS=1. Every server ends with its
// test, and a shared one with the test binary.
package backends
