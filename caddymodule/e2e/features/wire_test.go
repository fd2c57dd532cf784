package features_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire is a client's transport: it sends the token and writes down what is sent
// and answered.
type wire struct {
	base  http.RoundTripper
	token string // "" for none
	// place is the path of the server, which differs between the ways to it.
	place string

	mu  sync.Mutex
	all []*exchange
}

// exchange is a request and its answer, as far as it was read.
type exchange struct {
	request  string
	standing bool // a stream on which order means nothing

	mu     sync.Mutex
	answer string // status and header
	stream bool   // the body is of events
	body   bytes.Buffer
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	e := &exchange{standing: r.Method == http.MethodGet}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	e.request = fmt.Sprintf("%s %s\n%s%s", r.Method, r.URL.RequestURI(), headerText(r.Header), body)
	w.mu.Lock()
	w.all = append(w.all, e)
	w.mu.Unlock()
	if w.token != "" {
		out.Header.Set("Authorization", "Bearer "+w.token)
	}
	resp, err := w.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.answer = fmt.Sprintf("%s\n%s", resp.Status, headerText(resp.Header))
	e.stream = strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")
	e.mu.Unlock()
	resp.Body = &reading{resp.Body, e}
	return resp, nil
}

// reading writes down what is read.
type reading struct {
	io.ReadCloser
	e *exchange
}

// Read implements io.Reader.
func (r *reading) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.e.body.Write(p[:n])
	return n, err
}

// hops are the headers that every hop has its own of.
var hops = []string{"Date", "Via", "Server", "Content-Length", "Transfer-Encoding", "Connection", "User-Agent", "Accept-Encoding", "Authorization"}

func headerText(h http.Header) string {
	var lines []string
	for name, values := range h {
		if !slices.Contains(hops, name) {
			lines = append(lines, fmt.Sprintf("%s: %q\n", name, values))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// What differs between two runs of the same script.
var (
	eventID   = regexp.MustCompile(`(id: |Last-Event-Id: \[")[A-Z0-9]*_`)
	sessionID = regexp.MustCompile(`(sessionid=|Mcp-Session-Id: \[")[A-Z0-9]+`)
)

func (w *wire) plain(s string) string {
	s = strings.ReplaceAll(s, w.place, "")
	return sessionID.ReplaceAllString(eventID.ReplaceAllString(s, "${1}stream_"), "${1}session")
}

// exchanged returns the exchanges as texts in an order that does not depend on
// who was faster, each message changed by change.
func (w *wire) exchanged(change func(string) string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var texts []string
	for _, e := range w.all {
		// The SDK cancels in the background, even while it closes. That it
		// reaches the server is a step of the script.
		if !strings.Contains(e.request, `"method":"notifications/cancelled"`) {
			texts = append(texts, w.plain(e.text(change)))
		}
	}
	slices.Sort(texts)
	return texts
}

func (e *exchange) text(change func(string) string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	parts := []string{e.body.String()}
	if e.stream {
		parts = strings.Split(strings.TrimRight(e.body.String(), "\n"), "\n\n")
	}
	if strings.Contains(e.request, `"name":"wait"`) {
		// The client has cancelled it: it may have gone before the server says so.
		parts = slices.DeleteFunc(parts, func(p string) bool { return strings.Contains(p, `"isError":true`) })
	}
	for i, part := range parts {
		before, data, is := strings.Cut(part, "data: ")
		switch {
		case !e.stream:
			parts[i] = change(part)
		case is:
			parts[i] = before + "data: " + change(data)
		}
	}
	if e.standing {
		slices.Sort(parts)
	}
	return e.request + "\n→ " + e.answer + strings.Join(parts, "\n\n")
}

// answered waits until the last request with a text in it has an answer.
func (w *wire) answered(t *testing.T, part string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		w.mu.Lock()
		done := false
		for _, e := range w.all {
			if strings.Contains(e.request, part) {
				done = e.isAnswered()
			}
		}
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no answer to the request with %s", part)
		}
	}
}

func (e *exchange) isAnswered() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answer != ""
}
