package gatewaytest

import "strings"

// module is the prefix of our packages in a stack.
const module = "github.com/caddy-mcp/caddy-mcp-auth/"

// Race returns the first report of a data race in what a process wrote in which our
// code takes part: it stands in one of the stacks, if only as who called or started
// what races. Caddy has races of its own, such as its TLS app's between Start and the
// events of certificates, about which nothing here can be done.
func Race(log string) string {
	const border, title = "==================\n", "WARNING: DATA RACE"
	for part := range strings.SplitSeq(log, border) {
		if strings.HasPrefix(strings.TrimSpace(part), title) && strings.Contains(part, module) {
			return part
		}
	}
	return ""
}
