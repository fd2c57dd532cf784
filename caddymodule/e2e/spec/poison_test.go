package spec_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// evilHeaders are every way in which a request names another host.
var evilHeaders = []string{
	"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "gopher", "X-Forwarded-Port", "evil-port",
	"X-Forwarded-Prefix", "/evil.example", "Forwarded", "host=evil.example;proto=gopher",
	"X-Original-URL", "/evil.example", "X-Rewrite-URL", "/evil.example", "X-Host", "evil.example",
}

// catchAll is a site that answers every host, for an issuer that others reach.
func catchAll(t *testing.T) *gatewaytest.Gateway {
	t.Helper()
	port := gatewaytest.FreePort(t)
	text := strings.NewReplacer(
		"issuer {URL}", "issuer https://gw.example",
		"{URL}/mcp {URL}/sse", "https://gw.example/mcp",
		"{URL} {", fmt.Sprintf("http://:%d {", port),
	).Replace(caddyfile("insecure_auto_approve", ""))
	return gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text, Port: port})
}

// poisonTargets are answers that carry URLs of the gateway.
var poisonTargets = []struct{ method, path string }{
	{"GET", prmPath},
	{"GET", prmPath + "/mcp"},
	{"GET", prmPath + "/nope"},
	{"GET", asPath},
	{"GET", oidcPath},
	{"GET", asPath + "/nope"},
	{"POST", "/mcp"},
	{"GET", "/mcp"},
	{"GET", "/oauth/authorize?client_id=x"},
	{"GET", "/oauth/"},
	{"GET", "/oauth/openapi.json"},
	{"GET", "/oauth/nope"},
	{"POST", "/oauth/token"},
}

func testPoisonedHost(t *testing.T) {
	g := catchAll(t)
	port := g.URL[strings.LastIndexByte(g.URL, ':')+1:]
	for _, host := range []string{"evil.example", "gw.example@evil.example", "evil.example:" + port, "localhost:" + port} {
		for _, target := range poisonTargets {
			r := gatewaytest.Send(t, target.method, g.URL+target.path, "", append([]string{"Host", host}, evilHeaders...)...)
			wantNoEvil(t, target.path, r)
		}
		r := get(t, g.URL+asPath, append([]string{"Host", host}, evilHeaders...)...)
		if r.Status != http.StatusBadRequest { // Go's own answer to a malformed Host
			wantMember(t, r.JSON(t), "issuer", `"https://gw.example"`)
		}
	}
	// The same with an issuer on this machine: foreign hosts get nothing.
	for _, target := range poisonTargets {
		r := gatewaytest.Send(t, target.method, development().URL+target.path, "", append([]string{"Host", "evil.example"}, evilHeaders...)...)
		wantNoEvil(t, target.path, r)
	}
}

func wantNoEvil(t *testing.T, path string, r gatewaytest.Reply) {
	t.Helper()
	whole := fmt.Sprint(r.Header) + r.Body
	if strings.Contains(whole, "evil.example") || strings.Contains(whole, "gopher") || strings.Contains(whole, "evil-port") || r.Status >= 500 {
		t.Errorf("%s repeats the poison: %d %v\n%s", path, r.Status, r.Header, r.Body)
	}
}

// testEndpointURLs checks every URL of the document, and that the whole flow
// names the configured issuer whatever the request says.
func testEndpointURLs(t *testing.T) {
	g := catchAll(t)
	header := append([]string{"Host", "evil.example"}, evilHeaders...)
	for _, path := range []string{asPath, oidcPath, prmPath + "/mcp"} {
		for _, s := range stringsIn(getJSON(t, g.URL+path, header...)) {
			if !strings.Contains(s, "://") {
				continue
			}
			if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host != "gw.example" || strings.Contains(s, "#") {
				t.Errorf("%s has the URL %q", path, s)
			}
		}
	}
	c := gatewaytest.Register(t, g.URL)
	r := get(t, c.AuthorizeURL("resource", "https://gw.example/mcp"), header...)
	q := redirected(t, r, "https://gw.example")
	reply := c.Redeem(t, q.Get("code"))
	claims := jwtPart(t, reply.Text(t, "access_token"), 1)
	wantMember(t, claims, "iss", `"https://gw.example"`)
	wantMember(t, claims, "aud", `"https://gw.example/mcp"`)
	challenge := gatewaytest.PostJSON(t, g.URL+"/mcp", "{}", header...).Header.Get("WWW-Authenticate")
	if !strings.Contains(challenge, `resource_metadata="https://gw.example`+prmPath+`/mcp"`) {
		t.Errorf("challenge: %q", challenge)
	}
	page := get(t, c.AuthorizeURL("client_id", "x"), header...)
	wantPage(t, page, http.StatusBadRequest)
	wantNoEvil(t, "the error page", page)
}

// testPoisonedRequestLine names the other host in the request line, which Go's
// client never does.
func testPoisonedRequestLine(t *testing.T) {
	g := catchAll(t)
	address := strings.TrimPrefix(g.URL, "http://")
	for _, path := range []string{asPath, prmPath + "/mcp", "/mcp", "/oauth/authorize?client_id=x"} {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET http://evil.example%s HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		wantNoEvil(t, path, gatewaytest.Reply{Status: resp.StatusCode, Header: resp.Header, Body: string(body)})
	}
}
