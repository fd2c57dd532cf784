package personal_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestEnds: a token and its streams end at its expiry, with its person, with the
// option, and with everything else that the person takes back; and not before.
func TestEnds(t *testing.T) {
	h := open(t, "")
	t.Run("at its expiry", func(t *testing.T) {
		began := time.Now()
		out, says, ok := command(t, "create", "--user", "alice", "--name", "Short", "--resource", h.URL+"/mcp", "--expires", "4s", "--address", h.Admin)
		if !ok {
			t.Fatal(says)
		}
		token := strings.TrimSpace(out)
		stream := openStream(t, h.URL, token)
		wantStatus(t, call(t, h.URL, token), http.StatusOK)
		stream.Ends(t, 5*time.Second)
		if took := time.Since(began); took < 3*time.Second {
			t.Errorf("the stream ended after %s already", took)
		}
		eventually(t, 2*time.Second, "the token has expired", func() bool { return call(t, h.URL, token).Status == http.StatusUnauthorized })
		if p := account(t, h, "alice"); strings.Contains(p.Text(), "Short") {
			t.Error("it is still listed")
		}
	})
	t.Run("not by signing out, but with all programs", func(t *testing.T) {
		p := account(t, h, "alice")
		token, _ := mint(t, p, h.URL+"/mcp")
		p.Click("do", "sign_out_everywhere")
		wantStatus(t, call(t, h.URL, token), http.StatusOK)
		eventually(t, 20*time.Second, "somebody can sign in again", func() bool {
			p = gatewaytest.NewBrowser(t).Open(h.URL+"/oauth/account").SignIn("alice", "alice"+passwordOf)
			return p.Has("do", "revoke_all")
		})
		wantShown(t, p.Click("do", "revoke_all"), "were removed")
		wantRefused(t, call(t, h.URL, token))
	})
	token, _ := mint(t, account(t, h, "bob"), h.URL+"/mcp")
	wantStatus(t, call(t, h.URL, token), http.StatusOK)
	for _, c := range []struct {
		name     string
		old, new string
		want     int
	}{
		{"with its person", "user bob {env.BOB}", "user robert {env.BOB}", http.StatusUnauthorized},
		{"and comes back with them", "", "", http.StatusOK},
		{"by a rule", "login password", "deny user bob\n\t\tlogin password", http.StatusUnauthorized},
		{"without the option", "name \"Ticket desk\"\n\t\tpersonal_access_tokens", "name \"Ticket desk\"", http.StatusUnauthorized},
		{"and with it again", "", "", http.StatusOK},
		{"with another password", "{env.BOB}", "{env.ALICE}", http.StatusUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := h.options.Caddyfile
			if c.old != "" {
				text = strings.Replace(text, c.old, c.new, 1)
				if text == h.options.Caddyfile {
					t.Fatal("nothing was changed")
				}
			}
			if err := h.Reload(text, h.options.Upstream); err != nil {
				t.Fatal(err)
			}
			wantStatus(t, call(t, h.URL, token), c.want)
		})
	}
}
