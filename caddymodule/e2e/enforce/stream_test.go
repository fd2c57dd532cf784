package enforce_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// feed is an endless event stream.
var feed = gatewaytest.Feed("event %[1]d")

// openStream opens a stream and reads it until the test ends.
func openStream(tb testing.TB, method, target, token string) *gatewaytest.Stream {
	tb.Helper()
	s := gatewaytest.OpenStream(tb, method, target, token, `{}`)
	if s.Status != http.StatusOK {
		tb.Fatalf("no stream: %d", s.Status)
	}
	return s
}

func TestStream(t *testing.T) {
	u := gatewaytest.NewUpstream(t, feed)
	g := start(t, u, "", "")
	token := devToken(t, g.URL)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run("L12 events and comments come as they are sent, "+method, func(t *testing.T) {
			s := openStream(t, method, g.URL+"/mcp", token)
			eventually(t, 2*time.Second, "the first event", func() bool { return strings.Contains(s.Text(), "data: event 1") })
			s.GoesOn(t)
			if text := s.Text(); !strings.HasPrefix(text, ": keep-alive 1\n\nid: 1\n") {
				t.Errorf("changed on the way: %.100q", text)
			}
			h := s.Header
			if h.Get("Content-Type") != "text/event-stream" || h.Get("X-Accel-Buffering") != "no" || h.Get("Content-Encoding") != "" {
				t.Errorf("headers %v", h)
			}
		})
		t.Run("L13 hanging up cancels the upstream request, "+method, func(t *testing.T) {
			eventually(t, 2*time.Second, "earlier streams are gone", func() bool { return u.Open.Load() == 0 })
			s := openStream(t, method, g.URL+"/mcp", token)
			s.GoesOn(t)
			s.Close()
			eventually(t, time.Second, "the upstream hears of it", func() bool { return u.Open.Load() == 0 })
		})
	}
}

// L13 before the upstream has answered anything.
func TestDisconnectWhileWaiting(t *testing.T) {
	var waiting atomic.Int64
	u := gatewaytest.NewUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
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
	u := gatewaytest.NewUpstream(t, feed)
	g := start(t, u, "refresh_grace off", "")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run("K24 reuse of a refresh token, "+method, func(t *testing.T) {
			c, other := gatewaytest.Register(t, g.URL), gatewaytest.Register(t, g.URL)
			access, refresh := c.Tokens(t)
			otherAccess, _ := other.Tokens(t)
			s := openStream(t, method, g.URL+"/mcp", access)
			second := openStream(t, method, g.URL+"/mcp", access)
			bystander := openStream(t, method, g.URL+"/mcp", otherAccess)
			dev := openStream(t, method, g.URL+"/mcp", devToken(t, g.URL))
			s.GoesOn(t)
			next := c.Refresh(t, refresh)
			wantStatus(t, next, http.StatusOK)
			s.GoesOn(t)
			afterRefresh := openStream(t, method, g.URL+"/mcp", next.Text(t, "access_token"))
			wantStatus(t, c.Refresh(t, refresh), http.StatusBadRequest)
			for _, mine := range []*gatewaytest.Stream{s, second, afterRefresh} {
				mine.Ends(t, 2*time.Second)
			}
			bystander.GoesOn(t)
			dev.GoesOn(t)
			for _, token := range []string{access, next.Text(t, "access_token")} {
				wantInvalid(t, call(t, g.URL+"/mcp", bearer(token)...))
			}
			wantStatus(t, c.Refresh(t, next.Text(t, "refresh_token")), http.StatusBadRequest)
		})
	}
}

func TestStreamReplay(t *testing.T) {
	u := gatewaytest.NewUpstream(t, feed)
	g := start(t, u, "refresh_grace off", "")
	t.Run("K24 reuse of a code", func(t *testing.T) {
		c := gatewaytest.Register(t, g.URL)
		code := c.Code(t)
		access := c.Redeem(t, code).Text(t, "access_token")
		s := openStream(t, http.MethodGet, g.URL+"/mcp", access)
		s.GoesOn(t)
		wantStatus(t, c.Redeem(t, code), http.StatusBadRequest)
		s.Ends(t, 2*time.Second)
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
		s.GoesOn(t)
		openStream(t, http.MethodGet, g.URL+"/mcp", access).GoesOn(t)
	})
	t.Run("K24 a stream that is asked for after the revocation", func(t *testing.T) {
		c := gatewaytest.Register(t, g.URL)
		access, refresh := c.Tokens(t)
		wantStatus(t, c.Refresh(t, refresh), http.StatusOK)
		wantStatus(t, c.Refresh(t, refresh), http.StatusBadRequest)
		wantInvalid(t, call(t, g.URL+"/mcp", bearer(access)...))
	})
}
