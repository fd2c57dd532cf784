package readme_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestOwnHost runs examples/own-host: one authorization server, two sites, and
// tokens that are good for one of them.
func TestOwnHost(t *testing.T) {
	t.Parallel()
	port := gatewaytest.FreePort(t)
	files := fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(t))
	notes := fmt.Sprintf("http://localhost:%d", gatewaytest.FreePort(t))
	_, filesUpstream := gatewaytest.Mock(t)
	_, notesUpstream := gatewaytest.Mock(t)
	g := start(t, gatewaytest.Options{
		Caddyfile: readFile(t, "examples/own-host/Caddyfile"), Port: port, Upstream: filesUpstream,
		Env: []string{
			fmt.Sprintf("AUTH_URL=http://localhost:%d", port), "FILES_URL=" + files, "NOTES_URL=" + notes,
			"FILES_UPSTREAM=" + filesUpstream, "NOTES_UPSTREAM=" + notesUpstream,
		},
	})
	for site, scopes := range map[string]string{files: `["files:read","files:write"]`, notes: `["notes:read"]`} {
		r := gatewaytest.Send(t, http.MethodGet, site+"/.well-known/oauth-protected-resource/mcp", "")
		for _, want := range []string{`"resource":"` + site + `/mcp"`, `"authorization_servers":["` + g.URL + `"]`, scopes} {
			if !strings.Contains(r.Body, want) {
				t.Errorf("%s: %s\nwant %s", site, r.Body, want)
			}
		}
		if r := gatewaytest.Send(t, http.MethodGet, site+"/oauth/token", ""); r.Status != http.StatusUnauthorized {
			t.Errorf("%s answers an endpoint of the authorization server: %d", site, r.Status)
		}
	}
	c := gatewaytest.Register(t, g.URL)
	for _, own := range []string{files, notes} {
		access, refresh := c.Tokens(t, "resource", own+"/mcp")
		for _, site := range []string{files, notes} {
			want := http.StatusUnauthorized
			if site == own {
				want = http.StatusOK
			}
			if r := gatewaytest.Call(t, site, access); r.Status != want {
				t.Errorf("%s with a token for %s: %d, want %d", site, own, r.Status, want)
			}
		}
		if r := c.Refresh(t, refresh); r.Status != http.StatusOK {
			t.Errorf("refreshing: %d %s", r.Status, r.Body)
		}
	}
	if r := gatewaytest.Send(t, http.MethodGet, g.URL+"/mcp", ""); r.Status != http.StatusOK || r.Body != "" {
		t.Errorf("the authorization server's host passes /mcp on: %d %s", r.Status, r.Body)
	}
}

// TestOpenPages runs examples/open-pages.
func TestOpenPages(t *testing.T) {
	t.Parallel()
	port := gatewaytest.FreePort(t)
	seen := make(chan http.Header, 1)
	app := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = app.Serve(ln) }()
	t.Cleanup(func() { _ = app.Close() })
	g := start(t, gatewaytest.Options{
		Caddyfile: readFile(t, "examples/open-pages/Caddyfile"), Port: port, Upstream: ln.Addr().String(),
		Env: []string{fmt.Sprintf("URL=http://localhost:%d", port), "UPSTREAM=" + ln.Addr().String()},
	})
	c := gatewaytest.Register(t, g.URL)
	access, _ := c.Tokens(t, "resource", g.URL+"/sse")
	for _, tt := range []struct {
		path, token, user string
		status            int
	}{
		{"/", "", "", http.StatusOK},
		{"/docs", "", "", http.StatusOK},
		{"/mcp/health", "", "", http.StatusOK},
		{"/mcp", "", "", http.StatusUnauthorized},
		{"/MCP", "", "", http.StatusUnauthorized},
		{"/mcp;x", "", "", http.StatusUnauthorized},
		{"/sse/messages", "", "", http.StatusUnauthorized},
		{"/mcp", access, "dev", http.StatusOK},
		{"/sse", access, "dev", http.StatusOK},
		{"/", access, "", http.StatusOK},
	} {
		header := []string{"X-Webauth-User", "root", "X_Webauth_User", "root"}
		if tt.token != "" {
			header = append(header, "Authorization", "Bearer "+tt.token)
		}
		r := gatewaytest.Send(t, http.MethodGet, g.URL+tt.path, "", header...)
		if r.Status != tt.status {
			t.Errorf("%s with token %t: %d, want %d", tt.path, tt.token != "", r.Status, tt.status)
		}
		if r.Status != http.StatusOK {
			continue
		}
		h := <-seen
		if h.Get("X-Webauth-User") != tt.user || h.Get("X_webauth_user") != "" || h.Get("X-Mcp-Scope") != "" || h.Get("Authorization") != "" {
			t.Errorf("%s: the server sees %v, want user %q", tt.path, h, tt.user)
		}
	}
}

