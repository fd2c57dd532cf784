package gatewaytest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Seen is a request as an Upstream got it.
type Seen struct {
	Method, Target  string
	Header, Trailer http.Header
	// Length is the Content-Length, -1 without one.
	Length int64
	// Body is as much of it as came.
	Body string
}

// String describes the request. Of a long body it has only the beginning, because
// failures are read by people.
func (s Seen) String() string {
	return fmt.Sprintf("%s %s %v %v, Content-Length %d: %.300q", s.Method, s.Target, s.Header, s.Trailer, s.Length, s.Body)
}

// Folded returns the values of every header whose name is the given one after
// CGI's folding: any case, underscores for hyphens.
func (s Seen) Folded(name string) []string {
	fold := func(n string) string { return strings.ReplaceAll(strings.ToLower(n), "_", "-") }
	var all []string
	for _, h := range []http.Header{s.Header, s.Trailer} {
		for n, values := range h {
			if fold(n) == fold(name) {
				all = append(all, values...)
			}
		}
	}
	return all
}

// Contains reports whether a text is anywhere in the request.
func (s Seen) Contains(text string) bool {
	if strings.Contains(s.Target, text) || strings.Contains(s.Body, text) {
		return true
	}
	for _, h := range []http.Header{s.Header, s.Trailer} {
		for n, values := range h {
			if strings.Contains(n, text) || strings.Contains(strings.Join(values, "\n"), text) {
				return true
			}
		}
	}
	return false
}

// Upstream is an MCP server that remembers what reaches it.
type Upstream struct {
	*httptest.Server
	// Answer answers a request whose body was read. Default: an empty result.
	Answer atomic.Pointer[http.HandlerFunc]
	// Early, unless nil, sees a request before its body is read.
	Early atomic.Pointer[http.HandlerFunc]
	// Open counts the requests in progress.
	Open atomic.Int64

	mu  sync.Mutex
	log []Seen
}

// NewUpstream starts an upstream that answers with h, or with an empty result if h
// is nil.
func NewUpstream(tb testing.TB, h http.HandlerFunc) *Upstream {
	tb.Helper()
	u := new(Upstream)
	u.Answer.Store(&h)
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	tb.Cleanup(u.Close)
	return u
}

func (u *Upstream) serve(w http.ResponseWriter, r *http.Request) {
	u.Open.Add(1)
	defer u.Open.Add(-1)
	if early := u.Early.Load(); early != nil {
		(*early)(w, r)
	}
	body, _ := io.ReadAll(r.Body) // a body that breaks off is recorded as far as it came
	u.mu.Lock()
	u.log = append(u.log, Seen{r.Method, r.RequestURI, r.Header.Clone(), r.Trailer.Clone(), r.ContentLength, string(body)})
	u.mu.Unlock()
	if answer := *u.Answer.Load(); answer != nil {
		answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
}

// Addr is the host:port.
func (u *Upstream) Addr() string { return u.Listener.Addr().String() }

// Take returns what was recorded since the last call.
func (u *Upstream) Take() []Seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	log := u.log
	u.log = nil
	return log
}

// One returns the only request recorded since the last call.
func (u *Upstream) One(tb testing.TB) Seen {
	tb.Helper()
	log := u.Take()
	if len(log) != 1 {
		tb.Fatalf("the upstream saw %d requests, not one: %v", len(log), log)
	}
	return log[0]
}

// None fails the test if anything reached the upstream since the last call.
func (u *Upstream) None(tb testing.TB) {
	tb.Helper()
	for _, s := range u.Take() {
		tb.Errorf("reached the upstream: %v", s)
	}
}

// Feed answers with an endless event stream. Each event has a comment before it, its
// number as its id, and these data, in which %[1]d is the number.
func Feed(data string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no")
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 1; ; n++ {
			_, _ = fmt.Fprintf(w, ": keep-alive %[1]d\n\nid: %[1]d\ndata: "+data+"\n\n", n)
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
		}
	}
}

// FeedOnGet answers a GET with an endless event stream, and everything else with an
// empty object.
func FeedOnGet(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		Feed("event %[1]d")(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{}`)
}
