package enforce_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// scripted answers as the query says: status, and further headers as h=name:value.
func scripted(w http.ResponseWriter, r *http.Request) {
	for _, h := range r.URL.Query()["h"] {
		name, value, _ := strings.Cut(h, ":")
		w.Header().Add(name, value)
	}
	status, err := strconv.Atoi(r.URL.Query().Get("status"))
	if err != nil {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, r.URL.Query().Get("body"))
}

func TestRelay(t *testing.T) {
	u := gatewaytest.NewUpstream(t, scripted)
	g := start(t, u, "", "")
	auth := bearer(devToken(t, g.URL))
	every := new(strings.Builder)
	for i := range 256 {
		every.WriteByte(byte(i))
	}
	for name, body := range map[string]string{
		"empty": "", "all bytes": every.String(), "odd JSON": "\ufeff{ \"a\":1,\"a\":2 }\r\n\r\n", "long": strings.Repeat(every.String(), 4096),
	} {
		t.Run("L6 request body, "+name, func(t *testing.T) {
			r := gatewaytest.PostJSON(t, g.URL+"/mcp?body=x", body, append(auth, "Content-Encoding", "identity")...)
			wantStatus(t, r, http.StatusOK)
			if got := u.One(t).Body; got != body {
				t.Errorf("%d bytes arrived, %d were sent", len(got), len(body))
			}
		})
	}
	t.Run("L6 L7 request headers", func(t *testing.T) {
		want := map[string]string{
			"Mcp-Session-Id": "sess-1!~", "Last-Event-ID": "ev/9", "MCP-Protocol-Version": "2026-07-28", "Accept": "application/json, text/event-stream",
			"Content-Type": "application/json; charset=utf-8", "Mcp-Method": "tools/call", "Mcp-Name": "=?base64?w6Q=?=",
			"Mcp-Param-Foo": "bar", "Mcp-Param-Region": "eu, west", "Cookie": "theme=dark", "X-Custom": "1",
		}
		header := append([]string(nil), auth...)
		for name, value := range want {
			header = append(header, name, value)
		}
		wantStatus(t, gatewaytest.Send(t, http.MethodPost, g.URL+"/mcp", "{}", header...), http.StatusOK)
		s := u.One(t)
		for name, value := range want {
			if got := s.Header.Values(name); len(got) != 1 || got[0] != value {
				t.Errorf("%s arrived as %q, want %q", name, got, value)
			}
		}
	})
}

func TestRelayAnswers(t *testing.T) {
	u := gatewaytest.NewUpstream(t, scripted)
	g := start(t, u, "", "")
	auth := bearer(devToken(t, g.URL))
	for _, status := range []int{200, 202, 204, 400, 403, 404, 405, 406, 409, 415, 429, 500, 503} {
		t.Run(fmt.Sprint("L6 status ", status), func(t *testing.T) {
			r := call(t, fmt.Sprintf("%s/mcp?status=%d&body=%%00b%%ff&h=Mcp-Session-Id:S-1&h=Allow:POST&h=Content-Type:application/json", g.URL, status), auth...)
			wantStatus(t, r, status)
			if want := "\x00b\xff"; status != 204 && r.Body != want {
				t.Errorf("body %q, want %q", r.Body, want)
			}
			if r.Header.Get("Mcp-Session-Id") != "S-1" || r.Header.Get("Allow") != "POST" {
				t.Errorf("headers %v", r.Header)
			}
		})
	}
	t.Run("L6 methods", func(t *testing.T) {
		u.Take()
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT"} {
			wantStatus(t, gatewaytest.Send(t, method, g.URL+"/mcp?status=405", "", auth...), http.StatusMethodNotAllowed)
			if s := u.One(t); s.Method != method {
				t.Errorf("%s arrived as %s", method, s.Method)
			}
		}
	})
	t.Run("L6 the path arrives as it was written", func(t *testing.T) {
		for _, target := range []string{"/mcp/a%2fb", "/mcp//x", "/mcp/%C3%A4", "/mcp/;x", "/mcp?a=%2f&b=+"} {
			raw(t, g.URL, "GET "+target+" HTTP/1.1\nHost: HOST\nConnection: close\nAuthorization: "+auth[1]+"\n\n")
			if s := u.One(t); s.Target != target {
				t.Errorf("%s arrived as %s", target, s.Target)
			}
		}
	})
}

