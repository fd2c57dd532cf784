package enforce_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// caddyfile returns a configuration with further options of the app and of the
// directive. The site answers every Host, so that nothing but the gateway
// decides about foreign ones.
func caddyfile(app, handler string) string {
	return `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		development
		login auto {
			user alice
			email alice@example.com
			name "Alice Example"
		}
		` + strings.ReplaceAll(app, "\n", "\n\t\t") + `
	}
}
{SITE} {
	log
	mcp_auth {
		resource {URL}/mcp
		` + strings.ReplaceAll(handler, "\n", "\n\t\t") + `
	}
	reverse_proxy {UPSTREAM}
}
`
}

// start runs a gateway with these options before an upstream.
func start(tb testing.TB, u *gatewaytest.Upstream, app, handler string) *gatewaytest.Gateway {
	tb.Helper()
	port := gatewaytest.FreePort(tb)
	return gatewaytest.Start(tb, gatewaytest.Options{Caddyfile: forPort(caddyfile(app, handler), port), Upstream: u.Addr(), Port: port})
}

// forPort fills in the site's address: the port, whatever the Host.
func forPort(text string, port int) string {
	return strings.ReplaceAll(text, "{SITE}", "http://:"+itoa(port))
}

// devToken mints a token. params are names and values of /dev/token.
func devToken(tb testing.TB, base string, params ...string) string {
	tb.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	reply := gatewaytest.PostForm(tb, base+"/dev/token", form)
	if reply.Status != http.StatusOK {
		tb.Fatalf("dev token: %d %s", reply.Status, reply.Body)
	}
	return reply.Text(tb, "access_token")
}

// call posts a small JSON-RPC request. The header lists names and values.
func call(tb testing.TB, target string, header ...string) gatewaytest.Reply {
	tb.Helper()
	return gatewaytest.PostJSON(tb, target, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, header...)
}

// bearer is the header of a token, as call wants it.
func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// raw sends a request as it is written, in which \n stands for CRLF, and reads
// the answer to it. HOST stands for the gateway's host.
func raw(tb testing.TB, base, request string) gatewaytest.Reply {
	tb.Helper()
	conn := dial(tb, base)
	defer conn.Close()
	return exchange(tb, conn, base, request)
}

func dial(tb testing.TB, base string) net.Conn {
	tb.Helper()
	conn, err := new(net.Dialer).DialContext(tb.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		tb.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		tb.Fatal(err)
	}
	return conn
}

func exchange(tb testing.TB, conn net.Conn, base, request string) gatewaytest.Reply {
	tb.Helper()
	text := strings.NewReplacer("\n", "\r\n", "HOST", strings.TrimPrefix(base, "http://")).Replace(request)
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		tb.Fatalf("no answer to %q: %v", request, err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // what the answer has up to the deadline
	return gatewaytest.Reply{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
}

// wantStatus compares a status.
func wantStatus(tb testing.TB, r gatewaytest.Reply, status int) {
	tb.Helper()
	if r.Status != status {
		tb.Errorf("status %d, want %d: %s", r.Status, status, r.Body)
	}
}

// wantInvalid expects the answer to a token that is no good.
func wantInvalid(tb testing.TB, r gatewaytest.Reply) {
	tb.Helper()
	wantStatus(tb, r, http.StatusUnauthorized)
	if c := r.Header.Get("WWW-Authenticate"); !strings.Contains(c, `error="invalid_token"`) {
		tb.Errorf("the challenge has no error invalid_token: %q", c)
	}
}

// eventually waits until a condition holds.
func eventually(tb testing.TB, within time.Duration, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(within)
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		if ok() {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s", within, what)
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
