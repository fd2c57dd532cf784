package people_test

import (
	"net/http"
	"strings"
	"testing"
)

// testRulesChange puts rules in force against somebody who is in.
func testRulesChange(t *testing.T, h *house) {
	h.rule(t, rules{})
	known := client(t, h.Gateway, "https://known.example/cb")
	b, _ := signedIn(t, known, "alice")
	_, refresh := approved(t, b, known)
	wantCode(t, b.Open(known.AuthorizeURL()))
	waiting := b.Open(known.AuthorizeURL("prompt", "consent"))
	code := b.Open(known.AuthorizeURL()).Result().Get("code")
	for name, r := range map[string]rules{"for all": {all: "deny email alice@example.com"}, "for the resource": {first: "allow group nobody"}} {
		h.rule(t, r)
		t.Run("no refresh, "+name, func(t *testing.T) { wantNoGrant(t, known, refresh) })
		t.Run("a session and an approval pass no more, "+name, func(t *testing.T) {
			wantNotInvited(t, b.Open(known.AuthorizeURL()))
			wantNotInvited(t, waiting.Allow())
			if p := b.Open(known.AuthorizeURL("prompt", "none")); p.Location != nil {
				t.Errorf("sent to %s", p.Location)
			}
		})
		t.Run("nor a code from before, "+name, func(t *testing.T) {
			if r := known.Redeem(t, code); r.Status != http.StatusBadRequest || r.Text(t, "error") != "invalid_grant" {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})
	}
	t.Run("the account page stays, to take things back", func(t *testing.T) {
		wantShown(t, "account", b.Open(h.URL+accountPath), "known.example")
	})
	t.Run("invited again, all is well", func(t *testing.T) {
		h.rule(t, rules{})
		r := known.Refresh(t, refresh)
		wantStatus(t, r, http.StatusOK)
		wantCode(t, b.Open(known.AuthorizeURL()))
	})
}

// testUsersChange takes accounts away from people who are in.
func testUsersChange(t *testing.T, h *house) {
	const block = "user bob {env.BOB} {\n\t\t\t\temail bob@example.com\n\t\t\t}"
	c := client(t, h.Gateway, "https://users.example/cb")
	for name, edit := range map[string]string{
		"removed":              "",
		"disabled":             strings.Replace(block, "{\n", "{\n\t\t\t\tdisabled\n", 1),
		"another password":     strings.Replace(block, "{env.BOB}", "{env.DAVE}", 1),
		"another person":       strings.NewReplacer("user bob", "user robert").Replace(block),
		"in other letter case": strings.NewReplacer("user bob", "user Bob").Replace(block),
	} {
		t.Run(name, func(t *testing.T) {
			h.rule(t, rules{})
			b, _ := signedIn(t, c, "bob")
			_, refresh := approved(t, b, c, "prompt", "consent")
			waiting := b.Open(c.AuthorizeURL("prompt", "consent"))
			account := b.Open(h.URL + accountPath)
			h.rule(t, rules{}, block, edit)
			wantSignIn(t, b.Open(c.AuthorizeURL()))
			wantSignIn(t, b.Open(h.URL+accountPath))
			if p := waiting.Allow(); p.Location != nil && p.Location.Query().Has("code") {
				t.Errorf("sent to %s", p.Location)
			}
			account.Click("do", "revoke_all") // by nobody who is known: nothing is done
			wantNoGrant(t, c, refresh)
			p := browser(t).Open(c.AuthorizeURL()).SignIn("bob", "bob"+passwordOf)
			if name != "in other letter case" {
				wantStatus(t, p.Reply, http.StatusForbidden)
				wantSignIn(t, p)
			}
			h.rule(t, rules{})
			wantStatus(t, c.Refresh(t, refresh), http.StatusOK) // the account is back, as it was
		})
	}
	t.Run("a group taken away counts at once", func(t *testing.T) {
		h.rule(t, rules{first: "allow group leads"})
		c := client(t, h.Gateway, "https://groups.example/cb")
		b, _ := signedIn(t, c, "alice")
		_, refresh := approved(t, b, c)
		h.rule(t, rules{first: "allow group leads"}, "groups staff leads", "groups staff")
		wantNotInvited(t, b.Open(c.AuthorizeURL()))
		wantNoGrant(t, c, refresh)
	})
}

// testManyGroups has somebody in more groups than a cookie holds.
func testManyGroups(t *testing.T, h *house) {
	var names []string
	for i := range 100 {
		names = append(names, "group-"+itoa(i)+"-"+strings.Repeat("x", 100))
	}
	edit := []string{"user dave {env.DAVE}", "user dave {env.DAVE} {\n\t\t\t\tgroups " + strings.Join(names, " ") + "\n\t\t\t}"}
	c := client(t, h.Gateway, web)
	h.rule(t, rules{all: "allow group " + names[77]}, edit...)
	b, page := signedIn(t, c, "dave")
	wantConsent(t, page)
	_, refresh := approved(t, b, c)
	r := c.Refresh(t, refresh)
	wantStatus(t, r, http.StatusOK)
	h.rule(t, rules{all: "allow group " + names[78]}, edit...)
	wantCode(t, b.Open(c.AuthorizeURL()))
	wantStatus(t, c.Refresh(t, r.Text(t, "refresh_token")), http.StatusOK)
	h.rule(t, rules{all: "allow group elsewhere"}, edit...)
	wantNotInvited(t, b.Open(c.AuthorizeURL()))
	account(t, b, h.Gateway).Click("do", "sign_out")
	for _, k := range b.Cookies(h.URL) {
		if strings.Contains(k.Name, "session") {
			t.Errorf("left after signing out: %s", k.Name)
		}
	}
}

// testClientChanges changes what a client of the configuration says of itself,
// after somebody approved it.
func testClientChanges(t *testing.T, h *house) {
	c := configuredClient(h.Gateway, partnerID, "", partnerURI)
	for name, edit := range map[string][2]string{
		"another name":          {`name "Partner desk"`, `name "Partner bank"`},
		"one more redirect URI": {partnerURI, partnerURI + " https://partner.example/other"},
		"a secret":              {`name "Partner desk"`, "name \"Partner desk\"\n\t\t\tsecret a-secret-from-now-on-0123456789"},
	} {
		t.Run(name, func(t *testing.T) {
			h.rule(t, rules{})
			b, _ := signedIn(t, c, "alice")
			approved(t, b, c, "prompt", "consent")
			wantCode(t, b.Open(c.AuthorizeURL()))
			h.rule(t, rules{}, edit[0], edit[1])
			wantConsent(t, b.Open(c.AuthorizeURL()))
			h.rule(t, rules{})
			wantCode(t, b.Open(c.AuthorizeURL()))
		})
	}
}
