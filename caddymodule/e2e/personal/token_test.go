package personal_test

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestLife follows one token from its page to its end.
func TestLife(t *testing.T) {
	h := open(t, "")
	p := account(t, h, "alice")
	wantShown(t, p, "Personal access tokens", "You have no token", "New token for Ticket desk", "See what everybody earns")
	if strings.Contains(p.Text(), h.closed) {
		t.Error("the page offers a server that accepts no tokens")
	}
	token, made := mint(t, p, h.URL+"/mcp")
	wantShown(t, made, "only this once", "Nightly report", h.URL+"/mcp", "Run the tools", "curl -sS", "claude mcp add")
	if strings.Count(made.Body, token) != 1 || made.Header.Get("Cache-Control") != "no-store" || strings.Contains(made.URL.String(), "mcp_pat") {
		t.Errorf("the token is shown %d times at %s, %s", strings.Count(made.Body, token), made.URL, made.Header.Get("Cache-Control"))
	}

	t.Run("opens its server, as its person", func(t *testing.T) {
		r := call(t, h.URL, token)
		wantStatus(t, r, http.StatusOK)
		for _, want := range []string{`"X-Mcp-User":["alice"]`, `"X-Mcp-Email":["alice@example.com"]`, `"X-Mcp-Client":["personal-access-token"]`, `"X-Mcp-Scope":["mcp:tools:read mcp:tools:execute"]`} {
			if !strings.Contains(r.Body, want) {
				t.Errorf("the server does not get %s: %s", want, r.Body)
			}
		}
		if strings.Contains(r.Body, "mcp_pat_") {
			t.Error("the server gets the token")
		}
	})
	t.Run("opens no other", func(t *testing.T) {
		wantRefused(t, call(t, h.payroll, token))
		wantRefused(t, call(t, h.closed, token))
	})
	t.Run("is no other kind of token", func(t *testing.T) {
		c := gatewaytest.Register(t, h.URL)
		r := c.Refresh(t, token)
		if r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant" {
			t.Errorf("%d %s", r.Status, r.Body)
		}
		if r := c.Redeem(t, token); r.Status != http.StatusBadRequest {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
	t.Run("mistyped", func(t *testing.T) {
		for _, wrong := range []string{token[:len(token)-1], token + "0", strings.ToUpper(token), swapped(token), "mcp_pat_", "mcp_pat_" + strings.Repeat("0", 49)} {
			wantRefused(t, call(t, h.URL, wrong))
		}
	})
	t.Run("not in the query", func(t *testing.T) {
		wantStatus(t, gatewaytest.PostJSON(t, h.URL+"/mcp?access_token="+token, `{}`), http.StatusUnauthorized)
	})
	t.Run("is shown no second time", func(t *testing.T) {
		again := p.Click("resource", h.URL+"/mcp", "do", "mint_token", "name", "Nightly report", "days", "30")
		wantShown(t, again, "was made before")
		if tokenOn(again) != "" || len(again.Buttons("grant")) != 1 {
			t.Errorf("a second click makes another token: %s", again.Text())
		}
	})
	p = p.Browser().Open(h.URL + "/oauth/account")
	id := p.Buttons("grant")[0]
	if section := p.Section(id); !strings.Contains(section, "Nightly report") || !strings.Contains(section, "Ticket desk") || !strings.Contains(section, "not yet") || strings.Contains(p.Body, token) {
		t.Errorf("listed as %s", section)
	}
	stream := openStream(t, h.URL, token)
	done := p.Click("grant", id)
	wantShown(t, done, "The token was removed", "You have no token")
	wantRefused(t, call(t, h.URL, token))
	stream.Ends(t, 5*time.Second)
}

// swapped exchanges two neighbours that differ.
func swapped(token string) string {
	b := []byte(token)
	for i := 20; ; i++ {
		if b[i] != b[i+1] {
			b[i], b[i+1] = b[i+1], b[i]
			return string(b)
		}
	}
}

// openStream opens an event stream, and returns when its first events are there.
func openStream(tb testing.TB, origin, token string) *gatewaytest.Stream {
	tb.Helper()
	s := gatewaytest.OpenStream(tb, http.MethodGet, origin+"/mcp", token, "")
	s.GoesOn(tb)
	return s
}

// TestKept: a token outlives a restart, and nothing that is written has it.
func TestKept(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	token, _ := mint(t, account(t, h, "alice"), h.payroll+"/mcp", "scope_1", "")
	r := call(t, h.payroll, token)
	if wantStatus(t, r, http.StatusOK); !strings.Contains(r.Body, `"X-Mcp-Scope":["payroll:read"]`) {
		t.Errorf("the scope that was not chosen: %s", r.Body)
	}
	logs := h.Logs()
	h.Stop()
	h.Gateway = gatewaytest.Start(t, h.options)
	wantStatus(t, call(t, h.payroll, token), http.StatusOK)
	wantRefused(t, call(t, h.URL, token))
	h.Stop()
	stored, err := os.ReadFile(filepath.Join(h.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"the log": logs + h.Logs(), "the store": string(stored)} {
		if strings.Contains(text, token[len("mcp_pat_"):]) || strings.Contains(text, token[len(token)-20:]) {
			t.Errorf("%s has the token", where)
		}
	}
	if !strings.Contains(logs, `"msg":"personal_token"`) || !strings.Contains(logs, `"client_name":"Nightly report"`) {
		t.Error("the log does not say that a token was made")
	}
}

// TestGuessing: who sends unknown tokens is slowed down, and nobody else is.
func TestGuessing(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	token, _ := mint(t, account(t, h, "alice"), h.URL+"/mcp")
	wantStatus(t, call(t, h.URL, token), http.StatusOK)
	for i := range 30 {
		wantRefused(t, call(t, h.URL, madeUp(i)))
	}
	r := call(t, h.URL, madeUp(30))
	if wantStatus(t, r, http.StatusTooManyRequests); r.Header.Get("Retry-After") == "" || r.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("the answer to a guesser has %v", r.Header)
	}
	wantStatus(t, call(t, h.URL, token), http.StatusOK)
	wantRefused(t, call(t, h.URL, madeUp(31)[:50]))
}

// madeUp returns a token with the right checksum, as docs/tokens.md tells secret
// scanners.
func madeUp(n int) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	text := fmt.Sprintf("mcp_pat_%043d", n)
	sum, check := crc32.ChecksumIEEE([]byte(text)), ""
	for range 6 {
		check, sum = string(digits[sum%62])+check, sum/62
	}
	return text + check
}
