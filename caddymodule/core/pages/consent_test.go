package pages

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func consentFor(p Program) Consent {
	return Consent{Program: p, Resource: teamTools, Person: alice, Action: testAction, Token: testToken, CanSwitch: true}
}

// TestConsentButtons: refusing is the first of the two, looks the same, and
// nothing that a key press could mean is allowing.
func TestConsentButtons(t *testing.T) {
	a := read(t, consentFor(Program{Name: "X", Host: "x.example"}))
	forms := a.all("form")
	fields, buttons := posts(forms[0])
	if len(forms) != 1 || !maps.Equal(fields, map[string]string{"flow": testToken}) || !slices.Equal(buttons, []string{"decision=switch", "decision=deny", "decision=allow"}) {
		t.Errorf("%d forms, %v, %v", len(forms), fields, buttons)
	}
	if focus := a.attributes("autofocus"); len(focus) > 0 {
		t.Error("something has the focus before the page was read")
	}
	var pair *html.Node
	for _, n := range a.all("p") {
		if class, _ := attr(n, "class"); slices.Contains(strings.Fields(class), "pair") {
			pair = n
		}
	}
	if pair == nil || textOf(pair) != "Refuse Allow" {
		t.Error("the two answers do not stand side by side")
	}
	for _, n := range a.all("button") {
		if class, _ := attr(n, "class"); textOf(n.Parent) == "Refuse Allow" && class != "" {
			t.Errorf("%s looks different: %s", textOf(n), class)
		}
	}
	page := consentFor(Program{Host: "x.example"})
	page.CanSwitch = false
	if _, buttons := posts(read(t, page).all("form")[0]); !slices.Equal(buttons, []string{"decision=deny", "decision=allow"}) {
		t.Errorf("without another account: %v", buttons)
	}
}

// TestConsentWarnings: SPEC E16. Whoever can't be told from others by their
// address gets a warning, known or not.
func TestConsentWarnings(t *testing.T) {
	for name, c := range map[string]struct {
		program Program
		want    string
	}{
		"unknown host":   {Program{Name: "X", Host: "x.example"}, "the address that access goes to: x.example."},
		"known host":     {Program{Name: "X", Host: "x.example", Verified: true}, ""},
		"loopback":       {Program{Name: "X", Host: "127.0.0.1:1", Loopback: true}, english.Program.WarnLoopback},
		"known loopback": {Program{Name: "X", Host: "[::1]:1", Verified: true}, english.Program.WarnLoopback},
		"app":            {Program{Name: "X", Scheme: "cursor"}, english.Program.WarnApp},
		"known app":      {Program{Name: "X", Scheme: "cursor", Verified: true}, english.Program.WarnApp},
	} {
		a := read(t, consentFor(c.program))
		var notes []string
		for _, n := range a.elements() {
			if role, _ := attr(n, "role"); role == "note" {
				notes = append(notes, textOf(n))
			}
		}
		switch {
		case c.want == "" && len(notes) > 0:
			t.Errorf("%s: %v", name, notes)
		case c.want != "" && (len(notes) != 1 || !strings.Contains(notes[0], c.want) || !strings.HasSuffix(notes[0], "refuse.")):
			t.Errorf("%s: %v", name, notes)
		}
	}
}

