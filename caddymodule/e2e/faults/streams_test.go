package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// stream is an open event stream, on a plain connection so that many fit into
// this process.
type stream struct {
	conn  net.Conn
	ended atomic.Bool
}

// openStream asks for a stream and waits for its first event.
func openStream(base, token string) (*stream, error) {
	addr := strings.TrimPrefix(base, "http://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, err = fmt.Fprintf(conn, "GET /mcp HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", addr, token)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	lines := bufio.NewReaderSize(conn, 1024)
	status, err := lines.ReadString('\n')
	if err != nil || !strings.Contains(status, " 200 ") {
		return nil, errors.Join(fmt.Errorf("status line %q", status), err, conn.Close())
	}
	for line := status; !strings.HasPrefix(line, "data: hello"); {
		if line, err = lines.ReadString('\n'); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return &stream{conn: conn}, conn.SetDeadline(time.Time{})
}

// watch notes when the stream ends.
func (s *stream) watch() {
	_, _ = bufio.NewReaderSize(s.conn, 16).ReadString(0)
	s.ended.Store(true)
}

// openStreams opens n streams and hangs up when the test ends.
func openStreams(t *testing.T, base, token string, n int) []*stream {
	t.Helper()
	streams := make([]*stream, n)
	failed := crowd(64, n, func(i int) (reply, error) {
		s, err := openStream(base, token)
		streams[i] = s
		return reply{status: http.StatusOK}, err
	})
	t.Cleanup(func() {
		for _, s := range streams {
			if s != nil {
				_ = s.conn.Close()
			}
		}
	})
	if failed[http.StatusOK] != n {
		t.Fatalf("opening %d streams: %v", n, failed)
	}
	for _, s := range streams {
		go s.watch()
	}
	return streams
}

func lost(streams []*stream) (n int) {
	for _, s := range streams {
		if s.ended.Load() {
			n++
		}
	}
	return n
}

// Idle streams cost little, disturb nobody, and all end with their grant.
func TestIdleStreams(t *testing.T) {
	addr, open := upstream(t)
	// Streams share connections to the upstream (h2c), so that 10,000 need no more
	// files than a process may usually open.
	config := strings.Replace(configuration("", "refresh_grace off", ""), "keepalive_idle_conns_per_host 256", "versions h2c", 1)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: config, Upstream: addr})
	c := gatewaytest.Register(t, g.URL)
	access, refresh := c.Tokens(t)
	other := devToken(t, g.URL)
	openStreams(t, g.URL, other, 50)
	n := size(10_000, 500)
	before := g.Memory()
	streams := openStreams(t, g.URL, access, n)
	per := (g.Memory() - before) / int64(n)
	note(t, "idle streams", "open at once", "%d", n)
	note(t, "idle streams", "memory of the gateway for each", "%d KiB, the client's connection included", per>>10)
	if per > 1<<20 { // with the race detector everything takes several times as much
		t.Errorf("%d KiB a stream", per>>10)
	}
	slow := time.Duration(0)
	for range 20 {
		r, err := call(g.URL, other)
		if err != nil || r.status != http.StatusOK {
			t.Fatalf("a call beside the streams: %d, %v", r.status, err)
		}
		slow = max(slow, r.took)
	}
	note(t, "idle streams", "the slowest of 20 calls beside them", "%d ms", slow.Milliseconds())
	if k := lost(streams); k > 0 {
		t.Errorf("%d of %d streams were lost", k, n)
	}
	if r := c.Refresh(t, refresh); r.Status != http.StatusOK {
		t.Fatal(r.Body)
	}
	begin := time.Now()
	if r := c.Refresh(t, refresh); r.Status != http.StatusBadRequest { // reuse: the grant ends
		t.Fatal(r.Body)
	}
	eventually(t, 30*time.Second, "every stream of the grant ends", func() bool { return lost(streams) == n })
	note(t, "idle streams", "all ended after their grant was revoked in", "%.1f s", time.Since(begin).Seconds())
	eventually(t, 10*time.Second, "the upstream hears of it", func() bool { return open.Load() == 50 })
}

