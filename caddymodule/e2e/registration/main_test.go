package registration_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// automatic is a gateway at which a browser that comes by is let in, with two
// sites and further options of mcp_auth.
func automatic(options ...string) string {
	return strings.Replace(config, "LOGIN", "login auto {\n\t\t\tuser alice\n\t\t}\n\t\t"+strings.Join(options, "\n\t\t"), 1)
}

// asking is a gateway at which alice signs in and is asked.
func asking(tb testing.TB, options ...string) string {
	tb.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Replace(config, "LOGIN", "login password {\n\t\t\tuser alice "+string(h)+"\n\t\t}\n\t\t"+strings.Join(options, "\n\t\t"), 1)
}

const password = "a password that nobody guesses"

// config believes X-Forwarded-For from this machine, so that a test can be at
// many addresses.
const config = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	servers {
		trusted_proxies static 127.0.0.1/32
	}
	debug
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		LOGIN
	}
}
{URL} {
	log
	mcp_auth {
		resource {URL}/mcp {URL}/sse
		scopes mcp:tools:read mcp:tools:execute admin
	}
	reverse_proxy {UPSTREAM}
}
`

const loopback = `"redirect_uris":["http://127.0.0.1/callback"]`

// registered is a client with what manages it.
type registered struct {
	*gatewaytest.Client
	uri, token string
}

func register(tb testing.TB, g *gatewaytest.Gateway, metadata string) registered {
	tb.Helper()
	r := gatewaytest.PostJSON(tb, g.URL+"/oauth/register", metadata)
	wantStatus(tb, r, http.StatusCreated)
	return registered{
		&gatewaytest.Client{
			Base: g.URL, ID: r.Text(tb, "client_id"), Secret: r.Text(tb, "client_secret"),
			RedirectURI: "http://127.0.0.1/callback", Verifier: strings.Repeat("verifier-0123456789.", 3),
		},
		r.Text(tb, "registration_client_uri"), r.Text(tb, "registration_access_token"),
	}
}

// manage sends a request to the client configuration endpoint.
func (c registered) manage(tb testing.TB, method, body string) gatewaytest.Reply {
	tb.Helper()
	return gatewaytest.Send(tb, method, c.uri, body, "Authorization", "Bearer "+c.token, "Content-Type", "application/json")
}

// put changes the client and returns it with its new token.
func (c registered) put(tb testing.TB, members string) registered {
	tb.Helper()
	r := c.manage(tb, http.MethodPut, `{"client_id":"`+c.ID+`",`+members+`}`)
	wantStatus(tb, r, http.StatusOK)
	c.token = r.Text(tb, "registration_access_token")
	return c
}

func wantStatus(tb testing.TB, r gatewaytest.Reply, status int) {
	tb.Helper()
	if r.Status != status {
		tb.Fatalf("status %d, want %d: %s", r.Status, status, r.Body)
	}
}

func wantError(tb testing.TB, r gatewaytest.Reply, status int, code string) {
	tb.Helper()
	wantStatus(tb, r, status)
	if got := r.Text(tb, "error"); got != code {
		tb.Errorf("error %s, want %s: %s", got, code, r.Body)
	}
}

func storeSize(tb testing.TB, g *gatewaytest.Gateway) int64 {
	tb.Helper()
	info, err := os.Stat(filepath.Join(g.Dir, "state.db"))
	if err != nil {
		tb.Fatal(err)
	}
	return info.Size()
}
