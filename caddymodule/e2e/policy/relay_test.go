package policy_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestL6SameBytes: what the rules have read arrives byte for byte.
func TestL6SameBytes(t *testing.T) {
	r := use(t, nil)
	c := r.client(t, "/mcp", "tickets:read")
	for name, body := range map[string]string{
		"plain":             tool("search_x"),
		"a newline after":   tool("search_x") + "\r\n",
		"odd white space":   " \t\r\n{ \"jsonrpc\" :\t\"2.0\",\n\"id\": 1 , \"method\":\"tools/call\",\"params\":{ \"name\":\"search_x\" } }\n\n ",
		"escapes":           `{"jsonrpc":"2.0","\u0069d":1,"method":"tools\/call","params":{"n\u0061me":"search\u005f\ud83d\ude00","arguments":{"\u0041":"\u2028\u0000"}}}`,
		"numbers":           rpc("1", "tools/call", `"name":"search_x","arguments":{"a":1.0,"b":1e400,"c":-0,"d":123456789012345678901234567890}`),
		"unknown members":   `{"x":[{}],"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_x","zz":null},"y":"` + "\u2028\u00e4" + `"}`,
		"64 KiB and a byte": rpc("1", "tools/call", `"name":"search_x","arguments":{"x":"`+strings.Repeat("x", 64<<10)+`"}`),
		"almost 4 MiB":      rpc("1", "tools/call", `"name":"search_x","arguments":{"x":"`+strings.Repeat("\u00e4", 2<<20-100)+`"}`),
	} {
		for how, chunked := range map[string]bool{"Content-Length": false, "chunked": true} {
			t.Run("L6 "+name+", "+how, func(t *testing.T) {
				status := r.stream(t, c, body, chunked, &http.Transport{})
				if status != http.StatusOK {
					t.Fatalf("status %d", status)
				}
				s := r.up.One(t)
				if sha256.Sum256([]byte(s.Body)) != sha256.Sum256([]byte(body)) || s.Length != int64(len(body)) {
					t.Errorf("%d bytes arrived (Content-Length %d), %d were sent", len(s.Body), s.Length, len(body))
				}
				if len(s.Trailer) > 0 || s.Header.Get("Authorization") != "" {
					t.Errorf("headers %v, trailers %v", s.Header, s.Trailer)
				}
			})
		}
	}
	t.Run("L6 HTTP/2", func(t *testing.T) {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		for _, chunked := range []bool{false, true} {
			if status := r.stream(t, c, tool("search_x")+"\n", chunked, transport); status != http.StatusOK {
				t.Errorf("status %d", status)
			}
			if s := r.up.One(t); s.Body != tool("search_x")+"\n" || len(s.Trailer) > 0 {
				t.Errorf("arrived: %s %v", s.Body, s.Trailer)
			}
			if status := r.stream(t, c, tool("delete_x"), chunked, transport); status != http.StatusOK {
				t.Errorf("status %d", status)
			}
			r.up.None(t)
		}
	})
}

// stream posts a body with a Content-Length or without, and with a trailer that
// forges an identity.
func (r *rig) stream(tb testing.TB, c client, body string, chunked bool, transport *http.Transport) int {
	tb.Helper()
	var from io.Reader = strings.NewReader(body)
	if chunked {
		from = io.MultiReader(from)
	}
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, c.target, from)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + c.token}, "Content-Type": {"application/json"}, "Accept": {streamable}}
	if chunked {
		req.Trailer = http.Header{"X-Mcp-User": {"root"}, "Mcp-Name": {"delete_x"}}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestL18Message: messages that are too long, and bodies that do not come.
func TestL18Message(t *testing.T) {
	r := use(t, nil)
	sized := func(n int) string {
		frame := rpc("1", "tools/call", `"name":"search_x","arguments":{"x":""}`)
		return strings.Replace(frame, `"x":""`, `"x":"`+strings.Repeat("x", n-len(frame))+`"`, 1)
	}
	for path, most := range map[string]int{"/small": 1 << 10, "/mcp": 4 << 20} {
		c := r.client(t, path, "tickets:read")
		for _, chunked := range []bool{false, true} {
			for n, want := range map[int]int{most: http.StatusOK, most + 1: http.StatusRequestEntityTooLarge, most + 100_000: http.StatusRequestEntityTooLarge} {
				t.Run(fmt.Sprintf("L18 %d bytes at %s, chunked %v", n, path, chunked), func(t *testing.T) {
					if status := r.stream(t, c, sized(n), chunked, &http.Transport{}); status != want {
						t.Errorf("status %d, want %d", status, want)
					}
					if want == http.StatusOK {
						r.up.One(t)
					}
					r.up.None(t)
				})
			}
		}
	}
	t.Run("L18 without rules only max_body counts", func(t *testing.T) {
		if status := r.stream(t, r.client(t, "/plain", "a"), sized(5<<20), true, &http.Transport{}); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		r.up.One(t)
	})
	t.Run("L11 a body that ends early", func(t *testing.T) {
		c := r.client(t, "/mcp", "tickets:read")
		pr, pw := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.target, pr)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Authorization": {"Bearer " + c.token}, "Content-Type": {"application/json"}}
		go func() {
			_, _ = io.WriteString(pw, tool("search_x")) // whole, but nobody says so
			_ = pw.CloseWithError(io.ErrUnexpectedEOF)
		}()
		if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("an answer: %d", resp.StatusCode)
		}
		// One that comes later is answered: the first one is over by then.
		r.wantPassed(t, c.post(tool("search_x")))
	})
}

// TestUnreadBody: where no rule needs it, a body streams through as it is.
func TestUnreadBody(t *testing.T) {
	r := use(t, nil)
	came := make(chan string, 1)
	early := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		first := make([]byte, 5)
		_, _ = io.ReadFull(req.Body, first)
		came <- string(first)
	})
	r.up.Early.Store(&early)
	defer r.up.Early.Store(nil)
	c := r.client(t, "/plain", "a")
	pr, pw := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.target, pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + c.token}, "Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	done := make(chan int, 1)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			done <- 0
			return
		}
		_ = resp.Body.Close()
		done <- resp.StatusCode
	}()
	_, _ = io.WriteString(pw, "\x00{{[\xff")
	select {
	case first := <-came:
		if first != "\x00{{[\xff" {
			t.Errorf("the upstream saw %q first", first)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the body is held back")
	}
	_, _ = io.WriteString(pw, "end")
	_ = pw.Close()
	if status := <-done; status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if s := r.up.One(t); s.Body != "end" || s.Length != -1 || s.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("arrived: %+v", s)
	}
}

// raw sends a request on a connection of its own and leaves the answer to it.
func (c client) raw(method, body string) net.Conn {
	c.tb.Helper()
	host := strings.TrimPrefix(strings.TrimSuffix(c.target, "/mcp"), "http://")
	conn, err := new(net.Dialer).DialContext(c.tb.Context(), "tcp", host)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(func() { _ = conn.Close() }) // most tests did
	_, err = fmt.Fprintf(conn, "%s /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nAuthorization: Bearer %s\r\n\r\n%s",
		method, host, len(body), c.token, body)
	if err != nil {
		c.tb.Fatal(err)
	}
	return conn
}