// TestPrivateNetwork runs examples/private-network with certificates of
// Caddy's own, and from an address that the Caddyfile calls outside.
func TestPrivateNetwork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	users := filepath.Join(dir, "users.json")
	write(t, users, `{"users": [{"user": "alice", "hash": "`+hashOf(t, "alice")+`"}]}`)
	const origin = "https://mcp.example.com"
	plain, secure := gatewaytest.FreePort(t), gatewaytest.FreePort(t)
	text := strings.Replace(readFile(t, "examples/private-network/Caddyfile"), "{\n", fmt.Sprintf(
		"{\n\tlocal_certs\n\tskip_install_trust\n\thttp_port %d\n\thttps_port %d\n", plain, secure), 1)
	text = strings.Replace(text, "127.0.0.1:9000", "{UPSTREAM}", 1) + "{URL} {\n\trespond ready\n}\n"
	_, upstream := gatewaytest.Mock(t)
	g := start(t, gatewaytest.Options{Caddyfile: text, Upstream: upstream, Dir: dir, Env: []string{"USERS_FILE=" + users}})
	client := clientTo(fmt.Sprintf("127.0.0.1:%d", secure))
	waitForCertificate(t, client, origin)

	status, header, _ := request(t, client, http.MethodPost, origin+"/mcp", "", "")
	if want := `resource_metadata="` + origin + `/.well-known/oauth-protected-resource/mcp"`; status != http.StatusUnauthorized ||
		!strings.Contains(header.Get("WWW-Authenticate"), want) {
		t.Errorf("a call without a token: %d %s", status, header.Get("WWW-Authenticate"))
	}
	access := tokenFrom(t, client, origin, "alice")
	if status, _, body := request(t, client, http.MethodPost, origin+"/mcp/tools/list", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, access); status != http.StatusOK {
		t.Errorf("a call with a token: %d %s", status, body)
	}
	if err := g.Reload(strings.Replace(text, "private_ranges", "192.0.2.0/24", 1), upstream); err != nil {
		t.Fatal(err)
	}
	outside := clientTo(fmt.Sprintf("127.0.0.1:%d", secure))
	for _, path := range []string{"/mcp", "/health", "/oauth/authorize", "/.well-known/oauth-authorization-server"} {
		if resp, err := outside.Get(origin + path); err == nil {
			resp.Body.Close()
			t.Errorf("%s from outside: %d, want no answer", path, resp.StatusCode)
		}
	}
}

// otherLoopback is an address of this machine that is none of the three names
// of it that the gateway takes for local, as a Docker bridge's would not be.
const otherLoopback = "127.0.0.2"

