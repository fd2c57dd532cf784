package mockmcp

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

// serve runs s on a free port until the test ends, and returns its address and a function that stops it.
func serve(t *testing.T, s *Server) (string, func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	return "http://" + ln.Addr().String(), func() error { cancel(); return <-done }
}

func TestServeEndsOpenStreams(t *testing.T) {
	s, log := quiet(t, TransportHTTP)
	url, stop := serve(t, s)
	lines, _ := openSSE(t, url, nil)
	if err := stop(); err != nil {
		t.Errorf("stopping with an open stream: %v", err)
	}
	if lines.Scan(); lines.Scan() {
		t.Errorf("the stream goes on: %q", lines.Text())
	}
	if _, err := http.Get(url + "/health"); err == nil {
		t.Error("the server still answers")
	}
	if lines := log.String(); !strings.Contains(lines, "method=GET path=/sse status=200") {
		t.Errorf("no line about the stream:\n%s", lines)
	}
}

func TestServeOnClosedListener(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := s.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "serving on 127.0.0.1:") {
		t.Errorf("error %v", err)
	}
}

func TestNewRefusesUnknownTransport(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New(Options{Transport: "websocket"})
}

func TestGuard(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	url, stop := serve(t, s)
	defer func() { _ = stop() }()
	port := url[strings.LastIndex(url, ":"):]
	const list = `{"jsonrpc":"2.0","id":1}`
	tests := []struct {
		name, method, path, host string
		headers                  headers
		status                   int
	}{
		{"direct", "GET", "/health", "127.0.0.1" + port, nil, 200},
		{"localhost", "GET", "/health", "localhost" + port, nil, 200},
		{"name below localhost", "GET", "/health", "mcp.LOCALHOST", nil, 200},
		{"ipv6 loopback", "GET", "/health", "[::1]" + port, nil, 200},
		{"ipv6 loopback without port", "GET", "/health", "[::1]", nil, 200},
		{"rebound name", "GET", "/health", "evil.example" + port, nil, 403},
		{"name that starts like an address", "GET", "/health", "127.0.0.1.evil.example", nil, 403},
		{"gateway", "GET", "/health", "mcp.example.com", headers{"Via": {"2.0 Caddy"}}, 200},
		{"gateway, page of another origin", "POST", "/mcp/tools/list", "mcp.example.com", headers{"Via": {"2.0 Caddy"}, "Origin": {"https://inspector.example"}, "Sec-Fetch-Site": {"cross-site"}}, 200},
		{"page of another origin", "POST", "/mcp/tools/list", "127.0.0.1" + port, headers{"Origin": {"https://evil.example"}}, 403},
		{"page of another site", "POST", "/mcp/tools/list", "127.0.0.1" + port, headers{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"own page", "POST", "/mcp/tools/list", "127.0.0.1" + port, headers{"Origin": {url}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		{"link from another site", "GET", "/docs", "127.0.0.1" + port, headers{"Sec-Fetch-Site": {"cross-site"}}, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, url+tt.path, strings.NewReader(list))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			resp, err := tt.headers.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
		})
	}
}

// What the gateway forwards works on the real transports too: they have no check of their own left.
func TestTransportsTakeThePublicHost(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	url, stop := serve(t, s)
	defer func() { _ = stop() }()
	for _, w := range ways() {
		session := w.connect(t, url, headers{"Via": {"2.0 Caddy"}, "Origin": {"https://inspector.example"}, "Sec-Fetch-Site": {"cross-site"}, testHost: {"mcp.example.com"}})
		if res, err := call(t, session, "hello", map[string]any{"name": "Ada"}); err != nil || textOf(t, res) != "Hello, Ada!" {
			t.Errorf("%s: %+v, %v", w.name, res, err)
		}
		if got := session.InitializeResult().ProtocolVersion; got != w.want { // a refusal would make the client fall back
			t.Errorf("%s: agreed on %s, want %s", w.name, got, w.want)
		}
		_ = session.Close()
	}
}

func TestLeaks(t *testing.T) {
	const secret = "planted-secret"
	tests := []struct {
		name, target string
		headers      []string
		count        int64
		where        string
	}{
		{"none", "/health", []string{"X-Mcp-User", secret, "Cookie", "theme=" + secret}, 0, ""},
		{"bearer", "/health", []string{"Authorization", "Bearer " + secret}, 1, `where="Authorization header"`},
		{"dpop", "/mcp/tools/list", []string{"Authorization", "DPoP " + secret, "DPoP", secret}, 2, `where="Dpop header"`},
		{"basic", "/nowhere", []string{"Authorization", "Basic " + secret}, 1, `where="Authorization header"`},
		{"empty", "/health", []string{"Authorization", ""}, 1, `where="Authorization header"`},
		{"proxy", "/health", []string{"Proxy-Authorization", "Basic " + secret}, 1, `where="Proxy-Authorization header"`},
		{"query", "/health?access_token=" + secret, nil, 1, `where="access_token in the query"`},
		{"query, escaped", "/health?a=1&access%5Ftoken=" + secret, nil, 1, `where="access_token in the query"`},
		{"query, malformed", "/health?a=%zz;access_token=" + secret, nil, 1, `where="access_token in the query"`},
		{"other query", "/health?token_type=access_token&q=" + secret, nil, 0, ""},
		{"cookie", "/health", []string{"Cookie", "a=b; access_token=" + secret}, 1, "where=cookie"},
		{"gateway's cookie", "/health", []string{"Cookie", "__Host-mcp-auth-session=" + secret}, 1, "where=cookie"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, log := quiet(t, TransportHTTP)
			_ = do(s.Handler(), "GET", tt.target, "", tt.headers...)
			if got := s.LeakedCredentials(); got != tt.count {
				t.Errorf("%d counted, want %d", got, tt.count)
			}
			health := decode[map[string]any](t, do(s.Handler(), "GET", "/health", "").Body)
			if health["bearer_tokens_seen"] != float64(tt.count) {
				t.Errorf("health says %v, want %d", health["bearer_tokens_seen"], tt.count)
			}
			lines := log.String()
			if strings.Contains(lines, secret) {
				t.Errorf("the log has the secret:\n%s", lines)
			}
			if loud := strings.Contains(lines, `level=ERROR msg="credential leaked`); loud != (tt.count > 0) || !strings.Contains(lines, tt.where) {
				t.Errorf("log:\n%s", lines)
			}
		})
	}
}

func TestLeakIsStillAnswered(t *testing.T) {
	s, _ := quiet(t, TransportHTTP)
	w := do(s.Handler(), "POST", "/mcp/tools/call", `{"jsonrpc":"2.0","id":1,"params":{"name":"hello","arguments":{"name":"Ada"}}}`, "Authorization", "Bearer x")
	if got := decode[reply](t, w.Body); got.Error != nil || !strings.Contains(string(got.Result), "Hello, Ada!") {
		t.Errorf("reply %+v", got)
	}
}

func TestRequestLog(t *testing.T) {
	s, log := quiet(t, TransportHTTP)
	_ = do(s.Handler(), "POST", "/mcp/tools/call?q=marker-query", `{"marker-body":1}`, "X-Other", "marker-header")
	lines := log.String()
	if !strings.Contains(lines, "level=DEBUG msg=request method=POST path=/mcp/tools/call status=400 bytes=") {
		t.Errorf("log:\n%s", lines)
	}
	if strings.Contains(lines, "marker") {
		t.Errorf("the log has more than it should:\n%s", lines)
	}
}
