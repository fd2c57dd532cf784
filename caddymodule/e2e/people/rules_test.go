package people_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/e2e/gatewaytest"
)

// house is a gateway whose configuration changes while it runs. It has two
// protected sites, and no rule of its own.
type house struct {
	*gatewaytest.Gateway
	upstream, text string
	second         string // the origin of the second site
}

func newHouse(t *testing.T) *house {
	_, upstream := gatewaytest.Mock(t)
	h := &house{upstream: upstream, second: "http://localhost:" + itoa(gatewaytest.FreePort(t))}
	h.text = strings.Replace(configured("RULES", sharedClients), "\n\t\tdeny user mallory", "", 1)
	h.text = strings.Replace(h.text, "name \"Ticket desk\"", "name \"Ticket desk\"\n\t\tFIRST", 1)
	h.text += h.second + ` {
	log
	mcp_auth {
		name "Back office"
		resource ` + h.second + `/mcp
		SECOND
	}
	reverse_proxy {UPSTREAM}
}
`
	h.Gateway = gatewaytest.Start(t, gatewaytest.Options{Caddyfile: h.with(rules{}), Env: env(), Upstream: upstream})
	return h
}

// rules are those of the whole server and of its two sites, in a Caddyfile's
// words, one a line.
type rules struct{ all, first, second string }

func (h *house) with(r rules) string {
	return strings.NewReplacer("RULES", r.all, "FIRST", r.first, "SECOND", r.second).Replace(h.text)
}

// rule puts rules in force, and edits of the configuration, old and new in
// turn.
func (h *house) rule(t *testing.T, r rules, edits ...string) {
	t.Helper()
	if err := h.Reload(strings.NewReplacer(edits...).Replace(h.with(r)), h.upstream); err != nil {
		t.Fatal(err)
	}
	settled(t, h.Gateway)
}

// settled waits after a reload: Caddy closes the old configuration's listeners a
// moment later, with the connections in them that nobody has accepted.
func settled(t *testing.T, g *gatewaytest.Gateway) {
	t.Helper()
	probe, row := gatewaytest.NewBrowser(t), 0
	eventually(t, 10*time.Second, "the old listeners are closed", func() bool {
		if row++; !probe.Answers(g.URL + "/oauth/health") {
			row = 0
		}
		return row >= 5
	})
}

// TestRules is about who may come in: by the configuration, that of each
// resource, and those that take its place while people are there.
func TestRules(t *testing.T) {
	h := newHouse(t)
	c := client(t, h.Gateway, web)
	t.Run("kinds of rules", func(t *testing.T) { testKinds(t, h, c) })
	t.Run("each resource has its own", func(t *testing.T) { testPerResource(t, h, c) })
	t.Run("not invited", func(t *testing.T) { testNotInvited(t, h, c) })
	t.Run("changed while somebody is in", func(t *testing.T) { testRulesChange(t, h) })
	t.Run("users changed while they are in", func(t *testing.T) { testUsersChange(t, h) })
	t.Run("more groups than a cookie holds", func(t *testing.T) { testManyGroups(t, h) })
	t.Run("O2, F27 the client changed", func(t *testing.T) { testClientChanges(t, h) })
	t.Run("a bad rule is refused and changes nothing", func(t *testing.T) {
		h.rule(t, rules{all: "deny user bob"})
		c := client(t, h.Gateway, web)
		b, _ := signedIn(t, c, "alice")
		for _, bad := range []string{"allow everybody", "allow email alice", "deny domain @example.com", "allow login nowhere", "allow group", "deny email *"} {
			if err := h.Reload(h.with(rules{all: bad}), h.upstream); err == nil {
				t.Errorf("%q is accepted", bad)
			}
		}
		wantConsent(t, b.Open(c.AuthorizeURL()))
		_, page := signedIn(t, c, "bob")
		wantNotInvited(t, page)
	})
}

// testKinds puts one rule after the other in force, for people who are signed
// in.
func testKinds(t *testing.T, h *house, c *gatewaytest.Client) {
	alice, _ := signedIn(t, c, "alice")
	bob, _ := signedIn(t, c, "bob")
	dave, _ := signedIn(t, c, "dave") // has no address
	for _, r := range []struct {
		rules            string
		alice, bob, dave bool
	}{
		{"", true, true, true},
		{"allow anyone", true, true, true},
		{"allow email alice@example.com", true, false, false},
		{"allow email ALICE@EXAMPLE.com", true, false, false},
		{"allow email *@example.com", true, true, false},
		{"allow email a*@example.com b*@example.org", true, false, false},
		{"allow email *@example.co", false, false, false},
		{"allow domain Example.COM", true, true, false},
		{"allow domain ample.com", false, false, false},
		{"allow group leads", true, false, false},
		{"allow group Leads", false, false, false},
		{"allow user bob dave", false, true, true},
		{"allow user Bob", false, false, false},
		{"allow login password", true, true, true},
		{"deny email bob@*", true, false, true},
		{"deny domain example.com", false, false, true},
		{"deny group staff", false, true, true},
		{"deny user alice", false, true, true},
		{"deny login password", false, false, false},
		{"deny anyone", false, false, false},
		{"allow email *@example.com\n\t\tdeny group leads", false, true, false},
		{"allow user alice\n\t\tallow user dave\n\t\tdeny user alice", false, false, true},
	} {
		t.Run(strings.ReplaceAll(r.rules, "\n\t\t", ", "), func(t *testing.T) {
			h.rule(t, rules{all: r.rules})
			for name, who := range map[string]struct {
				b    *gatewaytest.Browser
				want bool
			}{"alice": {alice, r.alice}, "bob": {bob, r.bob}, "dave": {dave, r.dave}} {
				if p := who.b.Open(c.AuthorizeURL()); isConsent(p) != who.want || isNotInvited(p) == who.want {
					t.Errorf("%s, want in: %t: %d %.200s", name, who.want, p.Status, p.Text())
				}
			}
		})
	}
}

