package pages

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestTokens(t *testing.T) {
	a := read(t, Account{Person: alice, Action: testAction, Token: testToken, CanSignOut: true, Tokens: testTokens(plainValues)})
	articles := a.all("article")
	for i, wants := range [][]string{
		{"Claude Code", "Team tools", "https://mcp.example.com/mcp", "See which tools", "2026-11-03 14:05 UTC", "2026-12-03 14:05 UTC", "2026-11-03 15:05 UTC", "from 192.0.2.7"},
		{"Other", "https://mcp.example.com/other", "2026-11-10 14:05 UTC", "not yet"},
	} {
		for _, want := range wants {
			if !strings.Contains(textOf(articles[i]), want) {
				t.Errorf("token %d does not say %q", i, want)
			}
		}
	}
	forms := a.all("form")
	if fields, buttons := posts(forms[0]); fields["do"] != "revoke" || !slices.Equal(buttons, []string{"grant=t1", "grant=t2"}) {
		t.Errorf("the list posts %v and %v", fields, buttons)
	}
	fields, buttons := posts(forms[1])
	if fields["resource"] != "https://mcp.example.com/mcp" || fields["scope_0"] != "mcp:tools:read" || fields["scope_1"] != "files:write" ||
		fields["name"] != "" || !slices.Equal(buttons, []string{"do=mint_token"}) {
		t.Errorf("a form posts %v and %v", fields, buttons)
	}
	var lives, proposed []string
	for n := range forms[1].Descendants() {
		if n.Type == html.ElementNode && n.Data == "option" {
			days, _ := attr(n, "value")
			lives = append(lives, days+" "+textOf(n))
			if _, ok := attr(n, "selected"); ok {
				proposed = append(proposed, days)
			}
		}
	}
	if !slices.Equal(lives, []string{"7 7 days", "30 30 days", "365 365 days"}) || !slices.Equal(proposed, []string{"30"}) {
		t.Errorf("lives %q, proposed %q", lives, proposed)
	}
	if fields, _ := posts(forms[2]); fields["resource"] != "https://mcp.example.com/other" || fields["scope_1"] != "" {
		t.Errorf("the other form posts %v", fields)
	}
	if last := forms[len(forms)-2]; !strings.Contains(textOf(last), english.Token.RevokeAllHint) {
		t.Errorf("removing all says %q", textOf(last))
	}
}

func TestTokensStates(t *testing.T) {
	all := testTokens(plainValues)
	for name, c := range map[string]struct {
		tokens  *Tokens
		says    string
		notSays string
		forms   int
	}{
		"none are accepted":       {nil, english.Account.None, english.Token.Title, 0},
		"no server for them":      {&Tokens{}, english.Token.NoServer, english.Account.RevokeAll, 0},
		"no token yet":            {&Tokens{Servers: all.Servers, Days: all.Days}, english.Token.None, english.Account.RevokeAll, 2},
		"sign in first":           {&Tokens{Servers: all.Servers, Days: all.Days, SignInFirst: true}, english.Token.SignIn, english.Token.Make, 1},
		"not asked there":         {&Tokens{Servers: all.Servers, SignInFirst: true, NotAsked: true}, english.Token.SignInNotAsked, english.Token.SignIn, 1},
		"tokens, and no programs": {&Tokens{Tokens: all.Tokens}, english.Token.RevokeAll, english.Token.None, 2},
		"one life":                {&Tokens{Servers: all.Servers[:1], Days: []int{1}}, "1 day", "1 days", 1},
	} {
		a := read(t, Account{Person: alice, Action: testAction, Token: testToken, Tokens: c.tokens})
		if text := a.text(); !strings.Contains(text, c.says) || strings.Contains(text, c.notSays) || len(a.all("form")) != c.forms {
			t.Errorf("%s: %d forms, %s", name, len(a.all("form")), text)
		}
	}
	for _, done := range []string{DoneTokenRevoked, DoneTokenMade, DoneTokenNoName, DoneTokenNoScope, DoneTokenTooMany, DoneTokenTooOften} {
		if text := english.Account.Done[done]; text == "" || !strings.Contains(read(t, Account{Person: alice, Action: testAction, Done: done}).text(), text) {
			t.Errorf("%s is not said", done)
		}
	}
}

func TestNewToken(t *testing.T) {
	a := read(t, samples(plainValues)["new token"])
	for _, want := range []string{
		testSecret, english.Token.Once, "Claude Code", "Team tools", "See which tools", "2026-11-03 14:05 UTC",
		`curl -sS https://mcp.example.com/mcp -H "Authorization: Bearer $MCP_TOKEN"`, "claude mcp add --transport http mcp-example-com https://mcp.example.com/mcp",
	} {
		if !strings.Contains(a.text(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Count(a.Body.String(), testSecret) != 1 || a.Header().Get("Cache-Control") != "no-store" || len(a.all("form")) > 0 {
		t.Errorf("the token is there %d times: %s", strings.Count(a.Body.String(), testSecret), a.Body)
	}
	if links := a.attributes("href"); !slices.Contains(links, testAccount) {
		t.Errorf("links %v", links)
	}
}
