package enforce_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// guest is a gateway with everything that a reload could lose.
type guest struct {
	t           *testing.T
	g           *gatewaytest.Gateway
	u           *gatewaytest.Upstream
	port        int
	app         string // options of the running configuration
	client      *gatewaytest.Client
	access      string
	refresh     string
	gone        string // access token of a revoked grant
	goneNext    string // and its refresh token
	stream      *gatewaytest.Stream
	development string
}

func newGuest(t *testing.T, app string) *guest {
	t.Helper()
	u := gatewaytest.NewUpstream(t, feed)
	h := &guest{t: t, u: u, port: gatewaytest.FreePort(t), app: app + "\nrefresh_grace off"}
	h.g = gatewaytest.Start(t, gatewaytest.Options{Caddyfile: forPort(caddyfile(h.app, ""), h.port), Upstream: u.Addr(), Port: h.port})
	h.client = gatewaytest.Register(t, h.g.URL)
	h.access, h.refresh = h.client.Tokens(t)
	h.development = devToken(t, h.g.URL)
	h.gone, h.goneNext = h.client.Tokens(t)
	next := h.client.Refresh(t, h.goneNext).Text(t, "refresh_token")
	wantStatus(t, h.client.Refresh(t, h.goneNext), http.StatusBadRequest)
	h.goneNext = next
	h.stream = openStream(t, http.MethodGet, h.g.URL+"/mcp", h.access)
	return h
}

// reload loads a configuration with these options.
func (h *guest) reload(app, handler string) error {
	err := h.g.Reload(forPort(caddyfile(app, handler), h.port), h.u.Addr())
	// The old listeners close idle connections at some moment after this: a
	// request must not meet it.
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return err
}

// wantAll checks that nothing was lost.
func (h *guest) wantAll() {
	t, g := h.t, h.g
	t.Helper()
	h.stream.GoesOn(t)
	openStream(t, http.MethodGet, g.URL+"/mcp", h.access).GoesOn(t)
	openStream(t, http.MethodGet, g.URL+"/mcp", h.development).GoesOn(t)
	wantInvalid(t, call(t, g.URL+"/mcp", bearer(h.gone)...))
	wantStatus(t, h.client.Refresh(t, h.goneNext), http.StatusBadRequest)
	r := h.client.Refresh(t, h.refresh)
	wantStatus(t, r, http.StatusOK)
	h.refresh = r.Text(t, "refresh_token")
	fresh, _ := h.client.Tokens(t) // the client_id still opens
	openStream(t, http.MethodGet, g.URL+"/mcp", fresh).GoesOn(t)
	gatewaytest.Register(t, g.URL).Tokens(t)
	wantStatus(t, gatewaytest.Send(t, http.MethodGet, g.URL+"/oauth/health", ""), http.StatusOK)
	wantStatus(t, call(t, g.URL+"/mcp"), http.StatusUnauthorized)
}

// revoke ends the guest's grant and checks that its stream hears of it.
func (h *guest) revoke() {
	h.t.Helper()
	wantStatus(h.t, h.client.Refresh(h.t, h.refresh), http.StatusOK)
	wantStatus(h.t, h.client.Refresh(h.t, h.refresh), http.StatusBadRequest)
	h.stream.Ends(h.t, 2*time.Second)
	wantInvalid(h.t, call(h.t, h.g.URL+"/mcp", bearer(h.access)...))
}

func TestReload(t *testing.T) {
	h := newGuest(t, "")
	for i, change := range []struct{ app, handler string }{
		{"access_token_lifetime 30m", ""}, {"", "max_body 1MiB"}, {"code_lifetime 30s\nregistration {\n\tredirect_schemes none\n}", "public /health"},
	} {
		t.Run(fmt.Sprint("state survives reload ", i+1), func(t *testing.T) {
			h.t = t
			if err := h.reload(h.app+"\n"+change.app, change.handler); err != nil {
				t.Fatal(err)
			}
			h.wantAll()
		})
	}
	t.Run("K24 a stream from before the reload ends with its grant", func(t *testing.T) {
		h.t = t
		h.revoke()
	})
	t.Run("a revocation survives a further reload", func(t *testing.T) {
		if err := h.reload(h.app, ""); err != nil {
			t.Fatal(err)
		}
		wantInvalid(t, call(t, h.g.URL+"/mcp", bearer(h.access)...))
	})
}

