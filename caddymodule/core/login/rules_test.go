package login

import (
	"testing"
	"unicode/utf8"
)

func TestPermit(t *testing.T) {
	alice := Person{Login: "idp", Identity: Identity{
		Subject: "https://idp.example|1", Email: "Alice@Example.com", EmailVerified: true, Groups: []string{"leads"},
	}}
	unverified, double, nobody := alice, alice, alice
	unverified.EmailVerified = false
	double.Email = "a@evil.example@example.com"
	nobody.Email, nobody.Groups = "", nil
	unknown := alice
	unknown.GroupsUnknown = true
	allow := func(p People) Rules { return Rules{Allow: p} }
	for _, c := range []struct {
		name  string
		rules Rules
		who   Person
		want  bool
	}{
		{"no rules", Rules{}, nobody, true},
		{"email", allow(People{Emails: []string{"alice@example.com"}}), alice, true},
		{"email glob", allow(People{Emails: []string{"*@EXAMPLE.com"}}), alice, true},
		{"email glob in the middle", allow(People{Emails: []string{"a*e@example.com"}}), alice, true},
		{"glob covers the whole address", allow(People{Emails: []string{"alice@example.co"}}), alice, false},
		{"a dot is a dot", allow(People{Emails: []string{"*@exampleXcom", "alice@example?com"}}), alice, false},
		{"unverified address", allow(People{Emails: []string{"*@example.com"}}), unverified, false},
		{"address with two @", allow(People{Emails: []string{"*@example.com"}, Domains: []string{"example.com"}}), double, false},
		{"no address", allow(People{Emails: []string{"*@*"}, Domains: []string{"example.com"}}), nobody, false},
		{"domain", allow(People{Domains: []string{"example.COM"}}), alice, true},
		{"subdomain is another", allow(People{Domains: []string{"com"}}), alice, false},
		{"group", allow(People{Groups: []string{"staff", "leads"}}), alice, true},
		{"group in another case", allow(People{Groups: []string{"Leads"}}), alice, false},
		{"user", allow(People{Users: []string{"https://idp.example|1"}}), alice, true},
		{"user of another provider", allow(People{Users: []string{"1", "https://idp2.example|1"}}), alice, false},
		{"login", allow(People{Logins: []string{"idp"}}), alice, true},
		{"anyone", allow(People{Anyone: true}), nobody, true},
		{"deny wins", Rules{Allow: People{Anyone: true}, Deny: People{Groups: []string{"leads"}}}, alice, false},
		{"deny alone", Rules{Deny: People{Users: []string{"bob"}}}, alice, true},
		{"deny looks at unverified addresses", Rules{Deny: People{Emails: []string{"alice@*"}}}, unverified, false},
		{"deny looks at the last domain", Rules{Deny: People{Domains: []string{"example.com"}}}, double, false},
		{"deny by group where groups are unknown", Rules{Deny: People{Groups: []string{"x"}}}, unknown, false},
		{"allow where groups are unknown", allow(People{Users: []string{alice.Subject}}), unknown, true},
		{"deny anyone", Rules{Allow: People{Anyone: true}, Deny: People{Anyone: true}}, alice, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.rules.Check(); err != nil && c.name != "a dot is a dot" {
				t.Fatal(err)
			}
			if got := c.rules.Permit(c.who); got != c.want {
				t.Errorf("permitted: %t", got)
			}
		})
	}
}

func TestRulesCheck(t *testing.T) {
	for name, p := range map[string]People{
		"email without @": {Emails: []string{"example.com"}}, "email with two": {Emails: []string{"a@b@c"}}, "email with space": {Emails: []string{"a @b"}},
		"domain with @": {Domains: []string{"@example.com"}}, "domain with *": {Domains: []string{"*.example.com"}}, "empty domain": {Domains: []string{""}},
		"empty group": {Groups: []string{""}}, "empty user": {Users: []string{""}}, "empty login": {Logins: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			if (Rules{Allow: p}).Check() == nil || (Rules{Deny: p}).Check() == nil {
				t.Error("it was taken")
			}
		})
	}
}

// A pattern matches what it spells out, whatever else is in it.
func FuzzGlob(f *testing.F) {
	f.Add("*@example.com", "alice@example.com")
	f.Add("[a-z]@(x|y)", "[A-Z]@(X|Y)")
	f.Add("a**b", "ab")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		glob(pattern, text) // must not panic
		if utf8.ValidString(text) && !glob("*", text) {
			t.Errorf("* does not match %q", text)
		}
	})
}

// Somebody may be in more groups than a cookie holds. What is left out counts
// as unknown once the rules name other groups.
func TestGroupsThatFit(t *testing.T) {
	few := Person{Identity: Identity{Groups: []string{"a", "b"}}}
	if got := few.Named([]string{"a"}); len(got.Groups) != 2 || got.GroupsOf != "" || got.Recalled([]string{"z"}).GroupsUnknown {
		t.Errorf("few groups: %+v", got)
	}
	many := Person{Identity: Identity{Groups: []string{"a", "b"}}}
	for range 50 {
		many.Groups = append(many.Groups, "group-with-a-long-name-of-32-chars")
	}
	got := many.Named([]string{"b", "c"})
	if len(got.Groups) != 1 || got.Groups[0] != "b" || got.Named([]string{"z"}).Groups[0] != "b" {
		t.Errorf("many groups: %+v", got)
	}
	if got.Recalled([]string{"c", "b", "b"}).GroupsUnknown || !got.Recalled([]string{"b"}).GroupsUnknown || !got.Recalled(nil).GroupsUnknown {
		t.Error("what the rules named is not compared")
	}
}
