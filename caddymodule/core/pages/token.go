package pages

import (
	"slices"
	"time"
)

// Tokens is the part of [Account] about personal access tokens. Its forms post
// flow and do: revoke (with grant), sign_in, or mint_token with name, resource,
// days, and scope_0, scope_1 and so on.
type Tokens struct {
	// Tokens are those that the person has, in this order.
	Tokens []PersonalToken
	// Servers are those for which they may make one.
	Servers []TokenServer
	// Days are the lives to choose from; the second one is proposed.
	Days []int
	// SignInFirst says that the person has to sign in again to make one, and
	// NotAsked that they just did, but their provider did not ask who they are.
	SignInFirst, NotAsked bool
}

// PersonalToken is a personal access token without its text.
type PersonalToken struct {
	// ID is posted as grant.
	ID string
	// Name is what the person calls it.
	Name     string
	Resource Resource
	Scopes   []Scope
	// Since and Expires are its life; LastUsed is zero and From empty if it was
	// never used.
	Since, Expires, LastUsed time.Time
	From                     string
}

// TokenServer is a server for which a person may make a token.
type TokenServer struct {
	// ID is posted as resource.
	ID       string
	Resource Resource
	Scopes   []Scope
	// Proposed are the names of those that are chosen before anybody chooses.
	Proposed []string
}

// NewToken is the page that shows a new personal access token, this once.
type NewToken struct {
	// Token is its text.
	Token string
	// Name is what the person calls it.
	Name     string
	Resource Resource
	Scopes   []Scope
	Expires  time.Time
}

type tokensView struct {
	Tokens      []tokenView
	Servers     []tokenServerView
	SignInFirst bool
	NotAsked    bool
}

// asks reports whether there is a form.
func (v *tokensView) asks() bool {
	return v != nil && (v.SignInFirst || len(v.Tokens)+len(v.Servers) > 0)
}

type tokenView struct {
	ID, Name string
	// Key ties the parts of the entry together.
	Key                      int
	Resource                 resourceView
	Scopes                   []Scope
	Since, Expires, LastUsed moment
	From                     []piece
}

type tokenServerView struct {
	ID       string
	Key      int
	Resource resourceView
	Choices  []choiceView
	Lives    []lifeView
}

// choiceView is a scope that the token may have.
type choiceView struct {
	Scope
	Proposed bool
}

// lifeView is how long a token may live.
type lifeView struct {
	Days     int
	Text     string
	Proposed bool
}

func newTokensView(t *words, p *Tokens) *tokensView {
	if p == nil {
		return nil
	}
	view := &tokensView{SignInFirst: p.SignInFirst, NotAsked: p.NotAsked}
	for i, k := range p.Tokens {
		v := tokenView{
			ID: k.ID, Name: clean(k.Name, maxName), Key: i, Resource: newResourceView(k.Resource), Scopes: t.scopes(k.Scopes),
			Since: t.moment(k.Since), Expires: t.moment(k.Expires), LastUsed: t.moment(k.LastUsed),
		}
		if from := clean(k.From, maxAddress); from != "" {
			v.From = say(t.Account.From, "address", from)
		}
		view.Tokens = append(view.Tokens, v)
	}
	for i, s := range p.Servers {
		v := tokenServerView{ID: s.ID, Key: i, Resource: newResourceView(s.Resource)}
		for j, scope := range t.scopes(s.Scopes) {
			if scope.Name == s.Scopes[j].Name { // nobody chooses what can't be shown whole
				v.Choices = append(v.Choices, choiceView{scope, slices.Contains(s.Proposed, scope.Name)})
			}
		}
		for j, days := range p.Days {
			v.Lives = append(v.Lives, lifeView{days, t.Days.of(days), j == min(1, len(p.Days)-1)})
		}
		view.Servers = append(view.Servers, v)
	}
	return view
}

type newTokenView struct {
	Token, Name string
	Resource    resourceView
	Scopes      []Scope
	Expires     moment
	Uses        []Step
}

func (p NewToken) draw(_ *Site, t *words) (drawing, error) {
	view := newTokenView{
		Token: p.Token, Name: clean(p.Name, maxName), Resource: newResourceView(p.Resource), Scopes: t.scopes(p.Scopes),
		Expires: t.moment(p.Expires),
	}
	if len(p.Resource.URLs) > 0 {
		view.Uses = tokenUses(t, p.Resource.URLs[0])
	}
	return drawing{template: newTokenTemplate, title: t.Token.Made, page: view}, nil
}

// tokenUses are commands that work with the token. It is not in them: it would
// end up in the history of a shell.
func tokenUses(t *words, address string) []Step {
	return []Step{
		t.Token.Shell.with(`read -rs MCP_TOKEN && export MCP_TOKEN`),
		t.Token.Curl.with("curl -sS " + shellQuote(address) + " -H \"Authorization: Bearer $MCP_TOKEN\" \\\n" +
			"  -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \\\n" +
			`  -d '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'`),
		t.Token.ClaudeCode.with("claude mcp add --transport http " + serverName(address) + " " + shellQuote(address) + " \\\n" +
			`  --header "Authorization: Bearer $MCP_TOKEN"`),
	}
}