// STYLE 5.1: a rejected reload leaves the running server as it was.
func TestRejectedReload(t *testing.T) {
	const secret = `secret "the secret of the running server, long enough"`
	h := newGuest(t, secret)
	garbage := filepath.Join(t.TempDir(), "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("garbage ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	good := caddyfile(h.app, "")
	from := func(old, replacement string) string { return strings.Replace(good, old, replacement, 1) }
	for _, c := range []struct{ name, config, reason string }{
		{"code lifetime too long", caddyfile(h.app+"\ncode_lifetime 1h", ""), "code lifetime"},
		{"lifetime that is none", caddyfile(h.app+"\naccess_token_lifetime soon", ""), "soon"},
		{"unknown option of the app", caddyfile(h.app+"\nnonsense", ""), "nonsense"},
		{"unknown option of the handler", caddyfile(h.app, "nonsense"), "nonsense"},
		{"unknown directive", from("reverse_proxy", "nonsense"), "nonsense"},
		{"store below a file", from("{DIR}/state.db", "/dev/null/state.db"), "/dev/null"},
		{"store is garbage", from("{DIR}/state.db", garbage), "garbage.db"},
		{"store is a folder", from("{DIR}/state.db", "{DIR}"), "regular"},
		{"wrong secret", strings.Replace(good, "the secret of", "another secret of", 1), "secret"},
		{"no secret", strings.Replace(good, secret, "", 1), "secret"},
		{"secret too short", strings.Replace(good, secret, "secret short", 1), "secret"},
		{"secret from nowhere", strings.Replace(good, secret, "secret {env.ENFORCE_TEST_NOT_SET}", 1), "ENFORCE_TEST_NOT_SET"},
		{"no login", from("login auto {", "login nobody {"), "nobody"},
		{"issuer that is none", from("issuer {URL}", "issuer {URL}/"), "slash"},
		{"path pattern that is none", caddyfile(h.app, "public docs"), "docs"},
		{"origin that is none", caddyfile(h.app, "trusted_origins localhost"), "localhost"},
		{"a resource claimed twice", good + "http://:{FREE} {\n\tmcp_auth {\n\t\tresource {URL}/mcp\n\t\tscopes other\n\t}\n}\n", "claimed"},
		{"a port in use", good + "http://:{BUSY} {\n\trespond hi\n}\n", "in use"},
	} {
		t.Run("STYLE 5.1 "+c.name, func(t *testing.T) {
			h.t = t
			_, busy, _ := strings.Cut(h.u.Addr(), ":")
			config := strings.NewReplacer("{BUSY}", busy, "{FREE}", itoa(gatewaytest.FreePort(t))).Replace(c.config)
			err := h.g.Reload(forPort(config, h.port), h.u.Addr())
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !strings.Contains(err.Error(), c.reason) {
				t.Errorf("the reason does not say %q: %v", c.reason, err)
			}
			if strings.Contains(err.Error(), "of the running server") {
				t.Errorf("the reason shows the secret: %v", err)
			}
			h.wantAll()
		})
	}
	t.Run("STYLE 5.1 a good one works afterwards, and streams end with their grant", func(t *testing.T) {
		h.t = t
		if err := h.reload(h.app+"\naccess_token_lifetime 30m", ""); err != nil {
			t.Fatal(err)
		}
		h.wantAll()
		h.revoke()
	})
}

// A rejected reload leaves the store as it was, too: the server starts again
// with the configuration that is in force.
func TestRejectedReloadWritesNothing(t *testing.T) {
	for _, change := range []string{`secret "a secret that never came into force"`, "algorithm EdDSA"} {
		t.Run("STYLE 5.1 "+change, func(t *testing.T) {
			u := gatewaytest.NewUpstream(t, nil)
			port := gatewaytest.FreePort(t)
			o := gatewaytest.Options{Caddyfile: forPort(caddyfile("", ""), port), Upstream: u.Addr(), Port: port, Dir: t.TempDir()}
			g := gatewaytest.Start(t, o)
			token := devToken(t, g.URL)
			_, busy, _ := strings.Cut(u.Addr(), ":")
			for range 6 { // Caddy starts the apps of a configuration in any order
				if err := g.Reload(forPort(caddyfile(change, ""), port)+"http://:"+busy+" {\n\trespond hi\n}\n", u.Addr()); err == nil {
					t.Fatal("it was accepted")
				}
			}
			wantStatus(t, call(t, g.URL+"/mcp", bearer(token)...), http.StatusOK)
			g.Stop()
			g, err := gatewaytest.TryStart(t, o)
			if err != nil {
				t.Fatalf("the old configuration no longer starts: %s", lastError(err.Error()))
			}
			wantStatus(t, call(t, g.URL+"/mcp", bearer(token)...), http.StatusOK)
			if n := len(adminKeys(t, g)); n != 1 {
				t.Errorf("there are %d signing keys now", n)
			}
		})
	}
}

// lastError is the line in which the process says why it ends.
func lastError(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}
