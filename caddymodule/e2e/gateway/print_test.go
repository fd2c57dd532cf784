package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// printed returns what --print writes for the flags.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	c := launch(t, options{args: append(args, "--print")})
	if code := c.wait(t); code != 0 || c.stderr.String() != "" {
		t.Fatalf("exit code %d:\n%s", code, c.stderr)
	}
	left, err := os.ReadDir(c.dir)
	if err != nil || len(left) != 0 {
		t.Errorf("printing leaves %v behind, %v", left, err)
	}
	if text := c.stdout.String(); !strings.Contains(text, password) {
		return text
	}
	t.Fatal("the password is in the Caddyfile")
	return ""
}

// caddy runs a command of the same Caddy and returns what it writes.
func caddy(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	binary, err := gatewaytest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	dir := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("caddy %s: %v\n%s", strings.Join(args, " "), err, complaints.String())
	}
	return out.String()
}

// TestPrint: the Caddyfile needs no running server to be written, is one that
// caddy fmt leaves alone and caddy validate accepts, and serves what the
// command serves: every document and refusal is the same.
func TestPrint(t *testing.T) {
	t.Parallel()
	_, upstream := gatewaytest.Mock(t)
	c, origin := start(t, upstream, options{})
	before := answers(t, origin)
	client := gatewaytest.Register(t, origin)
	tokens := client.Redeem(t, newBrowser(t, origin, nil).code(t, client))
	c.stop(t, syscall.SIGINT)

	printer := launch(t, options{args: append(c.cmd.Args[2:], "--print"), dir: c.dir})
	if code := printer.wait(t); code != 0 || printer.stderr.String() != "" {
		t.Fatalf("exit code %d:\n%s", code, printer.stderr)
	}
	text := printer.stdout.String()
	if got := caddy(t, text, "fmt", "-"); got != text {
		t.Errorf("caddy fmt writes it otherwise:\n%s", got)
	}
	path := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	adapted := caddy(t, "", "adapt", "--config", path, "--validate")
	if !json.Valid([]byte(adapted)) {
		t.Errorf("caddy adapt writes %s", adapted)
	}

	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	var port int
	if _, err := fmt.Sscan(u.Port(), &port); err != nil {
		t.Fatal(err)
	}
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text, Port: port, Dir: c.dir})
	for path, want := range before {
		if got := answers(t, g.URL)[path]; got != want {
			t.Errorf("%s: the command answers\n%s\nthe Caddyfile\n%s", path, want, got)
		}
	}
	// Whoever goes on from the Caddyfile with the same password goes on with
	// the same sessions.
	if r := client.Refresh(t, tokens.Text(t, "refresh_token")); r.Status != http.StatusOK {
		t.Errorf("the refresh token, at the Caddyfile: %d %s", r.Status, r.Body)
	}
	if code := newBrowser(t, origin, nil).code(t, client); code == "" {
		t.Error("nobody can sign in at the Caddyfile")
	}
}

// answers collects what a gateway says before anyone has signed in, but for
// what is random.
func answers(t *testing.T, origin string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range []string{
		"/", "/mcp", "/mcp/initialize", "/health", "/dev/token", "/oauth/health", "/oauth/account",
		"/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource",
		"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration",
	} {
		r := gatewaytest.Send(t, http.MethodGet, origin+path, "")
		all[path] = fmt.Sprint(r.Status, " ", r.Header.Get("WWW-Authenticate"), " ", r.Header.Get("Content-Type"))
		if strings.HasPrefix(path, "/.well-known/") {
			all[path] += " " + r.Body
		}
	}
	return all
}

