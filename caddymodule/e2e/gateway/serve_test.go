package gateway

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestGateway starts the gateway as the README says: without a token the server
// is closed, the password opens it, another does not, and what was opened
// outlives a restart.
func TestGateway(t *testing.T) {
	t.Parallel()
	_, upstream := gatewaytest.Mock(t)
	c, origin := start(t, upstream, options{})
	checkWelcome(t, c, origin)

	r := gatewaytest.Call(t, origin, "")
	challenge := `resource_metadata="` + origin + `/.well-known/oauth-protected-resource/mcp"`
	if got := r.Header.Get("WWW-Authenticate"); r.Status != http.StatusUnauthorized || !strings.Contains(got, challenge) {
		t.Errorf("a call without a token: %d, %s", r.Status, got)
	}
	r = gatewaytest.Send(t, http.MethodGet, origin+"/.well-known/oauth-protected-resource/mcp", "")
	if r.Text(t, "resource") != origin+"/mcp" {
		t.Errorf("the resource: %s", r.Body)
	}
	if r := gatewaytest.Send(t, http.MethodGet, strings.Replace(origin, "localhost", "127.0.0.1", 1)+"/mcp", ""); r.Status != http.StatusUnauthorized {
		t.Errorf("the other name of this machine: %d", r.Status)
	}

	b := newBrowser(t, origin, nil)
	page := b.get(t, "/oauth/account")
	if page.Status != http.StatusOK {
		t.Fatalf("the account page: %d %s", page.Status, page.Body)
	}
	for _, wrong := range [][2]string{{"alice", password + "."}, {"alice", ""}, {"bob", password}} {
		if r := b.signIn(t, page, wrong[0], wrong[1]); r.Status != http.StatusForbidden {
			t.Errorf("signing in as %q with %q: %d", wrong[0], wrong[1], r.Status)
		}
	}
	client := gatewaytest.Register(t, origin)
	tokens := client.Redeem(t, b.code(t, client))
	if tokens.Status != http.StatusOK {
		t.Fatalf("no token: %d %s", tokens.Status, tokens.Body)
	}
	access := tokens.Text(t, "access_token")
	if r := gatewaytest.Call(t, origin, access); r.Status != http.StatusOK || !strings.Contains(r.Body, "Hello, world!") {
		t.Errorf("a call with the token: %d %s", r.Status, r.Body)
	}
	c.stop(t, syscall.SIGTERM)
	checkSecrets(t, c, access)

	again := launch(t, options{args: c.cmd.Args[2:], dir: c.dir})
	again.ready(t)
	if r := gatewaytest.Call(t, origin, access); r.Status != http.StatusOK {
		t.Errorf("the token, after a restart: %d %s", r.Status, r.Body)
	}
	if r := b.get(t, "/oauth/account"); !strings.Contains(r.Body, "alice") {
		t.Errorf("the browser is signed out after a restart: %d %s", r.Status, r.Body)
	}
	refreshed := client.Refresh(t, tokens.Text(t, "refresh_token"))
	if refreshed.Status != http.StatusOK {
		t.Errorf("the refresh token, after a restart: %d %s", refreshed.Status, refreshed.Body)
	}
	again.stop(t, syscall.SIGINT)

	changed := launch(t, options{args: c.cmd.Args[2:], dir: c.dir, stdin: strings.NewReader("quite another one\n")})
	changed.ready(t)
	if r := client.Refresh(t, refreshed.Text(t, "refresh_token")); r.Status != http.StatusBadRequest {
		t.Errorf("the refresh token, with another password: %d %s", r.Status, r.Body)
	}
	if r := b.signIn(t, b.get(t, "/oauth/account"), "alice", password); r.Status != http.StatusForbidden {
		t.Errorf("the password before: %d %s", r.Status, r.Body)
	}
}