// testPerResource has rules for each site, beside those for all.
func testPerResource(t *testing.T, h *house, c *gatewaytest.Client) {
	h.rule(t, rules{all: "deny user mallory", first: "allow group staff", second: "allow email bob@example.com"})
	back := h.second + "/mcp"
	for name, want := range map[string]struct{ desk, back bool }{"alice": {true, false}, "bob": {false, true}, "mallory": {}, "dave": {}} {
		b := browser(t)
		b.Open(h.URL+accountPath).SignIn(name, name+passwordOf)
		for target, in := range map[string]bool{c.AuthorizeURL(): want.desk, c.AuthorizeURL("resource", back): want.back} {
			if p := b.Open(target); isConsent(p) != in || isNotInvited(p) == in {
				t.Errorf("%s, want in: %t: %d %s", name, in, p.Status, p.Text())
			}
		}
	}
	t.Run("a token for one is no key to the other", func(t *testing.T) {
		b, _ := signedIn(t, c, "alice")
		access, refresh := approved(t, b, c)
		wantStatus(t, gatewaytest.Call(t, h.URL, access), http.StatusOK)
		wantStatus(t, gatewaytest.Call(t, h.second, access), http.StatusUnauthorized)
		r := c.Refresh(t, refresh, "resource", back)
		if r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_target" {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
	t.Run("F27 an approval for one is none for the other", func(t *testing.T) {
		h.rule(t, rules{})
		b, _ := signedIn(t, c, "alice")
		approved(t, b, c, "prompt", "consent")
		wantCode(t, b.Open(c.AuthorizeURL()))
		wantConsent(t, b.Open(c.AuthorizeURL("resource", back)))
	})
}

// testNotInvited is the page for those who signed in well and may not come in.
func testNotInvited(t *testing.T, h *house, c *gatewaytest.Client) {
	h.rule(t, rules{all: "deny user mallory"})
	b, p := signedIn(t, c, "mallory")
	wantNotInvited(t, p)
	wantShown(t, "not invited", p, "You are signed in, but not invited", "mallory@example.com", "Ticket desk", "another account")
	t.Run("the request id finds the log line", func(t *testing.T) {
		var found []logLine
		for _, l := range eventLines(h.Gateway, "authorize") {
			if strings.Contains(p.Text(), l.text("request_id")) {
				found = append(found, l)
			}
		}
		if len(found) != 1 || found[0].text("reason") != "not_invited" || found[0].text("subject") != "mallory" || found[0].text("login") != "password" {
			t.Errorf("%v", found)
		}
	})
	t.Run("no form of the page lets them in", func(t *testing.T) {
		wantNotInvited(t, b.Post(h.URL+consentPath, paramsOf("flow", flowOf(p), "decision", "allow")))
	})
	t.Run("nor one from before the rule", func(t *testing.T) {
		h.rule(t, rules{})
		page := b.Open(c.AuthorizeURL())
		wantConsent(t, page)
		h.rule(t, rules{all: "deny user mallory"})
		wantNotInvited(t, page.Allow())
	})
	t.Run("the client learns no more than access_denied", func(t *testing.T) {
		b, p := signedIn(t, client(t, h.Gateway, loopback), "mallory")
		wantNotInvited(t, p)
		p = b.Open(client(t, h.Gateway, loopback).AuthorizeURL()).Deny()
		wantError(t, p, "access_denied")
		if strings.Contains(p.Location.String(), "mallory") {
			t.Errorf("sent back with %s", p.Location)
		}
	})
	t.Run("as somebody else", func(t *testing.T) {
		next := b.Open(c.AuthorizeURL()).Click("decision", "switch")
		wantSignIn(t, next)
		wantConsent(t, next.SignIn("bob", "bob"+passwordOf))
	})
	t.Run("their account page works", func(t *testing.T) {
		p := browser(t).Open(h.URL+accountPath).SignIn("mallory", "mallory"+passwordOf)
		wants(t, p, isAccount, "the account page")
	})
}