// TestDocker runs the Caddyfile of examples/docker and calls it as Docker does:
// for localhost, but from an address that is not localhost's.
func TestDocker(t *testing.T) {
	t.Parallel()
	port := gatewaytest.FreePort(t)
	_, upstream := gatewaytest.Mock(t)
	g := start(t, gatewaytest.Options{
		Caddyfile: strings.Replace(readFile(t, "examples/docker/Caddyfile"), " /data/", " {DIR}/", 1), Port: port, Upstream: upstream,
		Env: []string{fmt.Sprintf("ISSUER=http://localhost:%d", port), "UPSTREAM=" + upstream, "DEV_PASSWORD_HASH=" + hashOf(t, "dev")},
	})
	access := tokenFrom(t, clientFrom(otherLoopback, fmt.Sprintf("127.0.0.1:%d", port)), g.URL, "dev")
	if r := gatewaytest.Call(t, g.URL, access); r.Status != http.StatusOK {
		t.Errorf("a call with a token: %d %s", r.Status, r.Body)
	}
	if r := gatewaytest.Send(t, http.MethodGet, g.URL+"/health", ""); r.Status != http.StatusOK {
		t.Errorf("the health page is not open: %d", r.Status)
	}
}

// clientTo returns a client that connects to one address whatever the URL says,
// takes any certificate and follows no redirect.
func clientTo(address string) *http.Client { return clientFrom("127.0.0.1", address) }

// clientFrom is clientTo with an address of this machine to send from.
func clientFrom(source, address string) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // Caddy's own root, made a second ago
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
				return dialer.DialContext(ctx, network, address)
			},
		},
	}
}

// waitForCertificate waits until Caddy, which has started, has made its
// certificate too.
func waitForCertificate(t *testing.T, client *http.Client, target string) {
	t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := client.Get(target)
		if err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

// request sends a JSON or form body with a bearer token ("" for none).
func request(t *testing.T, client *http.Client, method, target, body, token string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if !strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// tokenFrom goes through the whole flow with a client of its own transport.
func tokenFrom(t *testing.T, client *http.Client, origin, user string) string {
	t.Helper()
	var err error
	if client.Jar, err = cookiejar.New(nil); err != nil {
		t.Fatal(err)
	}
	_, _, body := request(t, client, http.MethodPost, origin+"/oauth/register", `{"redirect_uris":["http://127.0.0.1/callback"]}`, "")
	c := &gatewaytest.Client{
		Base: origin, ID: (gatewaytest.Reply{Body: body}).Text(t, "client_id"),
		RedirectURI: "http://127.0.0.1/callback", Verifier: strings.Repeat("verifier-0123456789.", 3),
	}
	_, _, page := request(t, client, http.MethodGet, c.AuthorizeURL(), "", "")
	signedIn := press(t, client, origin+"/oauth/login", page, url.Values{
		"login": {"password"}, "field_username": {user}, "field_password": {passwordOf(user)},
	})
	_, _, page = request(t, client, http.MethodGet, signedIn, "", "")
	location, err := url.Parse(press(t, client, origin+"/oauth/consent", page, url.Values{"decision": {"allow"}}))
	if err != nil || location.Query().Get("code") == "" {
		t.Fatalf("no code: %v", location)
	}
	_, _, body = request(t, client, http.MethodPost, origin+"/oauth/token", c.TokenForm(location.Query().Get("code")).Encode(), "")
	return (gatewaytest.Reply{Body: body}).Text(t, "access_token")
}

var sealed = regexp.MustCompile(`name="flow" value="([^"]+)"`)

// press sends the form of a page and returns where that leads.
func press(t *testing.T, client *http.Client, action, page string, form url.Values) string {
	t.Helper()
	flow := sealed.FindStringSubmatch(page)
	if flow == nil {
		t.Fatalf("the page has no form:\n%s", page)
	}
	form.Set("flow", flow[1])
	status, header, body := request(t, client, http.MethodPost, action, form.Encode(), "")
	if header.Get("Location") == "" {
		t.Fatalf("%s: %d %s", action, status, body)
	}
	target, err := url.Parse(action)
	if err == nil {
		target, err = target.Parse(header.Get("Location"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return target.String()
}
