package cluster_test

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// stream is an open event stream.
type stream struct {
	ended chan time.Time // gets the moment of the end
}

// openStream opens one, and returns when its first event is there.
func openStream(tb testing.TB, base, access string) *stream {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, base+"/mcp", nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+access)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = resp.Body.Close() })
	first := make([]byte, len("data: event"))
	if _, err := io.ReadFull(resp.Body, first); err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("no stream: %d %v", resp.StatusCode, err)
	}
	s := &stream{make(chan time.Time, 1)}
	go func() {
		_, _ = io.Copy(io.Discard, resp.Body) // however it ends
		s.ended <- time.Now()
	}()
	return s
}

// end waits for the end and returns when it was.
func (s *stream) end(tb testing.TB) time.Time {
	tb.Helper()
	select {
	case at := <-s.ended:
		return at
	case <-time.After(10 * time.Second):
		tb.Fatal("the stream goes on")
		return time.Time{}
	}
}

// open reports whether it has not ended.
func (s *stream) open() bool { return len(s.ended) == 0 }
