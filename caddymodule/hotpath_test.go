package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// hotSites are what is compared: sites of one Caddy, in this process. GATEWAY
// stands before an upstream server and tells it who calls, SAME tells it as much
// without asking for a token, QUIET asks and tells nothing, PLAIN does neither.
// CHAIN and ANSWER are without an upstream server; DENIED is a plain refusal.
const hotSites = `{
	admin off
	persist_config off
	default_bind 127.0.0.1
	storage file_system {DIR}
	log {
		level ERROR
	}
	mcp_auth {
		issuer {GATEWAY}
		store memory
		development
		login auto {
			user alice
			email alice@example.com
			name "Alice Example"
		}
	}
}
{GATEWAY} {
	mcp_auth {
		resource {GATEWAY}/mcp
	}
	reverse_proxy {UPSTREAM}
}
{SAME} {
	reverse_proxy {UPSTREAM} {
		header_up -Authorization
		header_up X-Mcp-User alice
		header_up X-Mcp-Email alice@example.com
		header_up X-Mcp-Name "Alice Example"
		header_up X-Mcp-Client dev
		header_up X-Mcp-Scope "mcp:tools:read mcp:tools:execute"
	}
}
{QUIET} {
	mcp_auth {
		resource {QUIET}/mcp
		identity_header user off
		identity_header email off
		identity_header name off
		identity_header client off
		identity_header scope off
	}
	reverse_proxy {UPSTREAM}
}
{PLAIN} {
	reverse_proxy {UPSTREAM}
}
{CHAIN} {
	mcp_auth {
		resource {CHAIN}/mcp
	}
	respond "{\"id\":1}"
}
{RULES} {
	mcp_auth {
		resource {RULES}/mcp
		scopes mcp:tools:read mcp:tools:execute
		hierarchy tickets:admin tickets:refund tickets:read
		tool search_* require scope mcp:tools:read
		tool delete_* deny
		tool refund require scope tickets:refund
		tool export_* {
			require scope tickets:admin
			require group leads
		}
		prompt * allow
		resource_uri file:///hr/* require group hr
		resource_uri file:///* allow
		method completion/complete allow
		default deny
	}
	respond "{\"id\":1}"
}
{ANSWER} {
	respond "{\"id\":1}"
}
{DENIED} {
	header WWW-Authenticate Bearer
	respond "{\"error\":\"unauthorized\",\"error_description\":\"an access token is needed: the WWW-Authenticate header says where to get one\"}" 401
}
`

// hotCaddy is that Caddy: the URL of each site by its name.
type hotCaddy map[string]string

// startHot runs it until the test ends.
func startHot(tb testing.TB) hotCaddy {
	tb.Helper()
	h := hotCaddy{}
	names := []string{"{UPSTREAM}", bareUpstream(tb), "{DIR}", tb.TempDir()}
	for _, site := range []string{"GATEWAY", "SAME", "QUIET", "PLAIN", "CHAIN", "RULES", "ANSWER", "DENIED"} {
		h[site] = "http://localhost:" + freePort(tb)
		names = append(names, "{"+site+"}", h[site])
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.NewReplacer(names...).Replace(hotSites)), nil)
	if err != nil {
		tb.Fatal(err)
	}
	if err := caddy.Load(adapted, true); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// token mints one that is good at a site.
func (h hotCaddy) token(tb testing.TB, site string) string {
	tb.Helper()
	reply, err := http.PostForm(h["GATEWAY"]+"/dev/token", url.Values{"resource": {h[site] + "/mcp"}})
	if err != nil {
		tb.Fatal(err)
	}
	defer reply.Body.Close()
	var minted struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(reply.Body).Decode(&minted); err != nil || minted.Token == "" {
		tb.Fatalf("no token: %d, %v", reply.StatusCode, err)
	}
	return minted.Token
}

// server returns what Caddy serves a site with, without the network.
func (h hotCaddy) server(tb testing.TB, site string) http.Handler {
	tb.Helper()
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		tb.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		if strings.HasSuffix(server.Listen[0], h[site][strings.LastIndexByte(h[site], ':'):]) {
			return server
		}
	}
	tb.Fatalf("nobody serves %s", h[site])
	return nil
}

