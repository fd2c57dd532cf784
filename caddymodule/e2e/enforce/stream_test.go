package enforce_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// feed is an upstream whose every answer is an endless event stream.
type feed struct {
	*upstream
	open atomic.Int64 // streams whose client is there
}

func newFeed(tb testing.TB) *feed {
	f := new(feed)
	f.upstream = newUpstream(tb, f.serve)
	return f
}

func (f *feed) serve(w http.ResponseWriter, r *http.Request) {
	f.open.Add(1)
	defer f.open.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		_, _ = fmt.Fprintf(w, ": keep-alive %d\n\nid: %d\ndata: event %d\n\n", n, n, n)
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// stream is an open event stream of a client.
type stream struct {
	resp  *http.Response
	mu    sync.Mutex
	lines []string
	done  chan struct{} // closed at the end
	err   error         // how it ended; nil if the body was terminated properly
}

// openStream opens one and reads it until the test ends.
func openStream(tb testing.TB, method, target, token string) *stream {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, target, strings.NewReader(`{}`))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	transport := new(http.Transport) // a connection of its own, so that closing it is seen
	resp, err := transport.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	s := &stream{resp: resp, done: make(chan struct{})}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		tb.Fatalf("no stream: %d", resp.StatusCode)
	}
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			s.mu.Lock()
			s.lines = append(s.lines, lines.Text())
			s.mu.Unlock()
		}
		s.err = lines.Err()
	}()
	tb.Cleanup(s.close)
	return s
}

// close hangs up.
func (s *stream) close() {
	_ = s.resp.Body.Close()
	<-s.done
}

func (s *stream) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...)
}

// goesOn waits for further events.
func (s *stream) goesOn(tb testing.TB) {
	tb.Helper()
	before := len(s.all())
	eventually(tb, 5*time.Second, "further events", func() bool {
		select {
		case <-s.done:
			tb.Fatalf("the stream ended: %v", s.err)
		default:
		}
		return len(s.all()) > before+10
	})
}

// ends waits for the end and checks that the client sees a complete body.
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

func TestStream(t *testing.T) {
	f := newFeed(t)
	g := start(t, f.upstream, "", "")
	token := devToken(t, g.URL)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run("L12 events and comments come as they are sent, "+method, func(t *testing.T) {
			s := openStream(t, method, g.URL+"/mcp", token)
			eventually(t, 2*time.Second, "the first event", func() bool { return strings.Contains(strings.Join(s.all(), "\n"), "data: event 1") })
			s.goesOn(t)
			if lines := s.all(); lines[0] != ": keep-alive 1" || lines[2] != "id: 1" {
				t.Errorf("changed on the way: %q", lines[:4])
			}
			h := s.resp.Header
			if h.Get("Content-Type") != "text/event-stream" || h.Get("X-Accel-Buffering") != "no" || h.Get("Content-Encoding") != "" {
				t.Errorf("headers %v", h)
			}
		})
		t.Run("L13 hanging up cancels the upstream request, "+method, func(t *testing.T) {
			eventually(t, 2*time.Second, "earlier streams are gone", func() bool { return f.open.Load() == 0 })
			s := openStream(t, method, g.URL+"/mcp", token)
			s.goesOn(t)
			s.close()
			eventually(t, time.Second, "the upstream hears of it", func() bool { return f.open.Load() == 0 })
		})
	}
}

// L13 before the upstream has answered anything.
func TestDisconnectWhileWaiting(t *testing.T) {
	var waiting atomic.Int64
	u := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
		waiting.Add(1)
		defer waiting.Add(-1)
		<-r.Context().Done()
	})
	g := start(t, u, "", "")
	token := devToken(t, g.URL)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		t.Run("L13 "+method, func(t *testing.T) {
			conn := dial(t, g.URL)
			defer conn.Close()
			_, _ = fmt.Fprintf(conn, "%s /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nAuthorization: Bearer %s\r\n\r\n{}", method, token)
			eventually(t, 5*time.Second, "the request arrives", func() bool { return waiting.Load() == 1 })
			_ = conn.Close()
			eventually(t, time.Second, "the upstream hears of it", func() bool { return waiting.Load() == 0 })
		})
	}
}