// TestConsentDocument: SPEC E16 to E18. What a page says of a program that a
// document describes, and whose picture it shows.
func TestConsentDocument(t *testing.T) {
	const impostor, unfamiliar = "any program on this computer can use the same description", "look twice at programs that client.example describes"
	for name, c := range map[string]struct {
		program Program
		want    []string
		not     []string
	}{
		"no document":    {Program{Host: "x.example", OnlyLoopback: true, Unfamiliar: true}, nil, []string{impostor, unfamiliar}},
		"document":       {Program{Host: "x.example", IDHost: "client.example"}, []string{"x.example", "client.example"}, []string{impostor, unfamiliar}},
		"only loopback":  {Program{Host: "127.0.0.1:1", Loopback: true, IDHost: "client.example", OnlyLoopback: true}, []string{impostor, "client.example"}, []string{unfamiliar}},
		"warned of":      {Program{Host: "client.example", IDHost: "client.example", Unfamiliar: true}, []string{unfamiliar}, []string{impostor}},
		"both":           {Program{Host: "127.0.0.1:1", IDHost: "client.example", OnlyLoopback: true, Unfamiliar: true}, []string{impostor, unfamiliar}, nil},
		"a hostile host": {Program{Host: "x.example", IDHost: "<b>x</b>", Unfamiliar: true}, []string{"<b>x</b>"}, nil},
	} {
		text := read(t, consentFor(c.program)).text()
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in: %s", name, want, text)
			}
		}
		for _, not := range c.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q is in: %s", name, not, text)
			}
		}
	}
	for logo, want := range map[string]int{
		"": 0, "/oauth/client-logo?logo=0.abc": 1, "https://static.example/logo.png": 0, "//static.example/logo.png": 0,
		"javascript:alert(1)": 0, "data:image/png;base64,AAAA": 0, `/x"onerror="alert(1)`: 0,
	} {
		if got := len(read(t, consentFor(Program{Host: "x.example", LogoURL: logo})).all("img")); got != want {
			t.Errorf("%q: %d pictures", logo, got)
		}
	}
}

func TestConsentSaysWhoAndHowToTakeItBack(t *testing.T) {
	for want, person := range map[string]Person{
		"signed in as Alice Example alice@example.com": alice,
		"signed in as bob@example.com Not you?":        {Email: "bob@example.com", ID: "https://idp.example#4711"},
		"signed in as Bob bob-4711":                    {Name: "Bob", ID: "bob-4711"},
		"signed in as 4711 Not you?":                   {ID: "4711"},
	} {
		page := consentFor(Program{Host: "x.example"})
		page.Person = person
		if text := read(t, page).text(); !strings.Contains(text, want) {
			t.Errorf("%q is not in: %s", want, text)
		}
	}
	if text := read(t, consentFor(Program{})).text(); !strings.Contains(text, "mcp.example.com/oauth/account") {
		t.Error("the page does not say how to take it back")
	}
}

