package spec_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestLifetimes are the requirements whose tests have to wait. Each waits for
// the condition itself, beside the others.
func TestLifetimes(t *testing.T) {
	run(t, []requirement{
		{"F40", testCodeExpires},
		{"G16", testReplayOfExpiredCode},
		{"G23", testReuseAfterGrace},
		{"G26/idle", testIdleExpiry},
		{"G26/absolute", testAbsoluteExpiry},
		{"O28", testTokenExpires},
	})
}

// pool is a supply of values, each good for one attempt.
type pool []string

func (p *pool) next(t *testing.T) string {
	t.Helper()
	if len(*p) == 0 {
		t.Fatal("the pool is empty")
	}
	first := (*p)[0]
	*p = (*p)[1:]
	return first
}

// isInvalidGrant tells success from invalid_grant, and demands one of them.
func isInvalidGrant(t *testing.T, r gatewaytest.Reply) bool {
	t.Helper()
	if r.Status == http.StatusOK {
		return false
	}
	wantInvalidGrant(t, r)
	return true
}

func testCodeExpires(t *testing.T) {
	t.Parallel()
	c := gatewaytest.Register(t, shortLived().URL)
	var codes pool
	for range 60 {
		codes = append(codes, c.Code(t))
	}
	wantStatus(t, c.Redeem(t, codes.next(t)), http.StatusOK)
	eventually(t, "a code of 3 s ends", 8*time.Second, func() bool { return isInvalidGrant(t, c.Redeem(t, codes.next(t))) })
}

// testReplayOfExpiredCode: a used code is a sign of theft also when it has
// expired since.
func testReplayOfExpiredCode(t *testing.T) {
	t.Parallel()
	c := gatewaytest.Register(t, shortLived().URL)
	code := c.Code(t)
	reply := c.Redeem(t, code)
	wantStatus(t, reply, http.StatusOK)
	var unused pool // issued later, so they end later
	for range 60 {
		unused = append(unused, c.Code(t))
	}
	eventually(t, "a code of 3 s ends", 8*time.Second, func() bool { return isInvalidGrant(t, c.Redeem(t, unused.next(t))) })
	wantInvalidGrant(t, redeemWith(t, c, code, "another-verifier-another-verifier-another-verifier"))
	_, refresh := refreshed(t, c, reply.Text(t, "refresh_token"))
	wantInvalidGrant(t, c.Redeem(t, code))
	wantInvalidGrant(t, c.Refresh(t, refresh))
	wantDead(t, c.Base, reply.Text(t, "access_token"))
}

// testReuseAfterGrace: the old token goes on working for 3 s, then it ends the
// family.
func testReuseAfterGrace(t *testing.T) {
	t.Parallel()
	c := gatewaytest.Register(t, shortLived().URL)
	_, refresh1 := c.Tokens(t)
	begin := time.Now()
	access2, refresh2 := refreshed(t, c, refresh1)
	for range 3 {
		access, again := refreshed(t, c, refresh1)
		if again != refresh2 {
			t.Fatal("another second token inside the window")
		}
		access2 = access
	}
	eventually(t, "the window of 3 s closes", 8*time.Second, func() bool { return isInvalidGrant(t, c.Refresh(t, refresh1)) })
	if open := time.Since(begin); open < 2*time.Second {
		t.Errorf("the window was open for %s only", open)
	}
	wantInvalidGrant(t, c.Refresh(t, refresh2))
	wantDead(t, c.Base, access2)
}

// testIdleExpiry takes a fresh session for each attempt, because an attempt
// that succeeds is a use.
func testIdleExpiry(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("access_token_lifetime 1s\n refresh_idle 4s", "")})
	c := gatewaytest.Register(t, g.URL)
	var sessions pool
	for range 80 {
		_, refresh := c.Tokens(t)
		sessions = append(sessions, refresh)
	}
	_, used := c.Tokens(t) // last, because it takes a while to make the others
	_, used = refreshed(t, c, used)
	eventually(t, "a session that is idle for 4 s ends", 12*time.Second, func() bool {
		_, used = refreshed(t, c, used) // this one is never idle
		return isInvalidGrant(t, c.Refresh(t, sessions.next(t)))
	})
	refreshed(t, c, used)
}

func testAbsoluteExpiry(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: caddyfile("access_token_lifetime 1m\n refresh_lifetime 4s", "")})
	c := gatewaytest.Register(t, g.URL)
	reply := c.Redeem(t, c.Code(t))
	eventually(t, "a session of 4 s ends although it is used", 12*time.Second, func() bool {
		if seconds, _ := reply.JSON(t)["expires_in"].(float64); seconds < 0 || seconds > 4 {
			t.Fatalf("expires_in is %v in a session of 4 s", reply.JSON(t)["expires_in"])
		}
		reply = c.Refresh(t, reply.Text(t, "refresh_token"))
		return isInvalidGrant(t, reply)
	})
}

// testTokenExpires: an access token ends, at the latest when the leeway for
// clocks that differ is over too.
func testTokenExpires(t *testing.T) {
	t.Parallel()
	base := development().URL
	r := gatewaytest.PostForm(t, base+"/dev/token", url.Values{"sub": {"alice"}, "expires_in": {"1"}})
	wantStatus(t, r, http.StatusOK)
	token := r.Text(t, "access_token")
	wantAlive(t, base, token)
	eventually(t, "a token of 1 s ends", 65*time.Second, func() bool {
		return gatewaytest.Call(t, base, token).Status == http.StatusUnauthorized
	})
	wantDead(t, base, token)
}
