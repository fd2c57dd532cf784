// Package gatewaytest starts real gateways for tests: the project's own Caddy
// binary on free ports of this machine, and mockmcp behind it.
//
// It owns processes, ports and the steps of an ordinary client. What is tested
// with it lives in the packages beside it.
package gatewaytest
