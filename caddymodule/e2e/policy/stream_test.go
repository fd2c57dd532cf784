package policy_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// feed answers with an endless stream, of which every third event has a list.
func feed(w http.ResponseWriter, r *http.Request, _ string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		_, _ = fmt.Fprintf(w, ": alive %d\n\nid: %d\ndata: {\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{\"tools\":[{\"name\":\"search_x\"},{\"name\":\"delete_x\"}]}}\n\n", n, n, n)
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

// packed compresses an answer, and flushes what the answer does.
func packed(coding string, answer answers) answers {
	return func(w http.ResponseWriter, r *http.Request, text string) {
		w.Header().Set("Content-Encoding", coding)
		var p packer = gzip.NewWriter(w)
		if coding == "zstd" {
			p, _ = zstd.NewWriter(w) // there are no options to get wrong
		}
		answer(&packedWriter{w, p}, r, text)
	}
}

type packer interface {
	io.Writer
	Flush() error
}

type packedWriter struct {
	http.ResponseWriter
	packer packer
}

func (w *packedWriter) Write(p []byte) (int, error) { return w.packer.Write(p) }

func (w *packedWriter) FlushError() error {
	if err := w.packer.Flush(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// stream is an open one.
type stream struct {
	resp *http.Response
	mu   sync.Mutex
	text strings.Builder
	done chan struct{}
	err  error
}

func (c client) open(method, body string) *stream {
	c.tb.Helper()
	req, err := http.NewRequestWithContext(c.tb.Context(), method, c.target, strings.NewReader(body))
	if err != nil {
		c.tb.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + c.token}, "Content-Type": {"application/json"}, "Accept": {streamable}}
	resp, err := new(http.Transport).RoundTrip(req) // a connection of its own
	if err != nil {
		c.tb.Fatal(err)
	}
	s := &stream{resp: resp, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			s.mu.Lock()
			s.text.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
		}
		s.err = lines.Err()
	}()
	c.tb.Cleanup(s.close)
	return s
}

func (s *stream) close() {
	_ = s.resp.Body.Close()
	<-s.done
}

func (s *stream) has() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *stream) goesOn(tb testing.TB) {
	tb.Helper()
	if s.resp.StatusCode != http.StatusOK {
		tb.Fatalf("no stream: %d", s.resp.StatusCode)
	}
	n := strings.Count(s.has(), "data:")
	eventually(tb, 5*time.Second, "further events", func() bool { return strings.Count(s.has(), "data:") > n+2 })
}

func (s *stream) ends(tb testing.TB, within time.Duration) {
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

// ways are those to a stream that is filtered.
var ways = []struct{ name, method, body string }{
	{"GET", http.MethodGet, ""},
	{"tools/list", http.MethodPost, rpc("1", "tools/list", "")},
	{"tools/call", http.MethodPost, tool("search_x")},
	{"listen", http.MethodPost, rpc("1", "subscriptions/listen", `"notifications":{}`)},
}

// TestL12Filtered and L13: events are flushed one by one through the filter, and
// hanging up reaches the upstream.
func TestL12Filtered(t *testing.T) {
	r := use(t, feed)
	c := r.client(t, "/mcp", "tickets:read")
	for _, way := range ways {
		t.Run("L12 L13 "+way.name, func(t *testing.T) {
			eventually(t, 5*time.Second, "earlier streams are gone", func() bool { return r.up.open.Load() == 0 })
			s := c.with(t).open(way.method, way.body)
			s.goesOn(t)
			if text := s.has(); !strings.HasPrefix(text, ": alive 1\n\nid: 1\ndata: ") || strings.Contains(text, "delete_x") != (way.name == "tools/call" || way.name == "listen") {
				t.Errorf("the client sees %.300s", text)
			}
			h := s.resp.Header
			if h.Get("X-Accel-Buffering") != "no" || h.Get("Content-Encoding") != "" || h.Get("Content-Length") != "" {
				t.Errorf("headers %v", h)
			}
			s.close()
			eventually(t, time.Second, "the upstream hears of it", func() bool { return r.up.open.Load() == 0 })
		})
	}
	for _, coding := range []string{"gzip", "zstd"} {
		t.Run("L12 L13 "+coding, func(t *testing.T) {
			r := use(t, packed(coding, feed))
			c := r.client(t, "/mcp", "tickets:read")
			s := c.open(http.MethodPost, rpc("1", "tools/list", ""))
			if s.goesOn(t); strings.Contains(s.has(), "delete_x") {
				t.Errorf("the client sees %.300s", s.has())
			}
			s.close()
			r = use(t, packed(coding, func(w http.ResponseWriter, r *http.Request, _ string) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, events(lists[0].text))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done() // what is flushed must not wait for more
			}))
			s = c.with(t).open(http.MethodPost, rpc("1", "tools/list", ""))
			eventually(t, 5*time.Second, "the event", func() bool { return s.has() == events(lists[0].kept) })
			s.close()
			eventually(t, time.Second, "the upstream hears of it", func() bool { return r.up.open.Load() == 0 })
		})
	}
	t.Run("L12 each event is a gzip member", func(t *testing.T) {
		r := use(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Content-Encoding", "gzip")
			for range 2 {
				_, _ = w.Write(compressed(events(lists[0].text), "gzip"))
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done() // no event waits for a third
		})
		s := r.client(t, "/mcp", "tickets:read").open(http.MethodPost, rpc("1", "tools/list", ""))
		eventually(t, 5*time.Second, "both events", func() bool { return s.has() == events(lists[0].kept)+events(lists[0].kept) })
	})
	t.Run("L13 while a list is held back", func(t *testing.T) {
		r := use(t, func(w http.ResponseWriter, req *http.Request, _ string) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc"`)
			_ = http.NewResponseController(w).Flush()
			<-req.Context().Done()
		})
		conn := c.with(t).raw("POST", rpc("1", "tools/list", ""))
		eventually(t, 5*time.Second, "the request arrives", func() bool { return r.up.open.Load() == 1 })
		_ = conn.Close()
		eventually(t, time.Second, "the upstream hears of it", func() bool { return r.up.open.Load() == 0 })
	})
}

