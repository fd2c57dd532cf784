package registration_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// TestPolicy: hosts, schemes and scopes of clients that nobody vouches for.
func TestPolicy(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: automatic(`registration {
			redirect_schemes none
			allow_redirect_hosts *.example.com loopback
			deny_redirect_hosts bad.example.com
			unvetted_scopes mcp:tools:read
		}`)})
	for uris, want := range map[string]string{
		`"https://a.example.com/cb"`: `["https://a.example.com/cb"]`,
		`"http://localhost:1/cb"`:    `["http://localhost:1/cb"]`,
		`"cursor://a/cb","https://evil.example/cb","https://a.example.com/cb"`: `["https://a.example.com/cb"]`,
		`"https://example.com/cb"`:                                           "",
		`"https://bad.example.com/cb"`:                                       "",
		`"https://bad.example.com:8443/cb"`:                                  "",
		`"https://a.example.com.evil.example/cb"`:                            "",
		`"cursor://a/cb"`:                                                    "",
		`"https://a.example.com/cb","javascript:alert(1)"`:                   "",
		`"https://a.example.com@evil.example/cb","https://a.example.com/cb"`: "",
	} {
		r := gatewaytest.PostJSON(t, g.URL+"/oauth/register", `{"redirect_uris":[`+uris+`]}`)
		if want == "" {
			wantError(t, r, http.StatusBadRequest, "invalid_redirect_uri")
			continue
		}
		wantStatus(t, r, http.StatusCreated)
		if got := strings.ReplaceAll(fmt.Sprintf("%q", r.JSON(t)["redirect_uris"]), " ", ","); got != want {
			t.Errorf("%s: registered %s", uris, got)
		}
	}
	c := register(t, g, `{`+loopback+`,"scope":"mcp:tools:read admin"}`)
	r := c.Redeem(t, c.Code(t, "scope", "mcp:tools:read admin"))
	wantStatus(t, r, http.StatusOK)
	if got := r.Text(t, "scope"); got != "mcp:tools:read" {
		t.Errorf("granted %q", got)
	}
	if _, q := c.Authorize(t, "scope", "admin"); q.Get("error") != "invalid_scope" || q.Get("code") != "" {
		t.Errorf("only admin: %v", q)
	}
}

// TestStricterPolicyCountsAtOnce for clients and sessions that there are.
func TestStricterPolicyCountsAtOnce(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: automatic()})
	c := register(t, g, `{`+loopback+`}`)
	_, refresh := c.Tokens(t)
	if err := g.Reload(automatic("registration {\n\t\t\tallow_redirect_hosts claude.ai\n\t\t\tunvetted_scopes mcp:tools:read\n\t\t}"), upstreamOf(t, g)); err != nil {
		t.Fatal(err)
	}
	if r, q := c.Authorize(t); q != nil || r.Status != http.StatusBadRequest {
		t.Errorf("authorize: %d %v", r.Status, q)
	}
	r := c.Refresh(t, refresh)
	wantStatus(t, r, http.StatusOK)
	if got := r.Text(t, "scope"); got != "mcp:tools:read" {
		t.Errorf("refreshed to %q", got)
	}
}

// from registers a client from an address.
func from(t *testing.T, g *gatewaytest.Gateway, address string) gatewaytest.Reply {
	t.Helper()
	return gatewaytest.PostJSON(t, g.URL+"/oauth/register", `{`+loopback+`}`, "X-Forwarded-For", address)
}

// TestO43Flood: with the default bounds one address is cut off, with an answer
// that clients understand, and nobody else is.
func TestO43Flood(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: automatic()})
	early := register(t, g, `{`+loopback+`}`)
	before := storeSize(t, g)
	var made, refused atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 1250 {
				switch r := from(t, g, "198.51.100.7"); {
				case r.Status == http.StatusCreated:
					made.Add(1)
				case r.Status == http.StatusTooManyRequests && r.Header.Get("Retry-After") != "" && strings.Contains(r.Body, `"temporarily_unavailable"`):
					refused.Add(1)
				default:
					t.Errorf("%d %s", r.Status, r.Body)
				}
			}
		})
	}
	group.Wait()
	if made.Load() < 600 || refused.Load() == 0 || made.Load()+refused.Load() != 10_000 {
		t.Errorf("%d registered, %d were refused", made.Load(), refused.Load())
	}
	wantStatus(t, from(t, g, "198.51.100.8"), http.StatusCreated)
	wantStatus(t, from(t, g, "2001:db8::1"), http.StatusCreated)
	access, _ := early.Tokens(t)
	wantStatus(t, gatewaytest.Call(t, g.URL, access), http.StatusOK)
	if after := storeSize(t, g); after != before {
		t.Errorf("the store grew from %d to %d bytes", before, after)
	}
}

// TestNothingIsStored: ten thousand registrations, each good for a sign-in, and
// not a byte on disk.
func TestNothingIsStored(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: automatic("registration {\n\t\t\trate_limit off off\n\t\t}")})
	first := register(t, g, `{`+loopback+`}`)
	before := storeSize(t, g)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 1250 {
				if r := from(t, g, "198.51.100.7"); r.Status != http.StatusCreated {
					t.Errorf("%d %s", r.Status, r.Body)
				}
			}
		})
	}
	group.Wait()
	if after := storeSize(t, g); after != before {
		t.Errorf("the store grew from %d to %d bytes", before, after)
	}
	wantStatus(t, first.manage(t, http.MethodGet, ""), http.StatusOK)
}

// TestRates: the bounds of the configuration, and who is exempt.
func TestRates(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Caddyfile: automatic("registration {\n\t\t\trate_limit 2\n\t\t\trate_exempt 203.0.113.0/24\n\t\t}")})
	for i, want := range []int{http.StatusCreated, http.StatusCreated, http.StatusTooManyRequests} {
		r := from(t, g, "198.51.100.7")
		if r.Status != want {
			t.Errorf("registration %d: %d", i, r.Status)
		}
		if want == http.StatusTooManyRequests && r.Header.Get("Retry-After") != "30" {
			t.Errorf("come again after %q", r.Header.Get("Retry-After"))
		}
	}
	for range 5 {
		wantStatus(t, from(t, g, "203.0.113.9"), http.StatusCreated)
	}
}
