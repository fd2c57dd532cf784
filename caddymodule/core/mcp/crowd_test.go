package mcp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestCrowd: a text with many names takes ten times its length, so only a few are
// read at a time; short ones never wait.
func TestCrowd(t *testing.T) {
	var long strings.Builder
	long.WriteString(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":1`)
	for i := range crowded / 8 {
		fmt.Fprintf(&long, `,"%d":1`, i)
	}
	long.WriteString(`}}}`)
	body := []byte(long.String())
	for range cap(readers) {
		readers <- struct{}{}
	}
	done := make(chan error, 2)
	go func() {
		_, err := Read(body)
		done <- err
	}()
	go func() {
		_, err := Members(body, "method")
		done <- err
	}()
	if _, err := Read([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)); err != nil {
		t.Error(err)
	}
	select {
	case <-done:
		t.Error("a long text is read although all places are taken")
	case <-time.After(50 * time.Millisecond):
	}
	for range cap(readers) {
		<-readers
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := Read(append(body, '!')); err == nil || len(readers) != 0 {
		t.Errorf("%v, and %d places are taken", err, len(readers))
	}
}