// TestPublic runs what --print writes for a public name, with certificates of
// Caddy's own and on other ports: https and sign-in, nothing secret over http,
// and a server on localhost that refuses requests for other names, as the MCP
// SDKs do (THREATS P12), gets requests for its own.
func TestPublic(t *testing.T) {
	t.Parallel()
	upstream := strictServer(t)
	text := printed(t, "--to", upstream, "--from", "mcp.example.com", "--user", "alice")
	plain, secure := gatewaytest.FreePort(t), gatewaytest.FreePort(t)
	head := fmt.Sprintf("{\n\tlocal_certs\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n\thttp_port %d\n\thttps_port %d\n", plain, secure)
	text = strings.Replace(text, "{\n", head, 1)
	// The harness asks this address whether the gateway is up.
	gatewaytest.Start(t, gatewaytest.Options{Caddyfile: text + "{URL} {\n}\n", Port: plain})

	network := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			port := map[string]int{"mcp.example.com:80": plain, "mcp.example.com:443": secure}[address]
			var d net.Dialer
			return d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		},
	}
	checkPlain(t, network)
	waitForCertificate(t, fmt.Sprintf("127.0.0.1:%d", secure))
	checkSignIn(t, network)
}

// waitForCertificate waits until Caddy has made one, which it does while it
// serves.
func waitForCertificate(t *testing.T, address string) {
	t.Helper()
	deadline, tick := time.After(timeout), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "mcp.example.com", InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

// checkPlain: plain http sends pages on and refuses everything else.
func checkPlain(t *testing.T, network http.RoundTripper) {
	t.Helper()
	b := newBrowser(t, "http://mcp.example.com", network)
	if r := b.get(t, "/oauth/account?x=1"); r.Status != http.StatusMovedPermanently || r.Header.Get("Location") != "https://mcp.example.com/oauth/account?x=1" {
		t.Errorf("GET over http: %d %s", r.Status, r.Header.Get("Location"))
	}
	for _, path := range []string{"/mcp", "/oauth/token", "/oauth/login"} {
		req, err := http.NewRequest(http.MethodPost, b.origin+path, strings.NewReader("field_password="+url.QueryEscape(password)))
		if err != nil {
			t.Fatal(err)
		}
		if r := b.send(t, req); r.Status != http.StatusForbidden || r.Header.Get("Location") != "" {
			t.Errorf("POST %s over http: %d %s", path, r.Status, r.Header.Get("Location"))
		}
	}
}

// checkSignIn takes a client from the challenge to an answer of the server.
func checkSignIn(t *testing.T, network http.RoundTripper) {
	t.Helper()
	b := newBrowser(t, "https://mcp.example.com", network)
	post := func(path, contentType, body, token string) gatewaytest.Reply {
		req, err := http.NewRequest(http.MethodPost, b.origin+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		return b.send(t, req)
	}
	challenge := `resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`
	if r := post("/mcp", "application/json", "{}", ""); r.Status != http.StatusUnauthorized || !strings.Contains(r.Header.Get("WWW-Authenticate"), challenge) {
		t.Errorf("a call without a token: %d %s", r.Status, r.Header.Get("WWW-Authenticate"))
	}
	r := post("/oauth/register", "application/json", `{"client_name":"Test","redirect_uris":["http://127.0.0.1/callback"]}`, "")
	client := &gatewaytest.Client{
		Base: b.origin, ID: r.Text(t, "client_id"), RedirectURI: "http://127.0.0.1/callback", Verifier: strings.Repeat("verifier-0123456789.", 3),
	}
	r = post("/oauth/token", "application/x-www-form-urlencoded", client.TokenForm(b.code(t, client)).Encode(), "")
	if r.Status != http.StatusOK {
		t.Fatalf("no token: %d %s", r.Status, r.Body)
	}
	if r := post("/mcp", "application/json", "{}", r.Text(t, "access_token")); r.Status != http.StatusOK || r.Body != "alice" {
		t.Errorf("a call with the token: %d %s", r.Status, r.Body)
	}
}

// strictServer stands for an MCP server on localhost with the protection
// against DNS rebinding of the MCP SDKs. It answers with the caller's name.
func strictServer(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, err := net.SplitHostPort(r.Host); err != nil || host != "127.0.0.1" && host != "localhost" {
			http.Error(w, "invalid Host header", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, r.Header.Get("X-Mcp-User"))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
