package pages

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"
)

const (
	testIssuer  = "https://mcp.example.com"
	testHome    = "/oauth/"
	testAccount = "/oauth/account"
	testAction  = "/oauth/flow"
	testToken   = "flow-token-4711"
	testSecret  = "mcp_pat_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM"
	testReturn  = "https://client.example/cb?error=access_denied&state=st"
	testLeave   = "cursor://anysphere.cursor-mcp/oauth/callback?code=abc&state=st&iss=https%3A%2F%2Fmcp.example.com"
)

func testSite(t *testing.T, change func(*SiteConfig)) *Site {
	t.Helper()
	cfg := SiteConfig{Issuer: testIssuer, Home: testHome, Account: testAccount, Version: "v1.2.3"}
	if change != nil {
		change(&cfg)
	}
	s, err := NewSite(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// values are the texts that come from outside, as one person or attacker
// chose them.
type values struct {
	name, host, idHost, website, scope, scopeText, person, email, id, label, field, from, code, resource string
}

var plainValues = values{
	name: "Claude Code", host: "claude.ai", idHost: "claude.ai", website: "https://claude.ai", scope: "mcp:tools:read",
	person: "Alice Example", email: "alice@example.com", id: "alice", label: "Google", field: "username", from: "192.0.2.7",
	code: oauth.CodeInvalidScope, resource: "Team tools",
}

// everywhere puts one text into every place that a text from outside can reach.
func everywhere(text string) values {
	return values{text, text, text, text, text, text, text, text, text, text, text, text, text, text}
}

// samples are all pages, in every shape that has markup of its own.
func samples(v values) map[string]Page {
	program := Program{Name: v.name, Host: v.host, IDHost: v.idHost, Website: v.website}
	loopback := Program{Name: v.name, Host: "127.0.0.1:33418", Loopback: true}
	app := Program{Name: v.name, Scheme: "cursor"}
	known := Program{Name: v.name, Host: v.host, Verified: true}
	resource := Resource{Name: v.resource, URLs: []string{"https://mcp.example.com/mcp"}, Scopes: []string{v.scope}}
	scopes := []Scope{{Name: v.scope}, {Name: "files:write", Text: "Write files " + v.scopeText}, {Name: "bare"}}
	person := Person{Name: v.person, Email: v.email, ID: v.id}
	at := time.Date(2026, 11, 3, 14, 5, 0, 0, time.UTC)
	password := Method{ID: "password", Fields: []Field{
		{Name: "username", Autocomplete: "username"}, {Name: "password", Secret: true, Autocomplete: "current-password"},
	}}
	directory := Method{ID: "ldap", Label: v.label, Fields: []Field{{Name: "badge", Label: v.field}}}
	google, github := Method{ID: "google", Label: v.label}, Method{ID: "github", Label: "GitHub"}
	grants := []Grant{
		{ID: "g1", Program: program, Resource: resource, Scopes: scopes, Since: at, LastUsed: at.Add(48 * time.Hour), From: v.from},
		{ID: "g2", Program: loopback, Resource: resource, Since: at},
		{ID: "g3", Program: app, Resource: resource, Scopes: scopes, Since: at},
		{ID: "g4", Program: Program{Host: v.host}, Resource: resource},
	}
	return maps.Collect(func(yield func(string, Page) bool) {
		for _, s := range []struct {
			name string
			page Page
		}{
			{"sign in", SignIn{Program: &program, Resource: resource, Scopes: scopes, Methods: []Method{password, google, github, directory}, Action: testAction, Token: testToken}},
			{"sign in, one button", SignIn{Program: &app, Resource: resource, Scopes: scopes, Methods: []Method{google}, Action: testAction, Token: testToken}},
			{"sign in, not asked later", SignIn{Program: &app, Resource: resource, Scopes: scopes, Unasked: true, Methods: []Method{google}, Action: testAction, Token: testToken}},
			{"sign in, rejected", SignIn{
				Program: &loopback, Resource: resource, Scopes: scopes, Methods: []Method{password}, Action: testAction, Token: testToken,
				Problem: SignInRejected, Method: "password", Username: v.email,
			}},
			{"sign in, throttled", SignIn{
				Methods: []Method{password, google}, Action: testAction, Token: testToken, Problem: SignInThrottled, RetryAfter: time.Minute,
			}},
			{"sign in to the account page", SignIn{Methods: []Method{password}, Action: testAction, Token: testToken}},
			{"consent", Consent{Program: program, Resource: resource, Scopes: scopes, Person: person, Action: testAction, Token: testToken, CanSwitch: true}},
			{"consent, loopback", Consent{Program: loopback, Resource: resource, Scopes: scopes[:1], Person: person, Action: testAction, Token: testToken, CanSwitch: true}},
			{"consent, app", Consent{Program: app, Resource: resource, Scopes: scopes, Person: Person{ID: v.id}, Action: testAction, Token: testToken}},
			{"consent, known", Consent{Program: known, Resource: resource, Scopes: scopes, Person: person, Action: testAction, Token: testToken, CanSwitch: true}},
			{"consent, nameless", Consent{Resource: resource, Person: person, Action: testAction, Token: testToken}},
			{"not invited", NotInvited{Program: &program, Resource: resource, Person: person, Action: testAction, Token: testToken, CanSwitch: true, RequestID: v.id}},
			{"not invited, link", NotInvited{Program: &program, Resource: resource, Person: person, Action: testAction, Token: testToken, CanSwitch: true, ReturnURL: testReturn}},
			{"not invited, account", NotInvited{Person: person, RequestID: v.id}},
			{"account", Account{Person: person, Grants: grants, More: true, Action: testAction, Token: testToken, CanSignOut: true, Done: DoneRevoked}},
			{"account, tokens", Account{Person: person, Grants: grants[:1], Action: testAction, Token: testToken, CanSignOut: true, Tokens: testTokens(v), Done: DoneTokenNoScope}},
			{"account, tokens only", Account{Person: person, Action: testAction, Token: testToken, Tokens: &Tokens{Tokens: testTokens(v).Tokens, SignInFirst: true}}},
			{"account, no tokens", Account{Person: person, Action: testAction, Token: testToken, Tokens: &Tokens{Days: []int{7}}}},
			{"new token", NewToken{Token: testSecret, Name: v.name, Resource: resource, Scopes: scopes, Expires: at}},
			{"account, empty", Account{Person: person, Action: testAction, Token: testToken}},
			{"leave", Leave{Name: v.name, Scheme: "cursor", URL: testLeave}},
			{"leave, nameless", Leave{Scheme: "cursor", URL: testLeave}},
			{"signed out", SignedOut{}},
			{"signed out everywhere", SignedOut{Everywhere: true}},
			{"error", Error{Code: v.code, Description: v.id, ClientName: v.name, ReturnURL: testReturn, RequestID: v.id}},
			{"error, unknown client", Error{Code: oauth.CodeInvalidClient, UnknownClient: true, RegisterURL: testIssuer + "/oauth/register", RequestID: v.id}},
			{"error, guessed client", Error{
				Code: oauth.CodeInvalidClient, UnknownClient: true, Guessed: true, RegisterURL: testIssuer + "/oauth/register", RequestID: v.id,
				Fixes: []Fix{
					{Programs: []string{"mcp-remote"}, Text: "mcp_remote_folder", Code: "rm -rf ~/.mcp-auth"},
					{Programs: []string{"Claude", "ChatGPT"}, Text: "remove_connector"},
				},
			}},
			{"error, unregistrable", Error{Code: oauth.CodeInvalidClient, UnknownClient: true, RequestID: v.id}},
			{"problem", Error{Problem: ProblemBrowser, RestartURL: testAccount, RequestID: v.id}},
			{"overview", testOverview(v)},
			{"reference", testReference(v)},
		} {
			if !yield(s.name, s.page) {
				return
			}
		}
	})
}

// testTokens are tokens and servers in every shape.
func testTokens(v values) *Tokens {
	at := time.Date(2026, 11, 3, 14, 5, 0, 0, time.UTC)
	resource := Resource{Name: v.resource, URLs: []string{"https://mcp.example.com/mcp"}, Scopes: []string{v.scope}}
	scopes := []Scope{{Name: v.scope}, {Name: "files:write", Text: "Write files " + v.scopeText}}
	return &Tokens{
		Tokens: []PersonalToken{
			{ID: "t1", Name: v.name, Resource: resource, Scopes: scopes, Since: at, Expires: at.AddDate(0, 1, 0), LastUsed: at.Add(time.Hour), From: v.from},
			{ID: "t2", Name: "Other", Resource: Resource{URLs: []string{"https://mcp.example.com/other"}}, Since: at, Expires: at.AddDate(0, 0, 7)},
		},
		Servers: []TokenServer{
			{ID: "https://mcp.example.com/mcp", Resource: resource, Scopes: scopes, Proposed: []string{"files:write"}},
			{ID: "https://mcp.example.com/other", Resource: Resource{URLs: []string{"https://mcp.example.com/other"}}, Scopes: scopes[1:]},
		},
		Days: []int{7, 30, 365},
	}
}

func testOverview(v values) Overview {
	return Overview{
		Resources: []Resource{
			{Name: v.resource, URLs: []string{"https://mcp.example.com/mcp"}, Scopes: []string{v.scope, "bare"}},
			{URLs: []string{"https://mcp.example.com/other"}},
		},
		Metadata:         Endpoint{URL: testIssuer + "/.well-known/oauth-authorization-server", Path: "/.well-known/oauth-authorization-server"},
		Keys:             Endpoint{URL: testIssuer + "/oauth/jwks.json", Path: "/oauth/jwks.json"},
		Register:         Endpoint{URL: testIssuer + "/oauth/register"},
		Authorize:        Endpoint{URL: testIssuer + "/oauth/authorize"},
		Token:            Endpoint{URL: testIssuer + "/oauth/token"},
		Health:           Endpoint{URL: testIssuer + "/oauth/health", Path: "/oauth/health"},
		DevelopmentToken: testIssuer + "/dev/token",
	}
}

func testReference(v values) Reference {
	params := []Param{{Name: "scope", Type: "string", Description: v.scopeText + "What is asked for.", Required: true}}
	return Reference{
		Title: "Authorization server API", Description: "One paragraph.\n\nAnother one.",
		Groups: []Group{{Name: "Tokens", Description: "To get and to lose.", Operations: []Operation{{
			Method: "POST", Path: "/oauth/token", Summary: "Ask for a token", Description: v.scopeText + "In words.", Deprecated: true,
			Auth: "A secret.", Aliases: []string{"/token"}, Parameters: params,
			Body:      Content{Type: "application/json", Schema: "Token", Example: `{"a": 1}`},
			Responses: []Response{{Status: "200", Description: "Well.", Headers: params, Content: Content{Type: "application/json", Schema: "Token"}}},
		}}}},
		Schemas: []Schema{{Name: "Token", Description: "What is answered.", Fields: params}},
	}
}

// accepts are an Accept-Language header for every language.
var accepts = map[string]*words{"en-US,en;q=0.9": &english, "zh-CN,zh;q=0.9,en;q=0.8": &chinese}

// answer is a page as a browser gets it.
type answer struct {
	*httptest.ResponseRecorder
	root *html.Node
}

// show asks for a page in the language of the header.
func show(t *testing.T, s *Site, p Page, accept string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, testIssuer+"/", nil)
	r.Header.Set("Accept-Language", accept)
	w := httptest.NewRecorder()
	s.Write(w, r, http.StatusOK, p)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	root, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	return answer{w, root}
}

// read asks for a page in English.
func read(t *testing.T, p Page) answer {
	t.Helper()
	return show(t, testSite(t, nil), p, "")
}

// elements returns all elements of the page, in order.
func (a answer) elements() []*html.Node {
	var all []*html.Node
	for n := range a.root.Descendants() {
		if n.Type == html.ElementNode {
			all = append(all, n)
		}
	}
	return all
}

// all returns the elements with one of the names.
func (a answer) all(names ...string) []*html.Node {
	return slices.DeleteFunc(a.elements(), func(n *html.Node) bool { return !slices.Contains(names, n.Data) })
}

// text returns what a person reads, with single spaces.
func (a answer) text() string { return textOf(a.root) }

func textOf(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			b.WriteString(n.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// attr returns an attribute's value, and whether it is there.
func attr(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

// attributes returns the values of an attribute everywhere in the page, except
// of what is linked for the browser itself.
func (a answer) attributes(key string) []string {
	var values []string
	for _, n := range a.elements() {
		if v, ok := attr(n, key); ok && n.Data != "link" {
			values = append(values, v)
		}
	}
	return values
}