func TestNotInvited(t *testing.T) {
	program := &Program{Name: "Claude", Host: "claude.ai"}
	base := NotInvited{Person: alice, Program: program, Resource: teamTools, Action: testAction, Token: testToken, CanSwitch: true, RequestID: "req-4711"}
	a := read(t, base)
	for _, want := range []string{"alice@example.com", "may not use Team tools", "ask whoever runs this server", "req-4711", "Claude"} {
		if !strings.Contains(a.text(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if _, buttons := posts(a.all("form")[0]); !slices.Equal(buttons, []string{"decision=switch", "decision=deny"}) {
		t.Errorf("buttons %v", buttons)
	}
	for name, c := range map[string]struct {
		change  func(*NotInvited)
		buttons []string
		links   int
	}{
		"a link back takes the button's place": {func(p *NotInvited) { p.ReturnURL = testReturn }, []string{"decision=switch"}, 1},
		"no other account":                     {func(p *NotInvited) { p.CanSwitch = false }, []string{"decision=deny"}, 0},
		"no program waits":                     {func(p *NotInvited) { p.Program = nil }, []string{"decision=switch"}, 0},
		"nothing to post":                      {func(p *NotInvited) { p.Action, p.Token = "", "" }, nil, 0},
		"a link that is none":                  {func(p *NotInvited) { p.ReturnURL = "javascript://x.example/%0aalert(1)" }, []string{"decision=switch", "decision=deny"}, 0},
	} {
		page := base
		c.change(&page)
		a := read(t, page)
		var got []string
		for _, form := range a.all("form") {
			_, got = posts(form)
		}
		links := slices.DeleteFunc(a.attributes("href"), func(href string) bool { return href == testHome })
		if !slices.Equal(got, c.buttons) || len(links) != c.links {
			t.Errorf("%s: buttons %v, links %v", name, got, links)
		}
	}
	if text := read(t, NotInvited{Person: alice}).text(); !strings.Contains(text, english.NotInvited.WhatServer) {
		t.Error("without a resource, the page does not name the server")
	}
}

func TestAccount(t *testing.T) {
	at := time.Date(2026, 11, 3, 14, 5, 0, 0, time.UTC)
	page := Account{
		Person: alice, Action: testAction, Token: testToken, CanSignOut: true,
		Grants: []Grant{
			{ID: "g1", Program: Program{Name: "Claude", Host: "claude.ai"}, Resource: teamTools, Scopes: []Scope{{Name: "mcp:tools:read"}}, Since: at, LastUsed: at.Add(time.Hour), From: "192.0.2.7"},
			{ID: `g"2`, Program: Program{Scheme: "cursor"}, Resource: teamTools, Since: at},
			{ID: "g3", Program: Program{Host: "127.0.0.1:5", Loopback: true}, Resource: teamTools},
		},
	}
	a := read(t, page)
	articles := a.all("article")
	for i, wants := range [][]string{
		{"Claude", "claude.ai", "Team tools", "https://mcp.example.com/mcp", "See which tools", "2026-11-03 14:05 UTC", "2026-11-03 15:05 UTC", "from 192.0.2.7"},
		{"No name given", "opens cursor: links", "not yet"},
		{"a program on your computer: 127.0.0.1:5"},
	} {
		for _, want := range wants {
			if !strings.Contains(textOf(articles[i]), want) {
				t.Errorf("program %d does not say %q", i, want)
			}
		}
	}
	if times := a.attributes("datetime"); !slices.Equal(times, []string{"2026-11-03T14:05:00Z", "2026-11-03T15:05:00Z", "2026-11-03T14:05:00Z"}) {
		t.Errorf("times %v", times)
	}
	for i, want := range []struct {
		do      string
		buttons []string
	}{
		{"revoke", []string{"grant=g1", `grant=g"2`, "grant=g3"}},
		{"", []string{"do=revoke_all"}},
		{"", []string{"do=sign_out", "do=sign_out_everywhere"}},
	} {
		fields, buttons := posts(a.all("form")[i])
		if fields["do"] != want.do || fields["flow"] != testToken || !slices.Equal(buttons, want.buttons) {
			t.Errorf("form %d posts %v and %v", i, fields, buttons)
		}
	}
	if folded := a.all("details"); len(folded) != 1 || !slices.Contains(slices.Collect(folded[0].Descendants()), a.all("form")[1]) {
		t.Error("removing all takes one click only")
	}
}

func TestAccountStates(t *testing.T) {
	grants := []Grant{{ID: "g", Program: Program{Name: "X"}}}
	for name, c := range map[string]struct {
		page    Account
		says    string
		notSays string
		forms   int
	}{
		"empty":          {Account{}, english.Account.None, english.Account.RevokeAll, 0},
		"empty, session": {Account{CanSignOut: true}, english.Account.SignOut, english.Account.RevokeAll, 1},
		"more":           {Account{Grants: grants, More: true}, english.Account.More, english.Account.SignOut, 2},
		"revoked":        {Account{Done: DoneRevoked}, english.Account.Done[DoneRevoked], english.Account.More, 0},
		"all revoked":    {Account{Done: DoneRevokedAll}, english.Account.Done[DoneRevokedAll], english.Account.More, 0},
		"gone":           {Account{Done: DoneGone}, english.Account.Done[DoneGone], english.Account.More, 0},
		"not a word":     {Account{Done: "<b>"}, english.Account.None, "<b>", 0},
	} {
		c.page.Action, c.page.Person = testAction, alice
		a := read(t, c.page)
		if text := a.text(); !strings.Contains(text, c.says) || strings.Contains(text, c.notSays) || len(a.all("form")) != c.forms {
			t.Errorf("%s: %d forms, %s", name, len(a.all("form")), text)
		}
		if status := slices.Contains(a.attributes("role"), "status"); status != (english.Account.Done[c.page.Done] != "") {
			t.Errorf("%s: a notice %t", name, status)
		}
	}
}

// TestHostBreaksAtDots: a host that is too long for a line breaks after its
// dots, so that nobody hides whose it is by where the line ends (SPEC E16).
func TestHostBreaksAtDots(t *testing.T) {
	page := samples(plainValues)["consent"].(Consent)
	page.Program.Host = "claude.ai.login.evil.example:8443"
	body := read(t, page).Body.String()
	if want := `<bdi class="name">claude.<wbr>ai.<wbr>login.<wbr>evil.<wbr>example:8443</bdi>`; strings.Count(body, want) != 2 {
		t.Errorf("the host is not shown twice as %s:\n%s", want, body)
	}
}
