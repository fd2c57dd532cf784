package gatewaytest

import (
	"bufio"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Stream is an open event stream of a client, or the refusal of one.
type Stream struct {
	Status int
	Header http.Header

	resp *http.Response
	mu   sync.Mutex
	text strings.Builder
	done chan struct{} // closed at the end
	err  error         // how it ended; nil if the body was terminated properly
}

// OpenStream asks for a stream with a token, and reads it until the test ends.
func OpenStream(tb testing.TB, method, target, token, body string) *Stream {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, target, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = http.Header{
		"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
	}
	resp, err := new(http.Transport).RoundTrip(req) // a connection of its own, so that closing it is seen
	if err != nil {
		tb.Fatal(err)
	}
	s := &Stream{Status: resp.StatusCode, Header: resp.Header, resp: resp, done: make(chan struct{})}
	go s.read()
	tb.Cleanup(s.Close)
	return s
}

func (s *Stream) read() {
	defer close(s.done)
	lines := bufio.NewScanner(s.resp.Body)
	for lines.Scan() {
		s.mu.Lock()
		s.text.WriteString(lines.Text() + "\n")
		s.mu.Unlock()
	}
	s.err = lines.Err()
}

// Close hangs up.
func (s *Stream) Close() {
	_ = s.resp.Body.Close()
	<-s.done
}

// Text returns the lines that came so far.
func (s *Stream) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// GoesOn waits for three further events.
func (s *Stream) GoesOn(tb testing.TB) {
	tb.Helper()
	if s.Status != http.StatusOK {
		tb.Fatalf("no stream: %d", s.Status)
	}
	const within = 5 * time.Second
	events := func() int { return strings.Count(s.Text(), "data:") }
	deadline := time.Now().Add(within)
	for before := events(); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-s.done:
			tb.Fatalf("the stream ended: %v", s.err)
		default:
		}
		if events() >= before+3 {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("no further events within %s", within)
		}
	}
}

// Wait waits for the end, and returns an error unless the body is complete.
func (s *Stream) Wait() error {
	<-s.done
	return s.err
}

// Ends waits for the end and checks that the client sees a complete body.
func (s *Stream) Ends(tb testing.TB, within time.Duration) {
	tb.Helper()
	select {
	case <-s.done:
		if s.err != nil {
			tb.Errorf("the stream broke off instead of ending: %v", s.err)
		}
	case <-time.After(within):
		tb.Errorf("the stream is still open after %s", within)
	}
}
