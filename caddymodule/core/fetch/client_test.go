package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/fetch/fetchtest"
)

const (
	host   = "client.example"
	doc    = "https://client.example/doc"
	marker = "SENT-BY-THE-HOST"
)

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func TestGet(t *testing.T) {
	n := fetchtest.New(t)
	var got *http.Request
	n.Handle(host, func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("ETag", `"1"`)
		fmt.Fprint(w, `{"a":1}`)
	})
	resp, err := fetch.New(n.Options()).Get(t.Context(), doc+"?v=%20", fetch.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if string(resp.Body) != `{"a":1}` || resp.Header.Get("ETag") != `"1"` || resp.NotModified {
		t.Errorf("got %+v", resp)
	}
	if got.Method != http.MethodGet || got.RequestURI != "/doc?v=%20" || got.ProtoMajor != 1 {
		t.Errorf("%s %s %s", got.Method, got.RequestURI, got.Proto)
	}
	for name, want := range map[string]string{
		"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "caddy-mcp-auth",
		"Cookie": "", "Authorization": "", "Referer": "", "Connection": "close",
	} {
		if v := got.Header.Get(name); v != want && name != "Connection" || name == "Connection" && !got.Close {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
}

// TestRefused: what is not a plain document in one answer is an error that
// names its kind and quotes nothing (SPEC E4, E12, E23).
func TestRefused(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 10<<20))
	_ = z.Close()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://other.example/"+marker)
			w.WriteHeader(code)
			if code != http.StatusNoContent && code != http.StatusNotModified {
				fmt.Fprint(w, marker)
			}
		}
	}
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		want error
	}{
		{"301", status(301), fetch.ErrRedirect},
		{"302", status(302), fetch.ErrRedirect},
		{"303", status(303), fetch.ErrRedirect},
		{"307", status(307), fetch.ErrRedirect},
		{"308", status(308), fetch.ErrRedirect},
		{"201", status(201), fetch.ErrStatus},
		{"204", status(204), fetch.ErrStatus},
		{"206", status(206), fetch.ErrStatus},
		{"304 unasked", status(304), fetch.ErrStatus},
		{"403", status(403), fetch.ErrStatus},
		{"404", status(404), fetch.ErrGone},
		{"410", status(410), fetch.ErrGone},
		{"500", status(500), fetch.ErrStatus},
		{"503", status(503), fetch.ErrStatus},
		{"too large by its own word", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "6000")
			fmt.Fprint(w, strings.Repeat("a", 6000))
		}, fetch.ErrTooLarge},
		{"too large without a word", func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			fmt.Fprint(w, strings.Repeat("a", 6000))
		}, fetch.ErrTooLarge},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}, fetch.ErrEncoding},
		{"not HTTP", raw(marker + "\r\n\r\n"), fetch.ErrProtocol},
		{"broken header", raw("HTTP/1.1 200 OK\r\n" + marker + "\r\n\r\n"), fetch.ErrProtocol},
		{"broken length", raw("HTTP/1.1 200 OK\r\nContent-Length: " + marker + "\r\n\r\n"), fetch.ErrProtocol},
		{"two lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), fetch.ErrProtocol},
		{"odd transfer coding", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + marker + "\r\n\r\n"), fetch.ErrProtocol},
		{"cut short", raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + marker), fetch.ErrProtocol},
		{"hangs up", raw(""), fetch.ErrProtocol},
		{"a header too many", raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat(marker, 2000) + "\r\n\r\n"), fetch.ErrProtocol},
		{"informational answers without end", raw(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <"+marker+">\r\n\r\n", 2000)), fetch.ErrProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := fetchtest.New(t)
			n.Handle(host, tt.h)
			n.Handle("other.example", text("never"))
			_, err := fetch.New(n.Options()).Get(t.Context(), doc, fetch.Request{})
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), marker) {
				t.Errorf("the error quotes the host: %v", err)
			}
			if n.Seen(host) != 1 || n.Seen("other.example") != 0 {
				t.Errorf("requests: %d and %d to the target of the redirect", n.Seen(host), n.Seen("other.example"))
			}
		})
	}
}