// checkWelcome: what is said when the gateway runs, and nothing that worries.
func checkWelcome(t *testing.T, c *command, origin string) {
	t.Helper()
	for _, want := range []string{
		"The gateway runs at " + origin + ",", "State is in " + filepath.Join(c.dir, "caddy") + ".", "sign in as alice ",
		"claude mcp add --transport http my-server " + origin + "/mcp\n", origin + "/oauth/account\n",
	} {
		if !strings.Contains(c.stdout.String(), want) {
			t.Errorf("the welcome has no %q:\n%s", want, c.stdout)
		}
	}
	for line := range strings.Lines(c.stderr.String()) {
		if !strings.Contains(line, `"level":"info"`) || !strings.Contains(line, `"logger":"mcp_auth`) && !strings.Contains(line, `"logger":"http.handlers.mcp_auth.audit"`) {
			t.Errorf("it logs: %s", line)
		}
	}
}

// checkSecrets: the sign-ins were logged, and neither the password nor the
// token is in what was written, kept or shown to other users of the machine.
func checkSecrets(t *testing.T, c *command, access string) {
	t.Helper()
	log := c.stderr.String()
	for _, want := range []string{`"msg":"sign_in"`, `"subject":"alice"`, `"msg":"token"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
	places := map[string]string{"standard output": c.stdout.String(), "the log": log, "its arguments": strings.Join(c.cmd.Args, " ")}
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		places[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(c.dir, "caddy", "mcp_auth", "mcp_auth.db")
	if places[state] == "" {
		t.Errorf("there is no %s", state)
	}
	for place, text := range places {
		for what, secret := range map[string]string{"the password": password, "the token": access} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %s", what, place)
			}
		}
		if strings.Contains(text, "$argon2id$") {
			t.Errorf("the hash is in %s", place) // no copy of the configuration is kept
		}
	}
}

// TestHashFlag: with --password-hash nothing is asked, and the password of the
// hash opens.
func TestHashFlag(t *testing.T) {
	t.Parallel()
	_, upstream := gatewaytest.Mock(t)
	// caddy hash-password --plaintext antitiming --algorithm argon2id
	const hash = "$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"
	_, origin := start(t, upstream, options{stdin: strings.NewReader(""), args: []string{"--password-hash", hash}})
	b := newBrowser(t, origin, nil)
	if r := b.signIn(t, b.get(t, "/oauth/account"), "alice", "antitiming"); r.Status != http.StatusSeeOther {
		t.Errorf("signing in: %d %s", r.Status, r.Body)
	}
}

// TestPath: a server whose endpoint is not /mcp.
func TestPath(t *testing.T) {
	t.Parallel()
	_, upstream := gatewaytest.Mock(t)
	c, origin := start(t, upstream, options{args: []string{"--path", "/api/tools/"}})
	if !strings.Contains(c.stdout.String(), " my-server "+origin+"/api/tools/\n") {
		t.Errorf("the welcome has another URL:\n%s", c.stdout)
	}
	r := gatewaytest.Send(t, http.MethodGet, origin+"/.well-known/oauth-protected-resource/api/tools/", "")
	if r.Text(t, "resource") != origin+"/api/tools/" {
		t.Errorf("the resource: %s", r.Body)
	}
	for _, path := range []string{"/api/tools/", "/api/tools", "/mcp", "/"} {
		if r := gatewaytest.Send(t, http.MethodPost, origin+path, ""); r.Status != http.StatusUnauthorized {
			t.Errorf("POST %s: %d", path, r.Status)
		}
	}
}

// TestLocalOnly: a gateway for this machine is not reached from others.
func TestLocalOnly(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux answers on all of 127.0.0.0/8")
	}
	_, upstream := gatewaytest.Mock(t)
	_, origin := start(t, upstream, options{})
	if resp, err := http.Get(strings.Replace(origin, "localhost", "127.0.0.2", 1)); err == nil {
		resp.Body.Close()
		t.Error("it listens on every address")
	}
}
