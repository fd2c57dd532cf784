package pages

import "slices"

// words are the texts of all pages in one language. english.go has the only
// value; a translation is another one, in a file of its own.
type words struct {
	Lang                       string
	Server, Pages, Docs, About string

	// Explanations say in plain words what an error code means to a person.
	Explanations map[string]explanation
	// OtherError is for codes without an explanation.
	OtherError explanation
	// UnknownClient is for a client_id that is not known; RegisterAgain is its
	// last step. Unregistrable is for servers that have no registration.
	UnknownClient, Unregistrable explanation
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

type errorWords struct {
	CallsItself, ReturnHint, Return, Steps, Details, RequestID, RequestIDHint string
}

type overviewWords struct {
	Title, Link, Lead                                        string
	Resources, Address, Scopes                               string
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
func (t words) explain(e Error) explanation {
	switch {
	case e.UnknownClient && e.RegisterURL == "":
		return t.Unregistrable
	case e.UnknownClient:
		says := t.UnknownClient
		says.Steps = append(slices.Clone(says.Steps), t.RegisterAgain.with(registerCommand(e.RegisterURL)))
		return says
	}
	if says, ok := t.Explanations[e.Code]; ok {
		return says
	}
	return t.OtherError
}

func registerCommand(url string) string {
	return "curl -X POST " + shellQuote(url) + " \\\n  -H 'Content-Type: application/json' \\\n" +
		`  -d '{"client_name": "My program", "redirect_uris": ["http://127.0.0.1:8765/callback"]}'`
}
