package gatewaytest

import (
	"fmt"
	"os"
	"strings"
)

// Pid returns the process id.
func (g *Gateway) Pid() int { return g.cmd.Process.Pid }

// Memory returns the resident memory of the process, in bytes.
func (g *Gateway) Memory() int64 {
	g.tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Pid()))
	if err != nil {
		g.tb.Fatal(err)
	}
	var kib int64
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		g.tb.Fatal(err)
	}
	return kib << 10
}
