// Package gatewaytest starts real gateways for tests: the project's own Caddy
// binary on free ports of this machine, and behind it mockmcp or a server that
// records what reaches it.
//
// It owns processes, ports and the steps of an ordinary client, event streams among
// them. What is tested with it lives in the packages beside it.
package gatewaytest
