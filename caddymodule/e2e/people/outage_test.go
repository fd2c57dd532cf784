package people_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// outage takes the store's file away until the function that it returns puts it
// back.
func outage(t *testing.T, g *gatewaytest.Gateway) (over func()) {
	t.Helper()
	file := filepath.Join(g.Dir, "state.db")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
		eventually(t, 15*time.Second, "the store heals", func() bool {
			return gatewaytest.Send(t, http.MethodGet, g.URL+"/oauth/health", "").Status == http.StatusOK
		})
	}
}

// wantOutage checks the page that says that something does not work right now.
func wantOutage(t *testing.T, p *gatewaytest.Page) {
	t.Helper()
	wantRefused(t, p, http.StatusServiceUnavailable)
	wantShown(t, "outage", p, "Wait a minute")
	if p.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// TestOutage is SPEC O55 for people: while the store can't write, nobody gets a
// code, nothing that was not done is called done, and all goes on afterwards.
func TestOutage(t *testing.T) {
	g := start(t)
	c, local, kept := client(t, g, web), client(t, g, loopback), client(t, g, "https://kept.example/cb")
	b, consent := signedIn(t, c, "alice")
	localConsent := b.Open(local.AuthorizeURL())
	refusal, switching := b.Open(c.AuthorizeURL()), b.Copy(g.URL).Open(c.AuthorizeURL())
	access, refresh := approved(t, b, kept)
	page := account(t, b, g)
	other, _ := signedIn(t, c, "bob")
	bobs := account(t, other, g)
	copied := other.Copy(g.URL)

	over := outage(t, g)
	t.Run("O55 no code", func(t *testing.T) {
		wantOutage(t, consent.Allow())
		wantError(t, localConsent.Allow(), "temporarily_unavailable")
		wantOutage(t, refusal.Deny())
	})
	t.Run("nothing is revoked that was not", func(t *testing.T) {
		for _, form := range [][]string{{"do", "revoke", "grant", grantOf(t, page)}, {"do", "revoke_all"}, {"do", "sign_out_everywhere"}} {
			p := b.Post(g.URL+accountPath, paramsOf(append(form, "flow", flowOf(page))...))
			wantOutage(t, p)
			if strings.Contains(p.Text(), "removed") || strings.Contains(p.Text(), "You are signed out") {
				t.Errorf("it says that it is done: %s", p.Text())
			}
		}
		lives(t, g, access, true)
	})
	t.Run("signing out takes the cookie, and does not say that all is well", func(t *testing.T) {
		p := bobs.Click("do", "sign_out")
		wantOutage(t, p)
		if other.Cookie(g.URL, "_session") != "" {
			t.Error("the cookie is still there")
		}
	})
	t.Run("not you? works all the same", func(t *testing.T) {
		p := switching.Click("decision", "switch")
		wantSignIn(t, p)
	})
	over()

	t.Run("the pages from before are still good", func(t *testing.T) {
		redeemed(t, c, consent.Allow().Result())
		redeemed(t, local, localConsent.Allow().Result())
		wantError(t, refusal.Deny(), "access_denied")
		wantStatus(t, kept.Refresh(t, refresh), http.StatusOK)
		account(t, b, g)
		account(t, copied, g)
		p := page.Click("grant", grantOf(t, page))
		wantStatus(t, p.Reply, http.StatusOK)
		lives(t, g, access, false)
	})
	t.Run("the log says why", func(t *testing.T) { testOutageLines(t, g) })
}

func testOutageLines(t *testing.T, g *gatewaytest.Gateway) {
	var failed int
	for _, l := range eventLines(g) {
		if l["status"] == float64(http.StatusServiceUnavailable) && l.text("level") == "error" && l.text("cause") != "" {
			failed++
		}
	}
	if failed < 7 {
		t.Errorf("%d lines", failed)
	}
}