func TestConditional(t *testing.T) {
	n := fetchtest.New(t)
	n.Handle(host, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"1"` || r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "new")
	})
	c := fetch.New(n.Options())
	for _, r := range []fetch.Request{{ETag: `"1"`}, {LastModified: "Mon, 02 Jan 2006 15:04:05 GMT"}} {
		if resp, err := c.Get(t.Context(), doc, r); err != nil || !resp.NotModified {
			t.Errorf("%+v: %+v, %v", r, resp, err)
		}
	}
	if resp, err := c.Get(t.Context(), doc, fetch.Request{ETag: `"0"`}); err != nil || resp.NotModified || string(resp.Body) != "new" {
		t.Errorf("%+v, %v", resp, err)
	}
}

// TestInternalHosts is O36: nothing within this machine or network is ever
// connected to, whatever a name resolves to.
func TestInternalHosts(t *testing.T) {
	var connections atomic.Int32
	inside := httptest.NewUnstartedServer(text("inside"))
	inside.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	inside.StartTLS()
	defer inside.Close()
	target := netip.MustParseAddrPort(inside.Listener.Addr().String())
	any6 := netip.AddrPortFrom(netip.IPv6Unspecified(), target.Port())
	any4 := netip.AddrPortFrom(netip.IPv4Unspecified(), target.Port())
	mapped := netip.AddrPortFrom(netip.AddrFrom16(target.Addr().As16()), target.Port())
	own := func(ip string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), target.Port()) }

	for _, tt := range []struct {
		name  string
		addrs []netip.AddrPort
	}{
		{"loopback", []netip.AddrPort{target}},
		{"mapped loopback", []netip.AddrPort{mapped}},
		{"this host", []netip.AddrPort{any4}},
		{"this host, IPv6", []netip.AddrPort{any6}},
		{"several", []netip.AddrPort{own("10.0.0.1"), own("169.254.169.254"), own("fd00::1"), own("::1"), target}},
		{"NAT64 of loopback", []netip.AddrPort{own("64:ff9b::7f00:1")}},
		{"6to4 of loopback", []netip.AddrPort{own("2002:7f00:1::1")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := fetchtest.New(t)
			n.Resolve(host, tt.addrs...)
			o := n.Options()
			o.Ports = []uint16{443, target.Port()}
			_, err := fetch.New(o).Get(t.Context(), doc, fetch.Request{})
			if !errors.Is(err, fetch.ErrAddress) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("rebinding", func(t *testing.T) {
		n := fetchtest.New(t)
		n.Handle(host, text("public"))
		o := n.Options()
		o.Ports = []uint16{443, target.Port()}
		lookups := 0
		o.Lookup = func(ctx context.Context, name string, port uint16) ([]netip.AddrPort, error) {
			if lookups++; lookups == 1 {
				return n.Lookup(ctx, name, port)
			}
			return []netip.AddrPort{target}, nil
		}
		c := fetch.New(o)
		if _, err := c.Get(t.Context(), doc, fetch.Request{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), doc, fetch.Request{}); !errors.Is(err, fetch.ErrAddress) {
			t.Errorf("second answer: %v", err)
		}
		if lookups != 2 {
			t.Errorf("%d look-ups: a connection was kept", lookups)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		n := fetchtest.New(t)
		n.Handle(host, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, http.StatusFound) })
		if _, err := fetch.New(n.Options()).Get(t.Context(), doc, fetch.Request{}); !errors.Is(err, fetch.ErrRedirect) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("without any allowance", func(t *testing.T) {
		// The system's resolver; no test hook is set.
		if _, err := fetch.New(fetch.Options{Ports: []uint16{target.Port()}}).Get(t.Context(), inside.URL, fetch.Request{}); !errors.Is(err, fetch.ErrURL) {
			t.Errorf("got %v", err)
		}
	})
	if got := connections.Load(); got != 0 {
		t.Errorf("%d connections to the inside", got)
	}
}

func TestEnvironmentProxyIsIgnored(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	n := fetchtest.New(t)
	n.Handle(host, text("direct"))
	if _, err := fetch.New(n.Options()).Get(t.Context(), doc, fetch.Request{}); err != nil {
		t.Error(err)
	}
	if asked.Load() != 0 {
		t.Error("the proxy of the environment was used")
	}
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := n.Options()
	o.Lookup, o.Permit, o.Proxy = nil, nil, u
	if _, err := fetch.New(o).Get(t.Context(), doc, fetch.Request{}); err == nil || asked.Load() != 1 {
		t.Errorf("the configured proxy was asked %d times: %v", asked.Load(), err)
	}
}

func TestCertificateIsVerified(t *testing.T) {
	n := fetchtest.New(t)
	n.Handle(host, text("x"))
	o := n.Options()
	o.RootCAs = nil
	if _, err := fetch.New(o).Get(t.Context(), doc, fetch.Request{}); !errors.Is(err, fetch.ErrTLS) {
		t.Errorf("an unknown authority: %v", err)
	}
	if n.Seen(host) != 0 {
		t.Error("it was asked all the same")
	}
}

func TestNobodyThere(t *testing.T) {
	n := fetchtest.New(t)
	o := n.Options()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close()
	n.Resolve("closed.example", closed)
	o.Permit = func(netip.AddrPort) bool { return true }
	c := fetch.New(o)
	for _, raw := range []string{"https://unknown.example/x", "https://closed.example/x"} {
		if _, err := c.Get(t.Context(), raw, fetch.Request{}); !errors.Is(err, fetch.ErrConnect) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestSlowHosts is the first half of O37: whoever sends slowly, or without
// end, is cut off when the time is over, and holds a place until then only.
func TestSlowHosts(t *testing.T) {
	t.Parallel()
	drip := func(lead string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			defer conn.Close()
			_, _ = io.WriteString(conn, lead)
			for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
				if _, err := io.WriteString(conn, "a"); err != nil {
					tick.Stop()
					return
				}
			}
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"headers": drip("HTTP/1.1 200 OK\r\nX: "),
		"body":    drip("HTTP/1.1 200 OK\r\n\r\n"),
		"nothing": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := fetchtest.New(t)
			n.Handle(host, h)
			o := n.Options()
			o.Timeout = 200 * time.Millisecond
			began := time.Now()
			_, err := fetch.New(o).Get(t.Context(), doc, fetch.Request{MaxBody: 1 << 20})
			if !errors.Is(err, fetch.ErrTimeout) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestManyHosts is the second half of O37: a thousand hosts that never answer
// hold a bounded number of connections, goroutines and bytes.
func TestManyHosts(t *testing.T) {
	n := fetchtest.New(t)
	release := make(chan struct{})
	for i := range 1000 {
		n.Handle(fmt.Sprintf("c%d.site%d.example", i%3, i), func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
	}
	defer close(release)
	o := n.Options()
	o.Timeout = 2 * time.Second
	c := fetch.New(o)
	before := runtime.NumGoroutine()
	var busy, late, other atomic.Int32
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			_, err := c.Get(t.Context(), fmt.Sprintf("https://c%d.site%d.example/x", i%3, i), fetch.Request{})
			switch {
			case errors.Is(err, fetch.ErrBusy):
				busy.Add(1)
			case errors.Is(err, fetch.ErrTimeout):
				late.Add(1)
			default:
				other.Add(1)
			}
		})
	}
	wg.Wait()
	if got := n.Connections(); got > 80 {
		t.Errorf("%d connections", got)
	}
	if busy.Load() < 900 || other.Load() > 0 {
		t.Errorf("busy %d, timed out %d, other %d", busy.Load(), late.Load(), other.Load())
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+100; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
	n.Handle("good.example", text("ok"))
	if _, err := c.Get(t.Context(), "https://good.example/x", fetch.Request{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestOneSiteLeavesRoom: whoever has a domain has as many hosts as he likes,
// and still gets no more than his share.
func TestOneSiteLeavesRoom(t *testing.T) {
	n := fetchtest.New(t)
	arrived := make(chan struct{}, 100)
	release := make(chan struct{})
	for i := range 50 {
		n.Handle(fmt.Sprintf("h%d.greedy.example", i), func(http.ResponseWriter, *http.Request) {
			arrived <- struct{}{}
			<-release
		})
	}
	n.Handle(host, text("ok"))
	c := fetch.New(n.Options())
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			_, _ = c.Get(t.Context(), fmt.Sprintf("https://h%d.greedy.example/x", i), fetch.Request{})
		})
	}
	<-arrived
	<-arrived
	if _, err := c.Get(t.Context(), doc, fetch.Request{}); err != nil {
		t.Errorf("another site: %v", err)
	}
	if len(arrived) > 0 {
		t.Errorf("more than 2 at once at one site")
	}
	close(release)
	wg.Wait()
}

// TestCredentials: nothing of ours is sent to an address that a request names.
func TestCredentials(t *testing.T) {
	n := fetchtest.New(t)
	n.Handle(host, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(w, "%s %s:%s %s", r.Method, user, password, r.PostFormValue("token"))
	})
	o := n.Options()
	for _, r := range []fetch.Request{{Form: url.Values{"token": {"t"}}}, {User: "u", Password: "p"}} {
		if _, err := fetch.New(o).Get(t.Context(), doc, r); !errors.Is(err, fetch.ErrURL) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if n.Connections() != 0 {
		t.Error("it was connected to")
	}
	o.AllowPrivate = true
	resp, err := fetch.New(o).Get(t.Context(), doc, fetch.Request{Form: url.Values{"token": {"t"}}, User: "u", Password: "p"})
	if err != nil || string(resp.Body) != "POST u:p t" {
		t.Errorf("%+v, %v", resp, err)
	}
}
