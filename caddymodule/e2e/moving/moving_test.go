package moving

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/backends"
	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// config has a person who is approved without being asked, and programs that
// register themselves. STORE is the store.
const config = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	mcp_auth {
		issuer {URL}
		store STORE
		secret "at least thirty-two bytes of a secret"
		insecure_auto_approve
		login auto {
			user alice
		}
	}
}
{URL} {
	mcp_auth
	reverse_proxy {UPSTREAM}
}
`

// life is what a program and a person have when their gateway moves.
type life struct {
	dir, store string
	port       int
	gateway    *gatewaytest.Gateway

	client, deleted *gatewaytest.Client
	renamed         registration
	access, refresh string // good
	revoked         [2]string
	replayed        url.Values // a code that was redeemed
}

// registration is where a client changes what it said of itself.
type registration struct{ uri, token string }

// begin starts a gateway and has things happen that every store must keep.
func begin(t *testing.T, store string) *life {
	t.Helper()
	l := &life{dir: t.TempDir(), store: store, port: gatewaytest.FreePort(t)}
	l.start(t)
	l.client = gatewaytest.Register(t, l.gateway.URL)
	code := l.client.Code(t)
	l.replayed = l.client.TokenForm(code)
	if r := l.client.Redeem(t, code); r.Status != http.StatusOK {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	l.access, l.refresh = l.client.Tokens(t)
	ended, endedRefresh := l.client.Tokens(t)
	l.revoked = [2]string{ended, endedRefresh}
	form := url.Values{"token": {endedRefresh}, "client_id": {l.client.ID}}
	wantStatus(t, "revoking", gatewaytest.PostForm(t, l.gateway.URL+"/oauth/revoke", form), http.StatusOK)

	const uris = `"redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"`
	_, l.renamed = l.register(t, `{"client_name":"Before",`+uris+`}`)
	var at registration
	l.deleted, at = l.register(t, `{"client_name":"Deleted",`+uris+`}`)
	wantStatus(t, "deleting", at.send(t, http.MethodDelete, ""), http.StatusNoContent)
	r := l.renamed.send(t, http.MethodGet, "")
	wantStatus(t, "reading", r, http.StatusOK)
	said := r.JSON(t)
	id, _ := said["client_id"].(string)
	r = l.renamed.send(t, http.MethodPut, `{"client_id":"`+id+`","client_name":"After",`+uris+`}`)
	wantStatus(t, "renaming", r, http.StatusOK)
	l.renamed = registration{r.Text(t, "registration_client_uri"), r.Text(t, "registration_access_token")}
	return l
}

func (l *life) register(t *testing.T, metadata string) (*gatewaytest.Client, registration) {
	t.Helper()
	r := gatewaytest.PostJSON(t, l.gateway.URL+"/oauth/register", metadata)
	wantStatus(t, "registering", r, http.StatusCreated)
	c := &gatewaytest.Client{
		Base: l.gateway.URL, ID: r.Text(t, "client_id"), RedirectURI: "http://127.0.0.1/callback",
		Verifier: strings.Repeat("verifier-0123456789.", 3),
	}
	return c, registration{r.Text(t, "registration_client_uri"), r.Text(t, "registration_access_token")}
}

func (r registration) send(t *testing.T, method, body string) gatewaytest.Reply {
	t.Helper()
	return gatewaytest.Send(t, method, r.uri, body, "Authorization", "Bearer "+r.token, "Content-Type", "application/json")
}

func wantStatus(t *testing.T, what string, r gatewaytest.Reply, want int) {
	t.Helper()
	if r.Status != want {
		t.Fatalf("%s: %d %s, want %d", what, r.Status, r.Body, want)
	}
}

func (l *life) start(t *testing.T) {
	t.Helper()
	l.gateway = gatewaytest.Start(t, gatewaytest.Options{Caddyfile: strings.ReplaceAll(config, "STORE", l.store), Dir: l.dir, Port: l.port})
}

// goesOn wants everything to be as it was, and the next refresh to work.
func (l *life) goesOn(t *testing.T) {
	t.Helper()
	base := l.gateway.URL
	wantStatus(t, "the access token", gatewaytest.Call(t, base, l.access), http.StatusOK)
	wantStatus(t, "the revoked access token", gatewaytest.Call(t, base, l.revoked[0]), http.StatusUnauthorized)
	wantStatus(t, "the revoked refresh token", l.client.Refresh(t, l.revoked[1]), http.StatusBadRequest)
	wantStatus(t, "the redeemed code", gatewaytest.PostForm(t, base+"/oauth/token", l.replayed), http.StatusBadRequest)
	r := l.client.Refresh(t, l.refresh)
	wantStatus(t, "the refresh token", r, http.StatusOK)
	l.access, l.refresh = r.Text(t, "access_token"), r.Text(t, "refresh_token")
	wantStatus(t, "the new access token", gatewaytest.Call(t, base, l.access), http.StatusOK)
	l.client.Tokens(t) // the client is still registered

	if r, q := l.deleted.Authorize(t); q != nil || r.Status != http.StatusBadRequest {
		t.Fatalf("the deleted client: %d %v", r.Status, q)
	}
	r = l.renamed.send(t, http.MethodGet, "")
	wantStatus(t, "the renamed client", r, http.StatusOK)
	if r.Text(t, "client_name") != "After" {
		t.Fatalf("the renamed client: %s", r.Body)
	}
}

// move stops the gateway, copies its store and starts it with the new one.
func (l *life) move(t *testing.T, to string) {
	t.Helper()
	l.gateway.Stop()
	out, complaints, code := copyStore(t, "--config", filepath.Join(l.dir, "Caddyfile"), "--to", to)
	if code != 0 || complaints != "" || !strings.Contains(out, "key ring      1") {
		t.Fatalf("exit code %d\n%s%s", code, out, complaints)
	}
	if strings.Contains(out, "alice") || strings.Contains(out, l.client.ID) {
		t.Errorf("somebody is named:\n%s", out)
	}
	l.store = to
	l.start(t)
}

// copyStore runs caddy mcp-store copy.
func copyStore(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	binary, err := gatewaytest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"mcp-store", "copy"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}

// TestMove moves from a file to another one, to PostgreSQL, to Redis, and back to
// a file.
func TestMove(t *testing.T) {
	database, redis := backends.StartPostgres(t, "fsync=on"), backends.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	l := begin(t, "embedded {DIR}/state.db")
	l.store = "embedded " + filepath.Join(l.dir, "state.db")
	l.goesOn(t)
	_, says, code := copyStore(t, "--from", l.store, "--to", "embedded "+filepath.Join(l.dir, "other.db"))
	if code != 1 || says != "Error: the embedded store (--from) is in use: stop every Caddy that uses it, and start it with the new store when all is copied\n" {
		t.Errorf("while the gateway runs: exit code %d, %s", code, says)
	}
	for _, to := range []string{
		"embedded " + filepath.Join(l.dir, "second.db"),
		"postgres " + database.DSN(t),
		"redis " + redis.Addr,
		"embedded " + filepath.Join(l.dir, "third.db"),
	} {
		l.move(t, to)
		l.goesOn(t)
	}
}
