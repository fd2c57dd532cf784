package personal_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// The people of the tests; each one's password is their name and these words.
const passwordOf = " knows the way"

// config has a server for tickets and one for the payroll, which accept personal
// access tokens, and one that doesn't. Bob may not use the payroll.
const config = `{
	admin {ADMIN}
	persist_config off
	default_bind 127.0.0.1
	debug
	mcp_auth {
		issuer {URL}
		store embedded {DIR}/state.db
		login password {
			user alice {env.ALICE} {
				email alice@example.com
				name  "Alice Example"
			}
			user bob {env.BOB}
		}
		OPTIONS
	}
}
{URL} {
	log
	mcp_auth {
		name "Ticket desk"
		personal_access_tokens
	}
	reverse_proxy {UPSTREAM}
}
{PAYROLL} {
	mcp_auth {
		resource {PAYROLL}/mcp
		scopes payroll:read payroll:write
		describe payroll:read "See what everybody earns"
		deny user bob
		personal_access_tokens
	}
	reverse_proxy {UPSTREAM}
}
{CLOSED} {
	mcp_auth {
		resource {CLOSED}/mcp
	}
	reverse_proxy {UPSTREAM}
}
`

// house is a gateway with its three servers.
type house struct {
	*gatewaytest.Gateway
	payroll, closed string
	options         gatewaytest.Options
}

// open starts a gateway with further options of mcp_auth.
func open(tb testing.TB, options string) *house {
	tb.Helper()
	origin := func() string { return "http://localhost:" + strconv.Itoa(gatewaytest.FreePort(tb)) }
	h := &house{payroll: origin(), closed: origin()}
	h.options = gatewaytest.Options{
		Caddyfile: strings.NewReplacer("OPTIONS", options, "{PAYROLL}", h.payroll, "{CLOSED}", h.closed).Replace(config),
		Upstream:  gatewaytest.NewUpstream(tb, serve).Addr(), Dir: tb.TempDir(), Port: gatewaytest.FreePort(tb),
		Env: []string{"ALICE=" + hashOf(tb, "alice"), "BOB=" + hashOf(tb, "bob")},
	}
	h.Gateway = gatewaytest.Start(tb, h.options)
	return h
}

func hashOf(tb testing.TB, name string) string {
	tb.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(name+passwordOf), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	return string(h)
}

// serve is the server behind the gateway. It answers a GET with an endless event
// stream, and everything else with the headers that it got.
func serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		gatewaytest.Feed("event")(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(r.Header)
}

// account is the account page of somebody who signs in.
func account(tb testing.TB, h *house, name string) *gatewaytest.Page {
	tb.Helper()
	p := gatewaytest.NewBrowser(tb).Open(h.URL+"/oauth/account").SignIn(name, name+passwordOf)
	if !p.Has("do", "sign_out") {
		tb.Fatalf("no account page: %d %s", p.Status, p.Text())
	}
	return p
}

var tokenText = regexp.MustCompile(`mcp_pat_[0-9A-Za-z]{49}`)

// tokenOn returns the token that a page shows, or "".
func tokenOn(p *gatewaytest.Page) string { return tokenText.FindString(p.Text()) }

// mint makes a token on the account page, for the server given and all of its
// scopes, unless fields say otherwise.
func mint(tb testing.TB, p *gatewaytest.Page, server string, fields ...string) (string, *gatewaytest.Page) {
	tb.Helper()
	p = p.Click("resource", server, append([]string{"do", "mint_token", "name", "Nightly report", "days", "30"}, fields...)...)
	token := tokenOn(p)
	if p.Status != http.StatusOK || token == "" {
		tb.Fatalf("no token: %d %s", p.Status, p.Text())
	}
	return token, p
}

// call calls a server with a token.
func call(tb testing.TB, origin, token string) gatewaytest.Reply {
	tb.Helper()
	return gatewaytest.PostJSON(tb, origin+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Authorization", "Bearer "+token)
}

func wantStatus(tb testing.TB, r gatewaytest.Reply, status int) {
	tb.Helper()
	if r.Status != status {
		tb.Errorf("status %d, want %d: %.300s", r.Status, status, r.Body)
	}
}

// wantRefused checks that a call was refused for its token.
func wantRefused(tb testing.TB, r gatewaytest.Reply) {
	tb.Helper()
	if wantStatus(tb, r, http.StatusUnauthorized); !strings.Contains(r.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		tb.Errorf("challenge %q", r.Header.Get("WWW-Authenticate"))
	}
}

func wantShown(tb testing.TB, p *gatewaytest.Page, texts ...string) {
	tb.Helper()
	for _, text := range texts {
		if !strings.Contains(p.Text(), text) {
			tb.Errorf("the page at %s does not say %q: %s", p.URL.Path, text, p.Text())
		}
	}
}

// eventually waits until a condition holds.
func eventually(tb testing.TB, within time.Duration, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; !ok(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s", within, what)
		}
	}
}