// L14: the upstream's own sign-in, cookies and CORS stay behind the gateway.
func TestForeignAnswers(t *testing.T) {
	u := gatewaytest.NewUpstream(t, scripted)
	g := start(t, u, "", "trusted_origins http://localhost:6274\npublic /health")
	auth := bearer(devToken(t, g.URL))
	const foreign = "&h=WWW-Authenticate:Bearer%20resource_metadata=%22https://evil.example/prm%22&body=evil"
	never := func(t *testing.T, r gatewaytest.Reply) {
		t.Helper()
		if c := r.Header.Get("WWW-Authenticate"); c != "" || strings.Contains(r.Body, "evil") {
			t.Errorf("the client sees %q %s", c, r.Body)
		}
	}
	for _, status := range []int{401, 403} {
		t.Run(fmt.Sprint("L14 foreign challenge with ", status), func(t *testing.T) {
			r := call(t, fmt.Sprintf("%s/mcp?status=%d%s", g.URL, status, foreign), auth...)
			wantStatus(t, r, http.StatusBadGateway)
			never(t, r)
			r = gatewaytest.Send(t, http.MethodHead, fmt.Sprintf("%s/mcp?status=%d%s", g.URL, status, foreign), "", auth...)
			wantStatus(t, r, http.StatusBadGateway)
		})
		t.Run(fmt.Sprint("L14 foreign challenge on a public path with ", status), func(t *testing.T) {
			r := call(t, fmt.Sprintf("%s/health?status=%d%s", g.URL, status, foreign))
			if c := r.Header.Get("WWW-Authenticate"); strings.Contains(c, "evil") {
				t.Errorf("the client is sent to %q", c)
			}
		})
	}
	t.Run("L14 401 without challenge", func(t *testing.T) {
		wantStatus(t, call(t, g.URL+"/mcp?status=401&body=evil", auth...), http.StatusBadGateway)
	})
	t.Run("L14 a challenge with another status", func(t *testing.T) {
		r := call(t, g.URL+"/mcp?status=200&body=fine"+strings.Replace(foreign, "&body=evil", "", 1), auth...)
		wantStatus(t, r, http.StatusOK)
		never(t, r)
	})
	t.Run("L6 403 without challenge is the upstream's verdict", func(t *testing.T) {
		r := call(t, g.URL+"/mcp?status=403&body=verdict", auth...)
		if wantStatus(t, r, http.StatusForbidden); r.Body != "verdict" {
			t.Errorf("body %s", r.Body)
		}
	})
}

func TestForeignCookies(t *testing.T) {
	u := gatewaytest.NewUpstream(t, scripted)
	g := start(t, u, "", "trusted_origins http://localhost:6274")
	auth := bearer(devToken(t, g.URL))
	t.Run("L14 cookies and CORS", func(t *testing.T) {
		const bad = "&h=Set-Cookie:evil=1&h=Set-Cookie:b=2&h=Access-Control-Allow-Origin:*&h=Access-Control-Allow-Credentials:true" +
			"&h=Access-Control-Expose-Headers:X&h=Access-Control-Allow-Private-Network:true"
		for _, status := range []int{200, 302, 404, 500} {
			for _, origin := range []string{"", "http://localhost:6274"} {
				header := auth
				if origin != "" {
					header = append([]string{"Origin", origin}, auth...)
				}
				r := call(t, fmt.Sprintf("%s/mcp?status=%d%s", g.URL, status, bad), header...)
				wantStatus(t, r, status)
				corsOf(t, r, origin)
				if r.Header.Get("Set-Cookie") != "" || r.Header.Get("Access-Control-Allow-Private-Network") != "" {
					t.Errorf("status %d: %v", status, r.Header)
				}
			}
		}
	})
	t.Run("L14 what the upstream runs on", func(t *testing.T) {
		r := call(t, g.URL+"/mcp?h=Server:evilserver/1.2.3", auth...)
		if s := strings.Join(r.Header.Values("Server"), " "); strings.Contains(s, "evil") {
			t.Errorf("Server: %s", s)
		}
	})
}

// L14: answers that come before the answer, and headers that come after it.
func TestForeignInformation(t *testing.T) {
	u := gatewaytest.NewUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.Header().Set("Set-Cookie", "evil=1")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("WWW-Authenticate", "Bearer evil")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "Set-Cookie, WWW-Authenticate, X-Checksum")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "{}")
		w.Header().Set("Set-Cookie", "evil=2")
		w.Header().Set("X-Checksum", "good")
	})
	g := start(t, u, "", "")
	conn := dial(t, g.URL)
	defer conn.Close()
	_, err := fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: close\r\nContent-Length: 0\r\nAuthorization: Bearer %s\r\n\r\n",
		devToken(t, g.URL))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("L14 early hints and trailers", func(t *testing.T) {
		if !strings.Contains(string(all), "HTTP/1.1 103") || !strings.Contains(string(all), "HTTP/1.1 200") {
			t.Fatalf("unexpected answer: %s", all)
		}
		if strings.Contains(string(all), "evil") || strings.Contains(string(all), "Access-Control-Allow-Origin") {
			t.Errorf("the client sees: %s", all)
		}
	})
}