// THREATS 3: reloads, good ones and rejected ones, drop neither requests nor
// streams nor state.
func TestReloadUnderLoad(t *testing.T) {
	addr, _ := upstream(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configuration("", "", ""), Upstream: addr})
	access := devToken(t, g.URL)
	streams := openStreams(t, g.URL, access, size(1000, 100))
	ctx, stop := context.WithCancel(t.Context())
	var calls, failures, again atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for ctx.Err() == nil {
				r, n, err := steadyCall(g.URL, access)
				again.Add(int64(n))
				if calls.Add(1); err != nil || r.status != http.StatusOK {
					failures.Add(1)
					t.Errorf("a call while configurations change: %d %s %v", r.status, r.body, err)
					return
				}
			}
		})
	}
	rounds := size(20, 4)
	for i := range rounds {
		good := configuration("", fmt.Sprintf("access_token_lifetime %dm", 30+i), "")
		if err := g.Reload(good, addr); err != nil {
			t.Errorf("reload %d: %v", i, err)
		}
		if err := g.Reload(configuration("embedded /proc/nowhere/state.db", "", ""), addr); err == nil {
			t.Error("a configuration with a store that can't be opened was taken")
		}
	}
	stop()
	group.Wait()
	if k := lost(streams); k > 0 {
		t.Errorf("%d of %d streams were lost", k, len(streams))
	}
	note(t, "reloads under load", "good and rejected ones", "%d and %d", rounds, rounds)
	note(t, "reloads under load", "calls meanwhile, failed, sent again over a new connection", "%d, %d, %d", calls.Load(), failures.Load(), again.Load())
	note(t, "reloads under load", "open streams, lost", "%d, %d", len(streams), lost(streams))
}

// steadyCall is a call as HTTP clients make it: where a kept connection turns out
// to be closed before anything of an answer came, the request is sent again.
func steadyCall(base, token string) (r reply, again int, err error) {
	for {
		answered := false
		trace := &httptrace.ClientTrace{GotFirstResponseByte: func() { answered = true }}
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), http.MethodPost, base+"/mcp", strings.NewReader(`{}`))
		if err != nil {
			return reply{}, again, err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		r, err := do(req)
		if err == nil || answered || again == 2 {
			return r, again, err
		}
		client.CloseIdleConnections()
		again++
	}
}

// THREATS 3: clients that send slowly, or never finish, hold up nobody, and are
// sent away after the timeouts of Caddy's own `servers` option.
func TestSlowClients(t *testing.T) {
	addr, _ := upstream(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: configuration("", "", ""), Upstream: addr})
	access := devToken(t, g.URL)
	host := strings.TrimPrefix(g.URL, "http://")
	begun := []string{
		"POST /oauth/token HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 200\r\n\r\ngrant_",
		"POST /oauth/register HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n{\"redir",
		"POST /mcp HTTP/1.1\r\nHost: " + host + "\r\nAuthor",
		"GET / HTTP/1.1\r\n",
	}
	const n = 300
	before := g.Memory()
	stalled := make([]*stream, n)
	for i := range stalled {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte(begun[i%len(begun)])); err != nil {
			t.Fatal(err)
		}
		stalled[i] = &stream{conn: conn}
		go stalled[i].watch()
	}
	slow := time.Duration(0)
	for range 20 {
		r, err := call(g.URL, access)
		if err != nil || r.status != http.StatusOK {
			t.Fatalf("a call beside the slow clients: %d, %v", r.status, err)
		}
		slow = max(slow, r.took)
	}
	gatewaytest.Register(t, g.URL).Tokens(t)
	note(t, "slow clients", "stalled connections", "%d", n)
	note(t, "slow clients", "memory grew by", "%d MiB", max(g.Memory()-before, 0)>>20)
	note(t, "slow clients", "the slowest of 20 calls beside them", "%d ms", slow.Milliseconds())
	eventually(t, 30*time.Second, "every stalled connection is closed", func() bool { return lost(stalled) == n })
}
