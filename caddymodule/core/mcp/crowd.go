package mcp

import "runtime"

// crowded is the length in bytes from which texts are read by a few at a time. The
// names of an object are kept until its end, to see one that comes twice: half a
// million short ones, which fit into 4 MiB, take ten times as much. Reading keeps a
// processor busy and waits for nothing, so that more at a time would be no faster.
const crowded = 64 << 10

// readers has a place for everybody who reads a long text.
var readers = make(chan struct{}, runtime.GOMAXPROCS(0))

// enter waits for a place to read a text, and reports whether it needed one.
func enter(text []byte) bool {
	if len(text) <= crowded {
		return false
	}
	readers <- struct{}{}
	return true
}

// leave gives the place back.
func leave(entered bool) {
	if entered {
		<-readers
	}
}