// K24, O32: an open stream ends with its grant, and nobody else's does.
func TestStreamRevoked(t *testing.T) {
	f := newFeed(t)
	g := start(t, f.upstream, "refresh_grace off", "")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run("K24 reuse of a refresh token, "+method, func(t *testing.T) {
			c, other := gatewaytest.Register(t, g.URL), gatewaytest.Register(t, g.URL)
			access, refresh := c.Tokens(t)
			otherAccess, _ := other.Tokens(t)
			s := openStream(t, method, g.URL+"/mcp", access)
			second := openStream(t, method, g.URL+"/mcp", access)
			bystander := openStream(t, method, g.URL+"/mcp", otherAccess)
			dev := openStream(t, method, g.URL+"/mcp", devToken(t, g.URL))
			s.goesOn(t)
			next := c.Refresh(t, refresh)
			wantStatus(t, next, http.StatusOK)
			s.goesOn(t)
			afterRefresh := openStream(t, method, g.URL+"/mcp", next.Text(t, "access_token"))
			wantStatus(t, c.Refresh(t, refresh), http.StatusBadRequest)
			for _, mine := range []*stream{s, second, afterRefresh} {
				mine.ends(t, 2*time.Second)
			}
			bystander.goesOn(t)
			dev.goesOn(t)
			for _, token := range []string{access, next.Text(t, "access_token")} {
				wantInvalid(t, call(t, g.URL+"/mcp", bearer(token)...))
			}
			wantStatus(t, c.Refresh(t, next.Text(t, "refresh_token")), http.StatusBadRequest)
		})
	}
}

func TestStreamReplay(t *testing.T) {
	f := newFeed(t)
	g := start(t, f.upstream, "refresh_grace off", "")
	t.Run("K24 reuse of a code", func(t *testing.T) {
		c := gatewaytest.Register(t, g.URL)
		code := c.Code(t)
		access := c.Redeem(t, code).Text(t, "access_token")
		s := openStream(t, http.MethodGet, g.URL+"/mcp", access)
		s.goesOn(t)
		wantStatus(t, c.Redeem(t, code), http.StatusBadRequest)
		s.ends(t, 2*time.Second)
		wantInvalid(t, call(t, g.URL+"/mcp", bearer(access)...))
	})
	t.Run("O32 what anyone can send revokes nothing", func(t *testing.T) {
		c, thief := gatewaytest.Register(t, g.URL), gatewaytest.Register(t, g.URL)
		code := c.Code(t)
		reply := c.Redeem(t, code)
		access, refresh := reply.Text(t, "access_token"), reply.Text(t, "refresh_token")
		s := openStream(t, http.MethodGet, g.URL+"/mcp", access)
		thief.Verifier = strings.Repeat("wrong-verifier-0123.", 3)
		wantStatus(t, thief.Redeem(t, code), http.StatusBadRequest)
		wantStatus(t, thief.Refresh(t, refresh), http.StatusBadRequest)
		wrong := *c
		wrong.Verifier = thief.Verifier
		wantStatus(t, wrong.Redeem(t, code), http.StatusBadRequest)
		s.goesOn(t)
		openStream(t, http.MethodGet, g.URL+"/mcp", access).goesOn(t)
	})
	t.Run("K24 a stream that is asked for after the revocation", func(t *testing.T) {
		c := gatewaytest.Register(t, g.URL)
		access, refresh := c.Tokens(t)
		wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
		wantStatus(t, c.Refresh(t, refresh), http.StatusBadRequest)
		wantInvalid(t, call(t, g.URL+"/mcp", bearer(access)...))
	})
}
