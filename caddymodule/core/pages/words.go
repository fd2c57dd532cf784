package pages

import (
	"slices"
	"strings"
)

// words are the texts of all pages in one language. Where a sentence takes a
// value, a {verb} stands for it; what each may be is said here, and a test
// holds that every language has the same ones.
type words struct {
	// Lang is the language as in RFC 5646.
	Lang string
	// Time is the layout of a moment in UTC.
	Time string
	// Seconds, Minutes and Days are lengths of time.
	Seconds, Minutes, Days counted

	Frame      frameWords
	Program    programWords
	SignIn     signInWords
	Consent    consentWords
	NotInvited notInvitedWords
	Account    accountWords
	Token      tokenWords
	Leave      leaveWords
	SignedOut  signedOutWords

	// Explanations say in plain words what an error code means to a person;
	// Problems do that for what has no code. OtherError is for the rest.
	Explanations, Problems map[string]explanation
	OtherError             explanation
	// UnknownClient is for a client_id that is not known: the steps of Fixes come
	// before its own, and RegisterAgain after. Unregistrable is for servers that
	// have no registration.
	UnknownClient, Unregistrable explanation
	Fixes                        map[string]string
	RegisterAgain                Step
	Error                        errorWords

	Overview  overviewWords
	Connect   connectWords
	Reference referenceWords
}

// explanation is what an error page says.
type explanation struct {
	Title string
	// What happened and Why.
	What, Why string
	Steps     []Step
}

// Step is something to do: by whom or with what, how, and what to type.
type Step struct{ Who, Text, Code string }

func (s Step) with(code string) Step {
	s.Code = code
	return s
}

// frameWords are around every page.
type frameWords struct {
	Server, Pages, Docs, About, Account string
}

// programWords say which program asks for what.
type programWords struct {
	// Wants has {program} and {resource}; Claims is for a name that nobody
	// vouches for, Nameless has {resource} only.
	Wants, Claims, Nameless                      string
	Program, Claimed, NoName, Known, NotVerified string
	Destination, Document, Website               string
	ThisComputer                                 string // {host}
	App                                          string // {scheme}
	Nowhere                                      string
	Resource, Scopes                             string
	WarnWeb                                      string // {host}
	WarnLoopback, WarnApp                        string
	WarnImpostor, WarnUnfamiliar                 string // {host}
	ScopeTexts                                   map[string]string
}

type signInWords struct {
	Title, LeadAccount             string
	First, Unasked                 string
	Ways                           string
	ContinueWith                   string // {method}
	Or, Submit, Username, Password string
	Rejected                       string
	Throttled                      string // {wait}
	WhatIsThis, Explained, NotYou  string
}

type consentWords struct {
	Title, Person, Switch, Allow, Deny, NotYou string
	TakeBack                                   string // {address}
}

type notInvitedWords struct {
	Title, As               string
	What                    string // {resource}
	WhatServer, Why         string
	Steps                   string
	Switch, SwitchHint, Ask string
	Deny, Unchanged         string
}

type accountWords struct {
	Title, Lead, Person                             string
	Programs, None, NoneHint, More                  string
	Destination, Resource, Scopes                   string
	Computer                                        string // {host}
	App                                             string // {scheme}
	Since, LastUsed, NotUsed                        string
	From                                            string // {address}
	Revoke, RevokeAll, RevokeAllHint, RevokeAllSure string
	Session, SignOut, SignOutEverywhere             string
	SignOutHint                                     string
	Done                                            map[string]string
}

// tokenWords are about personal access tokens: their part of the account page,
// and the page that shows a new one.
type tokenWords struct {
	Title, Lead, None, NoServer          string
	New                                  string // {server}
	Name, NameHint, Server, Days, Make   string
	Since, Expires                       string
	SignIn, SignInNotAsked, SignInButton string
	RevokeAll, RevokedAll, RevokeAllHint string
	Made, Once, Token, Care, Uses, Back  string
	Shell, Curl, ClaudeCode              Step
}

type leaveWords struct {
	Title                 string
	Lead                  string // {program}
	Nameless, Hint, Close string
	Open                  string // {scheme}
}

type signedOutWords struct {
	Title, Lead, LeadEverywhere, Programs, Elsewhere, Again string
}

type errorWords struct {
	CallsItself, ReturnHint, Return, Restart, Steps, Details, RequestID, RequestIDHint string
	Guess                                                                              string
	IfProgram                                                                          string // {program}
}

type overviewWords struct {
	Title, Link, Lead                                        string
	Resources, Address, Scopes                               string
	AccountHint                                              string
	Connect, ConnectHint, ConnectUnregistrable, ConnectOther string
	Endpoints, Issuer                                        string
	Metadata, Keys, Register, Authorize, Token, Health       string
	Documentation, DocsHint, ReferenceHint, OpenAPIHint      string
}

// connectWords say how programs connect; the commands are added.
type connectWords struct {
	ClaudeCode, Connector, Cursor, VSCode, Inspector, Curl, Development Step
}

type referenceWords struct {
	Link, Deprecated, Auth, Aliases, Parameters, Body, Responses, Schemas string
}

// explain returns the words for an error page.
func (t *words) explain(e Error) explanation {
	switch {
	case e.UnknownClient && e.RegisterURL == "":
		return t.Unregistrable
	case e.UnknownClient:
		says := t.UnknownClient
		says.Steps = slices.Concat(t.fixes(e), says.Steps, []Step{t.RegisterAgain.with(registerCommand(e.RegisterURL))})
		return says
	}
	if says, ok := t.Problems[e.Problem]; ok {
		return says
	}
	if says, ok := t.Explanations[e.Code]; ok {
		return says
	}
	return t.OtherError
}

// fixes are the steps for known programs. Which one it is nobody proved, so
// each begins with an if where it was guessed.
func (t *words) fixes(e Error) []Step {
	var steps []Step
	for _, f := range e.Fixes {
		text, ok := t.Fixes[f.Text]
		if !ok {
			continue
		}
		who := strings.Join(f.Programs, " / ")
		if e.Guessed {
			who = fill(t.Error.IfProgram, "program", who)
		}
		steps = append(steps, Step{Who: who, Text: text, Code: f.Code})
	}
	return steps
}

func registerCommand(url string) string {
	return "curl -X POST " + shellQuote(url) + " \\\n  -H 'Content-Type: application/json' \\\n" +
		`  -d '{"client_name": "My program", "redirect_uris": ["http://127.0.0.1:8765/callback"]}'`
}
