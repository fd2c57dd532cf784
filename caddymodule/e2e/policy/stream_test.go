package policy_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/resource"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// feed answers with an endless stream, of which every event has a list.
var feed = gatewaytest.Feed(`{"jsonrpc":"2.0","id":%[1]d,"result":{"tools":[{"name":"search_x"},{"name":"delete_x"}]}}`)

// packed compresses an answer, and flushes what the answer does.
func packed(coding string, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", coding)
		var p packer = gzip.NewWriter(w)
		if coding == "zstd" {
			p, _ = zstd.NewWriter(w) // there are no options to get wrong
		}
		answer(&packedWriter{w, p}, r)
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

func (c client) open(method, body string) *gatewaytest.Stream {
	c.tb.Helper()
	return gatewaytest.OpenStream(c.tb, method, c.target, c.token, body)
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
			eventually(t, 5*time.Second, "earlier streams are gone", func() bool { return r.up.Open.Load() == 0 })
			s := c.with(t).open(way.method, way.body)
			s.GoesOn(t)
			if text := s.Text(); !strings.HasPrefix(text, ": keep-alive 1\n\nid: 1\ndata: ") || strings.Contains(text, "delete_x") != (way.name == "tools/call" || way.name == "listen") {
				t.Errorf("the client sees %.300s", text)
			}
			h := s.Header
			if h.Get("X-Accel-Buffering") != "no" || h.Get("Content-Encoding") != "" || h.Get("Content-Length") != "" {
				t.Errorf("headers %v", h)
			}
			s.Close()
			eventually(t, time.Second, "the upstream hears of it", func() bool { return r.up.Open.Load() == 0 })
		})
	}
	for _, coding := range []string{"gzip", "zstd"} {
		t.Run("L12 L13 "+coding, func(t *testing.T) {
			r := use(t, packed(coding, feed))
			c := r.client(t, "/mcp", "tickets:read")
			s := c.open(http.MethodPost, rpc("1", "tools/list", ""))
			if s.GoesOn(t); strings.Contains(s.Text(), "delete_x") {
				t.Errorf("the client sees %.300s", s.Text())
			}
			s.Close()
			r = use(t, packed(coding, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, events(lists[0].text))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done() // what is flushed must not wait for more
			}))
			s = c.with(t).open(http.MethodPost, rpc("1", "tools/list", ""))
			eventually(t, 5*time.Second, "the event", func() bool { return s.Text() == events(lists[0].kept) })
			s.Close()
			eventually(t, time.Second, "the upstream hears of it", func() bool { return r.up.Open.Load() == 0 })
		})
	}
	t.Run("L12 each event is a gzip member", func(t *testing.T) {
		r := use(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Content-Encoding", "gzip")
			for range 2 {
				_, _ = w.Write(compressed(events(lists[0].text), "gzip"))
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done() // no event waits for a third
		})
		s := r.client(t, "/mcp", "tickets:read").open(http.MethodPost, rpc("1", "tools/list", ""))
		eventually(t, 5*time.Second, "both events", func() bool { return s.Text() == events(lists[0].kept)+events(lists[0].kept) })
	})
	t.Run("L13 while a list is held back", func(t *testing.T) {
		r := use(t, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc"`)
			_ = http.NewResponseController(w).Flush()
			<-req.Context().Done()
		})
		conn := c.with(t).raw("POST", rpc("1", "tools/list", ""))
		eventually(t, 5*time.Second, "the request arrives", func() bool { return r.up.Open.Load() == 1 })
		_ = conn.Close()
		eventually(t, time.Second, "the upstream hears of it", func() bool { return r.up.Open.Load() == 0 })
	})
}

// TestL14Filtered: the upstream's refusals of a list, and of a call that was read.
func TestL14Filtered(t *testing.T) {
	for _, method := range []string{"tools/list", "ping"} {
		for _, status := range []int{401, 403} {
			t.Run("L14 "+method+" "+strconv.Itoa(status), func(t *testing.T) {
				r := use(t, func(w http.ResponseWriter, _ *http.Request) {
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
					r := use(t, func(w http.ResponseWriter, _ *http.Request) {
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
			s.GoesOn(t)
			bystander := r.client(t, "/mcp", "tickets:read").open(way.method, way.body)
			form := map[string][]string{"token": {refresh}, "client_id": {c.ID}}
			wantStatus(t, gatewaytest.PostForm(t, r.URL+"/oauth/revoke", form), http.StatusOK)
			s.Ends(t, 5*time.Second)
			bystander.GoesOn(t)
		})
	}
}

// TestK24Expiry waits out the leeway for clocks, beside the other tests and with a
// gateway of its own, because those share one.
func TestK24Expiry(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.up.Answer.Store(&feed)
	began := time.Now()
	var all []*gatewaytest.Stream
	for _, way := range ways {
		all = append(all, r.client(t, "/mcp", "tickets:read", "expires_in", "1").open(way.method, way.body))
	}
	for _, s := range all {
		s.GoesOn(t)
	}
	for _, s := range all {
		s.Ends(t, resource.Leeway+10*time.Second)
	}
	if took := time.Since(began); took < resource.Leeway {
		t.Errorf("the streams ended after %s already", took)
	}
}