const (
	hotCall   = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	hotResult = `{"jsonrpc":"2.0","id":1,"result":{}}`

	// wantsEvents asks bareUpstream for hotEvents, as its answer in a stream.
	wantsEvents = "Want-Events: 1"
	hotEvents   = "event: message\ndata: " + hotResult + "\n\n"
	lastChunk   = "\r\n0\r\n\r\n"
)

// bareUpstream answers every call in the same two ways, and allocates nothing for it:
// what is counted is Caddy's.
func bareUpstream(tb testing.TB) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(conn)
		}
	}()
	return l.Addr().String()
}

func answerAll(conn net.Conn) {
	defer conn.Close()
	buf, call := make([]byte, 16<<10), []byte(hotCall)
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(hotResult), hotResult)
	events := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s%s",
		len(hotEvents), hotEvents, lastChunk)
	wants := []byte(wantsEvents)
	for n := 0; ; {
		m, err := conn.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; bytes.HasSuffix(buf[:n], call) {
			reply := answer
			if bytes.Contains(buf[:n], wants) {
				reply = events
			}
			n = 0
			if _, err := conn.Write(reply); err != nil {
				return
			}
		}
	}
}

// bareClient makes one and the same call over one connection, and allocates
// nothing for it either.
type bareClient struct {
	tb      testing.TB
	conn    net.Conn
	request []byte
	ends    []byte // how the answer ends
	buf     []byte
}

func newBareClient(tb testing.TB, base, token, ends string, header ...string) *bareClient {
	tb.Helper()
	host := strings.TrimPrefix(base, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	lines := append([]string{
		"POST /mcp HTTP/1.1", "Host: " + host, "User-Agent: test", "Accept: application/json, text/event-stream",
		"Content-Type: application/json", fmt.Sprint("Content-Length: ", len(hotCall)),
	}, header...)
	if token != "" {
		lines = append(lines, "Authorization: Bearer "+token)
	}
	return &bareClient{
		tb: tb, conn: conn, ends: []byte(ends), buf: make([]byte, 16<<10),
		request: []byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + hotCall),
	}
}

func (c *bareClient) call() {
	if _, err := c.conn.Write(c.request); err != nil {
		c.tb.Error(err)
		return
	}
	for n := 0; !bytes.HasSuffix(c.buf[:n], c.ends); {
		m, err := c.conn.Read(c.buf[n:])
		if err != nil {
			c.tb.Errorf("%v after %q", err, c.buf[:n])
			return
		}
		n += m
	}
}

// bareWriter is a http.ResponseWriter that keeps the status and the headers.
type bareWriter struct {
	header http.Header
	status int
}

func (w *bareWriter) Header() http.Header         { return w.header }
func (w *bareWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *bareWriter) WriteHeader(status int)      { w.status = status }

// SetReadDeadline does nothing: a server sets a timer.
func (w *bareWriter) SetReadDeadline(time.Time) error { return nil }

// direct calls a site without the network, again and again with one request.
type direct struct {
	w     bareWriter
	r     *http.Request
	token []string
	body  []byte
	text  bytes.Reader
	to    http.Handler
}

func newDirect(tb testing.TB, h hotCaddy, site, token string) *direct {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, h[site]+"/mcp", http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	r.RemoteAddr, r.RequestURI = "192.0.2.1:1234", "/mcp"
	d := &direct{w: bareWriter{header: http.Header{}}, r: r, to: h.server(tb, site)}
	if token != "" {
		d.token = []string{"Bearer " + token}
	}
	return d
}

var jsonType = []string{"application/json"}

func (d *direct) call() int {
	clear(d.w.header)
	clear(d.r.Header)
	if d.token != nil {
		d.r.Header["Authorization"] = d.token
	}
	if d.body != nil {
		d.text.Reset(d.body)
		d.r.Body, d.r.ContentLength = io.NopCloser(&d.text), int64(len(d.body))
		d.r.Header["Content-Type"] = jsonType
	}
	d.to.ServeHTTP(&d.w, d.r)
	return d.w.status
}
