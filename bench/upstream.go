package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// answer is what the upstream answers to a call.
const answer = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Hello, world!"}],"isError":false}}`

// upstream is the server behind both sides: it answers calls at once, and GET
// with a stream of events.
type upstream struct {
	addr string

	server *http.Server
	open   atomic.Int64 // streams
	mu     sync.Mutex
	event  chan struct{} // closed to send an event on every stream
}

func startUpstream() (*upstream, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the upstream: %w", err)
	}
	u := &upstream{addr: ln.Addr().String(), event: make(chan struct{})}
	u.server = &http.Server{Handler: http.HandlerFunc(u.serve), ReadHeaderTimeout: time.Minute}
	go func() { _ = u.server.Serve(ln) }() // ends with close
	return u, nil
}

func (u *upstream) close() { _ = u.server.Close() }

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		u.stream(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body) // a client that hung up gets no answer
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, answer)
}

// stream sends one event at once, and one more for each broadcast.
func (u *upstream) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	u.open.Add(1)
	defer u.open.Add(-1)
	flusher := http.NewResponseController(w)
	for {
		next := u.next()
		if _, err := io.WriteString(w, "data: hello\n\n"); err != nil || flusher.Flush() != nil {
			return
		}
		if r.URL.Path != "/mcp" {
			return
		}
		select {
		case <-next:
		case <-r.Context().Done():
			return
		}
	}
}

// broadcast sends an event on every stream.
func (u *upstream) broadcast() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.event)
	u.event = make(chan struct{})
}

func (u *upstream) next() chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.event
}
