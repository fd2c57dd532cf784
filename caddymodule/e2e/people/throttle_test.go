package people_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// The limits that logins/password documents: what one guesser has, at one
// account from one address, and at many accounts from one.
const (
	freeGuesses  = 5
	freeStrays   = 20
	firstWait    = 2 * time.Second
	throttleHint = "too many attempts"
)

// TestThrottle is SPEC O44 as it shows from outside.
func TestThrottle(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: behindProxies(configured()), Env: env()})
	c := client(t, g, web)
	const home, elsewhere = "203.0.113.10", "198.51.100.66"
	in := func(address, user string) *gatewaytest.Page {
		return at(t, address).Open(c.AuthorizeURL()).SignIn(user, user+passwordOf)
	}
	wantConsent(t, in(home, "alice"))

	t.Run("guesses at one account from one address", func(t *testing.T) {
		wantThrottled(t, guess(t, c, elsewhere, "alice", freeGuesses))
	})
	t.Run("not even the right password gets through meanwhile", func(t *testing.T) {
		wantThrottled(t, in(elsewhere, "alice"))
	})
	t.Run("nobody is locked out where they were before", func(t *testing.T) {
		wantConsent(t, in(home, "alice"))
	})
	t.Run("nor is another account at that address", func(t *testing.T) {
		wantConsent(t, in(elsewhere, "bob"))
	})
	t.Run("an address that is only claimed does not help", func(t *testing.T) {
		// The one that the proxy saw is the last.
		for i := range 3 {
			wantThrottled(t, in("192.0.2."+itoa(i)+", "+elsewhere, "alice"))
		}
	})
	t.Run("nor does another way to write the name", func(t *testing.T) {
		for _, name := range []string{"Alice", " alice ", "ALICE"} {
			wantThrottled(t, at(t, elsewhere).Open(c.AuthorizeURL()).SignIn(name, "alice"+passwordOf))
		}
	})
	t.Run("O44 names that nobody has are no different", func(t *testing.T) {
		wantThrottled(t, guess(t, c, "198.51.100.67", nobody(), freeGuesses))
		wantThrottled(t, guess(t, c, "198.51.100.68", "carol", freeGuesses)) // disabled
	})
	t.Run("the wait is over in time, and a success starts anew", func(t *testing.T) {
		eventually(t, 3*firstWait, "the right password gets through", func() bool { return isConsent(in(elsewhere, "alice")) })
		wantThrottled(t, guess(t, c, elsewhere, "alice", freeGuesses))
	})
	t.Run("many accounts from one address", func(t *testing.T) {
		const address = "198.51.100.69"
		for i := range freeStrays {
			p := at(t, address).Open(c.AuthorizeURL()).SignIn(nobody(), "wrong")
			if p.Status != http.StatusForbidden {
				t.Fatalf("after %d: %d %s", i, p.Status, p.Text())
			}
		}
		wantThrottled(t, in(address, "dave"))
		wantConsent(t, in(home, "alice"))
	})
	t.Run("a browser that somebody has used", func(t *testing.T) { testDevice(t, g, c) })
	t.Run("O44 it outlives a reload", func(t *testing.T) { testThrottleReload(t, g, c, in) })
}

// testDevice signs in where somebody attacks the account from the same address:
// behind one address of a company, say.
func testDevice(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client) {
	const office = "198.51.100.71"
	in := func(b *gatewaytest.Browser, user, password string) *gatewaytest.Page {
		b.Header.Set("X-Forwarded-For", office)
		return b.Open(c.AuthorizeURL("prompt", "login")).SignIn(user, password)
	}
	own, _ := signedIn(t, c, "dave") // from another address
	account(t, own, g).Click("do", "sign_out")
	wantThrottled(t, guess(t, c, office, "dave", freeGuesses))
	wantThrottled(t, in(browser(t), "dave", "dave"+passwordOf))
	t.Run("is never locked out by others", func(t *testing.T) {
		wantConsent(t, in(own, "dave", "dave"+passwordOf))
	})
	t.Run("its cookie signs nobody in", func(t *testing.T) {
		b := own.Copy(g.URL, "_device", "_browser")
		wantSignIn(t, b.Open(c.AuthorizeURL()))
		wantSignIn(t, b.Open(g.URL+accountPath))
		b.SetCookie(g.URL, "mcp_auth_session", own.Cookie(g.URL, "_device"))
		wantSignIn(t, b.Open(c.AuthorizeURL()))
	})
	t.Run("is no help with another account", func(t *testing.T) {
		wantThrottled(t, guess(t, c, office, "bob", freeGuesses))
		wantThrottled(t, in(own.Copy(g.URL, "_device"), "bob", "bob"+passwordOf))
	})
	t.Run("a changed cookie is none", func(t *testing.T) {
		value := own.Cookie(g.URL, "_device")
		for i := range 8 {
			changed := []byte(value)
			changed[i*(len(value)-1)/7] ^= 1
			b := browser(t)
			b.SetCookie(g.URL, "mcp_auth_device", string(changed))
			wantThrottled(t, in(b, "dave", "dave"+passwordOf))
		}
	})
	t.Run("a stolen one has the guesses of one", func(t *testing.T) {
		thief := own.Copy(g.URL, "_device", "_browser")
		for range freeGuesses {
			wantStatus(t, in(thief, "dave", "wrong").Reply, http.StatusForbidden)
		}
		wantThrottled(t, in(thief, "dave", "wrong"))
		wantThrottled(t, in(own.Copy(g.URL, "_device"), "dave", "dave"+passwordOf)) // whoever shows it
	})
}

// guess guesses as often as is free, and once more.
func guess(t *testing.T, c *gatewaytest.Client, address, user string, free int) *gatewaytest.Page {
	t.Helper()
	b := at(t, address)
	page := b.Open(c.AuthorizeURL())
	for i := range free {
		p := page.SignIn(user, "wrong"+itoa(i))
		if p.Status != http.StatusForbidden {
			t.Fatalf("guess %d: %d %.300s", i+1, p.Status, p.Text())
		}
	}
	return page.SignIn(user, "wrong")
}

// wantThrottled checks the page for those who guessed too often.
func wantThrottled(t *testing.T, p *gatewaytest.Page) {
	t.Helper()
	wantStatus(t, p.Reply, http.StatusTooManyRequests)
	wantSignIn(t, p) // with the form, to try again
	wantShown(t, "sign-in", p, throttleHint)
	wait, err := strconv.Atoi(p.Header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 900 {
		t.Errorf("Retry-After %q", p.Header.Get("Retry-After"))
	}
}

// testThrottleReload loads the same configuration again: nobody guesses anew.
func testThrottleReload(t *testing.T, g *gatewaytest.Gateway, c *gatewaytest.Client, in func(address, user string) *gatewaytest.Page) {
	const address = "198.51.100.70"
	p := guess(t, c, address, "alice", freeGuesses)
	wantThrottled(t, p)
	if err := g.Reload(behindProxies(configured("session_idle 1h")), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	settled(t, g)
	p = at(t, address).Open(c.AuthorizeURL()).SignIn("alice", "wrong")
	if p.Status == http.StatusForbidden {
		p = at(t, address).Open(c.AuthorizeURL()).SignIn("alice", "wrong") // the first wait was over
	}
	wantThrottled(t, p)
	wantConsent(t, in("203.0.113.10", "alice")) // and who was there before still is
}
