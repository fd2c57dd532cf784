package enforce_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// tunnel is an upstream that agrees to every Upgrade, as servers that speak
// h2c do, and then keeps what comes through.
type tunnel struct {
	net.Listener
	mu   sync.Mutex
	text strings.Builder
}

func newTunnel(t *testing.T) *tunnel {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &tunnel{Listener: ln}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			open.Go(func() { u.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		open.Wait()
	})
	return u
}

func (u *tunnel) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, req.Body)
	protocol := req.Header.Get("Upgrade")
	if protocol == "" {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n")
	for {
		line, err := r.ReadString('\n')
		u.mu.Lock()
		u.text.WriteString(line)
		u.mu.Unlock()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "got "+line)
	}
}

func (u *tunnel) got() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.text.String()
}

// O47: behind an Upgrade the gateway sees nothing any more: whoever gets one
// talks to the upstream as whoever he likes.
func TestUpgrade(t *testing.T) {
	u := newTunnel(t)
	port := gatewaytest.FreePort(t)
	g := gatewaytest.Start(t, gatewaytest.Options{
		Caddyfile: forPort(caddyfile("refresh_grace off", "public /health"), port), Upstream: u.Addr().String(), Port: port,
	})
	const smuggled = "POST /mcp HTTP/1.1\nX-Mcp-User: root\n\n"
	auth := "Authorization: Bearer " + devToken(t, g.URL) + "\n"
	for _, c := range []struct{ name, target, header string }{
		{"h2c without token on a public path", "/health", "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\n"},
		{"h2c with a token", "/mcp", auth + "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\n"},
		{"TLS with a token", "/mcp", auth + "Connection: Upgrade\nUpgrade: TLS/1.2\n"},
		{"anything on a public path", "/health", "Connection: Upgrade\nUpgrade: h2c, websocket\n"},
	} {
		t.Run("O47 "+c.name, func(t *testing.T) {
			conn := dial(t, g.URL)
			defer conn.Close()
			r := exchange(t, conn, g.URL, "GET "+c.target+" HTTP/1.1\nHost: HOST\n"+c.header+"\n")
			if r.Status == http.StatusSwitchingProtocols {
				t.Error("the gateway opened a tunnel")
				_, _ = io.WriteString(conn, strings.ReplaceAll(smuggled, "\n", "\r\n"))
				eventually(t, 5*time.Second, "the upstream gets what went in", func() bool { return strings.Contains(u.got(), "\r\n\r\n") })
				t.Errorf("the upstream got %q", u.got())
			}
		})
	}
	t.Run("K24 an upgraded connection ends with its grant", func(t *testing.T) {
		client := gatewaytest.Register(t, g.URL)
		access, refresh := client.Tokens(t)
		conn := dial(t, g.URL)
		defer conn.Close()
		r := exchange(t, conn, g.URL, "GET /mcp HTTP/1.1\nHost: HOST\nAuthorization: Bearer "+access+"\nConnection: Upgrade\nUpgrade: websocket\n"+
			"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n")
		if r.Status != http.StatusSwitchingProtocols {
			return // refusing it is as good
		}
		wantStatus(t, client.Refresh(t, refresh), http.StatusOK)
		wantStatus(t, client.Refresh(t, refresh), http.StatusBadRequest) // reuse: the grant is revoked
		if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("it is still open after 2 s: %v", err)
		}
	})
}

// O47: requests whose end two servers see in two places.
func TestSmuggling(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "public /health")
	const inner = "GET /mcp HTTP/1.1\nHost: HOST\nX-Mcp-User: root\n\n"
	for _, c := range []struct{ name, head string }{
		{"CL and TE", "Content-Length: 6\nTransfer-Encoding: chunked\n\n0\n\n"},
		{"two CL", "Content-Length: 0\nContent-Length: 5\n\n"},
		{"CL list", "Content-Length: 0, 5\n\n"},
		{"CL with sign", "Content-Length: +5\n\n"},
		{"TE twice", "Transfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n"},
		{"TE obfuscated", "Transfer-Encoding: xchunked\n\n"},
		{"TE with tab", "Transfer-Encoding:\tchunked\nContent-Length: 4\n\n0\n\n"},
		{"TE with vertical tab", "Transfer-Encoding: \x0bchunked\n\n"},
		{"TE name with space", "Transfer-Encoding : chunked\n\n0\n\n"},
		{"TE underscore", "Transfer_Encoding: chunked\nContent-Length: 0\n\n"},
		{"folded header", "X-A: b\n Transfer-Encoding: chunked\nContent-Length: 0\n\n"},
		{"chunk size too long", "Transfer-Encoding: chunked\n\nFFFFFFFFFFFFFFFFF\n\n"},
	} {
		t.Run("O47 "+c.name, func(t *testing.T) {
			raw(t, g.URL, "POST /health HTTP/1.1\nHost: HOST\nConnection: close\nX-Case: "+c.name+"\n"+c.head+inner)
			for _, s := range u.Take() {
				if s.Target != "/health" || s.Header.Get("X-Case") == "" || s.Contains("root") || s.Header.Get("Transfer-Encoding") != "" {
					t.Errorf("reached the upstream: %s %s %v %q", s.Method, s.Target, s.Header, s.Body)
				}
			}
		})
	}
	t.Run("O47 two Host headers", func(t *testing.T) {
		r := raw(t, g.URL, "GET /health?two HTTP/1.1\nHost: HOST\nHost: evil.example\nConnection: close\n\n")
		wantStatus(t, r, http.StatusBadRequest)
		if slices.ContainsFunc(u.Take(), func(s gatewaytest.Seen) bool { return strings.Contains(s.Target, "two") }) {
			t.Error("it reached the upstream")
		}
	})
}

// HTTP/2 in the clear, which Caddy speaks to who begins with it.
func TestHTTP2(t *testing.T) {
	u := gatewaytest.NewUpstream(t, nil)
	g := start(t, u, "", "public /health")
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	send := func(t *testing.T, path string, header http.Header) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		req.Trailer = http.Header{"X-Mcp-User": {"root"}}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Fatalf("spoken is %s", resp.Proto)
		}
		return resp.StatusCode
	}
	t.Run("K1 without token", func(t *testing.T) {
		if status := send(t, "/mcp", http.Header{}); status != http.StatusUnauthorized {
			t.Errorf("status %d", status)
		}
		u.None(t)
	})
	t.Run("L1 L3 with a token, forged headers and trailers", func(t *testing.T) {
		h := http.Header{"Authorization": {"Bearer " + devToken(t, g.URL)}, "X-Mcp-User": {"root"}, "x_mcp_user": {"root"}, "Dpop": {"x"}}
		if status := send(t, "/mcp", h); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		if s := u.One(t); !slices.Equal(s.Folded("X-Mcp-User"), []string{"dev"}) || s.Contains("Bearer") || s.Contains("root") {
			t.Errorf("reached the upstream: %v %v", s.Header, s.Trailer)
		}
	})
}
