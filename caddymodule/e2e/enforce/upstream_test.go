package enforce_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// seen is a request as the upstream server got it.
type seen struct {
	method, target string
	header         http.Header
	trailer        http.Header
	body           string
}

// upstream is an MCP server that remembers what reaches it.
type upstream struct {
	*httptest.Server
	mu  sync.Mutex
	log []seen
}

// newUpstream starts an upstream that answers with h, or with an empty JSON
// object if h is nil. It reads each body before it answers.
func newUpstream(tb testing.TB, h http.HandlerFunc) *upstream {
	tb.Helper()
	u := new(upstream)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a body that breaks off is recorded as far as it came
		u.record(seen{r.Method, r.RequestURI, r.Header.Clone(), r.Trailer.Clone(), string(body)})
		if h != nil {
			h(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{}`)
	}))
	tb.Cleanup(u.Close)
	return u
}

func (u *upstream) record(s seen) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.log = append(u.log, s)
}

// addr is the host:port.
func (u *upstream) addr() string { return u.Listener.Addr().String() }

// take returns what was recorded since the last call.
func (u *upstream) take() []seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	log := u.log
	u.log = nil
	return log
}

// one returns the only request recorded since the last call.
func (u *upstream) one(tb testing.TB) seen {
	tb.Helper()
	log := u.take()
	if len(log) != 1 {
		tb.Fatalf("the upstream saw %d requests, not one: %v", len(log), log)
	}
	return log[0]
}

// none fails the test if anything reached the upstream.
func (u *upstream) none(tb testing.TB) {
	tb.Helper()
	for _, s := range u.take() {
		tb.Errorf("reached the upstream: %s %s %v", s.method, s.target, s.header)
	}
}

// folded returns the values of every header whose name is the given one after
// CGI's folding: any case, underscores for hyphens.
func (s seen) folded(name string) []string {
	fold := func(n string) string { return strings.ReplaceAll(strings.ToLower(n), "_", "-") }
	var all []string
	for _, h := range []http.Header{s.header, s.trailer} {
		for n, values := range h {
			if fold(n) == fold(name) {
				all = append(all, values...)
			}
		}
	}
	return all
}

// contains reports whether a text is anywhere in the request.
func (s seen) contains(text string) bool {
	if strings.Contains(s.target, text) || strings.Contains(s.body, text) {
		return true
	}
	for _, h := range []http.Header{s.header, s.trailer} {
		for n, values := range h {
			if strings.Contains(n, text) || strings.Contains(strings.Join(values, "\n"), text) {
				return true
			}
		}
	}
	return false
}