// TestL14Filtered: the upstream's refusals of a list, and of a call that was read.
func TestL14Filtered(t *testing.T) {
	for _, method := range []string{"tools/list", "ping"} {
		for _, status := range []int{401, 403} {
			t.Run("L14 "+method+" "+strconv.Itoa(status), func(t *testing.T) {
				r := use(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
					w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="evil", resource_metadata="https://evil.example"`)
					w.Header().Set("Set-Cookie", "evil=1")
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(status)
					_, _ = io.WriteString(w, `{"evil":1}`)
				})
				reply := r.client(t, "/mcp", "").post(rpc("1", method, ""))
				wantStatus(t, reply, http.StatusBadGateway)
				if reply.Header.Get("WWW-Authenticate") != "" || reply.Header.Get("Set-Cookie") != "" || strings.Contains(reply.Body, "evil") {
					t.Errorf("the client sees %v %s", reply.Header, reply.Body)
				}
			})
		}
		for _, status := range []int{400, 404, 405, 429, 500, 503} {
			t.Run("L6 "+method+" "+strconv.Itoa(status), func(t *testing.T) {
				for contentType, body := range map[string]string{"application/json": `{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"x"}}`, "text/plain": "gone\n", "": ""} {
					r := use(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
						w.Header()["Content-Type"] = []string{contentType}
						w.WriteHeader(status)
						_, _ = io.WriteString(w, body)
					})
					if reply := r.client(t, "/mcp", "").post(rpc("1", method, "")); reply.Status != status || reply.Body != body {
						t.Errorf("%d %q, want %q", reply.Status, reply.Body, body)
					}
				}
			})
		}
	}
}

// TestK24Filtered: a stream through the filter ends with its token.
func TestK24Filtered(t *testing.T) {
	r := use(t, feed)
	for _, way := range ways {
		t.Run("K24 revocation, "+way.name, func(t *testing.T) {
			c := gatewaytest.Register(t, r.URL)
			access, refresh := c.Tokens(t)
			s := client{t, r.URL + "/mcp", access}.open(way.method, way.body)
			s.goesOn(t)
			bystander := r.client(t, "/mcp", "tickets:read").open(way.method, way.body)
			form := map[string][]string{"token": {refresh}, "client_id": {c.ID}}
			wantStatus(t, gatewaytest.PostForm(t, r.URL+"/oauth/revoke", form), http.StatusOK)
			s.ends(t, 5*time.Second)
			bystander.goesOn(t)
		})
	}
}

// TestK24Expiry waits out the leeway for clocks, beside the other tests and with a
// gateway of its own, because those share one.
func TestK24Expiry(t *testing.T) {
	t.Parallel()
	r := start(t)
	answer := answers(feed)
	r.up.answer.Store(&answer)
	began := time.Now()
	var all []*stream
	for _, way := range ways {
		all = append(all, r.client(t, "/mcp", "tickets:read", "expires_in", "1").open(way.method, way.body))
	}
	for _, s := range all {
		s.goesOn(t)
	}
	for _, s := range all {
		s.ends(t, resource.Leeway+10*time.Second)
	}
	if took := time.Since(began); took < resource.Leeway {
		t.Errorf("the streams ended after %s already", took)
	}
}
